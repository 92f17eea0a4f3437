package snubber_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

// redirector answers the first request with a redirect and all others with a text.
type redirector struct {
	status int
	to     string
	sent   []*http.Request
}

func (r *redirector) RoundTrip(req *http.Request) (*http.Response, error) {
	if r.sent = append(r.sent, req); req.Body != nil {
		io.Copy(io.Discard, req.Body)
		req.Body.Close()
	}
	res := wiretest.Response(200, strings.NewReader("content"))
	if len(r.sent) == 1 {
		res = wiretest.Response(r.status, strings.NewReader(""), "Location", r.to)
	}
	res.Request = req // as net/http does
	return res, nil
}

// A redirect out of the first origin takes no key along, and is not sent back.
func TestRerouteRedirect(t *testing.T) {
	key := http.Header{"Authorization": {"Bearer SECRET"}, "X-Api-Key": {"SECRET"}, "Cookie": {"a=SECRET"}}
	for name, over := range map[string]func(base http.RoundTripper) http.RoundTripper{
		"alone": func(base http.RoundTripper) http.RoundTripper { return snubber.Reroute{Header: key, Transport: base} },
		"balancer": func(base http.RoundTripper) http.RoundTripper {
			return &snubber.Balancer{Routes: []snubber.Route{{Transport: snubber.Reroute{Header: key, Transport: base}}}}
		},
		"fallback": func(base http.RoundTripper) http.RoundTripper {
			down := wiretest.Func(func(*http.Request) (*http.Response, error) { return nil, wiretest.RefusedDial() })
			return &snubber.Transport{Base: down, Fallback: &snubber.Fallback{Routes: []snubber.Route{{Transport: snubber.Reroute{Header: key, Transport: base}}}}}
		},
		"with a URL and a model": func(base http.RoundTripper) http.RoundTripper {
			return snubber.Reroute{URL: "https://api.example.com/v1", Header: key, Model: "n", Transport: base}
		},
	} {
		for _, status := range []int{301, 302, 303, 307, 308} {
			for _, to := range []string{"https://api.example.com/v1/moved", "https://storage.example.net/f?sig=1"} {
				base := &redirector{status: status, to: to}
				client := &http.Client{Transport: over(base)}
				res, err := client.Post(wiretest.ChatURL, "application/json", strings.NewReader(wiretest.ChatBody))
				if err != nil {
					t.Errorf("%s, %d: %v, want the content", name, status, err)
					continue
				}
				if b := wiretest.ReadAll(t, res); b != "content" {
					t.Errorf("%s, %d: body = %q, want content", name, status, b)
				}
				last := base.sent[len(base.sent)-1]
				if last.URL.String() != to {
					t.Errorf("%s, %d: the last request went to %s, want %s", name, status, last.URL, to)
				}
				want := ""
				if strings.HasPrefix(to, "https://api.") {
					want = "Bearer SECRET"
				}
				if got := last.Header.Get("Authorization"); got != want {
					t.Errorf("%s, %d: %s got Authorization %q, want %q", name, status, to, got, want)
				}
				if want == "" && (last.Header["X-Api-Key"] != nil || last.Header["Cookie"] != nil) {
					t.Errorf("%s, %d: %s got %v, want no key", name, status, to, last.Header)
				}
			}
		}
	}
}

// What Header sets or deletes is replaced in every spelling.
func TestRerouteHeaderInAnyCase(t *testing.T) {
	base := &wiretest.RequestLog{}
	req := raw(raw(wiretest.Chat(t), "authorization", "Bearer first"), "x-other", "o")
	res, err := snubber.Reroute{Header: http.Header{"Authorization": {"Bearer second"}, "X-Other": nil}, Transport: base}.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	wiretest.ReadAll(t, res)
	h := base.Requests[0].Header
	//lint:ignore SA1008 the caller wrote them so.
	if h["authorization"] != nil || h["x-other"] != nil || h.Get("Authorization") != "Bearer second" {
		t.Errorf("sent %v, want the second key alone", h)
	}
}

// User and password in URL become Basic authorization, which Header overrules.
func TestRerouteUserinfo(t *testing.T) {
	for _, tt := range []struct {
		header http.Header
		want   string
	}{
		{nil, "Basic dTpwQHc="},
		{http.Header{"authorization": {"Bearer second"}}, "Bearer second"},
	} {
		base := &wiretest.RequestLog{}
		res, err := snubber.Reroute{URL: "https://u:p%40w@b.example.com/v1", Header: tt.header, Transport: base}.RoundTrip(wiretest.Chat(t, "Authorization", "Bearer first"))
		if err != nil {
			t.Fatal(err)
		}
		wiretest.ReadAll(t, res)
		if got := base.Requests[0]; got.Header.Get("Authorization") != tt.want || got.URL.User != nil {
			t.Errorf("sent to %s with %q, want %q", got.URL, got.Header["Authorization"], tt.want)
		}
	}
}
