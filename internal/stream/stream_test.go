package stream

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"testing"
)

// events is a Sink that writes down what it is told.
type events struct {
	list []string
	data []byte
}

func (s *events) Data(p []byte) {
	s.data = append(s.data, p...)
}

func (s *events) End(e Event) {
	text := fmt.Sprintf("%s|%s", e.Name, s.data)
	if e.Exception {
		text += "|exception"
	}
	if e.Cut {
		text += "|cut"
	}
	s.list = append(s.list, text)
	s.data = nil
}

func readSSE(in []byte, piece int) []string {
	var s SSE
	sink := new(events)
	for p := range slices.Chunk(in, piece) {
		s.Feed(p, sink)
	}
	s.Close(sink)
	return sink.list
}

func TestSSE(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     []string
	}{
		{"empty", "", nil},
		{"one", "data: x\n\n", []string{"|x"}},
		{"CRLF", "event: a\r\ndata: x\r\n\r\ndata: y\r\n\r\n", []string{"a|x", "|y"}},
		{"CR", "event: a\rdata: x\r\rdata: y\r\r", []string{"a|x", "|y"}},
		{"mixed", "data: x\r\n\ndata: y\r\rdata: z\n\r\n", []string{"|x", "|y", "|z"}},
		{"no space", "event:a\ndata:x\n\n", []string{"a|x"}},
		{"one space of two", "data:  x\n\n", []string{"| x"}},
		{"many lines", "data: x\ndata:\ndata: y\n\n", []string{"|x\n\ny"}},
		{"the name after the data", "data: x\nevent: a\n\n", []string{"a|x"}},
		{"the last name", "event: a\nevent: b\ndata: x\n\n", []string{"b|x"}},
		{"an empty name", "event: a\nevent\ndata: x\n\n", []string{"|x"}},
		{"no data", "event: a\n\ndata: x\n\n", []string{"|x"}},
		{"empty data", "data\n\ndata:\n\n", []string{"|", "|"}},
		{"comments", ": one\ndata: x\n:\n: two\ndata: y\n\n:three\n\n", []string{"|x\ny"}},
		{"other fields", "id: 1\nretry: 5\nDATA: no\ndatax: no\ndat: no\n data: no\ndata: x\n\n", []string{"|x"}},
		{"a colon in the data", "data: x: y\n\n", []string{"|x: y"}},
		{"byte order mark", "\xEF\xBB\xBFdata: x\n\n", []string{"|x"}},
		{"a later byte order mark", "data: x\n\n\xEF\xBB\xBFdata: y\n\n", []string{"|x"}},
		{"no blank line at the end", "data: x\n\ndata: y\n", []string{"|x", "|y|cut"}},
		{"no line end at the end", "event: a\ndata: y", []string{"a|y|cut"}},
		{"only a field at the end", "data", []string{"||cut"}},
		{"a long name", "event: " + strings.Repeat("n", 100) + "\ndata: x\n\n", []string{strings.Repeat("n", maxName) + "|x"}},
		{"blank lines", "\n\n\r\n\r\rdata: x\n\n\n\n", []string{"|x"}},
	} {
		for _, piece := range []int{1, 2, 3, 1000} {
			if got := readSSE([]byte(tt.in), piece); !slices.Equal(got, tt.want) {
				t.Errorf("%s in pieces of %d: %q, want %q", tt.name, piece, got, tt.want)
			}
		}
	}
}

// An event is over when its blank line is, without a look at the next byte,
// which may not come for minutes.
func TestSSEIsPrompt(t *testing.T) {
	for _, in := range []string{"data: x\n\n", "data: x\r\r", "data: x\r\n\r"} {
		var s SSE
		sink := new(events)
		s.Feed([]byte(in), sink)
		if len(sink.list) != 1 {
			t.Errorf("%q: %q", in, sink.list)
		}
	}
}

func TestLines(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want []string
	}{
		{"", nil},
		{"\n \n\r\n", nil},
		{"{}\n\n[]\n", []string{"|{}", "|[]"}},
		{"{}\n  []", []string{"|{}", "|[]|cut"}},
	} {
		for _, piece := range []int{1, 2, 1000} {
			var l Lines
			sink := new(events)
			for p := range slices.Chunk([]byte(tt.in), piece) {
				l.Feed(p, sink)
			}
			l.Close(sink)
			if !slices.Equal(sink.list, tt.want) {
				t.Errorf("%q in pieces of %d: %q, want %q", tt.in, piece, sink.list, tt.want)
			}
		}
	}
}

// message writes a frame with the given headers, encoded.
func message(headers, payload string) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(16+len(headers)+len(payload)))
	b = binary.BigEndian.AppendUint32(b, uint32(len(headers)))
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	b = append(append(b, headers...), payload...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
}

func text(name, value string) string {
	return string(rune(len(name))) + name + "\x07" + string([]byte{byte(len(value) >> 8), byte(len(value))}) + value
}

