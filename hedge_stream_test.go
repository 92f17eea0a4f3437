package snubber_test

import (
	"io"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

// A stream that has sent a header and no content is hedged. A stream that has
// begun is not, however slow it is.
func TestHedgeStream(t *testing.T) {
	for _, tt := range []struct {
		name string
		at   time.Duration // when the first content comes
		sent int
		took time.Duration
	}{
		{"begins in time", time.Second / 2, 1, time.Minute},
		{"does not begin", 20 * time.Second, 2, time.Second + time.Second/2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				sent := 0
				tr := snubber.New(wiretest.Func(func(req *http.Request) (*http.Response, error) {
					mu.Lock()
					sent++
					begins, ends := time.Second/2, time.Second/2
					switch {
					case sent <= 49:
						begins, ends = time.Second, time.Second
					case sent == 111:
						begins, ends = tt.at, time.Minute
					}
					mu.Unlock()
					return wiretest.Response(200, wiretest.NewBody(wiretest.Chunk{At: begins, Text: wiretest.DeltaEvent}, wiretest.Chunk{At: ends, Text: wiretest.DoneEvent}), "Content-Type", "text/event-stream"), nil
				}))
				tr.Retry.Hedge = true
				body := `{"model":"m","stream":true,"messages":[]}`
				ask := func() {
					res, err := tr.RoundTrip(wiretest.NewRequest(t, "POST", wiretest.ChatURL, body))
					if err != nil {
						t.Fatal(err)
					}
					b, err := io.ReadAll(res.Body)
					res.Body.Close()
					if string(b) != wiretest.DeltaEvent+wiretest.DoneEvent || err != nil {
						t.Fatalf("%q, %v", b, err)
					}
				}
				for range 110 {
					ask()
				}
				start := time.Now()
				ask()
				if d := time.Since(start); sent-110 != tt.sent || d != tt.took {
					t.Errorf("%d sent, %v, want %d and %v", sent-110, d, tt.sent, tt.took)
				}
				synctest.Wait()
				if q := tr.Limiter.Queues()[0]; q.InFlight != 0 {
					t.Errorf("%+v", q)
				}
			})
		})
	}
}
