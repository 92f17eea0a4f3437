package stream

import (
	"bytes"
	"testing"
)

func TestPending(t *testing.T) {
	for _, tt := range []struct {
		text string
		want int
	}{
		{"", 0}, {"data: a", 7}, {"data: a\n", 8}, {"data: a\n\n", 0}, {"data: a\r\n\r\n", 0}, {"data: a\r\n\r", 0}, {"data: a\r\r", 0},
		{"data: a\r\n", 9}, {"data: a\n\ndata", 4}, {"event: x\ndata: y\n", 17}, {": hi\n", 0}, {": hi", 4}, {"data: a\n: hi\n", 13},
		{": hi\ndata: a\n", 8}, {"\n\n\r\n", 0}, {"data: a\n\r\nid: 1\r", 6}, {"data: a\n\n: hi\r\n", 0}, {"data: a\n\n: hi\r\nx", 1},
	} {
		var whole, bytewise Pending
		got, again := whole.SSE([]byte(tt.text)), 0
		for i := range len(tt.text) {
			again = bytewise.SSE([]byte(tt.text[i : i+1]))
		}
		if got != tt.want || again != tt.want {
			t.Errorf("%q: %d pending, in bytes %d, want %d", tt.text, got, again, tt.want)
		}
	}
	var lines Pending
	for _, tt := range []struct {
		text string
		want int
	}{{"{\"a\"", 4}, {":1}", 7}, {"\n", 0}, {"{}\n{", 1}, {"", 1}, {"}\n", 0}} {
		if got := lines.Lines([]byte(tt.text)); got != tt.want {
			t.Errorf("%q: %d pending, want %d", tt.text, got, tt.want)
		}
	}
}

// What is not pending is whole events: the same as without the rest.
func FuzzPending(f *testing.F) {
	for _, s := range []string{"data: a\n\ndata: b", ": c\r\ndata: a\r\n\r\n", "\r\r\n\n\rdata\r", "event: x\n: y\n\ndata: z\n"} {
		f.Add([]byte(s), 3)
	}
	f.Fuzz(func(t *testing.T, text []byte, at int) {
		at = min(max(at, 0), len(text))
		var whole, cut Pending
		n := whole.SSE(text)
		cut.SSE(text[:at])
		if m := cut.SSE(text[at:]); m != n || n < 0 || n > len(text) {
			t.Fatalf("%d pending, cut at %d %d", n, at, m)
		}
		var s SSE
		var got, want recorded
		s.Feed(text[:len(text)-n], &got)
		if seal := s.Seal(); seal != "" && seal != "\n" {
			t.Fatalf("%q is no whole event: it lacks %q", text[:len(text)-n], seal)
		}
		s = SSE{}
		s.Feed(text, &want)
		if !bytes.Equal(got.b, want.b[:len(got.b)]) || got.ends != want.ends {
			t.Fatalf("%q without what is pending is %q, want %q", text, got.b, want.b)
		}
	})
}

type recorded struct {
	b    []byte
	ends int
}

func (r *recorded) Data(p []byte) { r.b = append(r.b, p...) }
func (r *recorded) End(Event)     { r.ends++ }
