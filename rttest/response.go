package rttest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// responseRules are about what RoundTrip returns.
func responseRules() []Rule {
	return []Rule{
		rule("response-or-error",
			"RoundTrip returns a response or an error, never both, never neither", responseOrError),
		rule("body-not-nil",
			"a response has a Body, even if there is nothing in it", bodyNotNil),
		rule("last-response",
			"the response of the last attempt is returned as it came, whatever its status", lastResponse),
		rule("base-error",
			"if no attempt got a response, the error of the base can be found in the error by errors.Is", baseError),
		rule("response-request",
			"Response.Request is set and names the caller's method and URL", responseRequest),
		rule("redirects-not-followed",
			"a redirect is a response: http.Client follows it, or not", redirects),
		rule("cookies-left-alone",
			"cookies are neither kept nor sent: http.Client does, if it has a Jar", cookies),
	}
}

// An outcome is what a server can do to a call.
type outcome struct {
	name   string
	answer func(*attempt) (*http.Response, error)
}

func outcomes() []outcome {
	all := []outcome{
		{"200", func(a *attempt) (*http.Response, error) { return a.ok(), nil }},
		{"204", func(a *attempt) (*http.Response, error) { return a.reply(204, "", ""), nil }},
		{"error", func(*attempt) (*http.Response, error) { return nil, errWire }},
		{"error, then 200", func(a *attempt) (*http.Response, error) {
			if a.n == 1 {
				return nil, errWire
			}
			return a.ok(), nil
		}},
		{"503, then error", func(a *attempt) (*http.Response, error) {
			if a.n == 1 {
				return a.sorry(503), nil
			}
			return nil, errWire
		}},
		{"503 that breaks", func(a *attempt) (*http.Response, error) {
			return a.stream(503, "text/plain", broken(errRead, []byte("some"))), nil
		}},
		{"no answer", (*attempt).hang},
	}
	for _, status := range []int{304, 400, 401, 408, 409, 429, 500, 503, 529, 999} {
		all = append(all, outcome{fmt.Sprint(status), func(a *attempt) (*http.Response, error) { return a.sorry(status), nil }})
	}
	return all
}

func responseOrError(t *trial) {
	for _, o := range outcomes() {
		for _, s := range []shape{get, chat, postPiped} {
			for _, left := range []time.Duration{-time.Second, 20 * time.Millisecond, 20 * time.Second} {
				req, _ := s.request(t.timeout(left))
				res, err, fault := t.exchangeWithin(trialPatience, t.wrap(t.wire(o.answer)), req)
				if fault != nil {
					t.fatalf("%s gets %s, deadline %v: %w", s.name, o.name, left, fault)
				}
				if err == nil {
					t.close(res)
				}
			}
		}
	}
}

func bodyNotNil(t *trial) {
	head := shape{name: "HEAD", method: "HEAD", url: plainURL}
	for _, s := range []shape{get, head, chat} {
		for _, status := range []int{200, 204, 304, 400, 429, 503} {
			ctx, _ := t.context()
			req, _ := s.request(ctx)
			w := t.wire(func(a *attempt) (*http.Response, error) {
				res := a.reply(status, "text/plain", "")
				if status == 204 || status == 304 || s == head {
					// net/http's word for an answer that cannot have a body.
					res.Body = http.NoBody
				}
				return res, nil
			})
			res := t.response(t.wrap(w), req)
			if data := t.finish(res); len(data) > 0 {
				t.fatalf("%s: the body of an empty %d is %.40q", s.name, status, data)
			}
		}
	}
}

func lastResponse(t *trial) {
	for _, s := range []shape{get, chat, chatPiped, put, putPiped} {
		for _, status := range []int{200, 301, 400, 404, 429, 500, 503} {
			for _, unpacked := range []bool{false, true} {
				asItCame(t, trialPatience, s, status, unpacked)
				// Too little for all attempts of most: what is left is the
				// response of one that was meant to be followed by another.
				asItCame(t, 2*time.Second, s, status, unpacked)
			}
		}
	}
}

