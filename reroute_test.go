package snubber_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

// A Reroute removes the first origin's credentials, and leaves the caller's
// request unchanged.
func TestReroute(t *testing.T) {
	for _, tt := range []struct {
		name    string
		route   snubber.Reroute
		url     string
		header  http.Header // the fields that the route gets
		body    string
		content string // if the body is not the default
	}{
		{"nothing", snubber.Reroute{}, wiretest.ChatURL + "?key=k&v=1", wiretest.Header("Authorization", "Bearer first", "Cookie", "c", "X-Other", "o"), wiretest.ChatBody, ""},
		{"another model", snubber.Reroute{Model: "b"}, wiretest.ChatURL + "?key=k&v=1", wiretest.Header("Authorization", "Bearer first", "Cookie", "c", "X-Other", "o"), strings.Replace(wiretest.ChatBody, `"m"`, `"b"`, 1), ""},
		{"the same origin", snubber.Reroute{URL: "HTTPS://API.example.com:443/v2"}, "https://API.example.com:443/v2/chat/completions?key=k&v=1", wiretest.Header("Authorization", "Bearer first", "Cookie", "c", "X-Other", "o"), wiretest.ChatBody, ""},
		{"another host", snubber.Reroute{URL: "https://b.example.com/v1", Model: "b"}, "https://b.example.com/v1/chat/completions?v=1", wiretest.Header("X-Other", "o"), strings.Replace(wiretest.ChatBody, `"m"`, `"b"`, 1), ""},
		{"another scheme", snubber.Reroute{URL: "http://api.example.com/v1"}, "http://api.example.com/v1/chat/completions?v=1", wiretest.Header("X-Other", "o"), wiretest.ChatBody, ""},
		{"another port", snubber.Reroute{URL: "https://api.example.com:8443/v1"}, "https://api.example.com:8443/v1/chat/completions?v=1", wiretest.Header("X-Other", "o"), wiretest.ChatBody, ""},
		{"its own key", snubber.Reroute{URL: "https://b.example.com/v1?key=mine", Header: http.Header{"authorization": {"Bearer second"}, "X-Other": nil}}, "https://b.example.com/v1/chat/completions?key=mine&v=1", wiretest.Header("Authorization", "Bearer second"), wiretest.ChatBody, ""},
		{"a body of another kind, its model kept", snubber.Reroute{URL: "https://b.example.com/v1"}, "https://b.example.com/v1/chat/completions?v=1", wiretest.Header("X-Other", "o"), "no json", "no json"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			content := wiretest.ChatBody
			if tt.content != "" {
				content = tt.content
			}
			req := wiretest.NewRequest(t, "POST", wiretest.ChatURL+"?key=k&v=1", content, "Authorization", "Bearer first", "Cookie", "c", "X-Other", "o")
			before, url := req.Header.Clone(), req.URL.String()
			base := &wiretest.RequestLog{}
			tt.route.Transport = base
			res, err := tt.route.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			wiretest.ReadAll(t, res)
			got := base.Requests[0]
			if got.URL.String() != tt.url || base.Bodies[0] != tt.body || !reflect.DeepEqual(got.Header, tt.header) {
				t.Errorf("sent %s %v %s\nwant %s %v %s", got.URL, got.Header, base.Bodies[0], tt.url, tt.header, tt.body)
			}
			if !reflect.DeepEqual(req.Header, before) || req.URL.String() != url {
				t.Errorf("the caller's request became %s %v", req.URL, req.Header)
			}
		})
	}
}

// Headers computed from the body are sent only with that body.
func TestRerouteDigests(t *testing.T) {
	digests := []string{"Content-Length", "Content-Md5", "Content-Digest", "Digest"}
	for _, tt := range []struct {
		route snubber.Reroute
		kept  bool
	}{
		{snubber.Reroute{URL: "https://b.example.com/v1"}, true},
		{snubber.Reroute{URL: "https://b.example.com/v1", Model: "b"}, false},
	} {
		req := wiretest.Chat(t)
		for _, name := range digests {
			req.Header.Set(name, "x")
		}
		base := &wiretest.RequestLog{}
		tt.route.Transport = base
		if _, err := tt.route.RoundTrip(req); err != nil {
			t.Fatal(err)
		}
		for _, name := range digests {
			if kept := base.Requests[0].Header.Get(name) != ""; kept != tt.kept {
				t.Errorf("model %q: %s is there: %v", tt.route.Model, name, kept)
			}
		}
	}
}

