package rfc9111

import (
	"net/http"
	"testing"
	"time"
)

// FuzzRead: no field makes the reading fail, no time overflows, and whatever an
// answer says, it is not given once its windows are over, nor against a
// no-store, nor by a request that wants none.
func FuzzRead(f *testing.F) {
	for _, s := range []string{"max-age=60", `max-age="60", no-cache="a", x="y, z"`, "max-age=60, stale-while-revalidate=99999999999, stale-if-error=60", `a="\"`, "max-age=0x10,,,no-store", "max-stale, min-fresh=5"} {
		f.Add(s, "max-age=3", "Wed, 05 Jun 2030 12:00:00 GMT", "5", int64(time.Hour))
	}
	f.Fuzz(func(t *testing.T, control, asked, date, age string, after int64) {
		h := http.Header{"Cache-Control": {control}, "Date": {date}, "Age": {age}, "Expires": {date}, "Last-Modified": {date}}
		r := Read(200, h, epoch, epoch)
		for name, d := range map[string]time.Duration{"lifetime": r.lifetime, "initial age": r.initial, "while-revalidate": r.whileRevalidate, "if-error": r.ifError} {
			if d < 0 || d > maxSpan {
				t.Fatalf("%s = %v", name, d)
			}
		}
		q := ReadRequest(http.Header{"Cache-Control": {asked}})
		now := epoch.Add(time.Duration(max(after, 0)))
		if r.Age(now) < 0 {
			t.Fatalf("Age = %v after %v", r.Age(now), time.Duration(after))
		}
		use := r.Use(&q, now)
		if use == Fresh && r.TTL(now) <= 0 {
			t.Fatal("fresh, and its lifetime is over")
		}
		if use != Validate && (q.NoCache || r.noStore || r.noCache) {
			t.Fatalf("%v against a directive", use)
		}
		if use == Refresh && now.After(r.Until(0)) {
			t.Fatal("Refresh after the window")
		}
		if r.StaleIfError(&q, now, 0) && q.ifError <= 0 && now.After(r.Until(0)) {
			t.Fatal("stale after the window")
		}
		r.Unstorable(&q, 0)
		Keep(h, epoch)
		Freshen(h, h, epoch)
	})
}
