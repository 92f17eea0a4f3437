package rfc9111

import (
	"net/http"
	"testing"
)

func TestContentRange(t *testing.T) {
	for _, c := range []struct {
		field string
		want  Span
		ok    bool
	}{
		{"bytes 0-4/10", Span{0, 4, 10}, true},
		{"Bytes 4-4/5", Span{4, 4, 5}, true},
		{"bytes 0-4/*", Span{0, 4, -1}, true},
		{"bytes 2-18446744073709551617/*", Span{2, 1 << 59, -1}, true}, // 2^64+1
		{"bytes */10", Span{}, false},
		{"bytes 5-4/10", Span{}, false},
		{"bytes 0-10/10", Span{}, false},
		{"bytes 0-4", Span{}, false},
		{"bytes=0-4/10", Span{}, false},
		{"items 0-4/10", Span{}, false},
		{"bytes -1-4/10", Span{}, false},
		{"bytes 0-4/-1", Span{}, false},
		{"bytes 0 - 4/10", Span{}, false},
		{"bytes ", Span{}, false},
		{"", Span{}, false},
	} {
		got, ok := ContentRange(fields("Content-Range: " + c.field))
		if ok != c.ok || got != c.want {
			t.Errorf("%q: %v, %v, want %v, %v", c.field, got, ok, c.want, c.ok)
		}
	}
	if _, ok := ContentRange(fields("Content-Range: bytes 0-1/2", "Content-Range: bytes 0-1/2")); ok {
		t.Error("two lines are read")
	}
	if _, ok := ContentRange(nil); ok {
		t.Error("no line is read")
	}
}

func TestDescribe(t *testing.T) {
	for _, s := range []Span{{0, 4, 10}, {3, 3, -1}} {
		h := http.Header{}
		s.Describe(h)
		if got, ok := ContentRange(h); !ok || got != s {
			t.Errorf("%v is described as %q", s, h)
		}
	}
	h := http.Header{}
	if (Span{2, 4, 10}).Describe(h); h.Get("Content-Length") != "3" || h.Get("Content-Range") != "bytes 2-4/10" {
		t.Errorf("%q", h)
	}
}

