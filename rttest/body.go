package rttest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// bodyRules are about the bodies of responses.
func bodyRules() []Rule {
	return []Rule{
		rule("response-bodies-closed",
			"once the caller closed the response, the body of every attempt is closed", responsesClosed),
		rule("close-unread",
			"closing a body that was not read to its end closes the base's body, and does so at once", closeUnread),
		rule("close-twice",
			"closing a body twice does no harm", closeTwice),
		rule("read-after-close",
			"reading a closed body is an error, and no clean end", readAfterClose),
		rule("verbatim",
			"the bytes of a body arrive as they were sent", verbatim),
		rule("as-it-arrives",
			"the response is returned at its header, and each piece of the body when it is there", asItArrives),
		rule("read-boundaries",
			"the pieces of a body are neither split nor joined", boundaries),
		rule("read-error",
			"an error while the body is read reaches the caller, after the bytes that came before it", readError),
		rule("endless-body",
			"a body without end does not keep the transport reading", endless),
		rule("trickling-body",
			"a body that comes slowly or not at all does not keep the transport waiting", trickling),
		rule("switching-protocols",
			"the body of a 101 is an io.Writer, and a connection in both directions", switching),
	}
}

// passed are the kinds of body that a transport passes on as they come, and
// the requests that they belong to.
func passed() []struct {
	shape
	kind   string
	pieces [][]byte
} {
	return []struct {
		shape
		kind   string
		pieces [][]byte
	}{
		{get, "application/octet-stream", [][]byte{[]byte("first"), {0}, bytes.Repeat([]byte{1, 2, 3}, 5000), []byte("last")}},
		{post, "text/plain", [][]byte{[]byte("one "), []byte("two")}},
		{chat, "text/event-stream", events()},
		{chatPiped, "text/event-stream; charset=utf-8", events()},
	}
}

func responsesClosed(t *trial) {
	for _, o := range outcomes() {
		for _, s := range []shape{get, chat, putPiped} {
			for _, left := range []time.Duration{20 * time.Millisecond, 20 * time.Second} {
				for _, reads := range []bool{false, true} {
					req, _ := s.request(t.timeout(left))
					w := t.wire(o.answer)
					if res, err := t.roundTrip(t.wrap(w), req); err == nil {
						if reads {
							t.read(res)
						}
						t.close(res)
					}
					time.Sleep(trialSettling)
					for i, body := range w.opened() {
						if !body.isClosed() {
							t.fatalf("%s gets %s, deadline %v: body %d of %d is open", s.name, o.name, left, i+1, len(w.opened()))
						}
					}
				}
			}
		}
	}
}

func closeUnread(t *trial) {
	for _, p := range passed() {
		for _, read := range []int{0, 3} {
			ctx, _ := t.context()
			req, _ := p.request(ctx)
			w := t.wire(func(a *attempt) (*http.Response, error) {
				return a.stream(200, p.kind, func(i int) part {
					if i == 0 {
						return part{data: p.pieces[0]}
					}
					return part{wait: 10 * time.Hour, err: errRead}
				}), nil
			})
			res := t.response(t.wrap(w), req)
			t.within(trialSoon, p.name+": reading what is there", func() { io.ReadFull(res.Body, make([]byte, read)) })
			t.within(trialSoon, p.name+": closing a body that is still coming", func() { res.Body.Close() })
			time.Sleep(trialSettling)
			for _, body := range w.opened() {
				if !body.isClosed() {
					t.fatalf("%s: %d bytes read and closed: the base's body is open", p.name, read)
				}
			}
		}
	}
}

func closeTwice(t *trial) {
	for _, s := range []shape{get, chat} {
		for _, status := range []int{200, 400, 503} {
			ctx, _ := t.context()
			req, _ := s.request(ctx)
			w := t.wire(func(a *attempt) (*http.Response, error) { return a.sorry(status), nil })
			rt := t.wrap(w)
			res := t.response(rt, req)
			for range 3 {
				t.close(res)
			}
			// What a second Close gave back twice shows in the next call.
			req, _ = s.request(ctx)
			t.finish(t.response(rt, req))
		}
	}
}

func readAfterClose(t *trial) {
	for _, s := range []shape{get, chat} {
		for _, status := range []int{200, 400, 503} {
			// Two seconds leave a retrying transport with a response that it
			// had put aside already.
			for _, left := range []time.Duration{trialPatience, 2 * time.Second} {
				req, _ := s.request(t.timeout(left))
				w := t.wire(func(a *attempt) (*http.Response, error) { return a.sorry(status), nil })
				res := t.response(t.wrap(w), req)
				t.close(res)
				var n int
				var err error
				t.within(trialSoon, "reading a closed body", func() { n, err = res.Body.Read(make([]byte, 64)) })
				if n > 0 || err == nil || err == io.EOF {
					t.fatalf("%s: reading the closed body of a %d = %d, %v, want an error", s.name, status, n, err)
				}
			}
		}
	}
}

