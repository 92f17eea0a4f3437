package examples

import (
	"net/http"
	"net/http/httptest"
	"sync"
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
		"unavailable": {Kind: snubbertest.ServerError, Status: 503, Until: time.Second},
		"reset":       {Kind: snubbertest.Disconnect, Until: time.Second},
	}
	clients := map[string]func() http.RoundTripper{
		"bare":    func() http.RoundTripper { return http.DefaultTransport },
		"snubber": func() http.RoundTripper { return snubber.New(nil) },
	}
	for fault, f := range faults {
		for client, transport := range clients {
			t.Run(fault+"/"+client, func(t *testing.T) {
				t.Parallel()
				const calls = 30
				p := &snubbertest.Provider{}
				srv := httptest.NewServer(&onset{Provider: p, fault: f, missing: calls, begun: make(chan struct{})})
				t.Cleanup(srv.Close)
				ask := openaiSDK.connect(t, srv.URL, &http.Client{Transport: transport()})
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
				if s := p.Stats(); s.Failed < calls || s.OK != calls {
					t.Errorf("the provider counted %+v: not all calls met the outage", s)
				}
			})
		}
	}
}

// onset is a provider whose trouble begins when a number of calls have arrived
// and none has been answered.
type onset struct {
	*snubbertest.Provider
	fault snubbertest.Fault

	mu      sync.Mutex
	missing int
	begun   chan struct{}
}

func (o *onset) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	if o.missing--; o.missing == 0 {
		o.Inject(o.fault)
		close(o.begun)
	}
	o.mu.Unlock()
	select {
	case <-o.begun:
	case <-r.Context().Done():
		return
	}
	o.Provider.ServeHTTP(w, r)
}
