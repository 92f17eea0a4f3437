package dialect

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// headerOf makes a header of pairs.
func headerOf(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i+1 < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return h
}

var (
	serverTime = time.Date(2026, 3, 3, 12, 0, 0, 0, time.UTC)
	localTime  = serverTime.Add(-77 * time.Hour) // a clock that is days slow
)

const serverDate = "Tue, 03 Mar 2026 12:00:00 GMT"

func TestWaitPrecedence(t *testing.T) {
	// Each source that is added says something smaller than the ones before, so
	// that neither the longest nor the shortest can be what is picked.
	body := `{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","message":"Please try again in 50s.",
		"details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"40s"}]}}`
	plain := `{"error":{"message":"Please try again in 50s."}}`
	buckets := []string{
		"X-Ratelimit-Remaining-Requests", "0", "X-Ratelimit-Reset-Requests", "60s",
		"X-Ratelimit-Remaining-Tokens", "0", "X-Ratelimit-Reset-Tokens", "45s",
		"X-Ratelimit-Remaining-Project-Tokens", "1", "X-Ratelimit-Reset-Project-Tokens", "90s",
	}
	for _, tt := range []struct {
		name   string
		header []string
		body   string
		want   time.Duration
	}{
		{"milliseconds", []string{"Retry-After-Ms", "10500.5", "X-Ms-Retry-After-Ms", "20000", "Retry-After", "30"}, body, 10500500 * time.Microsecond},
		{"azure milliseconds", []string{"X-Ms-Retry-After-Ms", "20000", "Retry-After", "30"}, body, 20 * time.Second},
		{"Retry-After", []string{"Retry-After", "30"}, body, 30 * time.Second},
		{"RetryInfo", nil, body, 40 * time.Second},
		{"message", nil, plain, 50 * time.Second},
		{"buckets", nil, `{}`, 60 * time.Second},
		{"garbage is passed over", []string{"Retry-After-Ms", "soon", "X-Ms-Retry-After-Ms", "", "Retry-After", "NaN"}, body, 40 * time.Second},
		{"a zero is a word", []string{"Retry-After-Ms", "0", "Retry-After", "30"}, body, 0},
		{"negative is zero", []string{"Retry-After", "-5"}, body, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := Classify(&Response{Status: 429, Header: headerOf(append(tt.header, buckets...)...), Body: []byte(tt.body), Now: localTime})
			if v.Class != RateLimited || v.Wait != tt.want {
				t.Errorf("class %d, wait %v, want %v", v.Class, v.Wait, tt.want)
			}
		})
	}
}

// A bucket that has something left is not waited for, and buckets say nothing
// about an outage.
func TestWaitOfBuckets(t *testing.T) {
	full := headerOf("X-Ratelimit-Remaining-Requests", "1", "X-Ratelimit-Reset-Requests", "2m59.56s")
	if v := Classify(&Response{Status: 429, Header: full}); v.Wait != 0 {
		t.Errorf("waits %v for a bucket with something in it", v.Wait)
	}
	empty := headerOf("X-Ratelimit-Remaining-Requests", "0", "X-Ratelimit-Reset-Requests", "20s")
	for _, status := range []int{500, 503, 529, 408} {
		if v := Classify(&Response{Status: status, Header: empty}); v.Wait != 0 {
			t.Errorf("%d: waits %v", status, v.Wait)
		}
	}
	for _, name := range []string{"X-Rate-Limit-Reset-Tokens", "X-Rate-Limit-Reset-Requests"} {
		if v := Classify(&Response{Status: 429, Header: headerOf(name, "55")}); v.Wait != 55*time.Second {
			t.Errorf("old Azure spelling %s: %v", name, v.Wait)
		}
	}
}

func TestWaitValues(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"30": 30 * time.Second, " 1.5 ": 1500 * time.Millisecond, "0": 0, "-1": 0, "-1e300": 0, "1e-300": 0,
		"1e10": maxSpan, "1e400": maxSpan, "-1e400": 0, "99999999999999999999999": maxSpan, "500000000": maxSpan,
		"1772539230":                    30 * time.Second, // epoch
		"1772539230000":                 30 * time.Second,
		"1772539100":                    0,
		"6m0s":                          6 * time.Minute,
		"20ms":                          20 * time.Millisecond,
		"Tue, 03 Mar 2026 12:00:45 GMT": 45 * time.Second,
		"Tue, 03 Mar 2026 11:00:00 GMT": 0,
		"Fri, 01 Jan 9999 00:00:00 GMT": maxSpan,
		"2026-03-03T12:00:10Z":          10 * time.Second,
		"2026-03-03T13:00:10+01:00":     10 * time.Second,
		"0001-01-01T00:00:00Z":          0,
		"99999999h":                     maxSpan,
	} {
		r := &reply{header: headerOf("Date", serverDate), now: localTime}
		if d, ok := r.moment(value); !ok || d != want {
			t.Errorf("%q is %v, %v; want %v", value, d, ok, want)
		}
	}
	for _, value := range []string{"", " ", "NaN", "Inf", "-Inf", "+inf", "0x10", "1_0", "1e", "--1", "soon", "5 parsecs", "1.2.3", "3s later", strings.Repeat("9", 5000), "Tue, 99 Mar 2026 12:00:45 GMT"} {
		r := &reply{header: headerOf("Date", serverDate), now: localTime}
		if d, ok := r.moment(value); ok {
			t.Errorf("%q is taken for %v", value, d)
		}
	}
	// Without a Date, or with one that is none, the local clock has to do.
	for _, date := range []string{"", "yesterday"} {
		r := &reply{header: headerOf("Date", date), now: serverTime}
		if d, _ := r.moment("Tue, 03 Mar 2026 12:00:45 GMT"); d != 45*time.Second {
			t.Errorf("Date %q: %v", date, d)
		}
	}
}

