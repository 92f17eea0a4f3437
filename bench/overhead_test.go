package bench

import (
	"net/http"
	"testing"
)

// TestOverhead holds the allocations and bytes that snubber may add to a call.
// Times are for the program in overhead: no test should fail for a busy
// machine.
func TestOverhead(t *testing.T) {
	if race {
		t.Skip("the race detector allocates too")
	}
	for _, c := range Cases() {
		if c.Limit == (Limit{}) {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			a, err := c.Compare(5, 500)
			if err != nil {
				t.Fatal(err)
			}
			limit := c.Limit
			limit.Ratio = 0
			for _, b := range limit.Broken(a) {
				t.Errorf("added by snubber: %s", b)
			}
		})
	}
}

// TestCasesAreAlike keeps the cases comparable: every stack gives the caller
// the same answer, and every request is as long as the others.
func TestCasesAreAlike(t *testing.T) {
	for _, c := range Cases() {
		t.Run(c.Name, func(t *testing.T) {
			if n := len(c.Body); n < bodySize || n > bodySize+len(`"stream":true,`) {
				t.Errorf("the request has %d bytes", n)
			}
			for _, s := range Stacks {
				sent := 0
				rt := s.Wrap(roundTripper(func(req *http.Request) (*http.Response, error) {
					sent++
					return c.Base.RoundTrip(req)
				}))
				if err := c.Call(rt, make([]byte, 4<<10)); err != nil || sent != 1 {
					t.Errorf("%s: %d calls to the base, error %v", s.Name, sent, err)
				}
			}
		})
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func BenchmarkOverhead(b *testing.B) {
	for _, c := range Cases() {
		for _, s := range Stacks {
			b.Run(c.Name+"/"+s.Name, func(b *testing.B) {
				rt := s.Wrap(&c.Base)
				b.ReportAllocs()
				if c.Parallel > 0 {
					b.RunParallel(func(pb *testing.PB) {
						buf := make([]byte, 4<<10)
						for pb.Next() {
							if err := c.Call(rt, buf); err != nil {
								b.Error(err)
								return
							}
						}
					})
					return
				}
				buf := make([]byte, 4<<10)
				for b.Loop() {
					if err := c.Call(rt, buf); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