func asItCame(t *trial, left time.Duration, s shape, status int, unpacked bool) {
	req, _ := s.request(t.timeout(left))
	state := &tls.ConnectionState{ServerName: "api.example.com"}
	var want http.Response // of the last attempt, as it was made
	var text string
	w := t.wire(func(a *attempt) (*http.Response, error) {
		text = fmt.Sprintf(`{"error": {"message":"attempt %d"}} `, a.n)
		res := a.reply(status, "application/json", text)
		res.Status = fmt.Sprintf("%d In Its Own Words %d", status, a.n)
		res.Proto, res.ProtoMajor, res.ProtoMinor = "HTTP/2.0", 2, 0
		res.Header["X-Attempt"] = []string{fmt.Sprint(a.n), "twice"}
		res.Header["x-lower-case"] = []string{"kept"}
		res.TLS = state
		if unpacked {
			res.Uncompressed, res.ContentLength = true, -1
			res.Header.Del("Content-Length")
		}
		res.Trailer = http.Header{"X-Sum": nil}
		a.body.atEOF = func() { res.Trailer["X-Sum"] = []string{fmt.Sprint(a.n)} }
		want = *res
		want.Header = res.Header.Clone()
		return res, nil
	})
	res := t.response(t.wrap(w), req)
	data := t.finish(res)
	n := len(w.seen())
	for _, f := range []struct {
		name      string
		got, want any
	}{
		{"Status", res.Status, want.Status},
		{"StatusCode", res.StatusCode, status},
		{"Proto", fmt.Sprint(res.Proto, " ", res.ProtoMajor, res.ProtoMinor), "HTTP/2.0 2 0"},
		{"ContentLength", res.ContentLength, want.ContentLength},
		{"Uncompressed", res.Uncompressed, want.Uncompressed},
		{"TLS", res.TLS, state},
		{"trailer X-Sum", res.Trailer.Get("X-Sum"), fmt.Sprint(n)},
		{"body", string(data), text},
	} {
		if f.got != f.want {
			t.fatalf("%s gets %d in %d attempts: %s = %v, want %v", s.name, status, n, f.name, f.got, f.want)
		}
	}
	// More is allowed, since Cache-Status and its like are there to be added.
	for key, values := range want.Header {
		if !slices.Equal(res.Header[key], values) {
			t.fatalf("%s gets %d in %d attempts: header %q = %q, want %q", s.name, status, n, key, res.Header[key], values)
		}
	}
}

func baseError(t *trial) {
	for _, s := range shapes() {
		ctx, _ := t.context()
		req, _ := s.request(ctx)
		w := t.wire(func(*attempt) (*http.Response, error) { return nil, fmt.Errorf("dial: %w", errWire) })
		res, err := t.roundTrip(t.wrap(w), req)
		if err == nil {
			t.fatalf("%s: RoundTrip = %s, want an error", s.name, res.Status)
		}
		if !errors.Is(err, errWire) {
			t.fatalf("%s: RoundTrip = %w, want the error of the base in it", s.name, err)
		}
		if errors.Is(err, context.Canceled) {
			t.fatalf("%s: RoundTrip = %w, but nobody canceled", s.name, err)
		}
	}
}

func responseRequest(t *trial) {
	for _, s := range []shape{get, chat, put} {
		for _, status := range []int{200, 400, 503} {
			ctx, _ := t.context()
			req, _ := s.request(ctx)
			w := t.wire(func(a *attempt) (*http.Response, error) { return a.sorry(status), nil })
			res := t.response(t.wrap(w), req)
			if res.Request == nil {
				t.fatalf("%s: Request of a %d is nil", s.name, status)
			}
			if res.Request.Method != s.method || res.Request.URL == nil || res.Request.URL.String() != s.url {
				t.fatalf("%s: Request of a %d is %s %v, want %s %s", s.name, status, res.Request.Method, res.Request.URL, s.method, s.url)
			}
			t.finish(res)
		}
	}
}

func redirects(t *trial) {
	for _, s := range []shape{get, chat, put} {
		for _, status := range []int{301, 302, 303, 307, 308} {
			ctx, _ := t.context()
			req, _ := s.request(ctx)
			w := t.wire(func(a *attempt) (*http.Response, error) {
				if a.n > 1 {
					t.errorf("%s: after a %d there was an attempt at %v", s.name, status, a.req.URL)
				}
				res := a.reply(status, "text/html", "moved")
				res.Header.Set("Location", "https://other.example.com/moved")
				return res, nil
			})
			res := t.response(t.wrap(w), req)
			if to := res.Header.Get("Location"); res.StatusCode != status || to != "https://other.example.com/moved" {
				t.fatalf("%s: RoundTrip = %s to %q, want the %d as it came", s.name, res.Status, to, status)
			}
			t.finish(res)
		}
	}
}

func cookies(t *trial) {
	for _, s := range []shape{get, chat} {
		w := t.wire(func(a *attempt) (*http.Response, error) {
			if c := a.req.Header["Cookie"]; c != nil {
				t.errorf("%s: attempt %d has the cookie %q, which the caller did not send", s.name, a.n, c)
			}
			res := a.ok()
			if a.n == 1 {
				res = a.sorry(503)
			}
			res.Header.Set("Set-Cookie", "session=1")
			return res, nil
		})
		rt := t.wrap(w)
		for range 2 {
			ctx, _ := t.context()
			req, _ := s.request(ctx)
			res := t.response(rt, req)
			if c := res.Header.Get("Set-Cookie"); c != "session=1" {
				t.fatalf("%s: Set-Cookie = %q, want session=1", s.name, c)
			}
			t.finish(res)
		}
	}
}
