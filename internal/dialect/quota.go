package dialect

import (
	"math/bits"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// mergeBuckets collects the buckets of all providers and the header names that
// lead to them. Where two providers share a name the first one's bucket stands;
// what it means elsewhere is for refine to say.
func mergeBuckets() (all []bucket, of map[string]uint) {
	of = map[string]uint{}
	for _, p := range providers {
		for _, b := range p.buckets {
			for _, name := range [...]string{b.limit, b.remaining, b.reset} {
				if _, taken := of[name]; name != "" && !taken {
					of[name] = uint(len(all))
				}
			}
			all = append(all, b)
		}
	}
	return all, of
}

// readQuotas reads the quotas in a header. Every response passes here, and most
// say nothing about quotas: one walk over the keys, no lower-casing (the keys
// of a received header are canonical), nothing allocated until one is found.
func readQuotas(h http.Header, host string, now time.Time, f *failure) []Quota {
	var seen uint64 // one bit for each of allBuckets
	fields := false
	var strangers []string
	for name := range h {
		if !maybeQuota(name) {
			continue
		}
		if i, ok := bucketOf[name]; ok {
			seen |= 1 << i
		} else if name == "Ratelimit" || name == "Ratelimit-Policy" {
			fields = true
		} else if _, ok := familyOf(name); ok {
			strangers = append(strangers, name)
		}
	}
	if seen == 0 && !fields && strangers == nil {
		return nil
	}
	r := &reply{host: host, header: h, now: now}
	quotas := make([]Quota, 0, bits.OnesCount64(seen))
	for ; seen != 0; seen &= seen - 1 {
		b := &allBuckets[bits.TrailingZeros64(seen)]
		q := Quota{
			Kind: b.kind, Window: b.window,
			Limit: r.count(b.limit), Remaining: r.count(b.remaining), Reset: r.reset(b.reset),
		}
		if b.spent && q.Reset > 0 && q.Remaining < 0 {
			q.Remaining = 0
		}
		if q.Limit >= 0 || q.Remaining >= 0 {
			quotas = append(quotas, q)
		}
	}
	if fields {
		quotas = readFields(h, quotas)
	}
	if strangers != nil {
		slices.Sort(strangers) // a map has no order, and the answer has one
		quotas = readFamilies(r, strangers, quotas)
	}
	if len(quotas) == 0 {
		return nil
	}
	for _, p := range providers {
		if p.refine != nil {
			p.refine(r, f, quotas)
		}
	}
	return quotas
}

// readFamilies adds the quotas in the headers that no table knows. names are
// theirs.
func readFamilies(r *reply, names []string, quotas []Quota) []Quota {
	type member struct {
		headerFamily
		quota    Quota
		rejected bool
	}
	var all []member
	for _, name := range names {
		f, ok := familyOf(name)
		if !ok {
			continue
		}
		part := f.part
		f.part = ""
		i := 0
		for i < len(all) && all[i].headerFamily != f {
			i++
		}
		if i == len(all) {
			if i == maxPolicies {
				break
			}
			all = append(all, member{f, Quota{Kind: f.kind, Window: f.window, Limit: -1, Remaining: -1, Reset: -1}, false})
		}
		m := &all[i]
		switch part {
		case "limit":
			m.quota.Limit = r.count(name)
		case "remaining":
			m.quota.Remaining = r.count(name)
		case "reset":
			m.quota.Reset = r.reset(name)
		case "status":
			m.rejected = strings.EqualFold(r.get(name), "rejected")
		}
	}
	for _, m := range all {
		if m.rejected && m.quota.Remaining < 0 && m.quota.Reset >= 0 {
			m.quota.Remaining = 0
		}
		if m.quota.Limit >= 0 || m.quota.Remaining >= 0 {
			quotas = append(quotas, m.quota)
		}
	}
	return quotas
}

// maybeQuota spares most names their look-up: what is about a quota begins with
// X-Ra, X-T, Ra or Anthropic-R. A name of another kind belongs here as well as in
// its table; a test compares the two.
func maybeQuota(name string) bool {
	const anthropic = "Anthropic-"
	switch {
	case len(name) < len("Ratelimit"):
		return false
	case name[0] == 'X':
		return name[2] == 'R' && name[3] == 'a' || name[2] == 'T'
	case name[0] == 'R':
		return name[1] == 'a'
	}
	return len(name) > len(anthropic) && name[:len(anthropic)] == anthropic && name[len(anthropic)] == 'R'
}

// count is the number in a header, -1 where there is none. The older IETF
// drafts write "100, 100;w=60", where the first number is the limit in force.
func (r *reply) count(name string) int64 {
	if s := r.get(name); s != "" {
		return readCount(s)
	}
	return -1
}

// get is Header.Get for a name that is canonical already, as all in tables are.
func (r *reply) get(name string) string {
	if v := r.header[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

func readCount(s string) int64 {
	var sum int64
	for i := 0; ; i++ {
		if i == len(s) && i > 0 {
			return sum // as nearly always
		}
		if i == len(s) || i == 18 || s[i] < '0' || s[i] > '9' {
			break
		}
		sum = sum*10 + int64(s[i]-'0')
	}
	if i := strings.IndexAny(s, ",;"); i >= 0 {
		s = s[:i]
	}
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	if err != nil || n < 0 {
		return -1
	}
	return n
}

// reset is the time until the bucket is full. Other than with Retry-After, -1
// means unknown.
func (r *reply) reset(name string) time.Duration {
	s := r.get(name)
	if s == "" || strings.TrimSpace(s) == "-1" {
		return -1
	}
	d, ok := r.moment(s)
	if !ok {
		return -1
	}
	return d
}

// exhausted is the wait that empty buckets ask for. A bucket that still has
// something left asks for none, however far off its reset: that is when it will
// be full, not when there will be something in it.
func exhausted(quotas []Quota) (d time.Duration) {
	for _, q := range quotas {
		if q.Remaining == 0 {
			d = max(d, q.Reset)
		}
	}
	return d
}
