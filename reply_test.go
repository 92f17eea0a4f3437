package snubber_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

// The response has the shape that the request asks for. That holds if "stream"
// comes after the messages, and if the body cannot be read twice.
func TestReply(t *testing.T) {
	const streamed = `{"model":"m","messages":[{"role":"user","content":"hello"}],"stream":true}`
	for _, tt := range []struct {
		name, body string
		reply      snubber.StaticReply
		url        string
		status     int
		media      string
	}{
		{"unary", wiretest.ChatBody, snubber.StaticReply{Text: "sorry"}, wiretest.ChatURL, 200, "application/json"},
		{"a stream", streamed, snubber.StaticReply{Text: "sorry"}, wiretest.ChatURL, 200, "text/event-stream"},
		{"an error", wiretest.ChatBody, snubber.StaticReply{Status: 503, Text: "sorry"}, wiretest.ChatURL, 503, "application/json"},
		{"no chat", wiretest.ChatBody, snubber.StaticReply{Text: "sorry"}, "https://api.example.com/v1/files", 200, "text/plain; charset=utf-8"},
		{"its own header", wiretest.ChatBody, snubber.StaticReply{Text: "sorry", Header: http.Header{"content-type": {"text/x"}}}, wiretest.ChatURL, 200, "text/x"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, once := range []bool{false, true} {
				req := wiretest.NewRequest(t, "POST", tt.url, tt.body)
				body := &wiretest.CountedBody{Reader: req.Body}
				if req.Body = body; once {
					req.GetBody = nil
				}
				res, err := tt.reply.RoundTrip(req)
				if err != nil {
					t.Fatal(err)
				}
				got := wiretest.ReadAll(t, res)
				if res.StatusCode != tt.status || res.Header.Get("Content-Type") != tt.media || !strings.Contains(got, "sorry") {
					t.Errorf("%d %v %s", res.StatusCode, res.Header, got)
				}
				if res.ContentLength != int64(len(got)) || res.Status == "" || res.Request != req || body.Closed == 0 {
					t.Errorf("%+v", res)
				}
			}
		})
	}
	res, err := (snubber.StaticReply{Status: 204, Text: "x"}).RoundTrip(wiretest.NewRequest(t, "GET", wiretest.ChatURL, ""))
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := io.ReadAll(res.Body); len(b) != 0 {
		t.Errorf("a 204 with a body: %s", b)
	}
}

// A request body that never arrives delays nobody longer than the caller waits.
func TestReplyEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body, w := io.Pipe()
		defer w.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		req := wiretest.NewRequest(t, "POST", wiretest.ChatURL, wiretest.ChatBody).WithContext(ctx)
		req.Body, req.GetBody = body, nil
		timer := time.AfterFunc(time.Minute, func() { t.Error("it hangs"); w.Close() })
		defer timer.Stop()
		if res, err := (snubber.StaticReply{Text: "sorry"}).RoundTrip(req); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(res, err)
		}
	})
}

// The reply is a response like any other as the last route: its stream is
// complete.
func TestReplyAsLastRoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := snubber.New(wiretest.Play(wiretest.Step{Status: 500}))
		tr.Fallback = &snubber.Fallback{Routes: []snubber.Route{
			{Transport: snubber.Stale},
			{Transport: snubber.Reroute{URL: "https://b.example.com/v1"}},
			{Transport: snubber.StaticReply{Text: "come back later"}},
		}}
		for _, stream := range []bool{false, true} {
			body := strings.TrimSuffix(wiretest.ChatBody, "}") + `,"stream":` + map[bool]string{true: "true", false: "false"}[stream] + "}"
			res, err := tr.RoundTrip(wiretest.NewRequest(t, "POST", wiretest.ChatURL, body))
			if err != nil {
				t.Fatal(err)
			}
			got := wiretest.ReadAll(t, res)
			if res.StatusCode != 200 || strings.HasSuffix(got, "data: [DONE]\n\n") != stream {
				t.Errorf("%d %s", res.StatusCode, got)
			}
			if !stream && !json.Valid([]byte(got)) {
				t.Errorf("no JSON: %s", got)
			}
			r := snubber.ReportOf(res) // 5 attempts of its own, 2 of the second route: the first needed none
			if r.Load().AnsweredBy != 3 || r.Load().Attempts != 7 || len(r.Load().Routes) != 4 || r.Load().Outcome.Class != snubber.Success {
				t.Errorf("report %+v", r)
			}
			const want = "0;class=server-error;calls=5;reason="
			if h := res.Header.Get("Snubber-Route"); !strings.HasPrefix(h, want) || !strings.HasSuffix(h, ", 3;class=success;calls=0;answered") {
				t.Errorf("Snubber-Route: %s", h)
			}
		}
	})
}

// A body that cannot be sent again ends the sequence for the routes that have
// to send it. It does not for a route that needs no body.
func TestReplyNeedsNoBody(t *testing.T) {
	long := strings.Repeat(" ", 4<<20) + wiretest.ChatBody
	for _, accept := range []string{"application/json", "text/event-stream"} {
		own := &wiretest.TrackedBody{R: strings.NewReader(long)}
		req := wiretest.WithoutGetBody(t, "POST", wiretest.ChatURL, own, int64(len(long)))
		req.Header.Set("Accept", accept)
		other := &wiretest.RequestLog{}
		tr := snubber.New(wiretest.Play(wiretest.Step{Status: 500}))
		tr.Fallback = &snubber.Fallback{Routes: []snubber.Route{
			{Transport: other},
			{Transport: snubber.Stale},
			{Transport: snubber.StaticReply{Text: "sorry"}},
		}}
		res, err := tr.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		body := wiretest.ReadAll(t, res)
		if media := res.Header.Get("Content-Type"); res.StatusCode != 200 || !strings.Contains(body, "sorry") || media != accept {
			t.Errorf("%d %s %s", res.StatusCode, media, body)
		}
		if r := snubber.ReportOf(res); r.Load().AnsweredBy != 3 || r.Load().Attempts != 1 || len(r.Load().Routes) != 3 || len(other.Bodies) != 0 {
			t.Errorf("report %+v, and the other got %q", r, other.Bodies)
		}
		req = wiretest.WithoutGetBody(t, "POST", wiretest.ChatURL, &wiretest.TrackedBody{R: strings.NewReader(long)}, int64(len(long)))
		tr.Fallback.Routes = tr.Fallback.Routes[:1]
		if res, err = tr.RoundTrip(req); err != nil || res.StatusCode != 500 || len(snubber.ReportOf(res).Load().Routes) != 0 {
			t.Errorf("without a Reply: %v, %v", res, err)
		} else {
			wiretest.ReadAll(t, res)
		}
		if own.Closed.Load() != 1 || own.N.Load() != int64(len(long)) {
			t.Errorf("the body was closed %d times after %d bytes", own.Closed.Load(), own.N.Load())
		}
	}
}
