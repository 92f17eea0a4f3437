package snubber_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

// reluctant is a store whose Delete and Commit call a function first.
type reluctant struct {
	recorder
	del, commit func() error // set before use
	ill         atomic.Bool  // call them
}

type reluctantWriter struct {
	snubber.CacheWriter
	r *reluctant
}

func (r *reluctant) Delete(ctx context.Context, key string) error {
	if r.del != nil && r.ill.Load() {
		if err := r.del(); err != nil {
			return err
		}
	}
	return r.recorder.Delete(ctx, key)
}

func (r *reluctant) Put(ctx context.Context, key string, ttl time.Duration) (snubber.CacheWriter, error) {
	w, err := r.recorder.Put(ctx, key, ttl)
	return &reluctantWriter{w, r}, err
}

func (w *reluctantWriter) Commit() error {
	if w.r.commit != nil && w.r.ill.Load() {
		if err := w.r.commit(); err != nil {
			return err
		}
	}
	return w.CacheWriter.Commit()
}

// An entry that a change has made outdated is not used after it, even if the store
// did not delete it. It is deleted when it is found again.
func TestCacheStoreDeleteFails(t *testing.T) {
	failed := errors.New("failed")
	for name, trouble := range map[string]func(t *testing.T, rt *snubber.Transport, s *reluctant){
		"Delete fails": func(_ *testing.T, _ *snubber.Transport, s *reluctant) {
			s.del = func() error { return failed }
		},
		"Delete hangs": func(_ *testing.T, _ *snubber.Transport, s *reluctant) {
			s.del = func() error { time.Sleep(time.Hour); return failed }
		},
		"the store is left alone": func(t *testing.T, rt *snubber.Transport, s *reluctant) {
			s.recorder.get = func(context.Context) error {
				if s.ill.Load() {
					time.Sleep(time.Second)
				}
				return nil
			}
			served(t, rt, wiretest.NewRequest(t, "GET", wiretest.PageURL+"/other", ""))
		},
	} {
		for what, page := range map[string]func(string) wiretest.Step{
			"a page":    func(body string) wiretest.Step { return wiretest.Page(body) },
			"a variant": func(body string) wiretest.Step { return wiretest.Page(body, "Vary", "Accept") },
		} {
			t.Run(name+"/"+what, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := &reluctant{}
					base := wiretest.Play(page("old"))
					rt := stored(base, s)
					served(t, rt, wiretest.GetPage(t))
					base.Steps = append(base.Steps, wiretest.Step{})
					if name == "the store is left alone" {
						base.Steps = []wiretest.Step{page("old"), page("other"), {}}
					}
					s.ill.Store(true)
					trouble(t, rt, s)
					served(t, rt, wiretest.NewRequest(t, "PUT", wiretest.PageURL, "new"))
					s.ill.Store(false)
					time.Sleep(2 * time.Second)
					base.Steps = append(base.Steps, page("new"))
					before := len(s.m)
					if body, how := served(t, rt, wiretest.GetPage(t)); body != "new" || how != "miss" {
						t.Errorf("after the change a %s of %q", how, body)
					}
					if body, how := served(t, rt, wiretest.GetPage(t)); body != "new" || how != "hit" {
						t.Errorf("then a %s of %q", how, body)
					}
					if what == "a page" && len(s.m) != before {
						t.Errorf("%d entries, want %d", len(s.m), before)
					}
					time.Sleep(2 * time.Hour) // for calls that hang
				})
			})
		}
	}
}

// An outdated entry stays in the store no longer than it must.
func TestCacheStoreDeleteLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &reluctant{del: func() error { return errors.New("failed") }}
		rt := stored(wiretest.Play(wiretest.Page("old"), wiretest.Step{}, wiretest.Step{Body: "new", Header: wiretest.Header("Cache-Control", "no-store")}), s)
		served(t, rt, wiretest.GetPage(t))
		s.ill.Store(true)
		served(t, rt, wiretest.NewRequest(t, "PUT", wiretest.PageURL, "new"))
		s.ill.Store(false)
		if body, _ := served(t, rt, wiretest.GetPage(t)); body != "new" || len(s.m) > 0 {
			t.Errorf("%q, and %d entries", body, len(s.m))
		}
	})
}

// As long as the store deletes nothing, an entry that it should have deleted stays
// outdated. A later response does not.
func TestCacheStoreDeleteKeepsFailing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &reluctant{del: func() error { return errors.New("failed") }}
		base := wiretest.Play(wiretest.Page("old"), wiretest.Step{}, wiretest.Page("new"))
		rt := stored(base, s)
		served(t, rt, wiretest.GetPage(t))
		s.ill.Store(true)
		served(t, rt, wiretest.NewRequest(t, "PUT", wiretest.PageURL, "new"))
		s.put = func(context.Context) error { return errors.New("failed") }
		for range 3 {
			if body, how := served(t, rt, wiretest.GetPage(t)); body != "new" || how != "miss" {
				t.Errorf("a %s of %q", how, body)
			}
		}
		s.put = nil
		time.Sleep(time.Second)
		served(t, rt, wiretest.GetPage(t))
		if body, how := served(t, rt, wiretest.GetPage(t)); body != "new" || how != "hit" {
			t.Errorf("when it is stored a %s of %q", how, body)
		}
	})
}

