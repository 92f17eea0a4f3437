package rttest

import (
	"errors"
	"io"
	"net/http"
	"time"
)

// replayRules are about sending a request again. A transport that never does
// keeps them all.
func replayRules() []Rule {
	return []Rule{
		rule("same-bytes",
			"every attempt sends the same body, of the length that it says", sameBytes),
		rule("bodies-not-shared",
			"no attempt shares its body with an earlier one that may still be reading", notShared),
		rule("getbody-error",
			"if GetBody fails, nothing else is sent in place of the body", getBodyError),
		rule("failed-attempt-closed",
			"a failed attempt's body is closed before the next attempt starts", closedBeforeNext),
		rule("no-attempt-after-done",
			"no attempt starts once the caller's context is done, and the call returns at once", noneAfterDone),
		rule("hopeless-wait",
			"a wait that the caller's deadline does not leave time for is not begun: the response is returned", hopelessWait),
		rule("hostile-retry-after",
			"no value of Retry-After makes the transport panic, hang or miss the deadline", hostileRetryAfter),
	}
}

func sameBytes(t *trial) {
	for _, failure := range []struct {
		name   string
		status int   // 0: an error
		reads  int64 // bytes of the request before that, negative: all
	}{
		{"a 503", 503, -1},
		{"a 429", 429, -1},
		{"a broken connection", 0, 5},
		{"a 503 in the middle of the body", 503, 5},
		{"a 503 before the body", 503, 0},
	} {
		for _, s := range shapes() {
			ctx, _ := t.context()
			req, _ := s.request(ctx)
			w := t.wire(nil)
			w.early = true
			w.answer = func(a *attempt) (*http.Response, error) {
				if a.req.Body != nil {
					defer a.req.Body.Close()
				}
				length, told := a.req.ContentLength, req.ContentLength
				if length != told && (told >= 0 || length != int64(len(s.text))) {
					t.errorf("%s, after %s: attempt %d has ContentLength %d, the caller's is %d", s.name, failure.name, a.n, length, told)
				}
				reads := failure.reads
				if a.n > 2 {
					reads = -1
				}
				if err := a.receive(reads); err != nil {
					t.errorf("%s, after %s: reading the body of attempt %d: %w", s.name, failure.name, a.n, err)
				} else if reads < 0 && string(a.sent) != s.text {
					t.errorf("%s, after %s: attempt %d sent %.40q (%d bytes), want %.40q (%d bytes)", s.name, failure.name, a.n, a.sent, len(a.sent), s.text, len(s.text))
				}
				switch {
				case a.n > 2:
					return a.ok(), nil
				case failure.status == 0:
					return nil, errWire
				}
				return a.sorry(failure.status), nil
			}
			if res, err := t.roundTrip(t.wrap(w), req); err == nil {
				t.finish(res)
			}
		}
	}
}

// notShared interleaves two attempts as http.Transport does when an answer
// comes before the body was sent: it goes on reading for a moment.
func notShared(t *trial) {
	for _, s := range []shape{chat, chatOnce, {name: "PUT with GetBody", method: "PUT", url: plainURL, text: "the whole thing", known: true, again: true}} {
		ctx, _ := t.context()
		req, _ := s.request(ctx)
		var first io.ReadCloser
		w := t.wire(nil)
		w.early = true
		w.answer = func(a *attempt) (*http.Response, error) {
			a.receive(5)
			if a.n == 1 {
				first = a.req.Body
				return a.sorry(503), nil
			}
			first.Read(make([]byte, 3))
			err := a.receive(-1)
			first.Close()
			a.req.Body.Close()
			if err != nil || string(a.sent) != s.text {
				t.errorf("%s: attempt %d sent %q (%v) while attempt 1 still read its own body, want %q", s.name, a.n, a.sent, err, s.text)
			}
			return a.ok(), nil
		}
		if res, err := t.roundTrip(t.wrap(w), req); err == nil {
			t.finish(res)
		}
		if first != nil {
			first.Close()
		}
	}
}

func getBodyError(t *trial) {
	errGetBody := errors.New("the file is gone")
	for _, s := range []shape{chat, post} {
		ctx, _ := t.context()
		req, _ := s.request(ctx)
		req.GetBody = func() (io.ReadCloser, error) { return nil, errGetBody }
		w := t.wire(func(a *attempt) (*http.Response, error) {
			if string(a.sent) != s.text {
				t.errorf("%s: attempt %d sent %q, want %q or no attempt", s.name, a.n, a.sent, s.text)
			}
			if a.n == 1 {
				return a.sorry(503), nil
			}
			return a.ok(), nil
		})
		res, err := t.roundTrip(t.wrap(w), req)
		if err == nil {
			t.finish(res)
		} else if !errors.Is(err, errGetBody) {
			t.fatalf("%s: RoundTrip = %w, want the error of GetBody or a response", s.name, err)
		}
	}
}

