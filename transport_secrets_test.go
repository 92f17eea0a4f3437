package snubber_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

// No credential, prompt or completion appears in anything that the package
// writes: events, errors, refusals, reports and snapshots.
func TestTransportSecretsDoNotLeak(t *testing.T) {
	const mark = "sEcReT"
	const url = "https://user:" + mark + "0@api.example.com/v1/chat/completions?key=" + mark + "1&sig=" + mark + "2#" + mark + "3"
	const prompt = `{"model":"m","messages":[{"role":"user","content":"` + mark + `4"}],"user":"` + mark + `5"}`
	failure := fmt.Sprintf(`{"error":{"message":"%s6 for key %s1","type":"server_error","param":"%s7"}}`, mark, mark, mark)
	ownErr := fmt.Errorf("dial %s: %w", url, io.ErrUnexpectedEOF)
	for _, tt := range []struct {
		name  string
		steps []wiretest.Step
		calls int
		stack func(base http.RoundTripper) *snubber.Transport
	}{
		{"answers", []wiretest.Step{{Body: `{"choices":[{"message":{"content":"` + mark + `8"}}],"usage":{"prompt_tokens":1,"completion_tokens":1}}`}}, 1, snubber.New},
		{"failures", []wiretest.Step{{Status: 500, Body: failure}}, 5, snubber.New},
		{"rate limits", []wiretest.Step{{Status: 429, Body: failure, Header: wiretest.Header("Retry-After", "1", "X-Request-Id", mark)}}, 2, snubber.New},
		{"exhausted", []wiretest.Step{{Status: 429, Body: `{"error":{"code":"insufficient_quota","message":"` + mark + `"}}`}}, 2, snubber.New},
		{"codes that are not codes", []wiretest.Step{{Status: 400, Body: `{"error":{"code":"` + mark + ` is not a valid key","type":"` + mark + ` again"}}`}}, 1, snubber.New},
		{"unreachable", []wiretest.Step{{Err: ownErr}}, 12, snubber.New},
		{"timed out", []wiretest.Step{{Delay: time.Hour}}, 2, snubber.New},
		{"queues", []wiretest.Step{{}}, 2, func(base http.RoundTripper) *snubber.Transport {
			return &snubber.Transport{Base: base, Limiter: &snubber.Limiter{RequestsPerMinute: 1, MaxWait: time.Second}}
		}},
		{"queues with a secret", []wiretest.Step{{}}, 2, func(base http.RoundTripper) *snubber.Transport {
			return &snubber.Transport{Base: base, Limiter: &snubber.Limiter{RequestsPerMinute: 1, MaxWait: time.Second, Secret: []byte(mark)}}
		}},
	} {
		for _, client := range []string{"X-Other", wiretest.StainlessHeader} {
			t.Run(tt.name+" "+client, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var seen strings.Builder
					note := func(what string, v any) { fmt.Fprintf(&seen, "%s: %v %+v %#v\n", what, v, v, v) }
					tr := tt.stack(wiretest.Play(tt.steps...))
					logger := slog.New(slog.NewJSONHandler(&seen, &slog.HandlerOptions{Level: slog.LevelDebug}))
					tr.Observe = snubber.Observers(func(e snubber.Event) { note("event", e) }, snubber.Log(logger))
					for range tt.calls {
						ctx, report := snubber.WithReport(context.Background())
						req := wiretest.NewRequest(t, "POST", url, prompt, client, "go", "Authorization", "Bearer "+mark+"9", "X-Api-Key", mark+"10", "Cookie", mark+"11")
						res, err := tr.RoundTrip(req.WithContext(ctx))
						var refusal *snubber.RejectedError
						var late *snubber.TimeoutError
						switch {
						case errors.As(err, &refusal), errors.As(err, &late):
							note("error", err)
							note("refusal", refusal)
						case err == nil:
							body := wiretest.ReadAll(t, res)
							if strings.Contains(body, "snubber_") {
								note("refusal", body)
								note("header", res.Header)
							}
						}
						note("report", report.Load())
					}
					if tr.Breaker != nil {
						note("circuits", tr.Breaker.Circuits())
					}
					if tr.Limiter != nil {
						note("quotas", tr.Limiter.Queues())
					}
					for line := range strings.Lines(seen.String()) {
						if strings.Contains(line, mark) {
							t.Errorf("leaked in %s", line)
						}
					}
					if !strings.Contains(seen.String(), "api.example.com m") {
						t.Error("the story is empty")
					}
				})
			})
		}
	}
}

// Two credentials have two queues, whose names tell nothing about either.
func TestTransportSecretsCredentialIsHashed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &snubber.Limiter{}
		tr := &snubber.Transport{Base: wiretest.Play(), Limiter: l}
		for _, c := range []string{"Bearer one", "Bearer two", "Bearer one"} {
			res, err := tr.RoundTrip(wiretest.Chat(t, "Authorization", c))
			if err != nil {
				t.Fatal(err)
			}
			wiretest.ReadAll(t, res)
		}
		qs := l.Queues()
		if len(qs) != 2 || qs[0].Key == qs[1].Key {
			t.Errorf("queues %+v, want two", qs)
		}
		for _, q := range qs {
			if strings.Contains(q.Key, "one") || strings.Contains(q.Key, "two") {
				t.Errorf("key %q", q.Key)
			}
		}
	})
}
