package rfc9111

import (
	"net/http"
	"reflect"
	"testing"
	"time"
)

func TestKeep(t *testing.T) {
	h := dated("Connection: close, X-Hop , vary", "Connection: x-other", "X-Hop: 1", "X-Other: 1", "Vary: Foo",
		"Keep-Alive: 1", "Proxy-Authenticate: 1", "Proxy-Authentication-Info: 1", "Proxy-Connection: 1", "Te: 1",
		"Trailer: 1", "Transfer-Encoding: 1", "Upgrade: 1",
		`Cache-Control: max-age=60, no-cache="x-secret, X-More", private="x-mine"`, "X-Secret: 1", "X-More: 1", "X-Mine: 1",
		"Set-Cookie: a=b", "Set-Cookie: c=d", "X-Unknown: 1", "Etag: \"a\"")
	before := h.Clone()
	got := Keep(h, epoch)
	want := dated("Vary: Foo", `Cache-Control: max-age=60, no-cache="x-secret, X-More", private="x-mine"`, "X-Mine: 1",
		"Set-Cookie: a=b", "Set-Cookie: c=d", "X-Unknown: 1", "Etag: \"a\"")
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	for name := range got {
		got.Add(name, "one more")
	}
	for name, values := range want {
		if !reflect.DeepEqual(got[name][:len(values)], values) {
			t.Errorf("%s became %q when others were added to", name, got[name])
		}
	}
	got["Set-Cookie"][0] = "changed"
	got["New"] = nil
	if !reflect.DeepEqual(h, before) {
		t.Errorf("the answer's own header became %q", h)
	}
}

func TestKeepAddsDate(t *testing.T) {
	received := time.Date(2030, 6, 5, 14, 0, 0, 0, time.FixedZone("", 7200))
	if got, want := Keep(http.Header{}, received).Get("Date"), "Wed, 05 Jun 2030 12:00:00 GMT"; got != want {
		t.Errorf("Date = %q, want %q", got, want)
	}
	if got := Keep(fields("Date: foo"), received).Get("Date"); got != "foo" {
		t.Errorf("Date = %q: it is the server's", got)
	}
}
