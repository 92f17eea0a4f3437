// Command firstbyte measures the time to the first content byte of a stream on
// loopback, bare and through snubber.New. The two run in pairs, one after the other, so
// that a busy machine slows both.
//
//	go run ./bench/firstbyte
package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"time"

	"github.com/seed-9e4f5248/snubber"
)

const (
	role    = "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n"
	content = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"first\"}}]}\n\n"
	end     = "data: [DONE]\n\n"
)

func main() {
	pairs := flag.Int("pairs", 2000, "`number` of pairs")
	flag.Parse()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		for _, event := range []string{role, content, end} {
			io.WriteString(w, event)
			http.NewResponseController(w).Flush()
		}
	}))
	defer srv.Close()

	transports := [2]http.RoundTripper{http.DefaultTransport, snubber.New(nil)}
	var taken [2][]time.Duration
	var added []time.Duration
	for i := range *pairs + *pairs/10 {
		var pair [2]time.Duration
		for j := range pair {
			j = (i + j) % 2 // neither always goes first
			d, err := first(transports[j], srv.URL)
			if err != nil {
				log.Fatal(err)
			}
			pair[j] = d
		}
		if i < *pairs/10 {
			continue // warm-up
		}
		for j, d := range pair {
			taken[j] = append(taken[j], d)
		}
		added = append(added, pair[1]-pair[0])
	}
	bare, through := median(taken[0]), median(taken[1])
	fmt.Printf("first content byte, median of %d: bare %v, snubber %v, added in a pair %v (goal: at most %v)\n",
		*pairs, bare, through, median(added), bare/10+100*time.Microsecond)
}

var body = []byte(`{"model":"m","stream":true,"messages":[{"role":"user","content":"` + strings.Repeat("word ", 400) + `"}]}`)

// first makes a call and reads it to its end. The time is up to the first content.
func first(rt http.RoundTripper, url string) (took time.Duration, err error) {
	req, err := http.NewRequest(http.MethodPost, url+"/v1/chat/completions", bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	start := time.Now()
	res, err := rt.RoundTrip(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	var got []byte
	p := make([]byte, 4<<10)
	for {
		n, err := res.Body.Read(p)
		got = append(got, p[:n]...)
		if took == 0 && bytes.Contains(got, []byte("first")) {
			took = time.Since(start)
		}
		if err == io.EOF {
			return took, nil
		}
		if err != nil {
			return 0, err
		}
	}
}

func median(ds []time.Duration) time.Duration {
	ds = slices.Sorted(slices.Values(ds))
	return ds[len(ds)/2]
}
