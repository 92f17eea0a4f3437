package snubber

import (
	"bytes"
	"context"
	"encoding/base64"
	"io"
	"math"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/body"
	"github.com/seed-9e4f5248/snubber/internal/dialect"
)

// Reroute sends a request somewhere else, in the same wire format: to another base URL,
// for another model, with other header fields. Most routes of a [Fallback] or a
// [Balancer] are Reroutes. The zero value changes nothing.
//
// If the origin changes, in scheme, host or port, the request loses what was meant for
// the first one: credentials, cookies, header fields that name an account, and such
// parameters of the query. Reroute knows them by their names. A field that hides a
// secret behind a harmless name has to be deleted in Header. Nothing comes back for the
// first origin either: cookies are dropped, and a redirect is an error.
//
// A request that follows a redirect to another origin than the caller's first one, such
// as a file's content on a storage host, is none of the route's: it goes on unchanged.
//
// A signed request (AWS Signature Version 4) would be invalid after any change. Reroute
// refuses it with [ErrNoRoute], unless Header replaces or deletes its Authorization. It
// also refuses a body that has to name another model and is no JSON object, such as an
// upload. The next route is tried then.
//
// A Reroute is safe for concurrent use.
type Reroute struct {
	// URL is a base URL as an SDK for the wire format takes it, such as
	// "https://api.openai.com/v1" or "https://api.anthropic.com". The inference part of
	// the request's path, "chat/completions", is appended to it. Any other path stays
	// as it is. User and password in URL become Basic authorization. The query of URL,
	// such as Azure's api-version, is added to the request's. If empty, the request keeps its origin and its credentials.
	URL string
	// Model replaces the model that the request names, in its path or in its body. All
	// other bytes of the body stay. If empty, the model stays.
	Model string
	// Header sets header fields, and deletes those without a value. The key for the new
	// origin belongs here.
	Header http.Header
	// Transport sends the request. If nil, it is the layers from Retry to Base of the
	// Transport whose route this is, with circuits, queues and budgets for the new
	// origin and model. Outside of a Transport, nil is http.DefaultTransport. The
	// Transport whose route this is may be named here and means the same as nil.
	Transport http.RoundTripper
}

// RoundTrip implements [http.RoundTripper].
func (r Reroute) RoundTrip(req *http.Request) (*http.Response, error) {
	to, err := r.rewrite(req)
	if err == nil {
		err = r.readdress(req, to)
	}
	if err != nil {
		return failUnsent(req, err)
	}
	res, err := r.transport(req.Context()).RoundTrip(to)
	if err != nil || res == nil || sameOrigin(to.URL, req.URL) {
		return res, err
	}
	// The client above takes the response for the first origin's. It would follow a
	// redirect with the credentials for that origin, and its jar would send the cookies
	// there.
	if res.StatusCode/100 == 3 && res.Header.Get("Location") != "" {
		if res.Body != nil {
			res.Body.Close()
		}
		return nil, errRedirect
	}
	if res.Header["Set-Cookie"] != nil {
		res.Header = res.Header.Clone()
		delete(res.Header, "Set-Cookie")
	}
	return res, nil
}

// ReadyAt returns the prediction of the Transport for the changed request, see
// [Transport.ReadyAt].
func (r Reroute) ReadyAt(req *http.Request) (at time.Time, err error) {
	to, err := r.rewrite(req)
	if err != nil {
		return at, err
	}
	ready, ok := r.transport(req.Context()).(readier)
	if !ok {
		return at, nil
	}
	if peek := body.Peek(req); peek.GetBody != nil && r.inBody(to) {
		get := peek.GetBody
		to.GetBody = func() (io.ReadCloser, error) {
			rc, err := get()
			if err != nil {
				return nil, err
			}
			defer rc.Close()
			b, err := io.ReadAll(rc)
			if err != nil {
				return nil, err
			}
			b, _ = dialect.SetModel(b, r.Model, true)
			return io.NopCloser(bytes.NewReader(b)), nil
		}
	}
	return ready.ReadyAt(to)
}

// CloseIdleConnections closes the idle connections of Transport.
func (r Reroute) CloseIdleConnections() { closeIdle(r.Transport) }

// transport returns the RoundTripper that sends the changed request.
func (r Reroute) transport(ctx context.Context) http.RoundTripper {
	if r.Transport != nil {
		return r.Transport
	}
	for a := parentAttempt(ctx); a != nil; a = a.exchange.parent {
		if a.exchange.balancerRoutes() != nil {
			continue // a Balancer may be a route itself
		}
		if a.kind == viaRoute {
			return a.exchange.t.routeLayers()
		}
		break
	}
	return defaultBase
}