// Host and user info belong to an origin, and are not sent to another.
func TestRerouteHost(t *testing.T) {
	for _, tt := range []struct {
		route      snubber.Reroute
		host, user string
	}{
		{snubber.Reroute{Model: "b"}, "virtual", "u"},
		{snubber.Reroute{URL: "https://api.example.com/v1"}, "virtual", "u"},
		{snubber.Reroute{URL: "https://b.example.com/v1"}, "", ""},
		{snubber.Reroute{URL: "https://v@b.example.com/v1", Header: wiretest.Header("Host", "other")}, "other", ""}, // it is in Authorization
	} {
		req := wiretest.NewRequest(t, "POST", strings.Replace(wiretest.ChatURL, "//", "//u@", 1), wiretest.ChatBody)
		req.Host = "virtual"
		base := &wiretest.RequestLog{}
		tt.route.Transport = base
		if _, err := tt.route.RoundTrip(req); err != nil {
			t.Fatal(err)
		}
		if got := base.Requests[0]; got.Host != tt.host || got.URL.User.Username() != tt.user || got.Header.Get("Host") != "" {
			t.Errorf("%+v: host %q, user %q", tt.route, got.Host, got.URL.User)
		}
	}
}

// A response of another origin has no effect on the first. The client would
// follow a redirect with the first request's credentials, and keep cookies for
// the first host.
func TestRerouteResponse(t *testing.T) {
	const other, same = "https://other.example/v1", "https://api.example.com/other/v1"
	for _, tt := range []struct {
		url, location string
		status        int
		fails         bool
		cookie        string
	}{
		{other, "https://other.example/more", 307, true, ""},
		{other, "/v1/more", 303, true, ""},
		{other, "", 304, false, ""},
		{other, "/v1/files/1", 201, false, ""},
		{same, "/v1/more", 307, false, "a=b"},
	} {
		body := &wiretest.CountedBody{Reader: strings.NewReader("{}")}
		base := wiretest.Func(func(*http.Request) (*http.Response, error) {
			res := wiretest.Response(tt.status, body, "Set-Cookie", "a=b")
			if tt.location != "" {
				res.Header.Set("Location", tt.location)
			}
			return res, nil
		})
		res, err := snubber.Reroute{URL: tt.url, Transport: base}.RoundTrip(wiretest.Chat(t))
		switch {
		case (err != nil) != tt.fails:
			t.Errorf("%+v: %v", tt, err)
		case tt.fails:
			if o := snubber.Classify(wiretest.Chat(t), nil, err); snubber.Retryable(wiretest.Chat(t), o) || o.Reason != "redirect" {
				t.Errorf("%+v: outcome %+v", tt, o) // another attempt would get the same redirect
			}
			if body.Closed == 0 || res != nil {
				t.Errorf("%+v: the body is open", tt)
			}
		case res.Header.Get("Set-Cookie") != tt.cookie || res.Header.Get("Location") != tt.location:
			t.Errorf("%+v: %v", tt, res.Header)
		}
	}
}

// The Transport around the routes alone decides about the error event of a
// stream that breaks off, and sends it once.
func TestRerouteStreamErrors(t *testing.T) {
	const line = `{"model":"m","message":{"role":"assistant","content":"a"},"done":false}` + "\n"
	cut := wiretest.Func(func(req *http.Request) (*http.Response, error) {
		return wiretest.Response(200, strings.NewReader(line), "Content-Type", "application/x-ndjson"), nil
	})
	base := wiretest.Func(func(req *http.Request) (*http.Response, error) {
		if req.URL.Host == "other.example" {
			return cut(req)
		}
		return wiretest.Response(500, strings.NewReader("{}")), nil
	})
	for said, want := range map[snubber.StreamErrorMode]int{-1: 0, 0: 1, 1: 1} { // Ollama's clients lose an error of Read
		for _, tr := range []*snubber.Transport{
			{Base: base, Fallback: &snubber.Fallback{Routes: []snubber.Route{{Transport: snubber.Reroute{URL: "https://other.example"}}}}},
			{Base: &snubber.Balancer{Routes: []snubber.Route{{Transport: cut}}}},
		} {
			tr.StreamErrors = said
			res, err := tr.RoundTrip(wiretest.NewRequest(t, "POST", "https://api.example.com/api/chat", wiretest.ChatBody))
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(res.Body)
			if !errors.Is(err, io.ErrUnexpectedEOF) || !strings.HasPrefix(string(b), line) || strings.Count(string(b), "broke off") != want {
				t.Errorf("%d: %s %v", said, b, err)
			}
		}
	}
}

