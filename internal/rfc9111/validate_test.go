package rfc9111

import (
	"net/http"
	"reflect"
	"testing"
	"time"
)

func TestConditions(t *testing.T) {
	for _, c := range []struct{ stored, want []string }{
		{[]string{`Etag: "a"`}, []string{`If-None-Match: "a"`}},
		{[]string{`Etag: W/"a"`}, []string{`If-None-Match: W/"a"`}},
		{[]string{"Last-Modified: {-1h}"}, []string{"If-Modified-Since: {-1h}"}},
		{[]string{"Last-Modified: yesterday"}, []string{"If-Modified-Since: yesterday"}}, // the server's own words
		{[]string{`Etag: "a"`, "Last-Modified: {-1h}"}, []string{`If-None-Match: "a"`, "If-Modified-Since: {-1h}"}},
		{[]string{"Etag: ", "Date: {0s}"}, nil},
	} {
		h := http.Header{}
		if ok := Conditions(h, fields(c.stored...)); ok != (c.want != nil) {
			t.Errorf("%q: %v", c.stored, ok)
		}
		if want := fields(c.want...); !reflect.DeepEqual(h, want) {
			t.Errorf("%q: %q, want %q", c.stored, h, want)
		}
	}
}

func TestConfirms(t *testing.T) {
	for _, c := range []struct {
		stored, fresh string
		want          bool
	}{
		{`Etag: "a"`, `Etag: "a"`, true},
		{`Etag: "a"`, `Etag: W/"a"`, true},
		{`Etag: "a"`, `Etag: "b"`, false},
		{`Etag: "a"`, "X: y", true},
		{"Last-Modified: {-1h}", `Etag: "b"`, true},
	} {
		if got := Confirms(fields(c.stored), fields(c.fresh)); got != c.want {
			t.Errorf("%q, 304 with %q: %v, want %v", c.stored, c.fresh, got, c.want)
		}
	}
}

func TestFreshen(t *testing.T) {
	stored := dated("Age: 50", "Cache-Control: max-age=1", "Content-Length: 4", "Content-Encoding: br", "Content-Type: a/b",
		`Etag: "a"`, "Set-Cookie: old", "X-Stays: 1", "X-Changes: 1", "X-Changes: 2")
	fresh := fields("Date: {1h}", "Cache-Control: max-age=60", "Content-Length: 0", "Content-Encoding: gzip", "Content-Range: bytes 0-0/1",
		"Set-Cookie: new", "X-Changes: 3", "X-New: 1", "Connection: x-hop", "X-Hop: 1", "Transfer-Encoding: chunked")
	s, f := stored.Clone(), fresh.Clone()
	got := Freshen(stored, fresh, epoch.Add(time.Hour))
	want := fields("Date: {1h}", "Cache-Control: max-age=60", "Content-Length: 4", "Content-Encoding: br", "Content-Type: a/b",
		`Etag: "a"`, "Set-Cookie: new", "X-Stays: 1", "X-Changes: 3", "X-New: 1")
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	got.Add("X-Changes", "4")
	if !reflect.DeepEqual(s, stored) || !reflect.DeepEqual(f, fresh) {
		t.Error("a header that was given changed")
	}

	// The time begins again: neither the old Age nor the old Date holds.
	received := epoch.Add(time.Hour)
	r := Read(200, Freshen(stored, fields("X: y"), received), received, received)
	if age := r.Age(received); age != 0 {
		t.Errorf("Age = %v after a 304 without Date", age)
	}
}

func TestHead(t *testing.T) {
	for _, c := range []struct {
		status       int
		stored, head []string
		want         Effect
	}{
		{200, []string{`Etag: "a"`, "Content-Length: 4"}, []string{`Etag: "a"`, "Content-Length: 4"}, Update},
		{200, []string{`Etag: "a"`, "Content-Length: 4"}, []string{"X: y"}, Update},
		{200, []string{`Etag: "a"`}, []string{`Etag: "b"`}, Drop},
		{200, []string{"Content-Length: 4"}, []string{"Content-Length: 5"}, Drop},
		{200, []string{"Last-Modified: {-2h}"}, []string{"Last-Modified: {-1h}"}, Drop},
		{404, nil, nil, Drop},
		{410, nil, nil, Drop},
		{204, nil, []string{`Etag: "b"`}, Leave},
		{302, nil, nil, Leave},
		{500, nil, nil, Leave},
	} {
		if got := Head(c.status, fields(c.stored...), fields(c.head...)); got != c.want {
			t.Errorf("%d %q to a HEAD of %q: %v, want %v", c.status, c.head, c.stored, got, c.want)
		}
	}
}