func verbatim(t *trial) {
	big := bytes.Repeat([]byte("0123456789abcde\n"), 1<<16)
	for _, c := range []struct {
		shape
		kind, encoding string
		data           []byte
	}{
		{get, "application/octet-stream", "", []byte("\x00\xff\r\n\n\r\xef\xbb\xbf")},
		{get, "application/octet-stream", "", big},
		{get, "application/json", "", []byte("{ \"a\" : 1.0e0 }\n\n")},
		{post, "text/event-stream", "", []byte("\xef\xbb\xbf: comment\r\ndata:x\r\n\r\nno newline at the end")},
		{chat, "application/json", "", []byte(uploadCompletion)},
		{chat, "application/json", "", append([]byte(" \n"+uploadCompletion), bytes.Repeat([]byte(" "), 1<<20)...)},
		{chat, "text/event-stream", "", bytes.ReplaceAll(append([]byte(": ping\n\n"), bytes.Join(events(), nil)...), []byte("\n"), []byte("\r\n"))},
		{chat, "text/event-stream", "gzip", []byte("\x1f\x8b\x08 packed as the caller asked for")},
	} {
		ctx, _ := t.context()
		req, _ := c.request(ctx)
		if c.encoding != "" {
			req.Header.Set("Accept-Encoding", c.encoding)
		}
		w := t.wire(func(a *attempt) (*http.Response, error) {
			res := a.reply(200, c.kind, string(c.data))
			if c.encoding != "" {
				res.Header.Set("Content-Encoding", c.encoding)
			}
			return res, nil
		})
		if got := t.finish(t.response(t.wrap(w), req)); !bytes.Equal(got, c.data) {
			t.fatalf("%s: %d bytes of %s arrived as %d: %.80q, sent %.80q", c.name, len(c.data), c.kind, len(got), got, c.data)
		}
	}
}

func asItArrives(t *trial) {
	for _, p := range passed() {
		ctx, _ := t.context()
		req, _ := p.request(ctx)
		gate := make(chan struct{}, len(p.pieces)+1)
		if p.url == chatURL {
			// A transport that knows such streams may wait for the first event,
			// to see whether it is an error.
			gate <- struct{}{}
		}
		w := t.wire(func(a *attempt) (*http.Response, error) {
			return a.stream(200, p.kind, func(i int) part {
				next := whole(p.pieces...)(i)
				next.gate = gate
				return next
			}), nil
		})
		res, err := t.roundTripWithin(trialSoon, t.wrap(w), req)
		if err != nil {
			t.fatalf("%s: RoundTrip = %w", p.name, err)
		}
		for i, piece := range p.pieces {
			if i > 0 || p.url != chatURL {
				gate <- struct{}{}
			}
			got := make([]byte, len(piece))
			t.within(trialSoon, fmt.Sprintf("%s: reading piece %d before the next one is sent", p.name, i+1), func() { _, err = io.ReadFull(res.Body, got) })
			if err != nil || !bytes.Equal(got, piece) {
				t.fatalf("%s: piece %d is %.40q (%v), want %.40q", p.name, i+1, got, err, piece)
			}
		}
		gate <- struct{}{}
		t.finish(res)
	}
}

func boundaries(t *trial) {
	for _, p := range passed() {
		ctx, _ := t.context()
		req, _ := p.request(ctx)
		w := t.wire(func(a *attempt) (*http.Response, error) {
			return a.stream(200, p.kind, whole(p.pieces...)), nil
		})
		res := t.response(t.wrap(w), req)
		var got, want []int
		for _, piece := range p.pieces {
			want = append(want, len(piece))
		}
		t.within(trialPatience, "reading the body", func() {
			buf := make([]byte, 64<<10)
			for {
				n, err := res.Body.Read(buf)
				if n > 0 {
					got = append(got, n)
				}
				if err != nil {
					return
				}
			}
		})
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.fatalf("%s: reads of %v bytes, the base's are %v", p.name, got, want)
		}
		t.close(res)
	}
}

