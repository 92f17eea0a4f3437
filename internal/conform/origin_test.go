package conform_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// server is the origin. It writes its answers byte for byte, because a proper
// server would put right what a cache must cope with.
type server struct {
	steps []step

	mu     sync.Mutex
	asks   []ask
	lost   []string
	gave   map[int]http.Header
	bare   map[int]bool // the answers that were 304s
	latest http.Header  // of the last answer that was not a 304
}

// ask is a request as the origin got it.
type ask struct {
	step   int
	method string
	http.Header
}

func (a ask) String() string { return fmt.Sprintf("%s %v", a.method, a.Header) }

func (o *server) dial(context.Context, string, string) (net.Conn, error) {
	near, far := net.Pipe()
	go o.serve(far)
	return near, nil
}

func (o *server) serve(conn net.Conn) {
	defer conn.Close()
	req, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		return
	}
	if req.Header.Get("Expect") == "" {
		io.Copy(io.Discard, req.Body)
	}
	n, err := strconv.Atoi(req.Header.Get("Step"))
	if err != nil || n >= len(o.steps) {
		o.mu.Lock()
		o.lost = append(o.lost, fmt.Sprintf("a request of no step: %v", req.Header))
		o.mu.Unlock()
		return
	}
	o.mu.Lock()
	o.asks = append(o.asks, ask{n, req.Method, req.Header})
	o.mu.Unlock()
	time.Sleep(o.steps[n].slow)
	if o.steps[n].cut {
		return
	}
	io.WriteString(conn, o.answer(n, req))
}

// answer is the text of an answer.
func (o *server) answer(n int, req *http.Request) string {
	s := &o.steps[n]
	status, give := s.code0(), s.give
	if status == http.StatusNotModified && req.Header.Get("If-None-Match") == "" && req.Header.Get("If-Modified-Since") == "" {
		status = http.StatusOK
	}
	var b strings.Builder
	if s.early != nil {
		fmt.Fprintf(&b, "HTTP/1.1 103 Early Hints\r\n")
		for i := 0; i < len(s.early); i += 2 {
			fmt.Fprintf(&b, "%s: %s\r\n", s.early[i], s.early[i+1])
		}
		b.WriteString("\r\n")
	}
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\nOrigin-Step: %d\r\n", status, http.StatusText(status), n)
	h := http.Header{}
	for i := 0; i < len(give); i += 2 {
		value := o.expand(give[i+1])
		h.Add(give[i], value)
		fmt.Fprintf(&b, "%s: %s\r\n", give[i], value)
	}
	if h.Get("Date") == "" && !s.noDate {
		h.Set("Date", time.Now().UTC().Format(http.TimeFormat))
		fmt.Fprintf(&b, "Date: %s\r\n", h.Get("Date"))
	}
	body := s.answer(n)
	none := req.Method == "HEAD" || status == http.StatusNoContent || status == http.StatusNotModified
	switch {
	case s.chunked:
		fmt.Fprintf(&b, "Transfer-Encoding: chunked\r\n")
	case s.open:
		fmt.Fprintf(&b, "Connection: close\r\n")
	case h.Get("Content-Length") == "" && status != http.StatusNoContent && status != http.StatusNotModified:
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(body))
	}
	b.WriteString("\r\n")
	switch {
	case none:
	case s.chunked:
		half := len(body) / 2
		fmt.Fprintf(&b, "%x\r\n%s\r\n", half, body[:half])
		if s.short {
			break
		}
		fmt.Fprintf(&b, "%x\r\n%s\r\n0\r\n", len(body)-half, body[half:])
		for i := 0; i < len(s.trailer); i += 2 {
			fmt.Fprintf(&b, "%s: %s\r\n", s.trailer[i], s.trailer[i+1])
		}
		b.WriteString("\r\n")
	case s.short:
		b.WriteString(body[:len(body)/2])
	default:
		b.WriteString(body)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.gave == nil {
		o.gave, o.bare = make(map[int]http.Header), make(map[int]bool)
	}
	o.gave[n], o.bare[n] = h, status == http.StatusNotModified
	if status != http.StatusNotModified {
		o.latest = h
	}
	return b.String()
}

// expand puts the times into a value. {-60} is a minute ago in the preferred
// form; {-60|layout} in another; {-60|lower} and so on in another case.
func (o *server) expand(value string) string {
	for {
		before, rest, ok := strings.Cut(value, "{")
		if !ok {
			return value
		}
		mark, after, _ := strings.Cut(rest, "}")
		secs, layout, _ := strings.Cut(mark, "|")
		n, err := strconv.ParseInt(secs, 10, 64)
		if err != nil {
			panic("conform: " + value)
		}
		t := time.Now().UTC().Add(time.Duration(n) * time.Second)
		text := t.Format(http.TimeFormat)
		switch layout {
		case "":
		case "month":
			text = strings.Replace(text, t.Format("Jan"), strings.ToLower(t.Format("Jan")), 1)
		case "weekday":
			text = strings.Replace(text, t.Format("Mon"), strings.ToUpper(t.Format("Mon")), 1)
		case "zone":
			text = strings.Replace(text, "GMT", "gmt", 1)
		default:
			text = t.Format(layout)
		}
		value = before + text + after
	}
}

// asked are the requests that a step brought to the origin.
func (o *server) asked(n int) (asks []ask) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, a := range o.asks {
		if a.step == n {
			asks = append(asks, a)
		}
	}
	return asks
}

// given are the lines of a field in the answer to a step.
func (o *server) given(n int, name string) []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.gave[n].Values(name)
}

// full is the last step up to n that brought a body.
func (o *server) full(n int) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	for n > 0 && (o.gave[n] == nil || o.bare[n]) {
		n--
	}
	return n
}

// tag and modified are the validators of the last answer.
func (o *server) tag() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.latest.Get("ETag")
}

func (o *server) modified() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.latest.Get("Last-Modified")
}

func (o *server) faults() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.lost
}
