package dialect

import (
	"net/http"
	"reflect"
	"testing"
	"time"
)

func TestQuotas(t *testing.T) {
	const none = time.Duration(-1)
	for _, tt := range []struct {
		name   string
		host   string
		header http.Header
		want   []Quota
	}{
		{"nothing", "", headerOf("X-Request-Id", "1", "Retry-After", "3", "Date", serverDate), nil},
		{"OpenAI", "", headerOf(
			"x-ratelimit-limit-requests", "60", "x-ratelimit-remaining-requests", "59", "x-ratelimit-reset-requests", "1s",
			"x-ratelimit-limit-tokens", "150000", "x-ratelimit-remaining-tokens", "149984", "x-ratelimit-reset-tokens", "6m0s",
			"x-ratelimit-limit-project-tokens", "60000", "x-ratelimit-remaining-project-tokens", "57000", "x-ratelimit-reset-project-tokens", "3s",
			"x-ratelimit-limit-tokens_usage_based", "1", "x-ratelimit-remaining-tokens_usage_based", "0", "x-ratelimit-reset-tokens_usage_based", "9h",
		), []Quota{
			{"requests", time.Minute, 60, 59, time.Second},
			{"tokens", time.Minute, 150000, 149984, 6 * time.Minute},
			{"tokens", time.Minute, 60000, 57000, 3 * time.Second},
		}},
		{"OpenAI, requests per day", "", headerOf("x-ratelimit-limit-requests", "200", "x-ratelimit-remaining-requests", "199", "x-ratelimit-reset-requests", "7m12s"),
			[]Quota{{"requests", day, 200, 199, 432 * time.Second}}},
		{"OpenAI, a refill that fits nothing", "", headerOf("x-ratelimit-limit-requests", "60", "x-ratelimit-remaining-requests", "59", "x-ratelimit-reset-requests", "6h"),
			[]Quota{{"requests", time.Minute, 60, 59, 6 * time.Hour}}},
		{"unknown reset", "", headerOf("x-ratelimit-limit-tokens", "60", "x-ratelimit-reset-tokens", "-1"), []Quota{{"tokens", time.Minute, 60, -1, none}}},
		{"reset in the past", "", headerOf("x-ratelimit-limit-tokens", "60", "x-ratelimit-reset-tokens", "-5"), []Quota{{"tokens", time.Minute, 60, -1, 0}}},
		{"Groq by its header", "", headerOf("x-groq-region", "us", "x-ratelimit-limit-requests", "14400", "x-ratelimit-remaining-requests", "14400", "x-ratelimit-limit-tokens", "6000", "x-ratelimit-reset-tokens", "7.66s"),
			[]Quota{{"requests", day, 14400, 14400, none}, {"tokens", time.Minute, 6000, -1, 7660 * time.Millisecond}}},
		{"Groq by its host", "api.groq.com:443", headerOf("x-ratelimit-limit-requests", "14400"), []Quota{{"requests", day, 14400, -1, none}}},
		{"Groq by its refill", "", headerOf("x-ratelimit-limit-requests", "14400", "x-ratelimit-remaining-requests", "14370", "x-ratelimit-reset-requests", "2m59.56s"),
			[]Quota{{"requests", day, 14400, 14370, 179560 * time.Millisecond}}},
		{"not Groq", "api.notgroq.com", headerOf("x-ratelimit-limit-requests", "14400"), []Quota{{"requests", time.Minute, 14400, -1, none}}},
		{"Azure", "", headerOf("x-ratelimit-limit-tokens", "1000", "x-ratelimit-remaining-tokens", "12", "x-ratelimit-reset-tokens", "37"),
			[]Quota{{"tokens", time.Minute, 1000, 12, 37 * time.Second}}},
		{"Azure, seconds are no refill", "", headerOf("x-ratelimit-limit-requests", "1440", "x-ratelimit-remaining-requests", "1439", "x-ratelimit-reset-requests", "60"),
			[]Quota{{"requests", time.Minute, 1440, 1439, time.Minute}}},
		{"Azure Responses", "", headerOf("x-ratelimit-limit-tokens", "-1", "x-ratelimit-remaining-tokens", "-1", "x-ratelimit-reset-tokens", "0"), nil},
		{"GitHub Models", "", headerOf("x-ratelimit-type", "UserByDay", "x-ratelimit-limit-requests", "150", "x-ratelimit-remaining-requests", "149", "x-ratelimit-timeremaining", "86000", "x-ratelimit-renewalperiod-requests", "60"),
			[]Quota{{"requests", day, 150, 149, 86000 * time.Second}}},
		{"Anthropic", "", headerOf("Date", serverDate,
			"anthropic-ratelimit-requests-limit", "50", "anthropic-ratelimit-requests-remaining", "49", "anthropic-ratelimit-requests-reset", "2026-03-03T12:00:01Z",
			"anthropic-ratelimit-tokens-limit", "60000", "anthropic-ratelimit-tokens-remaining", "59000", "anthropic-ratelimit-tokens-reset", "2026-03-03T11:59:00Z",
			"anthropic-ratelimit-input-tokens-limit", "50000", "anthropic-ratelimit-input-tokens-remaining", "0", "anthropic-ratelimit-input-tokens-reset", "2026-03-03T12:00:13Z",
			"anthropic-ratelimit-output-tokens-limit", "10000", "anthropic-ratelimit-output-tokens-remaining", "10000", "anthropic-ratelimit-output-tokens-reset", "garbage",
			"anthropic-priority-input-tokens-limit", "1", "anthropic-ratelimit-unified-5h-reset", "1772539260",
		), []Quota{
			{"requests", time.Minute, 50, 49, time.Second},
			{"tokens", time.Minute, 60000, 59000, 0},
			{"input-tokens", time.Minute, 50000, 0, 13 * time.Second},
			{"output-tokens", time.Minute, 10000, 10000, none},
		}},
		{"Mistral", "", headerOf("x-ratelimit-limit-req-minute", "60", "x-ratelimit-remaining-req-minute", "59", "x-ratelimit-limit-tokens-minute", "356250", "x-ratelimit-remaining-tokens-minute", "356238", "x-ratelimit-tokens-query-cost", "12"),
			[]Quota{{"requests", time.Minute, 60, 59, none}, {"tokens", time.Minute, 356250, 356238, none}}},
		{"Mistral, older", "", headerOf("ratelimitbysize-limit", "500000", "ratelimitbysize-remaining", "499982", "ratelimitbysize-reset", "42", "ratelimitbysize-query-cost", "18"),
			[]Quota{{"tokens", time.Minute, 500000, 499982, 42 * time.Second}}},
		{"Together", "", headerOf("x-ratelimit-limit", "10", "x-ratelimit-remaining", "0", "x-ratelimit-reset", "1", "x-tokenlimit-limit", "3000", "x-tokenlimit-remaining", "2999", "x-tokenlimit-reset", "1"),
			[]Quota{{"requests", 0, 10, 0, time.Second}, {"tokens", 0, 3000, 2999, time.Second}}},
		{"OpenRouter", "", headerOf("Date", serverDate, "X-RateLimit-Limit", "20", "X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "1772539260000"),
			[]Quota{{"requests", 0, 20, 0, time.Minute}}},
		{"Fireworks", "", headerOf("x-ratelimit-limit-requests", "600", "x-ratelimit-remaining-requests", "599",
			"x-ratelimit-limit-tokens-prompt", "60000", "x-ratelimit-remaining-tokens-prompt", "59991", "x-ratelimit-limit-tokens-cache-adjusted-prompt", "50000",
			"x-ratelimit-limit-tokens-generated", "6000", "x-ratelimit-remaining-tokens-generated", "5997", "x-ratelimit-over-limit", "yes"),
			[]Quota{{"requests", time.Minute, 600, 599, none}, {"input-tokens", time.Minute, 60000, 59991, none}, {"input-tokens", time.Minute, 50000, -1, none}, {"output-tokens", time.Minute, 6000, 5997, none}}},
		{"Cohere", "", headerOf("x-trial-endpoint-call-limit", "40", "x-trial-endpoint-call-remaining", "39"), []Quota{{"requests", 0, 40, 39, none}}},
		{"IETF, single headers", "", headerOf("RateLimit-Limit", "100, 100;w=60", "RateLimit-Remaining", "50", "RateLimit-Reset", "30"), []Quota{{"requests", 0, 100, 50, 30 * time.Second}}},
		{"IETF, single headers and policy", "", headerOf("RateLimit-Limit", "100", "RateLimit-Remaining", "50", "RateLimit-Reset", "30", "RateLimit-Policy", "100;w=60, 1000;w=3600"),
			[]Quota{{"requests", time.Minute, 100, 50, 30 * time.Second}, {"requests", time.Hour, 1000, -1, none}}},
		{"IETF, dictionary", "", headerOf("RateLimit", "limit=100, remaining=50, reset=30", "RateLimit-Policy", "100;w=60"), []Quota{{"requests", time.Minute, 100, 50, 30 * time.Second}}},
		{"IETF, named policies", "", headerOf("RateLimit-Policy", `"burst";q=100;w=60,"daily";q=1000;w=86400`, "RateLimit", `"burst";r=0;t=30`),
			[]Quota{{"requests", time.Minute, 100, 0, 30 * time.Second}, {"requests", day, 1000, -1, none}}},
		{"IETF, on two lines, separators in names", "", http.Header{
			"Ratelimit-Policy": {`"a,b;c";q=5;w=10;pk=:dGVzdA==:`, `"bytes";q=9;qu="content-bytes"`, `"conc"; q=4; qu="concurrent-requests"`},
			"Ratelimit":        {`"a,b;c";r=2`, `"bytes";r=1;t=2, "conc";r=3`},
		}, []Quota{{"requests", 10 * time.Second, 5, 2, none}, {"concurrency", 0, 4, 3, none}}},
		{"garbage", "", http.Header{
			"X-Ratelimit-Limit-Requests": {"many"}, "X-Ratelimit-Remaining-Requests": {"99999999999999999999"}, "X-Ratelimit-Limit-Tokens": {"NaN"}, "X-Ratelimit-Limit": {},
			"Ratelimit": {`;;;,"",=,"unclosed;r=1`}, "Ratelimit-Policy": {"", `"\`},
		}, nil},
		{"far away", "", headerOf("x-ratelimit-remaining", "0", "x-ratelimit-reset", "1e400", "RateLimit", `"a";r=9;t=1e300`),
			[]Quota{{"requests", 0, -1, 0, maxSpan}, {"requests", 0, -1, 9, maxSpan}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := Classify(&Response{Host: tt.host, Status: 200, Header: tt.header, Now: localTime})
			if !reflect.DeepEqual(v.Quotas, tt.want) {
				t.Errorf("got  %+v\nwant %+v", v.Quotas, tt.want)
			}
		})
	}
}

// OpenRouter repeats its headers in the body, for where they got lost.
func TestQuotasInBody(t *testing.T) {
	r := fixture{File: "openrouter_429_rate_limit.http"}.load(t)
	for name := range r.Header {
		if name != "Date" {
			r.Header.Del(name)
		}
	}
	if v := Classify(r); len(v.Quotas) != 1 || v.Quotas[0] != (Quota{"requests", 0, 20, 0, time.Minute}) || v.Wait != time.Minute {
		t.Errorf("%+v", v)
	}
}

func TestMaybeQuota(t *testing.T) {
	for name := range bucketOf {
		if !maybeQuota(name) {
			t.Errorf("%s is not looked up", name)
		}
	}
	for _, name := range []string{"Ratelimit", "Ratelimit-Policy"} {
		if !maybeQuota(name) {
			t.Errorf("%s is not read", name)
		}
	}
	for _, name := range []string{"", "X", "Date", "Content-Type", "X-Request-Id", "Retry-After", "Anthropic-", "Anthropic-Organization-Id", "Access-Control-Expose-Headers"} {
		if maybeQuota(name) {
			t.Errorf("%s is looked up", name)
		}
	}
}

func FuzzQuotas(f *testing.F) {
	f.Add("60", "0", "1s", `"burst";r=0;t=30`, `"burst";q=100;w=60`)
	f.Add("-1", "NaN", "1e400", "limit=100, remaining=50, reset=30", "100;w=60")
	f.Add("100, 100;w=60", "9999999999999999999", "2026-03-03T12:00:01Z", `"\`, `";,=`)
	f.Fuzz(func(t *testing.T, limit, remaining, reset, field, policy string) {
		h := http.Header{"Ratelimit": {field}, "Ratelimit-Policy": {policy}}
		for _, b := range allBuckets {
			for name, v := range map[string]string{b.limit: limit, b.remaining: remaining, b.reset: reset} {
				if name != "" {
					h[name] = []string{v}
				}
			}
		}
		for _, q := range readQuotas(h, "", localTime, nil) {
			if q.Kind == "" || q.Limit < -1 || q.Remaining < -1 || q.Reset < -1 || q.Reset > maxSpan || q.Window < 0 || q.Window > maxSpan {
				t.Errorf("%+v", q)
			}
			if q.Limit < 0 && q.Remaining < 0 {
				t.Errorf("an empty quota: %+v", q)
			}
		}
	})
}
