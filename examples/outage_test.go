package examples

import (
	"net/http"
	"testing"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/snubbertest"
)

// Thirty calls in flight when a second's outage begins: the bare SDK saves
// them all by trying again, so a breaker that opens meanwhile must not lose
// any of them.
func TestShortOutage(t *testing.T) {
	t.Parallel()
	faults := map[string]snubbertest.Fault{
		"unavailable": {Kind: snubbertest.ServerError, Status: 503},
		"reset":       {Kind: snubbertest.Disconnect},
	}
	clients := map[string]func() http.RoundTripper{
		"bare":    func() http.RoundTripper { return http.DefaultTransport },
		"snubber": func() http.RoundTripper { return snubber.New(nil) },
	}
	for fault, f := range faults {
		for client, transport := range clients {
			t.Run(fault+"/"+client, func(t *testing.T) {
				t.Parallel()
				p := &snubbertest.Provider{}
				srv := snubbertest.NewServer(p)
				t.Cleanup(srv.Close)
				ask := openaiSDK.connect(t, srv.URL, &http.Client{Transport: transport()})
				// The fault strikes a little after a call arrived, when all have.
				p.Inject(snubbertest.Fault{Kind: f.Kind, Status: f.Status, Delay: 200 * time.Millisecond, Until: time.Second})

				const calls = 30
				ends := make(chan error, calls)
				for range calls {
					go func() {
						_, err := ask(t.Context(), nil)
						ends <- err
					}()
				}
				lost := 0
				for range calls {
					if err := <-ends; err != nil {
						lost++
						t.Log(err)
					}
				}
				if lost > 0 {
					t.Errorf("%d of %d calls were lost", lost, calls)
				}
				if s := p.Stats(); s.MaxInFlight < calls || s.OK != calls {
					t.Errorf("the provider counted %+v: not all calls met the outage", s)
				}
			})
		}
	}
}