func TestPart(t *testing.T) {
	whole := Complete(10)
	for _, c := range []struct {
		what    string
		have    Span
		request []string
		stored  []string
		want    Span
		reach   Reach
	}{
		{"no range", whole, nil, nil, whole, All},
		{"no range of a part", Span{0, 4, 10}, nil, nil, Span{0, 4, 10}, Beyond},
		{"no range of nothing", Complete(0), nil, nil, Complete(0), All},
		{"first to last", whole, []string{"Range: bytes=0-4"}, nil, Span{0, 4, 10}, Some},
		{"one byte", whole, []string{"Range: bytes=9-9"}, nil, Span{9, 9, 10}, Some},
		{"all of it", whole, []string{"Range: bytes=0-9"}, nil, whole, Some},
		{"beyond the end", whole, []string{"Range: bytes=8-100"}, nil, Span{8, 9, 10}, Some},
		{"beyond everything", whole, []string{"Range: bytes=8-99999999999999999999999"}, nil, Span{8, 9, 10}, Some},
		{"open end", whole, []string{"Range: bytes=7-"}, nil, Span{7, 9, 10}, Some},
		{"suffix", whole, []string{"Range: bytes=-3"}, nil, Span{7, 9, 10}, Some},
		{"suffix longer than it", whole, []string{"Range: bytes=-30"}, nil, whole, Some},
		{"no suffix", whole, []string{"Range: bytes=-0"}, nil, whole, None},
		{"behind the end", whole, []string{"Range: bytes=10-"}, nil, whole, None},
		{"of nothing", Complete(0), []string{"Range: bytes=0-"}, nil, Complete(0), None},
		{"any case", whole, []string{"Range: BYTES=0-4"}, nil, Span{0, 4, 10}, Some},
		{"several", whole, []string{"Range: bytes=0-1, 4-5"}, nil, whole, Beyond},
		{"another unit", whole, []string{"Range: items=0-1"}, nil, whole, Beyond},
		{"backwards", whole, []string{"Range: bytes=4-1"}, nil, whole, Beyond},
		{"malformed", whole, []string{"Range: bytes=a-b"}, nil, whole, Beyond},
		{"malformed", whole, []string{"Range: bytes=--1"}, nil, whole, Beyond},
		{"malformed", whole, []string{"Range: bytes=1"}, nil, whole, Beyond},
		{"malformed", whole, []string{"Range: bytes=-"}, nil, whole, Beyond},
		{"malformed", whole, []string{"Range: bytes"}, nil, whole, Beyond},
		{"two lines", whole, []string{"Range: bytes=0-1", "Range: bytes=0-1"}, nil, whole, Beyond},

		{"of a part, the same", Span{2, 5, 10}, []string{"Range: bytes=2-5"}, nil, Span{2, 5, 10}, Some},
		{"of a part, less", Span{2, 5, 10}, []string{"Range: bytes=3-4"}, nil, Span{3, 4, 10}, Some},
		{"of a part, before", Span{2, 5, 10}, []string{"Range: bytes=1-4"}, nil, Span{2, 5, 10}, Beyond},
		{"of a part, behind", Span{2, 5, 10}, []string{"Range: bytes=3-6"}, nil, Span{2, 5, 10}, Beyond},
		{"of a part, open end", Span{2, 5, 10}, []string{"Range: bytes=3-"}, nil, Span{2, 5, 10}, Beyond},
		{"of the last part, open end", Span{2, 9, 10}, []string{"Range: bytes=3-"}, nil, Span{3, 9, 10}, Some},
		{"of the last part, suffix", Span{2, 9, 10}, []string{"Range: bytes=-2"}, nil, Span{8, 9, 10}, Some},
		{"of an unknown size", Span{2, 5, -1}, []string{"Range: bytes=3-4"}, nil, Span{3, 4, -1}, Some},
		{"of an unknown size, open end", Span{2, 5, -1}, []string{"Range: bytes=3-"}, nil, Span{2, 5, -1}, Beyond},
		{"of an unknown size, suffix", Span{2, 5, -1}, []string{"Range: bytes=-1"}, nil, Span{2, 5, -1}, Beyond},

		{"If-Range", whole, []string{"Range: bytes=0-4", `If-Range: "a"`}, []string{`Etag: "a"`}, Span{0, 4, 10}, Some},
		{"If-Range of another", whole, []string{"Range: bytes=0-4", `If-Range: "b"`}, []string{`Etag: "a"`}, whole, All},
		{"If-Range of another, a part", Span{0, 4, 10}, []string{"Range: bytes=0-4", `If-Range: "b"`}, []string{`Etag: "a"`}, Span{0, 4, 10}, Beyond},
		{"weak If-Range", whole, []string{"Range: bytes=0-4", `If-Range: W/"a"`}, []string{`Etag: W/"a"`}, whole, All},
		{"If-Range, no tag", whole, []string{"Range: bytes=0-4", `If-Range: "a"`}, nil, whole, All},
		{"If-Range by date", whole, []string{"Range: bytes=0-4", "If-Range: {-1h}"}, []string{"Last-Modified: {-1h}"}, Span{0, 4, 10}, Some},
		{"If-Range by another date", whole, []string{"Range: bytes=0-4", "If-Range: {-30m}"}, []string{"Last-Modified: {-1h}"}, whole, All},
		{"If-Range by a date too near", whole, []string{"Range: bytes=0-4", "If-Range: {0s}"}, []string{"Last-Modified: {0s}"}, whole, All},
		{"If-Range of two lines", whole, []string{"Range: bytes=0-4", `If-Range: "a"`, `If-Range: "a"`}, []string{`Etag: "a"`}, whole, All},
	} {
		got, reach := Part(fields(c.request...), dated(c.stored...), c.have, epoch)
		if got != c.want || reach != c.reach {
			t.Errorf("%s: %q of %v: %v, %v, want %v, %v", c.what, c.request, c.have, got, reach, c.want, c.reach)
		}
	}
}

