package rttest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"sync"
	"time"
)

// requestRules are about the caller's request: what happens to it, and what
// of it arrives.
func requestRules() []Rule {
	return []Rule{
		rule("request-untouched",
			"the caller's request, its URL and its headers are not modified, not even for a moment", untouched),
		rule("request-arrives",
			"what the caller set in the request arrives as it was set", arrives),
		rule("request-trailer",
			"trailers that the caller sets when its body has been read are sent", lateTrailer),
		rule("request-body-closed",
			"the request's body, and every copy taken from GetBody, is closed however the call ends", uploadClosed),
		rule("request-body-error",
			"a request body that fails while it is read is never sent as if it were complete", uploadError),
		rule("malformed-request",
			"a request without URL, host or header is an error and no panic, and its body is closed", malformed),
		rule("context-values",
			"the values in the caller's context are visible to the base", contextValues),
	}
}

func untouched(t *trial) {
	for _, s := range shapes() {
		ctx, _ := t.context()
		req, _ := s.request(ctx)
		spare := []string{"a", "behind the length"}
		req.Header["X-Spare"] = spare[:1]
		req.Trailer = http.Header{"X-Sum": {"1"}}
		req.TransferEncoding = []string{"identity", "behind the length"}[:1]
		was := snap(req)

		compare := func(when string) {
			if d := was.diff(req); d != "" {
				t.errorf("%s, %s: %s", s.name, when, d)
			}
		}
		// Somebody else may look at the request at any time. These goroutines
		// are not joined before the end, so that any write races with them.
		var others sync.WaitGroup
		look := func(when string) {
			others.Add(1)
			go func() {
				defer others.Done()
				compare(when)
			}()
		}
		w := t.wire(func(a *attempt) (*http.Response, error) {
			look("beside the attempt")
			compare(fmt.Sprintf("during attempt %d", a.n))
			if a.n < 3 {
				return a.sorry(http.StatusServiceUnavailable), nil
			}
			return a.ok(), nil
		})
		look("beside the call")
		res := t.response(t.wrap(w), req)
		compare("after RoundTrip")
		look("beside the reading")
		t.finish(res)
		compare("after the body")
		others.Wait()
	}
}

func arrives(t *trial) {
	for _, s := range []shape{get, chat, post, postPiped} {
		ctx, _ := t.context()
		req, _ := s.request(ctx)
		req.URL.RawPath = "/v1%2Fthings"
		req.URL.Path = "/v1/things"
		if s.url == chatURL {
			req.URL.RawPath, req.URL.Path = "", "/v1/chat/completions"
		}
		req.URL.RawQuery = "b=2&a=1&a=%20"
		req.Host = "tenant.example.com"
		req.Close = true
		req.Header["x-lower-case"] = []string{"kept"}
		req.Header["X-Twice"] = []string{"1", "2"}
		req.Header["User-Agent"] = []string{""} // net/http: none is sent
		req.Header["Date"] = nil
		if s == postPiped {
			req.TransferEncoding = []string{"chunked"}
			req.Trailer = http.Header{"X-Sum": nil}
		}
		// Deprecated, but whoever still uses it relies on it. reflect, because
		// linters are right about every other use.
		cancel := reflect.ValueOf(req).Elem().FieldByName("Cancel")
		cancel.Set(reflect.ValueOf((<-chan struct{})(make(chan struct{}))))
		wantURL, wantHeader := *req.URL, req.Header.Clone()

		w := t.wire(func(a *attempt) (*http.Response, error) {
			got := a.req
			for _, f := range []struct {
				name      string
				got, want any
			}{
				{"Method", got.Method, s.method},
				{"URL", *got.URL, wantURL},
				{"Host", got.Host, "tenant.example.com"},
				{"Close", got.Close, true},
				{"TransferEncoding", fmt.Sprint(got.TransferEncoding), fmt.Sprint(req.TransferEncoding)},
				{"Trailer", fmt.Sprint(got.Trailer), fmt.Sprint(req.Trailer)},
				{"Cancel", reflect.ValueOf(got).Elem().FieldByName("Cancel").Pointer(), cancel.Pointer()},
			} {
				if f.got != f.want {
					t.errorf("%s, attempt %d: %s = %v, want %v", s.name, a.n, f.name, f.got, f.want)
				}
			}
			for key, want := range wantHeader {
				if values, ok := got.Header[key]; !ok || !slices.Equal(values, want) {
					t.errorf("%s, attempt %d: header %q = %q (there: %t), want %q", s.name, a.n, key, values, ok, want)
				}
			}
			if a.n == 1 {
				return a.sorry(http.StatusServiceUnavailable), nil
			}
			return a.ok(), nil
		})
		t.finish(t.response(t.wrap(w), req))
	}
}

func lateTrailer(t *trial) {
	for _, s := range []shape{chatOnce, chatPiped, postPiped, putPiped} {
		ctx, _ := t.context()
		req, up := s.request(ctx)
		req.Trailer = http.Header{"X-Sum": nil}
		up.atEOF = func() { req.Trailer.Set("X-Sum", "7") }
		w := t.wire(func(a *attempt) (*http.Response, error) {
			if sum := a.req.Trailer.Get("X-Sum"); sum != "7" {
				t.errorf("%s: after the body was read the base's request has the trailer X-Sum: %q, want 7", s.name, sum)
			}
			return a.ok(), nil
		})
		t.finish(t.response(t.wrap(w), req))
	}
}