// A request that a Reroute cannot rewrite is refused and its body closed. The
// next route is tried.
func TestRerouteRefuses(t *testing.T) {
	const signature = "AWS4-HMAC-SHA256 Credential=AKID/20260101/us-east-1/bedrock/aws4_request, SignedHeaders=host, Signature=00"
	for _, tt := range []struct {
		name  string
		route snubber.Reroute
		req   *http.Request
	}{
		{"signed", snubber.Reroute{Model: "b"}, wiretest.Chat(t, "Authorization", signature)},
		{"signed, elsewhere", snubber.Reroute{URL: "https://b.example.com/v1"}, wiretest.Chat(t, "Authorization", signature)},
		{"no JSON", snubber.Reroute{Model: "b"}, wiretest.NewRequest(t, "POST", wiretest.ChatURL, "model=a")},
		{"multipart", snubber.Reroute{Model: "b"}, wiretest.NewRequest(t, "POST", "https://api.example.com/v1/audio/transcriptions", "--x", "Content-Type", "multipart/form-data; boundary=x")},
		{"no URL", snubber.Reroute{URL: "b.example.com"}, wiretest.Chat(t)},
		{"a URL that is secret", snubber.Reroute{URL: "https://user:hunter2@b.example.com:port/"}, wiretest.Chat(t)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			body := &wiretest.CountedBody{Reader: tt.req.Body}
			tt.req.Body = body
			base := &wiretest.RequestLog{}
			tt.route.Transport = base
			_, err := tt.route.RoundTrip(tt.req)
			if !errors.Is(err, snubber.ErrNoRoute) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("err = %v, want ErrNoRoute", err)
			}
			if body.Closed == 0 || len(base.Requests) != 0 {
				t.Errorf("closed %d times, sent: %d", body.Closed, len(base.Requests))
			}
			second := wiretest.Play()
			rt := &snubber.Transport{Base: wiretest.Play(wiretest.Step{Status: 503}), Fallback: &snubber.Fallback{Routes: []snubber.Route{{Transport: tt.route}, {Transport: second}}}}
			tt.req.Body, _ = tt.req.GetBody()
			if status, err := wiretest.Fetch(rt, tt.req.WithContext(snubber.WithIdempotent(context.Background()))); status != 200 || err != nil || second.Sent() != 1 {
				t.Errorf("as a route: %d, %v, want the next one's 200", status, err)
			}
		})
	}
	base := &wiretest.RequestLog{}
	res, err := (snubber.Reroute{Model: "b", Header: wiretest.Header("Authorization", "Bearer b"), Transport: base}).RoundTrip(wiretest.Chat(t, "Authorization", signature))
	if err != nil || base.Requests[0].Header.Get("Authorization") != "Bearer b" {
		t.Errorf("with a key of its own: %v, %v", res, err)
	}
}