func readError(t *trial) {
	for _, status := range []int{200, 400, 503} {
		for _, p := range passed() {
			ctx, _ := t.context()
			req, _ := p.request(ctx)
			pieces := p.pieces[:len(p.pieces)-1]
			w := t.wire(func(a *attempt) (*http.Response, error) {
				return a.stream(status, p.kind, broken(fmt.Errorf("read: %w", errRead), pieces...)), nil
			})
			res, err := t.roundTrip(t.wrap(w), req)
			if err != nil {
				// A failure that cannot be read may count as no response.
				if status == 200 || !errors.Is(err, errRead) {
					t.fatalf("%s: RoundTrip = %w, want a %d whose body breaks", p.name, err, status)
				}
				continue
			}
			got, err := t.read(res)
			if !errors.Is(err, errRead) {
				t.fatalf("%s: reading the broken body of a %d ends with %v, want the error of the base", p.name, status, err)
			}
			if want := bytes.Join(pieces, nil); !bytes.Equal(got, want) {
				t.fatalf("%s: %d bytes came before the error, want %d", p.name, len(got), len(want))
			}
			if _, err := res.Body.Read(make([]byte, 1)); err == nil || err == io.EOF {
				t.fatalf("%s: the Read after the one that failed returns %v, want an error", p.name, err)
			}
			t.close(res)
		}
	}
}

func endless(t *trial) {
	const enough = 1 << 20 // for any transport that keeps an error's text
	block := bytes.Repeat([]byte("no end "), 512)
	for _, s := range []shape{get, chat, put} {
		for _, status := range []int{200, 400, 429, 503} {
			ctx, _ := t.context()
			req, _ := s.request(ctx)
			w := t.wire(func(a *attempt) (*http.Response, error) {
				return a.stream(status, "application/json", func(i int) part {
					if i*len(block) > 2*enough {
						return part{err: errRead}
					}
					return part{data: block}
				}), nil
			})
			res := t.response(t.wrap(w), req)
			check := func(when string) {
				for i, body := range w.opened() {
					if n := body.read(); n > enough {
						t.fatalf("%s: %s, %d bytes of the endless %d of attempt %d were read", s.name, when, n, status, i+1)
					}
				}
			}
			check("before RoundTrip returned")
			got := make([]byte, len(block))
			if _, err := io.ReadFull(res.Body, got); err != nil || !bytes.Equal(got, block) {
				t.fatalf("%s: the first bytes of an endless %d are %.40q (%v)", s.name, status, got, err)
			}
			t.close(res)
			check("after Close")
		}
	}
}

func trickling(t *trial) {
	const bound = 5 * time.Minute // several attempts and their backoffs
	for _, s := range []shape{get, chat, put} {
		for _, status := range []int{400, 429, 503} {
			for _, step := range []time.Duration{time.Second, 100 * time.Hour} {
				ctx, _ := t.context()
				req, _ := s.request(ctx)
				w := t.wire(func(a *attempt) (*http.Response, error) {
					return a.stream(status, "application/json", func(int) part {
						return part{data: []byte("."), wait: step}
					}), nil
				})
				rt := t.wrap(w)
				res, err, fault := t.exchangeWithin(bound, rt, req)
				if fault != nil {
					t.fatalf("%s: a %d whose body has a byte every %v: %w", s.name, status, step, fault)
				}
				if err == nil {
					t.within(trialSettling, "closing a trickling body", func() { res.Body.Close() })
				}
			}
		}
	}
}

func switching(t *trial) {
	ctx, _ := t.context()
	req, _ := get.request(ctx)
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "websocket")
	var conn *upgraded
	w := t.wire(func(a *attempt) (*http.Response, error) {
		res := a.stream(101, "", whole([]byte("from there")))
		res.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}}
		conn = &upgraded{stream: a.body}
		res.Body = conn
		res.ContentLength = 0
		return res, nil
	})
	res := t.response(t.wrap(w), req)
	if res.StatusCode != http.StatusSwitchingProtocols {
		t.fatalf("RoundTrip = %s, want 101", res.Status)
	}
	body, ok := res.Body.(io.Writer)
	if !ok {
		t.fatalf("the body of the 101 is a %T and no io.Writer", res.Body)
	}
	if n, err := io.WriteString(body, "from here"); n != 9 || err != nil || conn.written.String() != "from here" {
		t.fatalf("writing to the body of the 101 = %d, %v, and %q arrived", n, err, conn.written.String())
	}
	if got, err := t.read(res); err != nil || string(got) != "from there" {
		t.fatalf("reading the body of the 101 = %q, %v", got, err)
	}
	if _, err := io.WriteString(body, "."); err != nil || conn.written.Len() != 10 {
		t.fatalf("after the other side has ended, writing to the body of the 101: %v", err)
	}
	t.close(res)
	if !conn.isClosed() {
		t.fatalf("closing the body of the 101 leaves the connection open")
	}
}
