package snubbertest

import (
	"context"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
)

// NewServer starts a server with the provider. Closing the server also ends calls that
// hang because of a fault. The Close of a plain [httptest.NewServer] would wait until
// their clients give up.
func NewServer(p *Provider) *httptest.Server {
	ctx, cancel := context.WithCancel(context.Background())
	s := httptest.NewUnstartedServer(p)
	s.Listener = &listener{s.Listener, cancel}
	s.Config.BaseContext = func(net.Listener) context.Context { return ctx }
	s.Start()
	return s
}

// listener ends its server's calls when it is closed.
type listener struct {
	net.Listener
	cancel context.CancelFunc
}

func (l *listener) Close() error {
	l.cancel()
	return l.Listener.Close()
}

// ServeHTTP answers a request on a real connection. A fault that breaks the connection
// hijacks it. Where that is not possible, as with HTTP/2, ServeHTTP panics with
// [http.ErrAbortHandler].
func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s := &socket{w, http.NewResponseController(w)}
	body, oversized, err := readBody(r.Body)
	if err != nil {
		s.cut(err)
		return
	}
	c := newCall(r.Method, r.URL.Path, r.URL.RawQuery, r.Header, body)
	p.arrive(c, oversized)
	p.serve(r.Context(), s, c)
}

// socket is the wire of a call on a connection. It does not look at errors of
// sending: a connection that fails ends the call's context.
type socket struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

func (s *socket) head(status int, h http.Header, length int64) {
	maps.Copy(s.w.Header(), h)
	if length >= 0 {
		s.w.Header().Set("Content-Length", strconv.FormatInt(length, 10))
	}
	s.w.WriteHeader(status)
	if length < 0 {
		s.control.Flush()
	}
}

func (s *socket) send(piece []byte) {
	s.w.Write(piece)
	s.control.Flush()
}

func (s *socket) close() {}

func (s *socket) cut(error) {
	conn, _, err := s.control.Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if t, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = t.NetConn() // under TLS, whose Close would say goodbye
	}
	// Without lingering the close is a reset and not an orderly end, which a
	// client may take for the end of the body.
	if t, ok := conn.(*net.TCPConn); ok {
		t.SetLinger(0)
	}
	conn.Close()
}