// A Reroute without a Transport uses the layers of the Transport around it,
// with state of its own. The first origin's open circuit does not concern it.
func TestRerouteUsesLayers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := wiretest.Func(func(req *http.Request) (*http.Response, error) {
			if req.URL.Host == "api.example.com" {
				return wiretest.Response(500, strings.NewReader("{}")), nil
			}
			if req.Header.Get("Authorization") != "Bearer second" {
				t.Errorf("the route got %v", req.Header)
			}
			return wiretest.Response(200, strings.NewReader("{}")), nil
		})
		tr := snubber.New(base)
		tr.Retry.MaxAttempts = 2
		tr.Fallback = &snubber.Fallback{Routes: []snubber.Route{{Transport: snubber.Reroute{URL: "https://b.example.com/v1", Model: "n", Header: wiretest.Header("Authorization", "Bearer second")}}}}
		for range 12 {
			res, err := tr.RoundTrip(wiretest.Chat(t, "Authorization", "Bearer first"))
			if err != nil || res.StatusCode != 200 {
				t.Fatal(res, err)
			}
			wiretest.ReadAll(t, res)
		}
		states := map[string]snubber.CircuitState{}
		for _, c := range tr.Breaker.Circuits() {
			states[c.Key] = c.State
		}
		want := map[string]snubber.CircuitState{"https://api.example.com m": snubber.CircuitOpen, "https://b.example.com n": snubber.CircuitClosed}
		if !reflect.DeepEqual(states, want) {
			t.Errorf("circuits %v, want %v", states, want)
		}
		if q := tr.Limiter.Queues(); len(q) != 2 {
			t.Errorf("%d queues, want one for each", len(q))
		}
	})
}

// A Transport may be a route of itself, or part of one. It behaves as without
// that route when it sends, predicts or closes.
func TestRouteToItself(t *testing.T) {
	for _, spread := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			sent := map[string]int{}
			base := &wiretest.IdleCounter{RoundTripper: wiretest.Func(func(req *http.Request) (*http.Response, error) {
				sent[req.URL.Host]++
				return wiretest.Response(500, strings.NewReader("{}")), nil
			})}
			tr := snubber.New(base)
			tr.Cache = &snubber.Cache{PromptTTL: time.Hour}
			var route http.RoundTripper = snubber.Reroute{URL: "https://b.example.com/v1", Transport: tr}
			if spread {
				route = &snubber.Balancer{Routes: []snubber.Route{{Transport: route}}}
			}
			tr.Fallback = &snubber.Fallback{Routes: []snubber.Route{{Transport: route}}}
			if status, err := wiretest.Fetch(tr, wiretest.Chat(t)); status != 500 || err != nil || sent["api.example.com"] != 5 || sent["b.example.com"] != 1 {
				t.Errorf("%d, %v, sent %v", status, err, sent)
			}
			tr.Breaker.Trip("https://api.example.com m")
			tr.Breaker.Trip("https://b.example.com m")
			if at, err := tr.ReadyAt(wiretest.Chat(t)); !errors.Is(err, snubber.ErrOpen) {
				t.Errorf("Ready = %v, %v", at, err)
			}
			tr.CloseIdleConnections()
			tr.CloseIdleConnections()
			if base.Closed != 2 {
				t.Errorf("closed %d times, want 2", base.Closed)
			}
		})
	}
}

// A Reroute that is the Base of a Transport has no layers around it, and sends
// by itself.
func TestRerouteAsBase(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.URL.Path) }))
	defer srv.Close()
	res, err := (&snubber.Transport{Base: snubber.Reroute{URL: srv.URL + "/v9"}}).RoundTrip(wiretest.Chat(t))
	if err != nil {
		t.Fatal(err)
	}
	if got := wiretest.ReadAll(t, res); got != "/v9/chat/completions" {
		t.Errorf("got %q", got)
	}
}

// Two Transports may be routes of each other.
func TestRoutesToEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := ""
		base := wiretest.Func(func(req *http.Request) (*http.Response, error) {
			hosts += req.URL.Host[:1]
			return wiretest.Response(500, strings.NewReader("{}")), nil
		})
		a, b := snubber.New(base), snubber.New(base)
		a.Fallback = &snubber.Fallback{Routes: []snubber.Route{{Transport: snubber.Reroute{URL: "https://b.example.com/v1", Transport: b}}}}
		b.Fallback = &snubber.Fallback{Routes: []snubber.Route{{Transport: snubber.Reroute{URL: "https://api.example.com/v1", Transport: a}}}}
		if status, err := wiretest.Fetch(a, wiretest.Chat(t)); status != 500 || err != nil || hosts != "aaaaaba" {
			t.Errorf("%d, %v, sent to %s", status, err, hosts)
		}
		a.Breaker.Trip("https://api.example.com m")
		b.Breaker.Trip("https://b.example.com m")
		if at, err := a.ReadyAt(wiretest.Chat(t)); !errors.Is(err, snubber.ErrOpen) {
			t.Errorf("Ready = %v, %v", at, err)
		}
		a.CloseIdleConnections()
	})
}

