package cachestore

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/rfc9111"
)

func sealedExamples() []*Entry {
	at := time.Unix(1_700_000_000, 5)
	return []*Entry{
		{Method: "GET", URL: "https://a.example/b?c", Status: 206, Uncompressed: true, Negotiated: true, Part: rfc9111.Span{First: 1, Last: 2, Size: -1}, Requested: at, Received: at.Add(time.Second),
			Header: http.Header{"A": {"1", ""}, "Etag": {`"x"`}}, Trailer: http.Header{"T": {"2"}}, Chunks: [][]byte{[]byte("a"), []byte("bc")}, Size: 3},
		{Method: "POST", Prompt: true, Model: "m", Status: 200, Header: http.Header{}, Requested: at, Received: at},
		{Method: "GET", Requested: at, Received: at, Variants: &Variants{Epoch: [16]byte{1}, Sets: []VariantSet{
			{Names: []string{"Accept", "Accept-Language"}, Known: []KnownVariant{{Key{1}, Key{2}}, {Key{3}, Key{4}}}}, {Names: []string{"X"}},
		}}},
	}
}

// entryOf returns the bytes of an entry, and opened reads them.
func entryOf(t testing.TB, c *Storage, e *Entry) []byte {
	var b bytes.Buffer
	if err := e.write(c.sealer.newWriter(e.Key, e.Size, &b), func(int) {}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func opened(c *Storage, key Key, entry []byte) (*Entry, error) {
	return c.read(key, iotest.OneByteReader(bytes.NewReader(entry)), func(int) {})
}

// An entry opens as it was stored, and only under its own key and with its own
// secret.
func TestSeal(t *testing.T) {
	c, other := testStorage(1), testStorage(2)
	for _, e := range sealedExamples() {
		e.Key = Key{9}
		entry := entryOf(t, c, e)
		got, err := opened(c, e.Key, entry)
		if err != nil {
			t.Fatal("it does not open")
		}
		if !same(got, e) {
			t.Errorf("got %+v, want %+v", got, e)
		}
		if _, err := opened(c, Key{8}, entry); err != errCorruptEntry {
			t.Error("it opens under another key")
		}
		if _, err := opened(other, e.Key, entry); err != errCorruptEntry {
			t.Error("it opens with another secret")
		}
		if bytes.Equal(entry, entryOf(t, c, e)) {
			t.Error("the same nonce twice")
		}
	}
}

func same(a, b *Entry) bool {
	h := func(h http.Header) http.Header {
		if len(h) == 0 {
			return nil
		}
		return h
	}
	return a.Key == b.Key && a.Primary == b.Primary && a.Prompt == b.Prompt && a.Method == b.Method && a.URL == b.URL && a.Model == b.Model &&
		a.Status == b.Status && a.Uncompressed == b.Uncompressed && a.Negotiated == b.Negotiated && a.Part == b.Part && a.Size == b.Size &&
		a.Requested.Equal(b.Requested) && a.Received.Equal(b.Received) && reflect.DeepEqual(a.Variants, b.Variants) &&
		reflect.DeepEqual(a.Chunks, b.Chunks) && reflect.DeepEqual(h(a.Header), h(b.Header)) && reflect.DeepEqual(h(a.Trailer), h(b.Trailer))
}

// large is a response of so many bytes, in chunks of all sizes.
func large(size int) *Entry {
	at := time.Unix(1_700_000_000, 0)
	e := &Entry{Key: Key{7}, Method: "GET", URL: "https://a.example/", Status: 200, Header: http.Header{"A": {"1"}}, Requested: at, Received: at, Size: int64(size)}
	for n := 1; size > 0; n = (n*7 + 13) % 100_000 {
		k := min(size, n)
		e.Chunks = append(e.Chunks, bytes.Repeat([]byte{byte(n)}, k))
		size -= k
	}
	return e
}

// No segment of an entry can be altered, dropped, moved, doubled or taken from
// another entry, and nothing can be added or missing at the end. An entry of the
// older version does not open either.
func TestSealSegments(t *testing.T) {
	c := testStorage(1)
	e := large(5 * segmentSize)
	entry, again := entryOf(t, c, e), entryOf(t, c, e)
	if len(entry) != len(again) || len(entry) < entryPrefix+5*segmentSealed {
		t.Fatalf("entries of %d and %d bytes", len(entry), len(again))
	}
	split := func(entry []byte) (parts [][]byte) { // the first with the prefix, the rest as they are
		for n := entryPrefix + segmentSealed; len(entry) > 0; n = segmentSealed {
			n = min(n, len(entry))
			parts, entry = append(parts, entry[:n]), entry[n:]
		}
		return parts
	}
	a, b := split(entry), split(again)
	if got, err := opened(c, e.Key, bytes.Join(a, nil)); err != nil || got.remoteID == nil || got.Chunks != nil || got.Size != e.Size {
		t.Fatalf("it opens as %+v, %v", got, err)
	}
	last := len(a) - 1
	for what, entry := range map[string][]byte{
		"swapped":              bytes.Join([][]byte{a[0], a[2], a[1], a[3], a[4], a[last]}, nil),
		"doubled":              bytes.Join([][]byte{a[0], a[1], a[1], a[2], a[3], a[4], a[last]}, nil),
		"left out":             bytes.Join([][]byte{a[0], a[2], a[3], a[4], a[last]}, nil),
		"of an older one":      bytes.Join([][]byte{a[0], a[1], b[2], a[3], a[4], a[last]}, nil),
		"all but the first":    bytes.Join([][]byte{a[0], b[1], b[2], b[3], b[4], b[last]}, nil),
		"last only":            a[last],
		"without the last":     bytes.Join(a[:last], nil),
		"without the last two": bytes.Join(a[:last-1], nil),
		"only the first":       a[0],
		"and more":             append(bytes.Join(a, nil), 0),
		"twice":                append(bytes.Join(a, nil), bytes.Join(a, nil)...),
		"of the older form":    append([]byte{1}, entry[1:]...),
		"empty":                nil,
	} {
		if _, err := opened(c, e.Key, entry); err != errCorruptEntry {
			t.Errorf("%s: %v", what, err)
		}
	}
	for i := 0; i < len(entry); i += 1 + i/7 {
		if _, err := opened(c, e.Key, flip(entry, i)); err != errCorruptEntry {
			t.Errorf("byte %d is another: %v", i, err)
		}
	}
}

func flip(b []byte, i int) []byte {
	b = bytes.Clone(b)
	b[i] ^= 1
	return b
}

// The body comes back in its chunks, whatever their sizes. A chunk that is larger
// than a segment comes in several. Small reads give the same bytes.
func TestSealPieces(t *testing.T) {
	c := testStorage(1)
	for _, size := range []int{0, 1, 1000, segmentSize - 400, segmentSize, segmentSize + 1, 3*segmentSize + 7, 20 * segmentSize} {
		e := large(size)
		for _, most := range []int64{1 << 40, 1000} {
			u := c.sealer.newReader(e.Key, bytes.NewReader(entryOf(t, c, e)))
			if _, err := readHead(u, Policy{}); err != nil {
				t.Fatal(err)
			}
			var got [][]byte
			for {
				b, err := u.chunk(most)
				if err == nil && b == nil {
					if err := u.readSegment(); err != nil {
						t.Fatal(err)
					}
					continue
				}
				if err != nil {
					if err != io.EOF {
						t.Error(err)
					}
					break
				}
				got = append(got, bytes.Clone(b))
			}
			if all, want := bytes.Join(got, nil), bytes.Join(e.Chunks, nil); !bytes.Equal(all, want) {
				t.Errorf("%d bytes: %d other ones", size, len(all))
			}
			for i := range got {
				if most > 1<<20 && (i >= len(e.Chunks) || len(got[i]) != len(e.Chunks[i]) && len(e.Chunks[i]) <= segmentSize) {
					t.Errorf("%d bytes: piece %d has %d of %d", size, i, len(got[i]), len(e.Chunks[min(i, len(e.Chunks)-1)]))
					break
				}
				if most > 1<<20 && len(e.Chunks[i]) > segmentSize {
					break // from here on they are not counted alike
				}
			}
		}
	}
}

// A head can be larger than a segment. A head that is too large is not stored.
func TestSealLargeHead(t *testing.T) {
	c := testStorage(1)
	e := large(1000)
	e.Header["Large"] = []string{strings.Repeat("x", 3*segmentSize)}
	if got, err := opened(c, e.Key, entryOf(t, c, e)); err != nil || !same(got, e) {
		t.Errorf("it opens as %+v, %v", got, err)
	}
	e.Header["Large"] = []string{strings.Repeat("x", maxEntryHead)}
	if err := e.write(c.sealer.newWriter(e.Key, e.Size, io.Discard), func(int) {}); err != errCorruptEntry {
		t.Errorf("a head of more than 1 MiB: %v", err)
	}
}

// The error of a store that fails is returned as it is, and not as a corrupt entry.
func TestSealOverAFailingStore(t *testing.T) {
	c := testStorage(1)
	e, failed := large(3*segmentSize), errors.New("failed")
	entry := entryOf(t, c, e)
	for _, n := range []int{0, 10, firstRead - 1, firstRead, firstRead + 5, len(entry)} {
		r := io.MultiReader(bytes.NewReader(entry[:n]), iotest.ErrReader(failed))
		if _, err := c.read(e.Key, r, func(int) {}); err != failed {
			t.Errorf("after %d bytes: %v", n, err)
		}
	}
	for n := range 4 {
		if err := e.write(c.sealer.newWriter(e.Key, e.Size, &failingWriter{n, failed}), func(int) {}); err != failed {
			t.Errorf("at segment %d: %v", n, err)
		}
	}
}

type failingWriter struct {
	n   int
	err error
}

func (w *failingWriter) Write(p []byte) (int, error) {
	if w.n--; w.n < 0 {
		return 0, w.err
	}
	return len(p), nil
}

// Decoding any bytes gives an entry or an error, and never an entry that is larger
// than they are.
func FuzzDecodeEntry(f *testing.F) {
	for _, e := range sealedExamples() {
		f.Add(e.encode(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		body := &Entry{Size: int64(len(b)) - 2}
		if err := body.readBody(&entryReader{plain: b, last: true}, func(int) {}); err == nil && len(bytes.Join(body.Chunks, nil)) != len(b)-2 {
			t.Errorf("%d bytes of body, of %d", len(bytes.Join(body.Chunks, nil)), len(b)-2)
		}
		e := new(Entry)
		if e.decode(b) != nil {
			return
		}
		again := new(Entry)
		if err := again.decode(e.encode(nil)); err != nil || !same(e, again) {
			t.Errorf("%+v, then %+v, %v", e, again, err)
		}
	})
}

// testStorage is a storage with a secret made of b and the default bounds.
func testStorage(b byte) *Storage {
	s := new(Storage)
	s.Init(Config{Store: &failingStore{}, Secret: bytes.Repeat([]byte{b}, 32), MaxBytes: 64 << 20, MaxEntryBytes: 8 << 20})
	return s
}