// An entry that the store commits after its call was abandoned is deleted, because
// the resource may have changed. It is not used even while the store deletes it, or
// if it does not.
func TestCacheStoreCommitTooLate(t *testing.T) {
	for name, del := range map[string]func() error{
		"at once": nil,
		"slowly":  func() error { time.Sleep(10 * time.Second); return nil },
		"not":     func() error { return errors.New("failed") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &reluctant{commit: func() error { time.Sleep(10 * time.Second); return nil }, del: del}
				s.ill.Store(true)
				base := wiretest.Play(wiretest.Page("old"), wiretest.Step{}, wiretest.Page("new"))
				rt := stored(base, s)
				served(t, rt, wiretest.GetPage(t))
				s.ill.Store(false)
				time.Sleep(5 * time.Second)
				served(t, rt, wiretest.NewRequest(t, "PUT", wiretest.PageURL, "new"))
				s.ill.Store(true)
				time.Sleep(6 * time.Second) // since then it is committed
				if body, how := served(t, rt, wiretest.GetPage(t)); body != "new" {
					t.Errorf("a %s of %q", how, body)
				}
				time.Sleep(time.Hour) // for calls that hang
			})
		})
	}
}

// If a new response cannot be stored, the entry that it would have replaced is not
// used any more.
func TestCacheStorePutFails(t *testing.T) {
	failed := errors.New("failed")
	for name, trouble := range map[string]func(s *reluctant){
		"Put fails":    func(s *reluctant) { s.put = func(context.Context) error { return failed } },
		"Put hangs":    func(s *reluctant) { s.put = func(context.Context) error { time.Sleep(time.Hour); return failed } },
		"Commit fails": func(s *reluctant) { s.commit = func() error { return failed } },
		"nothing works": func(s *reluctant) {
			s.put = func(context.Context) error { return failed }
			s.del = func() error { return failed }
		},
	} {
		for _, vary := range []string{"", "Accept"} {
			t.Run(name+"/"+vary, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := &reluctant{}
					rt := stored(wiretest.Play(wiretest.Page("old", "Vary", vary), wiretest.Page("new", "Vary", vary), wiretest.Page("newer", "Vary", vary)), s)
					served(t, rt, wiretest.GetPage(t))
					s.ill.Store(true)
					trouble(s)
					served(t, rt, wiretest.GetPage(t, "Cache-Control", "no-cache"))
					time.Sleep(2 * time.Second) // the store is no longer left alone
					if body, how := served(t, rt, wiretest.GetPage(t)); body != "newer" || how != "miss" {
						t.Errorf("a %s of %q", how, body)
					}
					time.Sleep(2 * time.Hour) // for calls that hang
				})
			})
		}
	}
}

// The same is true if the new response is larger than the memory.
func TestCacheMaxBytesNoOlderResponse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		large := strings.Repeat("x", 3900)
		rt := caching(wiretest.Play(wiretest.Page("old"), wiretest.Page(large), wiretest.Page("newer")))
		rt.Cache.MaxBytes, rt.Cache.MaxEntryBytes = 4000, -1
		served(t, rt, wiretest.GetPage(t))
		if body, how := served(t, rt, wiretest.GetPage(t)); body != "old" || how != "hit" {
			t.Errorf("a %s of %q", how, body)
		}
		served(t, rt, wiretest.GetPage(t, "Cache-Control", "no-cache"))
		if body, how := served(t, rt, wiretest.GetPage(t)); body != "newer" || how != "miss" {
			t.Errorf("then a %s of %q", how, body)
		}
	})
}

// A large entry that was validated and cannot be written again stays as it was, so
// that it is not fetched again.
func TestCacheStoreFullAfterValidation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body := wiretest.Noise(300_000)
		s := &recorder{}
		base := wiretest.Play(wiretest.Page(body, "Etag", `"1"`), wiretest.Step{Status: 304, Header: wiretest.Header("Etag", `"1"`)})
		rt := stored(base, s)
		served(t, rt, wiretest.GetPage(t))
		s.put = func(context.Context) error { return errors.New("full") }
		for range 3 {
			time.Sleep(2 * time.Minute)
			if got, how := served(t, rt, wiretest.GetPage(t)); got != body || how != "revalidated" {
				t.Errorf("a %s of %d bytes", how, len(got))
			}
		}
	})
}