func TestNotModified(t *testing.T) {
	for _, c := range []struct {
		status          int
		request, stored []string
		want            bool
	}{
		{200, nil, []string{`Etag: "a"`}, false},
		{200, []string{`If-None-Match: "a"`}, []string{`Etag: "a"`}, true},
		{200, []string{`If-None-Match: W/"a"`}, []string{`Etag: "a"`}, true},
		{200, []string{`If-None-Match: "a"`}, []string{`Etag: W/"a"`}, true},
		{200, []string{`If-None-Match: "b"`}, []string{`Etag: "a"`}, false},
		{200, []string{`If-None-Match: "b", W/"c" ,"a"`}, []string{`Etag: "a"`}, true},
		{200, []string{`If-None-Match: "b"`, `If-None-Match: "a"`}, []string{`Etag: "a"`}, true},
		{200, []string{`If-None-Match: "x,a,y"`}, []string{`Etag: "a"`}, false},
		{200, []string{`If-None-Match: "x\", "a"`}, []string{`Etag: "a"`}, true}, // a backslash is nothing special
		{200, []string{`If-None-Match: "x,y"`}, []string{`Etag: "x,y"`}, true},
		{200, []string{`If-None-Match: a`}, []string{`Etag: a`}, true},
		{200, []string{`If-None-Match: b, a`}, []string{`Etag: a`}, true},
		{200, []string{`If-None-Match: *`}, []string{`Etag: "a"`}, true},
		{200, []string{`If-None-Match: *`}, nil, true},
		{200, []string{`If-None-Match: ""`}, nil, false},
		{200, []string{`If-None-Match: `}, nil, false},
		{200, []string{`If-None-Match: "a`}, []string{`Etag: "a`}, false},
		{204, []string{`If-None-Match: "a"`}, []string{`Etag: "a"`}, true},
		{404, []string{`If-None-Match: "a"`}, []string{`Etag: "a"`}, false},
		{301, []string{`If-None-Match: *`}, []string{`Etag: "a"`}, false},
		{200, []string{"If-Modified-Since: {-1h}"}, []string{"Last-Modified: {-1h}"}, true},
		{200, []string{"If-Modified-Since: {0s}"}, []string{"Last-Modified: {-1h}"}, true},
		{200, []string{"If-Modified-Since: {-2h}"}, []string{"Last-Modified: {-1h}"}, false},
		{200, []string{"If-Modified-Since: {-1h}"}, []string{"Last-Modified: foo"}, false},
		{200, []string{"If-Modified-Since: foo"}, []string{"Last-Modified: {-1h}"}, false},
		{200, []string{"If-Modified-Since: {-1h}"}, []string{"Date: {-1h}"}, true},
		{200, []string{"If-Modified-Since: {-1h}"}, []string{"Date: {0s}"}, false},
		{200, []string{"If-Modified-Since: {0s}"}, nil, true},
		{200, []string{"If-Modified-Since: {-1s}"}, nil, false},
		// The entity tag decides where there is one (RFC 9110, section 13.2.2).
		{200, []string{`If-None-Match: "b"`, "If-Modified-Since: {0s}"}, []string{`Etag: "a"`, "Last-Modified: {-1h}"}, false},
		{200, []string{`If-None-Match: "a"`, "If-Modified-Since: {-2h}"}, []string{`Etag: "a"`, "Last-Modified: {-1h}"}, true},
	} {
		if got := NotModified(fields(c.request...), c.status, fields(c.stored...), epoch); got != c.want {
			t.Errorf("%d with %q asked %q: %v, want %v", c.status, c.stored, c.request, got, c.want)
		}
	}
}

func TestStrip(t *testing.T) {
	h := fields(`Etag: "a"`, "Cache-Control: max-age=1", "Content-Location: /a", "Vary: x", "Content-Type: a/b", "Content-Length: 4", "X: y")
	Strip(h)
	if want := fields(`Etag: "a"`, "Cache-Control: max-age=1", "Content-Location: /a", "Vary: x", "X: y"); !reflect.DeepEqual(h, want) {
		t.Errorf("%q, want %q", h, want)
	}
}

func FuzzNotModified(f *testing.F) {
	for _, s := range []string{`"a"`, `W/"a", "b"`, `*`, `"x\", "a"`, `a, b`, `"`} {
		f.Add(s, `"a"`)
	}
	f.Fuzz(func(t *testing.T, list, etag string) {
		got := NotModified(http.Header{"If-None-Match": {list}}, 200, http.Header{"Etag": {etag}}, epoch)
		// More members never take a match away.
		if got && !NotModified(http.Header{"If-None-Match": {`"z"`, list, `"z"`}}, 200, http.Header{"Etag": {etag}}, epoch) {
			t.Fatalf("%q matches %q only alone", list, etag)
		}
	})
}
