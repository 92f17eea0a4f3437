package snubber_test

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/cachetest"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

func TestDiskStoreContract(t *testing.T) {
	cachetest.Run(t, func(t *testing.T) snubber.CacheStore { return &snubber.DiskStore{Dir: t.TempDir()} })
}

// Zero bytes are 256 MiB, a negative number no bound.
func TestDiskStoreMaxBytes(t *testing.T) {
	for _, tt := range []struct {
		max  int64
		fits bool
	}{{0, true}, {-1, true}, {8 << 10, false}, {16 << 10, true}} {
		s := &snubber.DiskStore{Dir: t.TempDir(), MaxBytes: tt.max}
		w, err := s.Put(t.Context(), "k", time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		_, err = w.Write(make([]byte, 10_000))
		if (err == nil) != tt.fits {
			t.Errorf("MaxBytes %d: Write of 10 000 bytes = %v, want it to fit: %v", tt.max, err, tt.fits)
		}
		w.Abort()
	}
	if w, err := new(snubber.DiskStore).Put(t.Context(), "k", time.Hour); err == nil || w != nil {
		t.Errorf("Put without a Dir = %v, %v, want no writer and an error", w, err)
	}
}

// files are the names and sizes of what is in a directory.
func files(t *testing.T, dir string) map[string]int64 {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]int64{}
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			m[e.Name()] = info.Size()
		}
	}
	return m
}

const diskAnswer = `{"id":"chatcmpl-1","object":"chat.completion","model":"gpt-4o","choices":[{"index":0,"message":{"role":"assistant","content":"the answer"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}`

// onDisk is a transport of a process that keeps its answers in a directory. The
// tests have it in a bubble of synctest, where time stands still while a disk is
// busy: on the real clock a slow one would be left alone for a while.
func onDisk(base http.RoundTripper, dir, secret string) *snubber.Transport {
	return &snubber.Transport{Base: base, Cache: &snubber.Cache{
		Store:     &snubber.DiskStore{Dir: dir},
		Secret:    []byte(strings.Repeat(secret, 32)),
		PromptTTL: time.Hour,
	}}
}

// askDisk sends a prompt and returns the cache's status.
func askDisk(t *testing.T, tr *snubber.Transport, prompt string) string {
	t.Helper()
	res, err := tr.RoundTrip(wiretest.NewRequest(t, "POST", "https://api.openai.com/v1/chat/completions",
		fmt.Sprintf(`{"model":"gpt-4o","messages":[{"role":"user","content":%q}]}`, prompt), "Authorization", "Bearer sk-credential"))
	if err != nil {
		t.Fatal(err)
	}
	if body := wiretest.ReadAll(t, res); body != diskAnswer {
		t.Fatalf("the answer is %q, want %q", body, diskAnswer)
	}
	return string(snubber.ReportOf(res).Load().Cache)
}

func answering() *wiretest.Script {
	return wiretest.Play(wiretest.Step{Header: wiretest.Header("Content-Type", "application/json"), Body: diskAnswer})
}

func TestCacheDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, base := t.TempDir(), answering()
		if got := askDisk(t, onDisk(base, dir, "s"), "a question"); got != "miss" {
			t.Errorf("the first process has a %s", got)
		}
		for range 2 {
			if got := askDisk(t, onDisk(base, dir, "s"), "a question"); got != "hit" {
				t.Errorf("the next process has a %s", got)
			}
		}
		if got := askDisk(t, onDisk(base, dir, "x"), "a question"); got != "miss" {
			t.Errorf("a process with another secret has a %s", got)
		}
		if base.Sent() != 2 {
			t.Errorf("%d calls, want 2", base.Sent())
		}
		for name := range files(t, dir) {
			data, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			for _, secret := range []string{"question", "answer", "credential", "openai", "gpt-4o"} {
				if bytes.Contains(data, []byte(secret)) || strings.Contains(name, secret) {
					t.Errorf("%q is in the file %s", secret, name)
				}
			}
		}
	})
}

// Whatever happens to a file, its response is right or is a miss.
func TestCacheDiskDamaged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, base := t.TempDir(), answering()
		tr := onDisk(base, dir, "s")
		askDisk(t, tr, "one")
		path := filepath.Join(dir, slices.Collect(maps.Keys(files(t, dir)))[0])
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		damaged := func(what string, data []byte) {
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			if got := askDisk(t, tr, "one"); got != "miss" {
				t.Errorf("%s: a %s", what, got)
			}
		}
		for i := range whole {
			damaged(fmt.Sprintf("cut after %d bytes", i), whole[:i])
			if i >= 8 && i < 16 { // when it expires, for the store alone: the cache has its own time inside
				continue
			}
			data := bytes.Clone(whole)
			data[i] ^= 0x10
			damaged(fmt.Sprintf("byte %d is another", i), data)
		}
		damaged("a byte more", append(bytes.Clone(whole), 0))
		forever := bytes.Clone(whole)
		forever[8] = 0x7f
		if err := os.WriteFile(path, forever, 0o600); err != nil {
			t.Fatal(err)
		}
		if got := askDisk(t, tr, "one"); got != "hit" {
			t.Errorf("whole again: a %s", got)
		}

		// Two answers that are both genuine, each in the other's place.
		askDisk(t, tr, "two")
		both := slices.Collect(maps.Keys(files(t, dir)))
		if len(both) != 2 {
			t.Fatalf("%d files, want 2", len(both))
		}
		a, b, spare := filepath.Join(dir, both[0]), filepath.Join(dir, both[1]), filepath.Join(dir, "spare")
		for _, move := range [][2]string{{a, spare}, {b, a}, {spare, b}} {
			if err := os.Rename(move[0], move[1]); err != nil {
				t.Fatal(err)
			}
		}
		for _, prompt := range []string{"one", "two"} {
			if got := askDisk(t, tr, prompt); got != "miss" {
				t.Errorf("%s, in whose place another is: a %s", prompt, got)
			}
			if got := askDisk(t, tr, prompt); got != "hit" {
				t.Errorf("%s, asked again: a %s", prompt, got)
			}
		}
	})
}

// A directory that cannot be used costs calls and nothing else.
func TestCacheDiskUnwritable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := answering()
		tr := onDisk(base, filepath.Join(os.DevNull, "dir"), "s")
		for range 3 {
			if got := askDisk(t, tr, "a question"); got != "miss" {
				t.Errorf("a %s", got)
			}
		}
		if base.Sent() != 3 {
			t.Errorf("%d calls, want 3", base.Sent())
		}
	})
}