func TestFrames(t *testing.T) {
	every := "\x01a\x00\x01b\x01\x01c\x021\x01d\x0312\x01e\x041234\x01f\x0512345678\x01g\x06\x00\x03123\x01h\x0812345678\x01i\x090123456789abcdef"
	corrupt := message("", "x")
	corrupt[8]++
	for _, tt := range []struct {
		name          string
		in            []byte
		want          []string
		broken, whole bool
	}{
		{"none", nil, nil, false, true},
		{"bare", message("", ""), []string{"|"}, false, true},
		{"two", append(message(text(":event-type", "a"), "x"), message("", "y")...), []string{"a|x", "|y"}, false, true},
		{"every type of header", message(every+text(":event-type", "a")+text(":message-type", "event"), "x"), []string{"a|x"}, false, true},
		{"exception", message(text(":exception-type", "a")+text(":message-type", "exception"), "x"), []string{"a|x|exception"}, false, true},
		{"error", message(text(":message-type", "error")+text(":error-code", "500"), ""), []string{"500||exception"}, false, true},
		{"a long value", message(text(":event-type", strings.Repeat("v", 3000))+text("n", ""), "x"), []string{strings.Repeat("v", maxName) + "|x"}, false, true},
		{"a long name", message(text(strings.Repeat("n", 100), "v"), "x"), []string{"|x"}, false, true},
		{"an empty name", message(text("", "v"), "x"), []string{"|x"}, false, true},
		{"cut", message("", "xyz")[:14], nil, false, false},
		{"cut in the prelude", message("", "xyz")[:3], nil, false, false},
		{"text", []byte(`{"message":"no"}`), nil, true, false},
		{"wrong checksum", corrupt, nil, true, false},
		{"unknown type", message("\x01a\x0a", ""), nil, true, false},
		{"a header beyond the headers", message("\x01a\x04", "12345678"), nil, true, false},
		{"a name beyond the headers", message("\xffa", "x"), nil, true, false},
		{"headers beyond the frame", func() []byte {
			b := []byte{0, 0, 0, 20, 0, 0, 0, 6}
			return append(binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b)), make([]byte, 8)...)
		}(), nil, true, false},
		{"a short frame", func() []byte {
			b := make([]byte, 8)
			return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
		}(), nil, true, false},
	} {
		for _, piece := range []int{1, 2, 5, 10000} {
			var f Frames
			sink := new(events)
			for p := range slices.Chunk(tt.in, piece) {
				f.Feed(p, sink)
			}
			if !slices.Equal(sink.list, tt.want) || f.Broken() != tt.broken || f.Whole() != tt.whole {
				t.Errorf("%s in pieces of %d: %q, broken %v, whole %v", tt.name, piece, sink.list, f.Broken(), f.Whole())
			}
		}
	}
}

func FuzzStream(f *testing.F) {
	f.Add([]byte("\xEF\xBB\xBF: c\r\nevent: a\rdata: x\r\ndata: y\n\n\n{}"))
	f.Add(message(text(":exception-type", "a")+text(":message-type", "exception"), "x"))
	f.Add(message("\x01a\x00\x01g\x06\x00\x03123", "{}"))
	f.Fuzz(func(t *testing.T, in []byte) {
		for name, feed := range map[string]func(int) (*events, any){
			"sse": func(piece int) (*events, any) {
				return &events{list: readSSE(in, piece)}, nil
			},
			"lines": func(piece int) (*events, any) {
				var l Lines
				sink := new(events)
				for p := range slices.Chunk(in, piece) {
					l.Feed(p, sink)
				}
				return sink, l
			},
			"frames": func(piece int) (*events, any) {
				var fr Frames
				sink := new(events)
				for p := range slices.Chunk(in, piece) {
					fr.Feed(p, sink)
				}
				return sink, [2]bool{fr.Broken(), fr.Whole()}
			},
		} {
			whole, state := feed(max(1, len(in)))
			bytewise, again := feed(1)
			if !slices.Equal(whole.list, bytewise.list) || !bytes.Equal(whole.data, bytewise.data) || state != again {
				t.Fatalf("%s: %q %v whole, %q %v bytewise", name, whole.list, state, bytewise.list, again)
			}
		}
	})
}

func TestFeedAllocates(t *testing.T) {
	sse, frame := []byte("event: a\ndata: x\n\n"), message(text(":event-type", "a"), "x")
	var s SSE
	var l Lines
	var f Frames
	sink := new(count)
	if n := testing.AllocsPerRun(100, func() { s.Feed(sse, sink); l.Feed(sse, sink); f.Feed(frame, sink) }); n != 0 || *sink == 0 {
		t.Errorf("%v allocations, %d events", n, *sink)
	}
}

type count int

func (c *count) Data([]byte) {}
func (c *count) End(Event)   { *c++ }
