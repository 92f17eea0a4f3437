package httpcache

import (
	"bytes"
	"io"
	"net/http"
	"runtime"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

// heap is what is in use.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Bodies that come byte by byte take no more than twice what is allowed: while a
// reader is behind, and when they are stored.
func TestCacheSmallPieces(t *testing.T) {
	const maxEntry, maxAll = 128 << 10, 1 << 20
	for _, contentType := range []string{"application/json", "text/event-stream"} {
		t.Run(contentType, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				body := bytes.Repeat([]byte("0123456789abcdef"), 4<<10) // 64 KiB
				tr := newTransport(t, Config{MaxBytes: maxAll, MaxEntryBytes: maxEntry}, func(*http.Request) (*http.Response, error) {
					return response(200, iotest.OneByteReader(bytes.NewReader(body)), "Cache-Control", "max-age=60", "Content-Type", contentType), nil
				})
				before := heap()
				res, _, err := tr.do(request(t.Context(), "GET", "/a"))
				if err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if n := heap() - before; n > 2*maxEntry+128<<10 {
					t.Errorf("a reader that is behind takes %d bytes, want at most %d", n, 2*maxEntry)
				}
				got, err := io.ReadAll(res.Body)
				if err != nil || !bytes.Equal(got, body) {
					t.Errorf("read %d bytes, %v, want the body", len(got), err)
				}
				res.Body.Close()
				got = nil
				for i := range 30 {
					res, _, err := tr.do(request(t.Context(), "GET", "/b"+string(rune('a'+i))))
					if err != nil {
						t.Fatal(err)
					}
					io.Copy(io.Discard, res.Body)
					res.Body.Close()
				}
				time.Sleep(time.Second) // the flights end
				tr.exchanges = nil      // which know them
				if n := heap() - before; n > 2*maxAll {
					t.Errorf("the stored bodies take %d bytes, want at most %d", n, 2*maxAll)
				}
				runtime.KeepAlive(tr)
			})
		})
	}
}

// Pieces of a document are merged, those of a stream are what they were.
func TestCacheChunksOfAStream(t *testing.T) {
	for contentType, want := range map[string]int{"application/json": 4, "text/event-stream": 8} { // 1, 1, 2, 4 bytes
		tr := newTransport(t, Config{}, func(*http.Request) (*http.Response, error) {
			return response(200, iotest.OneByteReader(bytes.NewReader([]byte("01234567"))), "Cache-Control", "max-age=60", "Content-Type", contentType), nil
		})
		tr.get()
		res, c, err := tr.do(request(t.Context(), "GET", "/a"))
		if err != nil || c.status != statusHit {
			t.Fatalf("the second is a %s, %v, want a hit", c.status, err)
		}
		n := 0
		for buf := make([]byte, 64); ; n++ {
			if _, err := res.Body.Read(buf); err != nil {
				break
			}
		}
		if n != want {
			t.Errorf("%s: %d reads, want %d", contentType, n, want)
		}
	}
}
