package rfc9111

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestParseDate(t *testing.T) {
	const want = "2050-08-18T02:01:08Z" // a Thursday
	for _, c := range []struct{ date, want string }{
		{"Thu, 18 Aug 2050 02:01:08 GMT", want},
		{"Thursday, 18-Aug-50 02:01:08 GMT", want},
		{"Thu Aug 18 02:01:08 2050", want},
		{"thu, 18 aug 2050 02:01:08 gmt", want},
		{"THU, 18 AUG 2050 02:01:08 GMT", want},
		{"tHURSDAY, 18-aUG-50 02:01:08 gMT", want},
		{"tHU aUG 18 02:01:08 2050", want},
		{"Sun Nov  6 08:49:37 1994", "1994-11-06T08:49:37Z"},
		{"Sun Nov 06 08:49:37 1994", "1994-11-06T08:49:37Z"},
		{"Sun, 06 Nov 1994 08:49:37 GMT", "1994-11-06T08:49:37Z"},
		{"Sunday, 06-Nov-94 08:49:37 GMT", "1994-11-06T08:49:37Z"},
		{"Fri, 31 Dec 9999 23:59:59 GMT", "9999-12-31T23:59:59Z"},
		{"Thu, 29 Feb 2024 00:00:00 GMT", "2024-02-29T00:00:00Z"},

		{"", ""},
		{"0", ""},
		{"-1", ""},
		{"3600", ""},
		{"Thu, 18 Aug 2050 02:01:08 UTC", ""},
		{"Thu, 18 Aug 2050 02:01:08 AEST", ""},
		{"Thu, 18 Aug 2050 02:01:08 +0000", ""},
		{"Thu, 18 Aug 2050 02:01:08", ""},
		{"Thu, 18 Aug 50 02:01:08 GMT", ""},
		{"Thu 18 Aug 2050 02:01:08 GMT", ""},
		{"Thu, 18-Aug-2050 02:01:08 GMT", ""},
		{"Thu, 18 Aug 2050 02.01.08 GMT", ""},
		{"Thu,  18 Aug 2050 02:01:08 GMT", ""},
		{"Thu, 18  Aug 2050 02:01:08 GMT", ""},
		{"Thu, 18 Aug  2050 02:01:08 GMT", ""},
		{"Thu, 18 Aug 2050  02:01:08 GMT", ""},
		{"Thu, 18 Aug 2050 02:01:08  GMT", ""},
		{" Thu, 18 Aug 2050 02:01:08 GMT", ""},
		{"Thu, 18 Aug 2050 02:01:08 GMT ", ""},
		{"Thu, 18 Aug 2050 2:01:08 GMT", ""},
		{"Thu, 18 Aug 2050 02:1:08 GMT", ""},
		{"Thu, 8 Aug 2050 02:01:08 GMT", ""},
		{"Thu, 18 Aug 2050 24:01:08 GMT", ""},
		{"Thu, 18 Aug 2050 02:01:08.5 GMT", ""},
		{"Thu, 31 Feb 2050 02:01:08 GMT", ""},
		{"Wed, 18 Aug 2050 02:01:08 GMT", ""}, // a date that contradicts itself
		{"Thursday, 18 Aug 2050 02:01:08 GMT", ""},
		{"Sun Nov   6 08:49:37 1994", ""},
		{"Sun Nov 6 08:49:37 1994", ""},
		{"Sun Nov  6 08:49:37 1994 GMT", ""},
		{strings.Repeat("Thu, 18 Aug 2050 02:01:08 GMT", 100), ""},
	} {
		got, ok := parseDate(c.date, epoch)
		if ok != (c.want != "") || ok && got.Format(time.RFC3339) != c.want {
			t.Errorf("parseDate(%q) = %v, %v, want %q", c.date, got, ok, c.want)
		}
	}
}

// TestCentury: a year with two digits is the last that is no more than 50 years
// ahead (RFC 9110, section 5.6.7), whenever that is read.
func TestCentury(t *testing.T) {
	for _, now := range []time.Time{epoch, time.Date(1999, 12, 31, 0, 0, 0, 0, time.UTC), time.Date(2055, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2120, 1, 1, 0, 0, 0, 0, time.UTC)} {
		for years := -49; years <= 50; years++ {
			want := now.AddDate(years, 0, 0)
			if got, ok := parseDate(want.Format("Monday, 02-Jan-06 15:04:05 GMT"), now); !ok || !got.Equal(want) {
				t.Errorf("in %d: %v, %v, want %v", now.Year(), got, ok, want)
			}
		}
		beyond := now.AddDate(50, 0, 1)
		past := beyond.AddDate(-100, 0, 0)
		if got, ok := parseDate(past.Format("Monday, 02-Jan-06 15:04:05 GMT"), now); !ok || !got.Equal(past) {
			t.Errorf("in %d: %v, %v, want %v", now.Year(), got, ok, past)
		}
	}
}

// TestExpiresIsStrict: what is no date is a date that has passed.
func TestExpiresIsStrict(t *testing.T) {
	r := Read(200, dated("Expires: Thu, 18 Aug 2050 2:01:08 GMT", "Last-Modified: {-10h}"), epoch, epoch)
	if got := r.Use(request(), epoch); got != Validate {
		t.Errorf("Use = %v", got)
	}
}

func FuzzParseDate(f *testing.F) {
	for _, s := range []string{"Thu, 18 Aug 2050 02:01:08 GMT", "Thursday, 18-Aug-50 02:01:08 GMT", "Sun Nov  6 08:49:37 1994", "thu, 18 aug 2050 2:01:08 gmt"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := parseDate(s, epoch)
		if !ok {
			return
		}
		// A valid date is one that everybody else reads too, and alike.
		std, err := http.ParseTime(upperMonthZone(s))
		if err != nil {
			t.Fatalf("%q is no date to net/http: %v", s, err)
		}
		if !std.Equal(got) && std.Year()%100 != got.Year()%100 {
			t.Fatalf("%q is %v, to net/http %v", s, got, std)
		}
	})
}

func upperMonthZone(s string) string {
	return s[:len(s)-3] + strings.ToUpper(s[len(s)-3:])
}
