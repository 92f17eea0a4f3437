package jsonscan

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

const (
	tagIn = iota + 1
	tagModel
	tagError
	tagX
	tagAny
	tagList
	tagAnything
	tagLong
)

var testPaths = Compile(map[string]uint8{
	"usage.in": tagIn,
	"model":    tagModel,
	"error":    tagError,
	"list":     tagList,
	"list.x":   tagX,
	"a.*":      tagAny,
	"a.b":      0,
	"a.c.*":    tagAnything,

	"twelve_chars": tagLong,
}, tagError)

// log is a Visitor that writes down what it is told.
type log struct {
	found []string
	raw   []byte
}

func (l *log) Found(tag uint8, v Value) {
	l.found = append(l.found, describe(tag, v.Kind, v.Size, string(v.Text)))
	if tag == tagError && (v.Kind == String || v.Kind == Object || v.Kind == Array) && len(l.raw) > 0 {
		l.found = append(l.found, string(l.raw))
	}
	if tag == tagError {
		l.raw = nil
	}
}

func describe(tag uint8, kind Kind, size int, text string) string {
	return fmt.Sprintf("%d %c %d %s", tag, "?nft#s{["[kind], size, text)
}

func (l *log) Raw(tag uint8, p []byte) { l.raw = append(l.raw, p...) }

func scan(doc []byte, piece int) (*log, bool) {
	var s Scanner
	s.Reset(testPaths)
	l := new(log)
	for p := range slices.Chunk(doc, piece) {
		s.Feed(p, l)
	}
	s.Feed([]byte(" "), l) // a bare number ends
	return l, s.Done()
}

func TestScanner(t *testing.T) {
	for _, tt := range []struct {
		doc  string
		want []string
	}{
		{`{"usage":{"in":12,"x":{"in":13}},"in":14}`, []string{"1 # 2 12"}},
		{`{"model":"gpt","other":{"model":"no"},"m":["model"]}`, []string{"2 s 3 gpt"}},
		{`{"mod\u0065l":"gpt"}`, []string{"2 s 3 gpt"}},
		{`{"error":null}`, []string{"3 n 4 null"}},
		{`{"error":{"a":[{"error":1}]} }`, []string{"3 { 1 ", `{"a":[{"error":1}]}`}},
		{`{"error":"\"x\""}`, []string{`3 s 5 \"x\"`, `"\"x\""`}},
		{`{"list":[{"x":true,"y":[]},{"x":"b"}],"list2":{"x":1}}`, []string{"4 t 4 true", "6 { 2 ", "4 s 1 b", "6 { 1 ", "6 [ 2 "}},
		{`{"list":[]}`, []string{"6 [ 0 "}},
		{`[[{"model":1}]]`, []string{"2 # 1 1"}},
		{`{"a":{"b":1,"z":2,"c":{"d":3}}}`, []string{"5 # 1 2", "7 # 1 3"}},
		{`{"model":"` + strings.Repeat("m", 70) + `"}`, []string{"2 s 70 " + strings.Repeat("m", 64)}},
		{`{"` + strings.Repeat("m", 70) + `":1,"model":2}`, []string{"2 # 1 2"}},
		{`{"twelve_\u0063hars":1}`, []string{"8 # 1 1"}},
		// Longer than what is held, and so no name, in pieces or not.
		{`{"\u0074\u0077\u0065\u006c\u0076\u0065\u005f\u0063\u0068\u0061\u0072\u0073":1}`, nil},
		{"\xEF\xBB\xBF\n {\"model\":1}", []string{"2 # 1 1"}},
	} {
		for _, piece := range []int{1, 2, 3, 7, 1000} {
			got, done := scan([]byte(tt.doc), piece)
			if !slices.Equal(got.found, tt.want) || !done {
				t.Errorf("%s in pieces of %d: %q, done %v, want %q", tt.doc, piece, got.found, done, tt.want)
			}
		}
	}
}

func TestScannerReset(t *testing.T) {
	var s Scanner
	for _, before := range append(documents, broken...) {
		for _, doc := range documents {
			s.Reset(testPaths)
			s.Feed([]byte(before), new(log))
			s.Reset(testPaths)
			got := new(log)
			s.Feed([]byte(doc), got)
			s.Feed([]byte(" "), got)
			if want, _ := scan([]byte(doc), len(doc)); !slices.Equal(got.found, want.found) || !s.Done() {
				t.Errorf("%s after %s: %q, want %q", doc, before, got.found, want.found)
			}
			s.Reset(testPaths)
			if s.Done() {
				t.Errorf("%s is done before it begins", doc)
			}
		}
	}
}