func closedBeforeNext(t *trial) {
	for _, s := range []shape{get, chat, chatOnce, put, putPiped} {
		for _, status := range []int{503, 500, 429} {
			for _, text := range []string{"", "a short one", string(make([]byte, 1<<20))} {
				ctx, _ := t.context()
				req, _ := s.request(ctx)
				w := t.wire(nil)
				w.answer = func(a *attempt) (*http.Response, error) {
					for i, body := range w.opened() {
						if !body.isClosed() {
							t.errorf("%s: attempt %d starts while the body (%d bytes) of the %d before it, number %d, is open", s.name, a.n, len(text), status, i+1)
						}
					}
					if a.n < 3 {
						return a.reply(status, "text/plain", text), nil
					}
					return a.ok(), nil
				}
				if res, err := t.roundTrip(t.wrap(w), req); err == nil {
					t.finish(res)
				}
			}
		}
	}
}

func noneAfterDone(t *trial) {
	for _, s := range []shape{get, chat, put} {
		for _, status := range []int{503, 429, 0} {
			// Odd values, so that no round backoff ends in the same instant.
			for _, after := range []time.Duration{0, 101317 * time.Microsecond, 1300717 * time.Microsecond} {
				ctx, cancel := t.context()
				req, _ := s.request(ctx)
				var start time.Time
				w := t.wire(func(a *attempt) (*http.Response, error) {
					switch {
					case ctx.Err() != nil: // of a transport that hides the end of the context
						t.errorf("%s: attempt %d started after the caller's context was done", s.name, a.n)
					case after == 0:
						cancel()
						start = time.Now()
					case a.n == 1:
						time.AfterFunc(after, cancel)
						start = time.Now()
					}
					if status == 0 {
						return nil, errWire
					}
					return a.sorry(status), nil
				})
				res, err := t.roundTrip(t.wrap(w), req)
				if took := time.Since(start); ctx.Err() != nil && took > after+trialSoon {
					t.fatalf("%s: canceled after %v, the call returned after %v", s.name, after, took)
				}
				if err == nil {
					t.close(res)
				}
				for _, a := range w.seen() {
					if a.refused {
						t.fatalf("%s: attempt %d started after the context was done", s.name, a.n)
					}
				}
			}
		}
	}
}

func hopelessWait(t *trial) {
	for _, s := range []shape{get, chat} {
		for _, status := range []int{503, 429} {
			req, _ := s.request(t.timeout(5 * time.Second))
			w := t.wire(func(a *attempt) (*http.Response, error) {
				res := a.sorry(status)
				res.Header.Set("Retry-After", "3600")
				return res, nil
			})
			start := time.Now()
			res := t.response(t.wrap(w), req)
			if took := time.Since(start); took > trialSoon {
				t.fatalf("%s: a %d with Retry-After: 3600 and 5 s left was returned after %v, want at once", s.name, status, took)
			}
			if res.StatusCode != status {
				t.fatalf("%s: RoundTrip = %s, want %d", s.name, res.Status, status)
			}
			t.finish(res)
		}
	}
}

func hostileRetryAfter(t *trial) {
	for _, value := range []string{
		"", "-1", "0", "86400", "2147483647", "1e10", "-1e10", "NaN", "Inf", "0x7fffffff", "1.5", "9223372036854775807", "9223372036854775808",
		"99999999999999999999999999", "9223372037", "18446744073709551615", "garbage", "\x00", "1, 2", " 1", "１",
		"Fri, 31 Dec 9999 23:59:59 GMT", "Thu, 01 Jan 1970 00:00:00 GMT", "Fri, 31 Feb 2000 00:00:00 GMT",
		"Mon, 01 Jan 0000 00:00:00 GMT",
	} {
		for _, status := range []int{503, 429} {
			req, _ := chat.request(t.timeout(time.Hour))
			w := t.wire(func(a *attempt) (*http.Response, error) {
				if a.n > 1 {
					return a.ok(), nil
				}
				res := a.sorry(status)
				for _, key := range []string{"Retry-After", "Retry-After-Ms", "X-Ms-Retry-After-Ms", "X-Ratelimit-Reset-Requests"} {
					res.Header.Set(key, value)
				}
				return res, nil
			})
			res, err, fault := t.exchangeWithin(time.Hour+trialSoon, t.wrap(w), req)
			if fault != nil {
				t.fatalf("Retry-After: %q with a %d: %w", value, status, fault)
			}
			if err == nil {
				t.read(res)
				t.close(res)
			}
		}
	}
}
