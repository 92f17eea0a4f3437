package dashboard

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode"
)

// serveText is the page for a terminal.
func (d *Dashboard) serveText(w http.ResponseWriter, f filter) {
	now := time.Now()
	s := d.look(now)
	f.apply(s)
	var b bytes.Buffer
	t := &s.Totals
	fmt.Fprintf(&b, "snubber %d  %s\n", Version, s.Time.Format(time.RFC3339))
	fmt.Fprintf(&b, "since %s: %d attempts, %d answered, %d wasted (%s %%), %d refused, %d saved by the cache (%d shared), %d sent to another route, %d tokens in, %d out\n",
		s.Since.Format(time.RFC3339), t.Attempts, t.Answered, t.Wasted, number(percent(int(t.Wasted), int(t.Attempts))), t.Refused, t.Saved, t.Collapsed, t.Fallbacks, t.InputTokens, t.OutputTokens)
	for i := range s.Keys {
		s.Keys[i].writeText(&b, now)
	}
	if s.Omitted > 0 {
		fmt.Fprintf(&b, "\n%d more keys\n", s.Omitted)
	}
	if len(s.Events) > 0 {
		b.WriteString("\nevents\n")
	}
	for _, e := range s.Events {
		fmt.Fprintf(&b, "  %s  %-10s %s  %s\n", e.Time.Format("15:04:05.000"), e.Kind, plain(e.Key), plain(e.Text))
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Write(b.Bytes())
}

func (k *keyState) writeText(b *bytes.Buffer, now time.Time) {
	fmt.Fprintf(b, "\n%s %s\n  %s", [...]string{" ", ".", "-", "!", "!!"}[k.Trouble], plain(k.Key), plain(k.Why))
	if d := k.Until.Sub(now); d > 0 {
		fmt.Fprintf(b, " Next try in %s.", brief(d))
	}
	fmt.Fprintf(b, "\n  two minutes: %d attempts, %d answered, %d wasted, %d refused\n", k.Attempts, k.Answered, k.Wasted, k.Refused)
	if c := k.Circuit; c != nil {
		fmt.Fprintf(b, "  circuit %s: %d of %d failed, %d in a row\n", c.State, c.Failures, c.Requests, c.Consecutive)
	}
	for i := range k.Queues {
		q := &k.Queues[i]
		tenant := ""
		if q.Tenant != "" {
			tenant = " of " + q.Tenant
		}
		fmt.Fprintf(b, "  queue%s: %d waiting, the oldest for %s s, %d in flight\n", tenant, q.Waiting, number(q.Oldest), q.InFlight)
		for j := range q.Limits {
			l := &q.Limits[j]
			fmt.Fprintf(b, "    %s, %s", plain(l.rate()), plain(l.origin()))
			if l.Used != nil {
				fmt.Fprintf(b, ", used %s", number(*l.Used))
			}
			fmt.Fprintf(b, ", left %s\n", number(l.Remaining))
		}
	}
	if c := k.Cache; c != nil {
		fmt.Fprintf(b, "  cache: %d of %d from it\n", c.Hits, c.Lookups)
	}
}

// plain is a text that a terminal takes no orders from.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}