func TestScannerUnfinished(t *testing.T) {
	for _, doc := range []string{``, `{`, `"`, `"\`, `"\u12`, `{"a`, `{"a":`, `{"a":tru`, `{"a":[1,2}`, `[{"x":"]}"`} {
		if _, done := scan([]byte(doc), 1); done {
			t.Errorf("%s is done", doc)
		}
	}
}

// expected finds what testPaths match in a decoded document, in the order that a
// Scanner reports it, for documents without repeated names.
func expected(v any, at uint16) (found []string) {
	say := func(kind Kind, size int, text string) {
		if tag := testPaths.nodes[at].tag; tag != 0 && at != nowhere {
			found = append(found, describe(tag, kind, size, text))
		}
	}
	switch v := v.(type) {
	case map[string]any:
		for name, m := range v {
			to := uint16(nowhere)
			if !testPaths.leaf(at) {
				to = testPaths.step(at, []byte(name))
			}
			found = append(found, expected(m, to)...)
		}
		say(Object, len(v), "")
	case []any:
		for _, e := range v {
			if testPaths.nodes[at].raw {
				break // what is within a raw value is not reported
			}
			found = append(found, expected(e, at)...)
		}
		say(Array, len(v), "")
	case json.Number:
		say(Number, len(v), string(v))
	case bool:
		if v {
			say(True, 4, "true")
		} else {
			say(False, 5, "false")
		}
	case nil:
		say(Null, 4, "null")
	case string:
		say(String, len(v), v)
	}
	return found
}

func FuzzJSONScan(f *testing.F) {
	for _, doc := range append(documents, broken...) {
		f.Add([]byte(doc))
	}
	f.Add([]byte(`{"a":{"z":"1","y":[2,{"q":"3"}],"c":{"e":null}},"usage":{"in":[5]},"list":{"x":{}}}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		whole, done := scan(doc, max(1, len(doc)))
		bytewise, doneToo := scan(doc, 1)
		if !slices.Equal(whole.found, bytewise.found) || done != doneToo || string(whole.raw) != string(bytewise.raw) {
			t.Fatalf("whole: %q %v\nbytewise: %q %v", whole.found, done, bytewise.found, doneToo)
		}
		if !json.Valid(doc) {
			return
		}
		if !done {
			t.Fatal("a valid document is not done")
		}
		// Texts with escapes are given as written, and where names repeat or lists
		// are nested deeper than is followed, encoding/json knows something else.
		text := string(doc)
		if strings.Contains(text, `\`) || !utf8.Valid(doc) || strings.Count(text, "[") > 4 || len(doc) > 200 || repeats(doc) {
			return
		}
		d := json.NewDecoder(strings.NewReader(text))
		d.UseNumber()
		var v any
		if err := d.Decode(&v); err != nil {
			t.Fatal(err)
		}
		want := expected(v, root)
		got := slices.DeleteFunc(whole.found, func(s string) bool { return s[0] < '0' || s[0] > '9' || s[1] != ' ' })
		for i := range want { // numbers and strings longer than a Scanner holds
			if j := strings.LastIndexByte(want[i], ' '); len(want[i])-j-1 > maxText {
				want[i] = want[i][:j+1+maxText]
			}
		}
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Fatalf("found %q, want %q", got, want)
		}
	})
}

// repeats reports that an object of the document has two members of one name.
func repeats(doc []byte) bool {
	c := NewCursor(doc)
	var names []map[string]bool
	for t := c.Next(); t.Kind != None; t = c.Next() {
		switch {
		case t.Key:
			at := names[len(names)-1]
			if at[string(t.Raw)] {
				return true
			}
			at[string(t.Raw)] = true
		case t.Kind == Object || t.Kind == Array:
			if t.End {
				names = names[:len(names)-1]
			} else {
				names = append(names, map[string]bool{})
			}
		}
	}
	return false
}

func TestScannerAllocates(t *testing.T) {
	doc := []byte(documents[8])
	var s Scanner
	v := new(nothing)
	if n := testing.AllocsPerRun(100, func() { s.Reset(testPaths); s.Feed(doc, v) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

type nothing struct{}

func (*nothing) Found(uint8, Value) {}
func (*nothing) Raw(uint8, []byte)  {}

func BenchmarkScanner(b *testing.B) {
	doc := []byte(`{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1772539200,"model":"m","choices":[{"index":0,"delta":{"content":" token"},"logprobs":null,"finish_reason":null}]}`)
	var s Scanner
	v := new(nothing)
	b.SetBytes(int64(len(doc)))
	for b.Loop() {
		s.Reset(testPaths)
		s.Feed(doc, v)
	}
}
