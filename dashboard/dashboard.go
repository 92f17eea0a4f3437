// Package dashboard is a live page that shows what [snubber.Transport] values do, and
// why: which circuit is open and until when, which limit was learned and from what,
// which calls wait, and how many were wasted.
//
//	t := snubber.New(nil)
//	d := dashboard.New(t)
//	t.Observe = d.Observe // or snubber.Observers(d.Observe, …)
//	http.Handle("/debug/snubber/", d)
//
// # Safety
//
// The page has no login: put it behind one, or listen on the loopback only. It only
// shows, unless [Dashboard.AllowTripAndReset] is set. It answers no request for a
// Host that it does not know, so that no other site reaches it through a browser by
// rebinding a name. It holds no credential, prompt or answer: a tenant is the hash of
// its credential. Names of keys and models are as the program and its callers chose
// them.
//
// # Cost
//
// An event is written into rings of a fixed size, under one mutex. It starts no
// goroutine and no timer, and allocates nothing, but for the ring of a key that is
// new. The state of circuits and queues is read only while somebody looks.
//
// # Twins
//
// The page has twins for programs and for curl, in the same order:
//
//	curl localhost:8080/debug/snubber/?format=json
//	curl localhost:8080/debug/snubber/?format=text
//
// Both take key= and kind=, as the page's filters do. Each names the version of its
// form, which is 1. A later version may remove or change fields; within one, fields
// are only added.
package dashboard

import (
	"cmp"
	"crypto/rand"
	_ "embed"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/seed-9e4f5248/snubber"
)

// Version is the version of the form of both twins.
const Version = 1

// Dashboard is the page, an [http.Handler], and the observer that feeds it. Make it
// with [New]. Its fields may be set before the first request. It is safe for
// concurrent use.
type Dashboard struct {
	// AllowTripAndReset lets a viewer open a circuit by hand and close it again, by
	// POST from the page itself. If false, the page only shows. Whoever can reach the
	// page can then stop the program's calls.
	AllowTripAndReset bool
	// Hosts are the host names that the page answers to, without a port, besides
	// localhost and addresses. A name that is in no list may be that of a hostile site
	// which resolves to this machine.
	Hosts []string

	transports []*snubber.Transport
	epoch      string // tells the runs of a program apart
	history    history
	feed       feed

	viewers   viewers
	closeOnce sync.Once
	closed    chan struct{}
}

// New returns a Dashboard of the transports, which may share layers. A nil one is left
// out. It shows what [Dashboard.Observe] hears, and the circuits and queues of the
// transports. A [snubber.Transport] that is a route of another's Fallback is a
// transport of its own here.
func New(transports ...*snubber.Transport) *Dashboard {
	d := &Dashboard{epoch: rand.Text()[:8], closed: make(chan struct{})}
	for _, t := range transports {
		if t != nil {
			d.transports = append(d.transports, t)
		}
	}
	d.history.init(time.Now())
	return d
}

// Observe is for [snubber.Transport].Observe. It does not wait for viewers.
func (d *Dashboard) Observe(e snubber.Event) { d.history.observe(&e) }

// Close ends the streams of all viewers, and later ones end at once. The twins go on
// to answer. Give it to [http.Server.RegisterOnShutdown], because Shutdown waits for
// requests, and that of a viewer does not end by itself.
func (d *Dashboard) Close() { d.closeOnce.Do(func() { close(d.closed) }) }

var (
	//go:embed page/index.html
	pageHTML []byte
	//go:embed page/style.css
	pageCSS []byte
	//go:embed page/app.js
	pageJS []byte
	//go:embed page/icon.svg
	pageIcon []byte
)