func TestWaitInMessage(t *testing.T) {
	for message, want := range map[string]time.Duration{
		"Please try again in 18.642s. Visit https://example.com": 18642 * time.Millisecond,
		"Please try again in 276ms.":                             276 * time.Millisecond,
		"Please try again in 7m12s.":                             7*time.Minute + 12*time.Second,
		"Try again in 1h2m3s":                                    time.Hour + 2*time.Minute + 3*time.Second,
		"Please retry after 37 seconds.":                         37 * time.Second,
		"Please retry in 34.074824224s.":                         34074824224 * time.Nanosecond,
		"Try again in 1 minute 5 seconds.":                       65 * time.Second,
		"Retry after you read https://x, or retry after 2 days":  48 * time.Hour,
	} {
		if d, ok := (&failure{reply: &reply{now: localTime}, text: strings.ToLower(message)}).messageWait(); !ok || d != want {
			t.Errorf("%q: %v, %v; want %v", message, d, ok, want)
		}
	}
	for _, message := range []string{"", "try again in ", "try again in a moment", "retry after 37", "please try again later.", "retry in .s", "again in 1.2.3s", "within 30s"} {
		if d, ok := (&failure{reply: &reply{now: localTime}, text: message}).messageWait(); ok {
			t.Errorf("%q is taken for %v", message, d)
		}
	}
}

// What waiting cannot heal has no wait, and a wait that nobody can sit out is
// an exhausted quota.
func TestWaitAndVerdict(t *testing.T) {
	for _, tt := range []struct {
		name, retryAfter, body string
		class                  Class
		wait                   time.Duration
	}{
		{"just below an hour", "3599", ``, RateLimited, 3599 * time.Second},
		{"an hour", "3600", ``, QuotaExhausted, time.Hour},
		{"ten years", "1e400", ``, QuotaExhausted, maxSpan},
		{"quota with a habitual wait", "34", `{"error":{"code":"insufficient_quota"}}`, QuotaExhausted, 0},
		{"quota with a real wait", "40000", `{"error":{"code":"insufficient_quota"}}`, QuotaExhausted, 40000 * time.Second},
		{"daily, refilling", "", `{"error":{"message":"on tokens per day (TPD): please try again in 7m12s."}}`, RateLimited, 432 * time.Second},
		{"daily, far", "", `{"error":{"message":"on tokens per day (TPD): please try again in 53m12s."}}`, QuotaExhausted, 3192 * time.Second},
		{"daily, no wait", "", `{"error":{"message":"requests per day (RPD)"}}`, QuotaExhausted, 0},
		{"too large", "30", `{"error":{"message":"Request too large for gpt-4o: Limit 6000, Requested 9,210."}}`, TooLong, 0},
		{"the numbers say it fits", "30", `{"error":{"message":"Request too large: Limit 6000, Used 5000, Requested 1200."}}`, RateLimited, 30 * time.Second},
		{"gemini, over five minutes", "", `{"error":{"code":429,"details":[{"@type":"x/google.rpc.RetryInfo","retryDelay":"301s"}]}}`, QuotaExhausted, 301 * time.Second},
		{"gemini, under five minutes", "", `{"error":{"code":429,"details":[{"@type":"x/google.rpc.RetryInfo","retryDelay":"299s"}]}}`, RateLimited, 299 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := Classify(&Response{Status: 429, Header: headerOf("Retry-After", tt.retryAfter), Body: []byte(tt.body)})
			if v.Class != tt.class || v.Wait != tt.wait {
				t.Errorf("class %d, wait %v; want %d, %v", v.Class, v.Wait, tt.class, tt.wait)
			}
		})
	}
}

func FuzzWait(f *testing.F) {
	for _, s := range []string{"30", "-1", "NaN", "1e400", "1772539230000", "6m0s", serverDate, "2026-03-03T12:00:10Z", "0x1p4", "try again in 7m12s"} {
		f.Add(s, s, serverDate)
	}
	f.Fuzz(func(t *testing.T, value, message, date string) {
		r := &reply{header: http.Header{"Date": {date}}, now: localTime}
		if d, ok := r.moment(value); d < 0 || d > maxSpan || !ok && d != 0 {
			t.Errorf("%q: %v, %v", value, d, ok)
		}
		if d, ok := (&failure{reply: &reply{now: localTime}, text: strings.ToLower(message)}).messageWait(); d < 0 || d > maxSpan || !ok && d != 0 {
			t.Errorf("message %q: %v, %v", message, d, ok)
		}
	})
}