// rewrite returns the request for its new destination, with its old body.
func (r Reroute) rewrite(req *http.Request) (*http.Request, error) {
	if req.URL == nil {
		return nil, errNoURL
	}
	to := req.WithContext(req.Context())
	if redirectedAway(req) {
		return to, nil
	}
	if to.Header = req.Header.Clone(); to.Header == nil {
		to.Header = http.Header{}
	}
	from := *req.URL
	var base *url.URL
	if r.URL != "" {
		var err error
		if base, err = url.Parse(r.URL); err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
			return nil, unroutable(req, "Reroute.URL must be an absolute http or https URL") // without err, whose text has the URL
		}
	}
	if (r.URL != "" || r.Model != "") && dialect.Signed(req.Header, req.URL) && !r.names("Authorization") {
		return nil, unroutable(req, "the request is signed for its own URL and body: replace Authorization in Reroute.Header")
	}
	if base != nil && !sameOrigin(base, &from) {
		dialect.Depersonalize(to.Header, &from)
		from.User, to.Host = nil, ""
	}
	to.URL = dialect.RouteOf(req.Method, req.URL).Relocate(&from, base, r.Model)
	if u := to.URL.User; u != nil && base != nil && base.User != nil {
		// A RoundTripper does not read it: http.Client does, above.
		password, _ := u.Password()
		deleteField(to.Header, "Authorization")
		to.Header["Authorization"] = []string{"Basic " + base64.StdEncoding.EncodeToString([]byte(u.Username()+":"+password))}
		bare := *to.URL
		bare.User, to.URL = nil, &bare
	}
	for name, v := range r.Header {
		name = textproto.CanonicalMIMEHeaderKey(name)
		deleteField(to.Header, name)
		switch {
		case name == "Host":
			to.Host = strings.Join(v, "")
		case len(v) > 0:
			to.Header[name] = slices.Clone(v)
		}
	}
	return to, nil
}

// deleteField deletes a header field, however its name is written: a map of headers
// can be filled without Set, and a server reads all spellings as one.
func deleteField(h http.Header, name string) {
	for key := range h {
		if len(key) == len(name) && strings.EqualFold(key, name) {
			delete(h, key)
		}
	}
}

// redirectedAway reports whether req follows a redirect to another origin than that of
// the first request, such as the storage that has a file's content. http.Client has
// taken the credentials away, and no route may give its own.
func redirectedAway(req *http.Request) bool {
	if req.Response == nil {
		return false
	}
	first := req
	for first.Response != nil {
		if first = first.Response.Request; first == nil || first.URL == nil {
			return true // nobody can tell
		}
	}
	return !sameOrigin(first.URL, req.URL)
}

// names reports whether Header sets or deletes a header field.
func (r Reroute) names(name string) bool {
	for n := range r.Header {
		if textproto.CanonicalMIMEHeaderKey(n) == name {
			return true
		}
	}
	return false
}

// inBody reports whether the model has to change inside the body.
func (r Reroute) inBody(to *http.Request) bool {
	return r.Model != "" && !redirectedAway(to) && to.Body != nil && to.Body != http.NoBody && dialect.RouteOf(to.Method, to.URL).Inference
}

// readdress gives the body of req to to, with the model changed. The whole body is then
// in memory. Most bodies were before, and a model at the end of the body leaves no
// other way.
func (r Reroute) readdress(req, to *http.Request) error {
	if !r.inBody(to) {
		return nil
	}
	if strings.HasPrefix(req.Header.Get("Content-Type"), "multipart/") {
		return unroutable(req, "Reroute.Model cannot change a multipart body")
	}
	b, err := body.ReadAll(req.Context(), req.Body, math.MaxInt64)
	if err != nil {
		return err
	}
	inPath := dialect.RouteOf(to.Method, to.URL).NamesModel(to.URL.Path)
	changed, ok := dialect.SetModel(b, r.Model, !inPath)
	switch {
	case ok:
		b = changed
	case !inPath:
		return unroutable(req, "Reroute.Model needs a JSON object as body")
	}
	req.Body.Close()
	to.GetBody = body.InMemory(b)
	to.Body, _ = to.GetBody()
	to.ContentLength, to.TransferEncoding = int64(len(b)), nil
	for _, name := range [...]string{"Content-Length", "Content-Md5", "Content-Digest", "Digest"} {
		delete(to.Header, name) // they are of the old body
	}
	return nil
}

func sameOrigin(a, b *url.URL) bool {
	return strings.EqualFold(a.Scheme, b.Scheme) && strings.EqualFold(a.Hostname(), b.Hostname()) && portOf(a) == portOf(b)
}

func portOf(u *url.URL) string {
	switch port := u.Port(); {
	case port != "":
		return port
	case strings.EqualFold(u.Scheme, "https"):
		return "443"
	}
	return "80"
}
