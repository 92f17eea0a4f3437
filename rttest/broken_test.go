package rttest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"sync"
	"testing/synctest"
	"time"
)

// broken has a transport, or several, for each rule that it breaks.
var broken = []struct {
	rule string
	says string // part of the error, to show that it is the right one
	wrap func(http.RoundTripper) http.RoundTripper
}{
	// The Waits let the suite's own look at the request end first. Without them the
	// race detector, which is there for it, would fail this test.
	{"request-untouched", `"X-Request-Id" was added`, func(base http.RoundTripper) http.RoundTripper {
		return does(func(req *http.Request) (*http.Response, error) {
			synctest.Wait()
			req.Header.Set("X-Request-Id", "1")
			return base.RoundTrip(req)
		})
	}},
	{"request-untouched", "during attempt 1: field Body was replaced", func(base http.RoundTripper) http.RoundTripper {
		return does(func(req *http.Request) (*http.Response, error) {
			synctest.Wait()
			was := req.Body
			if was != nil {
				req.Body = io.NopCloser(was)
			}
			res, err := base.RoundTrip(req)
			synctest.Wait()
			req.Body = was
			return res, err
		})
	}},
	{"request-untouched", `"X-Spare" is ["a" "b"]`, func(base http.RoundTripper) http.RoundTripper {
		return does(func(req *http.Request) (*http.Response, error) {
			synctest.Wait()
			own := req.WithContext(req.Context())
			own.Header = maps.Clone(req.Header)
			own.Header.Add("X-Spare", "b")
			return base.RoundTrip(own)
		})
	}},
	{"request-untouched", "after RoundTrip: URL became", func(base http.RoundTripper) http.RoundTripper {
		return does(func(req *http.Request) (*http.Response, error) {
			res, err := base.RoundTrip(req)
			synctest.Wait()
			req.URL.Host = "elsewhere.example.com"
			return res, err
		})
	}},
	{"request-arrives", "Host = , want tenant.example.com", before(func(r *http.Request) { r.Host = "" })},
	{"request-arrives", "Close = false", before(func(r *http.Request) { r.Close = false })},
	{"request-arrives", "TransferEncoding = []", before(func(r *http.Request) { r.TransferEncoding = nil })},
	{"request-arrives", `header "Date" = [] (there: false)`, before(func(r *http.Request) {
		r.Header = r.Header.Clone()
		maps.DeleteFunc(r.Header, func(_ string, v []string) bool { return v == nil })
	})},
	{"request-trailer", `X-Sum: ""`, before(func(r *http.Request) { *r = *r.Clone(r.Context()) })},
	{"request-body-closed", "context done before: 1 of 1 bodies not closed", func(base http.RoundTripper) http.RoundTripper {
		return does(func(req *http.Request) (*http.Response, error) {
			if err := req.Context().Err(); err != nil {
				return nil, err
			}
			return base.RoundTrip(req)
		})
	}},
	{"request-body-closed", "success: 1 of 2 bodies not closed", before(func(r *http.Request) {
		if r.GetBody != nil {
			r.Body, _ = r.GetBody()
		}
	})},
	{"request-body-error", "as if they were all", before(func(r *http.Request) {
		if r.Body != nil {
			data, _ := io.ReadAll(r.Body)
			r.Body.Close()
			r.Body = io.NopCloser(bytes.NewReader(data))
		}
	})},
	{"malformed-request", "nil pointer", before(func(r *http.Request) { _ = r.URL.Host })},
	{"context-values", "value <nil>", before(func(r *http.Request) { *r = *r.WithContext(context.Background()) })},
	{"same-bytes", `reading the body of attempt 2`, retrying(retry{reuseBody: true})},
	{"same-bytes", "has ContentLength 0", before(func(r *http.Request) { r.ContentLength = 0 })},
	{"same-bytes", `sent "" (0 bytes), want`, before(func(r *http.Request) { r.Body = http.NoBody })},
	{"bodies-not-shared", "while attempt 1 still read its own", retrying(retry{seekBody: true})},
	{"getbody-error", `attempt 2 sent ""`, retrying(retry{ignoreGetBody: true})},
	{"failed-attempt-closed", "number 1, is open", retrying(retry{closeLate: true})},
	{"no-attempt-after-done", "the call returned after", retrying(retry{sleep: true})},
	{"no-attempt-after-done", "started after the caller's context was done", func(base http.RoundTripper) http.RoundTripper {
		return does(func(req *http.Request) (res *http.Response, err error) {
			for range 2 {
				own := req.WithContext(context.WithoutCancel(req.Context()))
				res, err = base.RoundTrip(own)
			}
			return res, err
		})
	}},
	{"hopeless-wait", "context deadline exceeded", retrying(retry{patient: true})},
	{"hostile-retry-after", "not done after 1h0m0.1s", retrying(retry{patient: true, sleep: true})},
	{"hostile-retry-after", "panic: no such date", after(func(res *http.Response, err error) (*http.Response, error) {
		if err == nil && res.Header.Get("Retry-After") == "garbage" {
			panic("no such date")
		}
		return res, err
	})},
	{"response-or-error", "both a response (503", after(func(res *http.Response, err error) (*http.Response, error) {
		if err == nil && res.StatusCode == 503 {
			err = errors.New("unavailable")
		}
		return res, err
	})},
	{"response-or-error", "neither", after(func(res *http.Response, _ error) (*http.Response, error) { return res, nil })},
	{"body-not-nil", "(204 No Content) with a nil Body", after(func(res *http.Response, err error) (*http.Response, error) {
		if err == nil && res.StatusCode == 204 {
			res.Body = nil
		}
		return res, err
	})},
	{"last-response", "giving up after 4 attempts", retrying(retry{giveUp: true})},
	{"last-response", "trailer X-Sum = ", after(func(res *http.Response, err error) (*http.Response, error) {
		if err == nil {
			own := *res
			own.Trailer = res.Trailer.Clone()
			return &own, nil
		}
		return nil, err
	})},
	{"last-response", "ContentLength = -1, want", after(func(res *http.Response, err error) (*http.Response, error) {
		if err == nil {
			res.ContentLength = -1
		}
		return res, err
	})},
	{"last-response", `header "x-lower-case" = []`, after(func(res *http.Response, err error) (*http.Response, error) {
		if err == nil {
			delete(res.Header, "x-lower-case")
		}
		return res, err
	})},
	{"base-error", "want the error of the base in it", after(func(res *http.Response, err error) (*http.Response, error) {
		if err != nil {
			err = fmt.Errorf("request failed: %v", err)
		}
		return res, err
	})},
	{"response-request", "is nil", after(func(res *http.Response, err error) (*http.Response, error) {
		if err == nil {
			res.Request = nil
		}
		return res, err
	})},
	{"redirects-not-followed", "there was an attempt at https://other.example.com/moved", func(base http.RoundTripper) http.RoundTripper {
		return does(func(req *http.Request) (*http.Response, error) {
			client := http.Client{Transport: base}
			return client.Do(req.WithContext(req.Context()))
		})
	}},
	{"cookies-left-alone", `has the cookie ["session=1"]`, func(base http.RoundTripper) http.RoundTripper {
		var jar string
		return does(func(req *http.Request) (*http.Response, error) {
			own := req.WithContext(req.Context())
			if jar != "" {
				own.Header = req.Header.Clone()
				own.Header.Set("Cookie", jar)
			}
			res, err := base.RoundTrip(own)
			if err == nil {
				jar = res.Header.Get("Set-Cookie")
			}
			return res, err
		})
	}},
	{"response-bodies-closed", "is open", retrying(retry{keepOpen: true})},
	{"close-unread", "the base's body is open", around(func(b io.ReadCloser) io.ReadCloser { return io.NopCloser(b) })},
	{"close-unread", "not done after 100ms", around(func(b io.ReadCloser) io.ReadCloser {
		return body{b, func() error {
			io.Copy(io.Discard, b)
			return b.Close()
		}}
	})},
	{"close-twice", "close of closed channel", around(func(b io.ReadCloser) io.ReadCloser {
		done := make(chan struct{})
		return body{b, func() error {
			close(done)
			return b.Close()
		}}
	})},
	{"read-after-close", "want an error", around(func(b io.ReadCloser) io.ReadCloser {
		data, _ := io.ReadAll(b)
		b.Close()
		return io.NopCloser(bytes.NewReader(data))
	})},
	{"verbatim", "arrived as", around(replaced(func(r io.Reader) io.Reader { return io.LimitReader(r, 1<<20) }))},
	{"verbatim", "arrived as 8", around(replaced(func(r io.Reader) io.Reader {
		return reads(func(p []byte) (int, error) {
			n, err := r.Read(p)
			return copy(p, bytes.ReplaceAll(p[:n], []byte("\r\n"), []byte("\n"))), err
		})
	}))},
	{"as-it-arrives", "RoundTrip: not done", around(func(b io.ReadCloser) io.ReadCloser {
		defer b.Close()
		data, _ := io.ReadAll(b)
		return io.NopCloser(bytes.NewReader(data))
	})},
	{"as-it-arrives", "reading piece 1 before the next one is sent: not done", around(replaced(func(r io.Reader) io.Reader {
		return reads(func(p []byte) (int, error) {
			n, err := io.ReadFull(r, p[:min(len(p), 4)])
			if err == nil {
				m, again := r.Read(p[n:])
				n, err = n+m, again
			}
			if err == nil && n == len(p) { // a scanner waits for what comes next
				_, err = r.Read(make([]byte, 1))
			}
			return n, err
		})
	}))},
	{"read-boundaries", "the base's are", around(replaced(func(r io.Reader) io.Reader {
		return reads(func(p []byte) (int, error) {
			n, err := io.ReadFull(r, p)
			if n > 0 {
				err = nil
			}
			return n, err
		})
	}))},
	{"read-boundaries", "the base's are", around(replaced(func(r io.Reader) io.Reader {
		return reads(func(p []byte) (int, error) { return r.Read(p[:min(len(p), 1024)]) })
	}))},
	{"read-error", "want the error of the base", around(replaced(func(r io.Reader) io.Reader {
		return reads(func(p []byte) (int, error) {
			n, err := r.Read(p)
			if err != nil {
				err = io.EOF
			}
			return n, err
		})
	}))},
	{"endless-body", "before RoundTrip returned", retrying(retry{drainAll: true})},
	{"endless-body", "after Close", around(func(b io.ReadCloser) io.ReadCloser {
		return body{b, func() error {
			io.Copy(io.Discard, b)
			return b.Close()
		}}
	})},
	{"trickling-body", "not done after 5m0s", retrying(retry{drainSlowly: true})},
	{"switching-protocols", "no io.Writer", around(func(b io.ReadCloser) io.ReadCloser { return body{b, b.Close} })},
	{"context-outlives-return", "context canceled", func(base http.RoundTripper) http.RoundTripper {
		return does(func(req *http.Request) (*http.Response, error) {
			ctx, cancel := context.WithTimeout(req.Context(), time.Minute)
			defer cancel()
			return base.RoundTrip(req.WithContext(ctx))
		})
	}},
	{"context-released", "the context of attempt 1 is still alive", func(base http.RoundTripper) http.RoundTripper {
		return does(func(req *http.Request) (*http.Response, error) {
			ctx, cancel := context.WithCancel(req.Context())
			_ = cancel
			return base.RoundTrip(req.WithContext(ctx))
		})
	}},
	{"done-before", "an attempt was made", before(func(r *http.Request) { *r = *r.WithContext(context.WithoutCancel(r.Context())) })},
	{"done-before", "not done after 100ms", func(base http.RoundTripper) http.RoundTripper {
		return does(func(req *http.Request) (*http.Response, error) {
			time.Sleep(time.Second)
			return base.RoundTrip(req)
		})
	}},
	{"cancel-in-flight", "not done after 3.1s", before(func(r *http.Request) { *r = *r.WithContext(context.WithoutCancel(r.Context())) })},
	{"cancel-in-flight", "want context.Canceled", after(func(res *http.Response, err error) (*http.Response, error) {
		if errors.Is(err, context.Canceled) {
			err = context.DeadlineExceeded
		}
		return res, err
	})},
	{"cancel-while-reading", "want context.Canceled", around(replaced(func(r io.Reader) io.Reader {
		return reads(func(p []byte) (int, error) {
			n, err := r.Read(p)
			if errors.Is(err, context.Canceled) {
				err = io.ErrUnexpectedEOF
			}
			return n, err
		})
	}))},
	{"deadline", "want context.DeadlineExceeded", after(func(res *http.Response, err error) (*http.Response, error) {
		if errors.Is(err, context.DeadlineExceeded) {
			err = errors.New("timed out")
		}
		return res, err
	})},
	{"deadline", "not done after 5.1s", after(func(res *http.Response, err error) (*http.Response, error) {
		if err != nil {
			time.Sleep(10 * time.Second) // a backoff after the last attempt
		}
		return res, err
	})},
	{"close-idle-connections", "has no method CloseIdleConnections", func(base http.RoundTripper) http.RoundTripper { return does(base.RoundTrip) }},
	{"close-idle-connections", "does not reach the base", func(base http.RoundTripper) http.RoundTripper {
		return pass{does(base.RoundTrip)}
	}},
	// Requests that are under way to the same path share an answer.
	{"concurrent-use", "of 16 callers: 200 OK with", func(base http.RoundTripper) http.RoundTripper {
		type flight struct {
			done chan struct{}
			res  http.Response
			data []byte
			err  error
		}
		var mu sync.Mutex
		flights := map[string]*flight{}
		return does(func(req *http.Request) (*http.Response, error) {
			mu.Lock()
			f := flights[req.URL.Path]
			first := f == nil
			if first {
				f = &flight{done: make(chan struct{})}
				flights[req.URL.Path] = f
			}
			mu.Unlock()
			if first {
				var res *http.Response
				if res, f.err = base.RoundTrip(req); f.err == nil {
					f.res = *res
					f.data, f.err = io.ReadAll(res.Body)
					res.Body.Close()
				}
				mu.Lock()
				delete(flights, req.URL.Path)
				mu.Unlock()
				close(f.done)
			} else if req.Body != nil {
				req.Body.Close()
			}
			<-f.done
			if f.err != nil {
				return nil, f.err
			}
			res := f.res
			res.Body = io.NopCloser(bytes.NewReader(f.data))
			return &res, nil
		})
	}},
	{"base-panic", "was swallowed", func(base http.RoundTripper) http.RoundTripper {
		return does(func(req *http.Request) (res *http.Response, err error) {
			defer func() {
				if r := recover(); r != nil {
					err = fmt.Errorf("panic: %v", r)
				}
			}()
			return base.RoundTrip(req)
		})
	}},
	{"base-panic", "twenty minutes after", func(base http.RoundTripper) http.RoundTripper {
		permits := make(chan struct{}, 4)
		return does(func(req *http.Request) (*http.Response, error) {
			select {
			case permits <- struct{}{}:
			case <-req.Context().Done():
				return nil, req.Context().Err()
			}
			res, err := base.RoundTrip(req)
			<-permits // without defer
			return res, err
		})
	}},
	{"no-goroutine-left", "goroutines that began in a call are left", func(base http.RoundTripper) http.RoundTripper {
		return does(func(req *http.Request) (*http.Response, error) {
			if done := req.Context().Done(); done != nil {
				go func() { <-done }()
			}
			return base.RoundTrip(req)
		})
	}},
}
