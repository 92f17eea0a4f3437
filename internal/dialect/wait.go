package dialect

import (
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxSpan bounds every duration that a server states, so that no sum of two can
// overflow. It is no policy: what is worth waiting for is decided above.
const maxSpan = 10 * 365 * 24 * time.Hour

// A reply is what the reading of times and quotas needs of a response.
type reply struct {
	host   string
	header http.Header
	now    time.Time // where the response has no Date
	at     time.Time // see date
}

// date is when the server wrote the response by its own clock. Its instants are
// compared with this and never with our clock: the difference is right even
// where one of the two is years off.
func (r *reply) date() time.Time {
	if r.at.IsZero() {
		r.at = r.now
		if t, err := http.ParseTime(r.header.Get("Date")); err == nil {
			r.at = t
		}
	}
	return r.at
}

// in reports whether the host is the domain or below it.
func (r *reply) in(domain string) bool {
	host := r.host
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		host = host[:i]
	}
	n := len(host) - len(domain)
	return n >= 0 && strings.EqualFold(host[n:], domain) && (n == 0 || host[n-1] == '.')
}

// stated is the server's own word on when to come back. The first source that
// can be read holds, a zero included: a server that says "now" is not asked
// again elsewhere. declared says that the word stood in a field made for it and
// not in the prose of a message.
func (f *failure) stated() (d time.Duration, ok, declared bool) {
	for _, name := range [...]string{"Retry-After-Ms", "X-Ms-Retry-After-Ms"} {
		if ms, ok := readNumber(f.header.Get(name)); ok {
			return seconds(ms / 1e3), true, true
		}
	}
	if d, ok := f.moment(f.header.Get("Retry-After")); ok {
		return d, true, true
	}
	if d, ok := retryInfo(f); ok {
		return d, true, true
	}
	if d, ok := f.memberWait(); ok {
		return d, true, true
	}
	d, ok = f.messageWait()
	return d, ok, false
}

// memberWait reads the members of an error that were made to say when to come
// back. A number is of seconds, unless the name says otherwise.
func (f *failure) memberWait() (time.Duration, bool) {
	meta, _ := f.obj["metadata"].(map[string]any)
	for _, obj := range [...]map[string]any{f.obj, f.top, meta} {
		for _, key := range [...]string{"retry_after_ms", "retryAfterMs"} {
			if ms, ok := readNumber(plainText(obj[key])); ok {
				return seconds(ms / 1e3), true
			}
		}
		for _, key := range [...]string{
			"retry_after", "retryAfter", "retry_after_seconds", "retryAfterSeconds",
			"resets_in_seconds", "reset_in_seconds", "resets_in", "reset_in", "resets_at", "reset_at", "resetsAt", "resetAt",
		} {
			if d, ok := f.moment(plainText(obj[key])); ok {
				return d, true
			}
		}
	}
	return 0, false
}

// plainText is a string or a number as it is written.
func plainText(v any) string {
	if n, ok := v.(json.Number); ok {
		return n.String()
	}
	return text(v)
}

// messageWait finds "Please try again in 7m12s" and its kin in a lower-case
// message: OpenAI and Groq state the wait of a token bucket there only. After at
// an instant is looked for; one without a zone is somebody's local time, and none.
func (f *failure) messageWait() (time.Duration, bool) {
	for _, lead := range [...]string{
		"again in ", "retry in ", "retry after ", "again after ", "wait ", "resets in ", "reset in ", "reset after ", "resets after ",
		"available in ", "available again in ", "refill in ", "retry again in ", "retry-after: ",
	} {
		for rest := f.text; ; {
			_, after, found := strings.Cut(rest, lead)
			if !found {
				break
			}
			for _, about := range [...]string{"about ", "another ", "at least ", "approximately ", "for ", "~"} {
				after = strings.TrimPrefix(after, about)
			}
			if d, n := readSpan(after); n > 0 {
				return d, true
			}
			rest = after
		}
	}
	for _, lead := range [...]string{"resets at ", "reset at ", "again at ", "retry at ", "available at "} {
		if _, after, found := strings.Cut(f.text, lead); found {
			at, _, _ := strings.Cut(after, " ")
			at = strings.TrimRight(at, ".,;)")
			if t, err := time.Parse(time.RFC3339, strings.ToUpper(at)); err == nil {
				return min(max(t.Sub(f.date()), 0), maxSpan), true
			}
			if x, ok := readNumber(at); ok && x >= 1e9 {
				return f.moment(at)
			}
		}
	}
	for _, unit := range [...]struct {
		text    string
		seconds float64
	}{{"秒后", 1}, {"秒钟后", 1}, {"分钟后", 60}, {"小时后", 3600}} {
		if before, _, found := strings.Cut(f.text, unit.text); found {
			before = strings.TrimRight(before, " ")
			digits := before[len(strings.TrimRight(before, "0123456789")):]
			if x, ok := readNumber(digits); ok {
				return seconds(x * unit.seconds), true
			}
		}
	}
	return 0, false
}

