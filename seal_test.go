package snubber

import (
	"bytes"
	"net/http"
	"reflect"
	"testing"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/rfc9111"
)

func sealedExamples() []*cached {
	at := time.Unix(1_700_000_000, 5)
	return []*cached{
		{method: "GET", url: "https://a.example/b?c", status: 206, uncompressed: true, negotiated: true, span: rfc9111.Span{First: 1, Last: 2, Size: -1}, requested: at, received: at.Add(time.Second),
			header: http.Header{"A": {"1", ""}, "Etag": {`"x"`}}, trailer: http.Header{"T": {"2"}}, chunks: [][]byte{[]byte("a"), []byte("bc")}, size: 3},
		{method: "POST", prompt: true, model: "m", status: 200, header: http.Header{}, requested: at, received: at},
		{method: "GET", requested: at, received: at, variants: &variants{epoch: [16]byte{1}, sets: []variantSet{
			{names: []string{"Accept", "Accept-Language"}, known: []knownVariant{{cacheKey{1}, cacheKey{2}}, {cacheKey{3}, cacheKey{4}}}}, {names: []string{"X"}},
		}}},
	}
}

// An entry is what was stored, under its own key and with its own secret only.
func TestSeal(t *testing.T) {
	c, other := &Cache{Secret: bytes.Repeat([]byte{1}, 32)}, &Cache{Secret: bytes.Repeat([]byte{2}, 32)}
	for _, e := range sealedExamples() {
		e.key = cacheKey{9}
		sealed := c.shelf.seal.close(c, e)
		got, ok := c.shelf.seal.open(c, e.key, sealed)
		if !ok {
			t.Fatal("it does not open")
		}
		if again := got.encode(nil); !same(got, e) {
			t.Errorf("got %+v, want %+v (%d bytes)", got, e, len(again))
		}
		if _, ok := c.shelf.seal.open(c, cacheKey{8}, sealed); ok {
			t.Error("it opens under another key")
		}
		if _, ok := other.shelf.seal.open(other, e.key, sealed); ok {
			t.Error("it opens with another secret")
		}
		if bytes.Equal(sealed, c.shelf.seal.close(c, e)) {
			t.Error("the same nonce twice")
		}
	}
}

func same(a, b *cached) bool {
	h := func(h http.Header) http.Header {
		if len(h) == 0 {
			return nil
		}
		return h
	}
	return a.key == b.key && a.primary == b.primary && a.prompt == b.prompt && a.method == b.method && a.url == b.url && a.model == b.model &&
		a.status == b.status && a.uncompressed == b.uncompressed && a.negotiated == b.negotiated && a.span == b.span && a.size == b.size &&
		a.requested.Equal(b.requested) && a.received.Equal(b.received) && reflect.DeepEqual(a.variants, b.variants) &&
		reflect.DeepEqual(a.chunks, b.chunks) && reflect.DeepEqual(h(a.header), h(b.header)) && reflect.DeepEqual(h(a.trailer), h(b.trailer))
}

// Whatever the bytes, decoding them ends in an answer or an error, and never in
// one that is larger than they are.
func FuzzDecodeEntry(f *testing.F) {
	for _, e := range sealedExamples() {
		f.Add(e.encode(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e := new(cached)
		if e.decode(b) != nil {
			return
		}
		if e.size > int64(len(b)) {
			t.Errorf("%d bytes of body from %d", e.size, len(b))
		}
		again := new(cached)
		if err := again.decode(e.encode(nil)); err != nil || !same(e, again) {
			t.Errorf("%+v, then %+v, %v", e, again, err)
		}
	})
}