func uploadClosed(t *trial) {
	type ending struct {
		name   string
		answer func(*attempt) (*http.Response, error)
		early  bool
		before time.Duration // how long the context has; 0: long, negative: it is done
	}
	ok := func(a *attempt) (*http.Response, error) { return a.ok(), nil }
	endings := []ending{
		{name: "success", answer: ok},
		{name: "error of the base", answer: func(*attempt) (*http.Response, error) { return nil, errWire }},
		{name: "client error", answer: func(a *attempt) (*http.Response, error) { return a.sorry(400), nil }},
		{name: "failures without end", answer: func(a *attempt) (*http.Response, error) { return a.sorry(503), nil }},
		{name: "limited without end", answer: func(a *attempt) (*http.Response, error) { return a.sorry(429), nil }},
		{name: "two failures, then success", answer: func(a *attempt) (*http.Response, error) {
			if a.n <= 2 {
				return a.sorry(503), nil
			}
			return a.ok(), nil
		}},
		{name: "answer before the body was read", early: true, answer: func(a *attempt) (*http.Response, error) {
			if a.req.Body != nil {
				// As http.Transport does: later, and from its own goroutine.
				time.AfterFunc(trialSettling/2, func() { a.req.Body.Close() })
			}
			return a.sorry(413), nil
		}},
		{name: "context done before", answer: ok, before: -time.Second},
		{name: "deadline in flight", answer: (*attempt).hang, before: time.Second},
		{name: "deadline in backoff", answer: func(a *attempt) (*http.Response, error) { return a.sorry(503), nil }, before: 50 * time.Millisecond},
	}
	for _, end := range endings {
		for _, s := range shapes() {
			ctx, _ := t.context()
			if end.before != 0 {
				ctx = t.timeout(end.before)
			}
			req, up := s.request(ctx)
			w := t.wire(end.answer)
			w.early = end.early
			if res, err := t.roundTrip(t.wrap(w), req); err == nil {
				t.read(res)
				t.close(res)
			}
			time.Sleep(trialSettling)
			if n, all := up.unclosed(); n > 0 {
				t.fatalf("%s, %s: %d of %d bodies not closed", s.name, end.name, n, all)
			}
		}
	}
}

func uploadError(t *trial) {
	for _, s := range []shape{chatOnce, chatPiped, postPiped, put, putPiped} {
		ctx, _ := t.context()
		req, up := s.request(ctx)
		up.err = errRead
		w := t.wire(func(a *attempt) (*http.Response, error) {
			t.errorf("%s: attempt %d was sent with %d bytes as if they were all", s.name, a.n, len(a.sent))
			return a.ok(), nil
		})
		if res, err := t.roundTrip(t.wrap(w), req); err == nil {
			t.fatalf("%s: RoundTrip = %s, want the error of the body", s.name, res.Status)
		} else if !errors.Is(err, errRead) {
			t.fatalf("%s: RoundTrip = %w, want the error of the body", s.name, err)
		}
	}
}

func malformed(t *trial) {
	for _, m := range []struct {
		name  string
		spoil func(*http.Request)
		mend  bool // a transport may make sense of it
	}{
		{"nil URL", func(r *http.Request) { r.URL = nil }, false},
		{"empty URL", func(r *http.Request) { r.URL, r.Host = &url.URL{}, "" }, false},
		{"nil Header", func(r *http.Request) { r.Header = nil }, true},
		{"only a body", func(r *http.Request) { *r = http.Request{Body: r.Body} }, false},
	} {
		for _, s := range []shape{get, chat, chatOnce, postPiped} {
			ctx, _ := t.context()
			req, up := s.request(ctx)
			m.spoil(req)
			w := t.wire(func(a *attempt) (*http.Response, error) { return a.ok(), nil })
			res, err, fault := t.exchangeWithin(trialPatience, t.wrap(w), req)
			if fault != nil {
				t.fatalf("%s, %s: %w", s.name, m.name, fault)
			}
			if err == nil && !m.mend {
				t.fatalf("%s, %s: RoundTrip = %s, want an error", s.name, m.name, res.Status)
			}
			if err == nil {
				t.close(res)
			}
			time.Sleep(trialSettling)
			if n, all := up.unclosed(); n > 0 {
				t.fatalf("%s, %s: %d of %d bodies not closed", s.name, m.name, n, all)
			}
		}
	}
}

func contextValues(t *trial) {
	type key struct{}
	for _, s := range []shape{get, chat, postPiped} {
		ctx, _ := t.context()
		req, _ := s.request(context.WithValue(ctx, key{}, "trace"))
		w := t.wire(func(a *attempt) (*http.Response, error) {
			if v := a.req.Context().Value(key{}); v != "trace" {
				t.errorf("%s: attempt %d has a context with the value %v, want the caller's", s.name, a.n, v)
			}
			if a.n == 1 {
				return a.sorry(503), nil
			}
			return a.ok(), nil
		})
		t.finish(t.response(t.wrap(w), req))
	}
}