func TestRest(t *testing.T) {
	for _, c := range []struct {
		etag string
		have Span
		want string
	}{
		{`"a"`, Span{0, 4, 10}, "bytes=5-"},
		{`"a"`, Span{5, 9, 10}, "bytes=0-4"},
		{`"a"`, Span{3, 6, 10}, ""},
		{`"a"`, Complete(10), ""},
		{`"a"`, Span{0, 4, -1}, ""},
		{`W/"a"`, Span{0, 4, 10}, ""},
		{"", Span{0, 4, 10}, ""},
	} {
		got, ifRange, ok := Rest(fields("Etag: "+c.etag), c.have)
		if got != c.want || ok != (c.want != "") || ok && ifRange != c.etag {
			t.Errorf("the rest of %v: %q, %q, %v, want %q", c.have, got, ifRange, ok, c.want)
		}
	}
}

func TestCombine(t *testing.T) {
	for _, c := range []struct {
		aTag string
		a    Span
		bTag string
		b    Span
		want Span
		ok   bool
	}{
		{`"a"`, Span{0, 4, 10}, `"a"`, Span{5, 9, 10}, Complete(10), true},
		{`"a"`, Span{5, 9, 10}, `"a"`, Span{0, 4, 10}, Complete(10), true},
		{`"a"`, Span{0, 6, 10}, `"a"`, Span{2, 8, 10}, Span{0, 8, 10}, true},
		{`"a"`, Span{0, 9, 10}, `"a"`, Span{2, 4, 10}, Complete(10), true},
		{`"a"`, Span{0, 3, 10}, `"a"`, Span{5, 9, 10}, Span{}, false},
		{`"a"`, Span{5, 9, 10}, `"a"`, Span{0, 3, 10}, Span{}, false},
		{`"a"`, Span{0, 4, 10}, `"b"`, Span{5, 9, 10}, Span{}, false},
		{`W/"a"`, Span{0, 4, 10}, `W/"a"`, Span{5, 9, 10}, Span{}, false},
		{"", Span{0, 4, 10}, "", Span{5, 9, 10}, Span{}, false},
		{`"a"`, Span{0, 4, 10}, `"a"`, Span{5, 9, 11}, Span{}, false},
		{`"a"`, Span{0, 4, -1}, `"a"`, Span{5, 9, 10}, Span{}, false},
	} {
		got, ok := Combine(fields("Etag: "+c.aTag), c.a, fields("Etag: "+c.bTag), c.b)
		if got != c.want || ok != c.ok {
			t.Errorf("%v of %s and %v of %s: %v, %v, want %v, %v", c.a, c.aTag, c.b, c.bTag, got, ok, c.want, c.ok)
		}
	}
}

// FuzzPart: whatever is asked for, a part lies within what is stored.
func FuzzPart(f *testing.F) {
	for _, s := range []string{"bytes=0-4", "bytes=-3", "bytes=7-", "bytes=99999999999999999999-", "bytes=-99999999999999999999", "bytes=0-1,2-3"} {
		f.Add(s, "bytes 2-5/10")
	}
	f.Fuzz(func(t *testing.T, asked, stored string) {
		have, ok := ContentRange(http.Header{"Content-Range": {stored}})
		if !ok {
			have = Complete(10)
		}
		if have.First < 0 || have.Last < have.First || have.Size >= 0 && have.Last >= have.Size {
			t.Fatalf("%q is read as %v", stored, have)
		}
		got, reach := Part(http.Header{"Range": {asked}}, http.Header{}, have, epoch)
		if reach == Some && (got.First < have.First || got.Last > have.Last || got.Len() <= 0) {
			t.Fatalf("%q of %v is %v", asked, have, got)
		}
		if reach == All && !have.Whole() {
			t.Fatalf("%q of %v is all", asked, have)
		}
	})
}