// A body that fails while a Reroute changes its model is the caller's failure
// and not the service's.
func TestRerouteBodyFails(t *testing.T) {
	gone := errors.New("the file is gone")
	for _, withGetBody := range []bool{false, true} { // recorded, or from GetBody
		tr := snubber.New(snubber.Reroute{Model: "n", Transport: wiretest.Play()})
		req := wiretest.WithoutGetBody(t, "POST", wiretest.ChatURL, &wiretest.TrackedBody{R: strings.NewReader("{"), Err: gone}, -1)
		if withGetBody {
			req.GetBody = func() (io.ReadCloser, error) {
				return io.NopCloser(&wiretest.TrackedBody{R: strings.NewReader("{"), Err: gone}), nil
			}
		}
		ctx, report := snubber.WithReport(t.Context())
		if _, err := tr.RoundTrip(req.WithContext(ctx)); !errors.Is(err, gone) || report.Load().Attempts != 1 || report.Load().Outcome.Class != snubber.Invalid {
			t.Errorf("%v, report %+v", err, report.Load())
		}
	}
}

// The route gets a body without GetBody from the recording, whole.
func TestRerouteBodyWithoutGetBody(t *testing.T) {
	for _, length := range []int64{-1, int64(len(wiretest.ChatBody))} {
		second := &wiretest.RequestLog{}
		tr := &snubber.Transport{Base: wiretest.Play(wiretest.Step{Status: 503, Header: wiretest.Header("Retry-After", "9")}), Fallback: &snubber.Fallback{Routes: []snubber.Route{{Transport: snubber.Reroute{URL: "https://b.example.com/v1", Model: "longer", Transport: second}}}}}
		body := &wiretest.CountedBody{Reader: strings.NewReader(wiretest.ChatBody)}
		req, _ := http.NewRequest("POST", wiretest.ChatURL, body)
		req.ContentLength = length
		if status, err := wiretest.Fetch(tr, req); status != 200 || err != nil {
			t.Fatal(status, err)
		}
		if want := strings.Replace(wiretest.ChatBody, `"m"`, `"longer"`, 1); second.Bodies[0] != want || body.Closed == 0 {
			t.Errorf("the route got %q, the body was closed %d times", second.Bodies[0], body.Closed)
		}
	}
}

// The caller's context ends the reading of a body that hangs.
func TestRerouteEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		pr, _ := io.Pipe()
		req, _ := http.NewRequestWithContext(ctx, "POST", wiretest.ChatURL, pr)
		go cancel()
		if _, err := (snubber.Reroute{Model: "b", Transport: wiretest.Play()}).RoundTrip(req); !errors.Is(err, context.Canceled) {
			t.Errorf("err = %v, want context.Canceled", err)
		}
	})
}

// Another provider is tried when the first does not answer, then a model of the
// first that is in less demand.
func ExampleReroute() {
	base := wiretest.Play(wiretest.Step{Status: 402}, wiretest.Step{Status: 402}, wiretest.Step{Status: 402})
	t := snubber.New(base)
	t.Fallback = &snubber.Fallback{Routes: []snubber.Route{
		{Transport: snubber.Reroute{
			URL:    "https://llm.example.net/v1",
			Model:  "large",
			Header: http.Header{"Authorization": {"Bearer another key"}},
		}},
		{Transport: snubber.Reroute{Model: "gpt-4o-mini"}},
		{Transport: snubber.StaticReply{Text: "The assistant is resting. Please try again later."}},
	}}

	res, err := ask(context.Background(), t)
	fmt.Println(res.StatusCode, err)
	fmt.Println(res.Header.Get("Snubber-Route"))
	// Output:
	// 200 <nil>
	// 0;class=quota-exhausted;calls=1;reason=http_402, 1;class=quota-exhausted;calls=1;reason=http_402, 2;class=quota-exhausted;calls=1;reason=http_402, 3;class=success;calls=0;answered
}
