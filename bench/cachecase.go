package bench

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"sync"
	"time"

	bartventer "github.com/bartventer/httpcache"
	_ "github.com/bartventer/httpcache/store/memcache"
	"github.com/failsafe-go/failsafe-go/cachepolicy"
	"github.com/failsafe-go/failsafe-go/failsafehttp"
	gregjones "github.com/gregjones/httpcache"
	sandrolain "github.com/sandrolain/httpcache"
	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/canon"
)

// CacheStack is a cache with its memory store, as its documentation sets it up.
type CacheStack struct {
	Name string
	Wrap func(http.RoundTripper) http.RoundTripper

	// Complete: it has freshness, validation, variants and invalidation. A cache
	// that leaves out half of RFC 9111 has less to do for a hit.
	Complete bool
	// Posts: it can answer a POST.
	Posts bool
}

// CacheStacks are the contenders, snubber first.
var CacheStacks = []CacheStack{
	{"snubber", func(base http.RoundTripper) http.RoundTripper {
		return &snubber.Transport{Base: base, Cache: &snubber.Cache{PromptTTL: time.Hour}}
	}, true, true},
	{"bartventer", func(base http.RoundTripper) http.RoundTripper {
		return bartventer.NewTransport("memcache://", bartventer.WithUpstream(base))
	}, true, false},
	{"sandrolain", func(base http.RoundTripper) http.RoundTripper {
		t := sandrolain.NewMemoryCacheTransport()
		t.Transport = base
		t.EnableVarySeparation = true
		return t
	}, false, false},
	{"gregjones", func(base http.RoundTripper) http.RoundTripper {
		t := gregjones.NewMemoryCacheTransport()
		t.Transport = base
		return t
	}, false, false},
	{"failsafe", func(base http.RoundTripper) http.RoundTripper {
		policy := cachepolicy.New[*http.Response](&responses{m: make(map[string]*http.Response)})
		return &keyed{failsafehttp.NewRoundTripper(base, policy)}
	}, false, true},
}

// responses is what failsafe-go's policy leaves to its user: it keeps the
// *http.Response as it came, whose body the first caller reads, so that the
// bytes must be read before and given anew to each.
type responses struct {
	mu sync.Mutex
	m  map[string]*http.Response
}

// recorded is a body of which any number of readers can be made.
type recorded struct {
	*bytes.Reader
	all []byte
}

func (recorded) Close() error { return nil }

// Get implements [cachepolicy.Cache].
func (r *responses) Get(key string) (*http.Response, bool) {
	r.mu.Lock()
	res, ok := r.m[key]
	r.mu.Unlock()
	if !ok {
		return nil, false
	}
	again := *res
	all := res.Body.(recorded).all
	again.Header, again.Body = res.Header.Clone(), recorded{bytes.NewReader(all), all}
	return &again, true
}

// Set implements [cachepolicy.Cache].
func (r *responses) Set(key string, res *http.Response) {
	all, err := io.ReadAll(res.Body)
	res.Body.Close()
	res.Body = recorded{bytes.NewReader(all), all}
	if err != nil {
		return
	}
	kept := *res
	r.mu.Lock()
	r.m[key] = &kept
	r.mu.Unlock()
}

// keyed gives failsafe-go's policy its key: the URL and, of a POST, the hash of
// the body.
type keyed struct{ next http.RoundTripper }

func (k *keyed) RoundTrip(req *http.Request) (*http.Response, error) {
	key := req.Method + " " + req.URL.String()
	if req.GetBody != nil {
		body, err := req.GetBody()
		if err != nil {
			return nil, err
		}
		h := sha256.New()
		io.Copy(h, body)
		key += " " + hex.EncodeToString(h.Sum(nil))
	}
	return k.next.RoundTrip(req.WithContext(cachepolicy.ContextWithCacheKey(req.Context(), key)))
}

// CacheCase is one kind of call that a cache answers or passes on.
type CacheCase struct {
	Name   string
	Path   string
	Body   []byte // nil: a GET
	Header http.Header
	Base   Base
	Cold   bool // every call is another URL's first
	Limit  CacheLimit
}

// CacheLimit is the most that a call may cost, including the making of the request. A
// zero field is no limit.
type CacheLimit struct {
	Allocs float64
	Ratio  float64 // of the time of the best complete peer
	Share  float64 // of a complete peer's allocations
}

// CacheCases are the cases to measure.
func CacheCases() []CacheCase {
	get := func(size int) Base {
		b := Base{Header: responseHeader(), Chunks: []string{strings.Repeat("0123456789abcdef", size/16)}}
		b.Header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
		b.Header.Set("Cache-Control", "max-age=3600")
		b.Header.Set("Etag", `"v1"`)
		return b
	}
	small := get(4 << 10)
	varies := get(4 << 10)
	varies.Header.Set("Vary", "Accept, Accept-Encoding")
	asks := requestHeader()
	prompt := Base{Header: responseHeader(), Chunks: []string{answer}}
	return []CacheCase{
		{Name: "GET 4 KiB", Path: "/v1/models", Header: asks, Base: small, Limit: CacheLimit{Allocs: 16, Ratio: 1. / 3, Share: 0.5}},
		{Name: "GET 4 KiB, two fields vary", Path: "/v1/models", Header: asks, Base: varies, Limit: CacheLimit{Allocs: 17, Ratio: 1. / 3, Share: 0.5}},
		{Name: "GET 64 KiB", Path: "/v1/models", Header: asks, Base: get(64 << 10), Limit: CacheLimit{Allocs: 16}},
		{Name: "GET 4 KiB, cold", Path: "/v1/models", Header: asks, Base: small, Cold: true},
		{Name: "POST 2 KiB chat", Path: "/v1/chat/completions", Body: chat(), Header: asks, Base: prompt, Limit: CacheLimit{Allocs: 32}},
		{Name: "POST 64 KiB chat", Path: "/v1/chat/completions", Body: longChat(64 << 10), Header: asks, Base: prompt, Limit: CacheLimit{Allocs: 31}},
	}
}