// policy permits what the page itself is made of, and nothing from elsewhere. The
// script writes text only, which trusted types hold it to.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// ServeHTTP serves the page and its parts below any prefix that ends in a slash: only
// the last element of the path counts.
func (d *Dashboard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	if !d.knowsHost(r.Host) {
		http.Error(w, "This host name is not known here. Use localhost or an address, or add the name to Dashboard.Hosts.", http.StatusMisdirectedRequest)
		return
	}
	part := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
	if part == "trip" || part == "reset" {
		d.steer(w, r, part)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "The page is for reading.", http.StatusMethodNotAllowed)
		return
	}
	switch part {
	case "":
		d.servePage(w, r)
	case "style.css":
		serveBytes(w, "text/css; charset=utf-8", pageCSS)
	case "app.js":
		serveBytes(w, "text/javascript; charset=utf-8", pageJS)
	case "icon.svg":
		serveBytes(w, "image/svg+xml", pageIcon)
	case "events":
		d.serveEvents(w, r)
	default:
		http.NotFound(w, r)
	}
}

func (d *Dashboard) servePage(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	f := filter{key: q.Get("key"), kind: q.Get("kind")}
	switch q.Get("format") {
	case "", "html":
		serveBytes(w, "text/html; charset=utf-8", pageHTML)
	case "json":
		d.serveJSON(w, f)
	case "text":
		d.serveText(w, f)
	default:
		http.Error(w, "The formats are html, json and text.", http.StatusBadRequest)
	}
}

func serveBytes(w http.ResponseWriter, contentType string, b []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Write(b)
}

// knowsHost reports whether a request's Host names this machine for certain, or was
// listed. A page of another site can make a browser send requests here under that
// site's name, but under no other.
func (d *Dashboard) knowsHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(strings.TrimSuffix(host, "]"), "["), ".")
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return strings.EqualFold(host, "localhost") || slices.ContainsFunc(d.Hosts, func(known string) bool { return strings.EqualFold(known, host) })
}

// steer opens or closes a circuit by hand.
func (d *Dashboard) steer(w http.ResponseWriter, r *http.Request, action string) {
	if !d.AllowTripAndReset {
		http.Error(w, "Circuits are not to be steered from here: Dashboard.AllowTripAndReset is not set.", http.StatusForbidden)
		return
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", "POST")
		http.Error(w, "Use POST.", http.StatusMethodNotAllowed)
		return
	}
	var sameOrigin http.CrossOriginProtection
	if err := sameOrigin.Check(r); err != nil {
		http.Error(w, "This request comes from another site.", http.StatusForbidden)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	key, found := r.PostFormValue("key"), false
	for _, b := range d.breakers() {
		// Only what is there: a request may not make circuits.
		if !slices.ContainsFunc(b.Circuits(), func(c snubber.Circuit) bool { return c.Key == key }) {
			continue
		}
		found = true
		if action == "trip" {
			b.Trip(key)
		} else {
			b.Reset(key)
		}
	}
	if !found {
		http.Error(w, "No circuit has this key.", http.StatusNotFound)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// breakers are those of the transports, each once.
func (d *Dashboard) breakers() (all []*snubber.Breaker) {
	for _, t := range d.transports {
		if t.Breaker != nil && !slices.Contains(all, t.Breaker) {
			all = append(all, t.Breaker)
		}
	}
	return all
}

func (d *Dashboard) limiters() (all []*snubber.Limiter) {
	for _, t := range d.transports {
		if t.Limiter != nil && !slices.Contains(all, t.Limiter) {
			all = append(all, t.Limiter)
		}
	}
	return all
}

// filter is what a viewer wants to see. Empty fields mean all.
type filter struct{ key, kind string }

func (f filter) apply(s *state) {
	if f.key != "" {
		s.Keys = slices.DeleteFunc(s.Keys, func(k keyState) bool { return k.Key != f.key })
	}
	s.Events = slices.DeleteFunc(s.Events, func(e eventState) bool {
		return f.key != "" && e.Key != f.key || f.kind != "" && e.Kind.String() != f.kind
	})
	if n := len(s.Events); n > shownEvents {
		s.Events = s.Events[n-shownEvents:]
	}
}

// compareKeys puts trouble on top, then traffic by its size, so that rows of much the
// same traffic keep their places.
func compareKeys(a, b keyState) int {
	return cmp.Or(cmp.Compare(b.Trouble, a.Trouble), cmp.Compare(b.Size, a.Size), cmp.Compare(a.Key, b.Key))
}