// moment reads the time until something from a header: a number of seconds, a Go
// duration, an HTTP date or an RFC 3339 instant. Numbers from 1e9 are seconds
// of the Unix epoch, from 1e12 its milliseconds. What lies in the past is 0.
func (r *reply) moment(s string) (time.Duration, bool) {
	s = strings.TrimSpace(s)
	if x, ok := readNumber(s); ok {
		if x < 1e9 {
			return seconds(x), true
		}
		if x >= 1e12 {
			x /= 1e3
		}
		return seconds(x - float64(r.date().UnixMilli())/1e3), true
	}
	if s == "" || len(s) > 64 {
		return 0, false
	}
	if d, n := readSpan(s); n == len(s) {
		return d, true
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		if t, err = http.ParseTime(s); err != nil {
			return 0, false
		}
	}
	return min(max(t.Sub(r.date()), 0), maxSpan), true
}

// readNumber accepts plain decimals only. ParseFloat alone would take NaN, Inf,
// hexadecimals and underscores for numbers.
func readNumber(s string) (float64, bool) {
	s = strings.TrimSpace(s)
	if s == "" || len(s) > 64 || strings.Trim(s, "0123456789.eE+-") != "" {
		return 0, false
	}
	x, err := strconv.ParseFloat(s, 64)
	if err != nil && !math.IsInf(x, 0) { // out of range is large, not garbage
		return 0, false
	}
	return x, true
}

// seconds is a bounded duration: negative is 0.
func seconds(x float64) time.Duration {
	switch {
	case x > maxSpan.Seconds():
		return maxSpan
	case x > 0:
		return time.Duration(math.Round(x * 1e9))
	}
	return 0
}

// readSpan reads the numbers with units that s begins with ("7m12s", "34.07s",
// "37 seconds") and tells how many bytes they took, 0 for none. The unit is
// asked for: a bare number in prose may be anything.
func readSpan(s string) (d time.Duration, n int) {
	total := 0.0
	for {
		i := n
		for n > 0 && i < len(s) && s[i] == ' ' {
			i++
		}
		j := i
		for j < len(s) && j-i < 32 && ('0' <= s[j] && s[j] <= '9' || s[j] == '.') {
			j++
		}
		if j == i { // before ParseFloat makes an error of it
			return seconds(total), n
		}
		x, err := strconv.ParseFloat(s[i:j], 64)
		if j < len(s) && s[j] == ' ' {
			j++
		}
		k := j
		for k < len(s) && k-j < 16 && 'a' <= s[k] && s[k] <= 'z' {
			k++
		}
		unit := unitSeconds(s[j:k])
		if err != nil || unit == 0 {
			return seconds(total), n
		}
		total += x * unit
		n = k
	}
}

func unitSeconds(s string) float64 {
	switch s {
	case "ns":
		return 1e-9
	case "us":
		return 1e-6
	case "ms", "millisecond", "milliseconds":
		return 1e-3
	case "s", "sec", "secs", "second", "seconds":
		return 1
	case "m", "min", "mins", "minute", "minutes":
		return 60
	case "h", "hr", "hrs", "hour", "hours":
		return 3600
	case "d", "day", "days":
		return 86400
	}
	return 0
}