// longChat is a prompt of some size without an escape.
func longChat(size int) []byte {
	return fmt.Appendf(nil, `{"model":"gpt-4o","messages":[{"role":"user","content":"%s"}],"temperature":0}`,
		strings.Repeat("lorem ipsum ", size/12))
}

// Fits reports whether a contender can answer the case from memory.
func (c *CacheCase) Fits(s CacheStack) bool { return c.Body == nil || s.Posts }

// Call makes the i-th call through rt and reads the response to its end.
func (c *CacheCase) Call(rt http.RoundTripper, i int, buf []byte) error {
	url := "https://api.example.com" + c.Path
	if c.Cold {
		url = fmt.Sprintf("%s?n=%d", url, i)
	}
	method, body := http.MethodGet, io.Reader(nil)
	if c.Body != nil {
		method, body = http.MethodPost, bytes.NewReader(c.Body)
	}
	req, err := http.NewRequestWithContext(context.Background(), method, url, body)
	if err != nil {
		return err
	}
	req.Header = c.Header // no RoundTripper writes to it
	res, err := rt.RoundTrip(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	n := 0
	for {
		k, err := res.Body.Read(buf)
		n += k
		if err == io.EOF {
			break
		} else if err != nil {
			return err
		}
	}
	if want := len(c.Base.Chunks[0]); n != want || res.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d with %d bytes, want %d", res.StatusCode, n, want)
	}
	return nil
}

// errCalled is the origin's answer where a cache should have given one.
var errCalled = errors.New("the origin was asked again")

// once is an origin that answers one call, or as many as there are.
type once struct {
	Base
	always bool
	called bool
}

func (o *once) RoundTrip(req *http.Request) (*http.Response, error) {
	if o.called && !o.always {
		return nil, errCalled
	}
	o.called = true
	return o.Base.RoundTrip(req)
}

// Open puts a contender around an origin that answers once, and makes that call. A
// later call that is not a hit fails.
func (c *CacheCase) Open(s CacheStack) (http.RoundTripper, error) {
	rt := s.Wrap(&once{Base: c.Base, always: c.Cold})
	return rt, c.Call(rt, -1, make([]byte, 4<<10))
}

// Compare measures the case in so many rounds of n calls. It returns the medians in the
// order of [CacheStacks], zero for a contender that does not fit. It also returns the
// cost of the key in a prompt's hit, which is to write the body in one spelling and hash
// it. A cache that compares documents and not their bytes cannot avoid that cost.
func (c *CacheCase) Compare(rounds, n int) (medians []Sample, key Sample, err error) {
	taken := make([][]Sample, len(CacheStacks)+1)
	rts := make([]http.RoundTripper, len(CacheStacks))
	for round := range rounds + 1 {
		for i := range CacheStacks {
			i = (i + round) % len(CacheStacks) // nobody always runs after the one that makes the most garbage
			s := CacheStacks[i]
			if !c.Fits(s) {
				continue
			}
			if rts[i] == nil || c.Cold { // what was kept of another round would grow without end
				if rts[i], err = c.Open(s); err != nil {
					return nil, key, fmt.Errorf("%s: %w", s.Name, err)
				}
			}
			got, err := Take(1, n, func(j int, buf []byte) error { return c.Call(rts[i], j, buf) })
			if err != nil {
				return nil, key, fmt.Errorf("%s: %w", s.Name, err)
			}
			if round > 0 { // the first is to warm up
				taken[i] = append(taken[i], got)
			}
			if i > 0 || c.Body == nil {
				continue
			}
			h := sha256.New()
			if key, err = Take(1, n, func(int, []byte) error {
				h.Reset()
				if !canon.Write(h, c.Body) {
					return errors.New("the body has no spelling")
				}
				return nil
			}); err != nil {
				return nil, key, err
			}
			taken[len(rts)] = append(taken[len(rts)], key)
		}
	}
	medians = make([]Sample, len(taken))
	for i, ss := range taken {
		if len(ss) > 0 {
			medians[i] = median(ss)
		}
	}
	return medians[:len(rts)], medians[len(rts)], nil
}

// Best is the fastest of the complete peers, by their place in [CacheStacks];
// 0 if none fits.
func Best(samples []Sample) int {
	best := 0
	for i, s := range CacheStacks {
		if i > 0 && s.Complete && samples[i].Time > 0 && (best == 0 || samples[i].Time < samples[best].Time) {
			best = i
		}
	}
	return best
}

// Broken lists the costs of the samples that are above the limit, times only if timed
// is set: no test should fail because the machine is busy.
func (l CacheLimit) Broken(samples []Sample, timed bool) []string {
	var broken []string
	check := func(what string, got, limit float64) {
		if got > limit {
			broken = append(broken, fmt.Sprintf("%s %.2f > %.2f", what, got, limit))
		}
	}
	own := samples[0]
	if l.Allocs > 0 {
		check("allocs", math.Round(own.Allocs), l.Allocs)
	}
	best := Best(samples)
	if best == 0 {
		return broken
	}
	if l.Share > 0 {
		check("share of "+CacheStacks[best].Name+"'s allocs", math.Round(own.Allocs)/math.Round(samples[best].Allocs), l.Share)
	}
	if l.Ratio > 0 && timed {
		check("ratio to "+CacheStacks[best].Name, float64(own.Time)/float64(samples[best].Time), l.Ratio)
	}
	return broken
}
