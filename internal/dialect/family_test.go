package dialect

import (
	"reflect"
	"testing"
	"time"
)

func TestHeaderFamilies(t *testing.T) {
	for _, tt := range []struct {
		name   string
		header []string
		want   []Quota
	}{
		{"kind and window", []string{"X-Ratelimit-Limit-Requests-Day", "1000", "X-Ratelimit-Remaining-Requests-Day", "7", "X-Ratelimit-Reset-Requests-Day", "3600"},
			[]Quota{{"requests", day, 1000, 7, time.Hour}}},
		{"another order", []string{"X-Ratelimit-Tokens-Per-Minute-Limit", "9000", "X-Ratelimit-Tokens-Per-Minute-Remaining", "8000"},
			[]Quota{{"tokens", time.Minute, 9000, 8000, -1}}},
		{"another spelling", []string{"X-Rate-Limit-Limit", "20", "X-Rate-Limit-Remaining", "0", "X-Rate-Limit-Reset", "1772539230"},
			[]Quota{{"requests", 0, 20, 0, 30 * time.Second}}},
		{"sides", []string{"X-Ratelimit-Limit-Input-Tokens", "5", "X-Ratelimit-Limit-Output-Tokens", "6", "X-Ratelimit-Limit-Tokens-Completion-Hour", "7"},
			[]Quota{{"input-tokens", 0, 5, -1, -1}, {"output-tokens", 0, 6, -1, -1}, {"output-tokens", time.Hour, 7, -1, -1}}},
		{"unified", []string{"Anthropic-Ratelimit-Unified-5h-Status", "rejected", "Anthropic-Ratelimit-Unified-5h-Reset", "1772539260", "Anthropic-Ratelimit-Unified-7d-Status", "allowed", "Anthropic-Ratelimit-Unified-7d-Reset", "1772999999"},
			[]Quota{{"requests", 5 * time.Hour, -1, 0, time.Minute}}},
		{"siblings", []string{"X-Ratelimit-Limit-Org-Requests", "5", "X-Ratelimit-Limit-Team-Requests", "6"},
			[]Quota{{"requests", 0, 5, -1, -1}, {"requests", 0, 6, -1, -1}}},
		{"strangers", []string{"X-Ratelimit-Over-Limit", "1", "X-Ratelimit-Limit-Tokens_usage_based", "1", "X-Ratelimit-Used", "3", "X-Ratelimit-Limit-Bytes", "9", "X-Ratelimit-Limit-Reset", "1", "X-Ratelimit-Reset-0h", "1", "X-Ratelimit--", "1"}, nil},
	} {
		v := Classify(&Response{Status: 200, Header: headerOf(append(tt.header, "Date", serverDate)...), Now: localTime})
		if !reflect.DeepEqual(v.Quotas, tt.want) {
			t.Errorf("%s: %+v, want %+v", tt.name, v.Quotas, tt.want)
		}
	}
	// An empty one is a wait.
	v := Classify(&Response{Status: 429, Header: headerOf("Date", serverDate, "X-Rate-Limit-Remaining-Requests", "0", "X-Rate-Limit-Reset-Requests-Minute", "9", "X-Rate-Limit-Remaining-Requests-Minute", "0"), Now: localTime})
	if v.Class != RateLimited || v.Wait != 9*time.Second {
		t.Errorf("class %d, wait %v, want a wait of 9s", v.Class, v.Wait)
	}
}
