package canon_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/seed-9e4f5248/snubber/internal/canon"
)

func spell(document string, skip ...string) (string, bool) {
	var b strings.Builder
	ok := canon.Write(&b, []byte(document), skip...)
	return b.String(), ok
}

func TestSpelling(t *testing.T) {
	for _, c := range []struct{ document, want string }{
		{` { "b" : [ 1 , 2 ] , "a" : { "d" : null , "c" : true } } `, `{"a":{"c":true,"d":null},"b":[1,2]}`},
		{"\t[ ]\r\n", `[]`},
		{`{ }`, `{}`},
		{`[{},{"b":{},"a":[{"d":1,"c":2}]},{}]`, `[{},{"a":[{"c":2,"d":1}],"b":{}},{}]`},
		{`"a"`, `"a"`}, {` 0 `, `0`}, {`false`, `false`}, {`-0`, `-0`},
		// Numbers are as they were written.
		{`[1.0,1,1e0,1E+0,-0,0,1e400,9007199254740993]`, `[1.0,1,1e0,1E+0,-0,0,1e400,9007199254740993]`},
		// Escapes are what has to be, in one form.
		{`"\u0041\/\t\u000A\b\f\r\n\"\\\u005c\u0022\u001f\u007f"`, `"A/\t\n\b\f\r\n\"\\\\\"\u001f` + "\x7f" + `"`},
		{`"\u00e9\u4e2d\ud83d\ude00\uD83D\uDE00"`, `"é中😀😀"`},
		{`"\u0000"`, `"\u0000"`},
		{`"e\u0301"`, "\"e\u0301\""}, // no normalisation: these are two characters
		{`{"a":"\/","b":"\u0041","c":"\n","d":[ 1 ],"e": {"x":"\u001f"}}`, `{"a":"/","b":"A","c":"\n","d":[1],"e":{"x":"\u001f"}}`},
		// Names are ordered by what they mean.
		{`{"\u0062":1,"a":2}`, `{"a":2,"b":1}`},
		{`{"é":1,"z":2,"":3,"\"":4,"\n":5,"a b":6,"a":7}`, `{"":3,"\n":5,"\"":4,"a":7,"a b":6,"z":2,"é":1}`},
		{`{"aa":1,"a":2,"A":3}`, `{"A":3,"a":2,"aa":1}`},
	} {
		if got, ok := spell(c.document); !ok || got != c.want {
			t.Errorf("%s is written\n%s, %v; want\n%s", c.document, got, ok, c.want)
		}
	}
}

func TestNoSpelling(t *testing.T) {
	for _, document := range []string{
		"", " ", "{", "}", "[", "]", `"`, `"a`, `"\`, `"\"`, ",", ":", "-", "+1", "01", "1.", ".5", "1e", "1e+", "1.e1", "0x1", "nul", "nulL", "True", "NaN",
		"[1,]", "[,1]", "[1 2]", `["a""b"]`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{,"a":1}`, `{"a" 1}`, `{a:1}`, `{1:1}`, `{"a":1 "b":2}`, "[1}", `{"a":1]`,
		"1 2", "{}{}", "{} x", `{"a":1}]`, "[1],", "\ufeff{}", "{}\x00", "[1\v]", "[1\u00a0]", "// c\n1", "'a'",
		`"` + "\n" + `"`, `"` + "\x00" + `"`, `"\x41"`, `"\u12"`, `"\u12g4"`, `"\U0041"`, `"\'"`,
		// Of one name two members; and the name in two spellings.
		`{"a":1,"a":1}`, `{"a":1,"b":2,"a":3}`, `{"a":1,"\u0061":1}`, `[{"x":{"":1,"":2}}]`, `{"é":1,"\u00e9":2}`,
		// No Unicode text.
		`"\ud800"`, `"\udc00"`, `"\ud800\ud800"`, `"\udc00\udc00"`, `"\udc00\ud800"`, `"\ud800x"`, `"\ud800\n"`, `{"\udfff":1}`, "\"\xff\"", "\"\xed\xa0\x80\"", "\"\xc3\\u0041\xa9\"", "{\"\xc0\x80\":1}",
	} {
		if got, ok := spell(document); ok || got != "" {
			t.Errorf("%q is written %q, %v; want nothing", document, got, ok)
		}
	}
}

func TestSkip(t *testing.T) {
	const document = `{"user":"u","a":{"user":1},"m\u0065tadata":{"x":[1,{"y":2}]},"b":[{"user":2}],"z":{"q":1,"p":2}}`
	want := `{"a":{"user":1},"b":[{"user":2}],"z":{"p":2,"q":1}}`
	if got, ok := spell(document, "user", "metadata"); !ok || got != want {
		t.Errorf("without user and metadata: %s, %v; want %s", got, ok, want)
	}
	for _, document := range []string{`[{"user":1}]`, `"user"`, `{"a":{"user":1}}`} {
		if got, ok := spell(document, "user"); !ok || got != document {
			t.Errorf("%s without user at the top: %s, %v", document, got, ok)
		}
	}
	if got, ok := spell(` {"user":1} `, "user"); !ok || got != "{}" {
		t.Errorf("nothing but what is left out: %s, %v; want {}", got, ok)
	}
	if got, ok := spell(`{"user":1,"a":{"b":1,"b":1}}`, "a"); ok {
		t.Errorf("a bad member that is left out: %s; want nothing", got)
	}
}

func TestDepth(t *testing.T) {
	for _, unit := range [][2]string{{"[", "]"}, {`{"a":`, "}"}} {
		nest := func(n int) string { return strings.Repeat(unit[0], n) + "1" + strings.Repeat(unit[1], n) }
		if got, ok := spell(nest(canon.MaxDepth)); !ok || got != nest(canon.MaxDepth) {
			t.Errorf("%d times %s has no spelling", canon.MaxDepth, unit[0])
		}
		for _, n := range []int{canon.MaxDepth + 1, 1 << 20} {
			if _, ok := spell(nest(n)); ok {
				t.Errorf("%d times %s has a spelling", n, unit[0])
			}
			if _, ok := spell(strings.Repeat(unit[0], n)); ok {
				t.Errorf("%d times %s without an end has a spelling", n, unit[0])
			}
		}
	}
	if _, ok := spell("[" + strings.Repeat("[],", 5000) + "[]]"); !ok {
		t.Error("containers beside each other count as if they were in each other")
	}
}

// counter counts what is written to it.
type counter int

func (c *counter) Write(p []byte) (int, error) { *c += counter(len(p)); return len(p), nil }

// The worst for sorting in place: a megabyte inside a thousand objects, each of
// which has its members the wrong way round.
func TestEachByteIsWrittenOnce(t *testing.T) {
	document := strings.Repeat(`{"b":`, canon.MaxDepth) + `"` + strings.Repeat("x", 1<<20) + `"` + strings.Repeat(`,"a":0}`, canon.MaxDepth)
	n := new(counter)
	if !canon.Write(n, []byte(document)) || int(*n) != len(document) {
		t.Fatalf("%d bytes come to %d", len(document), *n)
	}
	allocated := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			canon.Write(n, []byte(document))
		}
	}).AllocedBytesPerOp()
	if limit := int64(2 << 20); allocated > limit { // one of them is the conversion here
		t.Errorf("%d bytes allocated, want at most %d", allocated, limit)
	}
}

// TestLarge has documents of a megabyte, in pieces of every size for the writer's
// buffer.
func TestLarge(t *testing.T) {
	for _, size := range []int{1, 7, 510, 511, 512, 513, 1024, 1 << 20} {
		text := strings.Repeat("ü", size/2) + strings.Repeat("y", size%2)
		for pad := range 9 {
			document := fmt.Sprintf(`{"b":%q,"a":"%s%s\n"}`, strings.Repeat("p", pad), text, `\u00fc`)
			want := fmt.Sprintf(`{"a":"%sü\n","b":%q}`, text, strings.Repeat("p", pad))
			if got, ok := spell(document); !ok || got != want {
				t.Fatalf("%d bytes, %d before: not as it should be", size, pad)
			}
		}
	}
}

// decode is what encoding/json makes of a document, with numbers as written.
func decode(document []byte) (v any, ok bool) {
	d := json.NewDecoder(bytes.NewReader(document))
	d.UseNumber()
	if d.Decode(&v) != nil {
		return nil, false
	}
	_, err := d.Token()
	return v, err == io.EOF
}

// faithful reports whether decode loses nothing: each object has as many members
// as are written, and no string stands for what is not Unicode.
func faithful(document []byte) bool {
	if !utf8.Valid(document) {
		return false
	}
	d := json.NewDecoder(bytes.NewReader(document))
	d.UseNumber()
	type level struct {
		names  map[string]bool
		isName bool
	}
	var stack []level
	for {
		token, err := d.Token()
		if err != nil {
			return err == io.EOF
		}
		if s, ok := token.(string); ok && strings.Contains(s, "\ufffd") {
			return false
		}
		top := len(stack) - 1
		if top >= 0 && stack[top].names != nil {
			if s, ok := token.(string); ok && stack[top].isName {
				if stack[top].names[s] {
					return false
				}
				stack[top].names[s] = true
				stack[top].isName = false
				continue
			}
			stack[top].isName = true
		}
		switch token {
		case json.Delim('{'):
			stack = append(stack, level{map[string]bool{}, true})
		case json.Delim('['):
			stack = append(stack, level{})
		case json.Delim('}'), json.Delim(']'):
			stack = stack[:top]
		}
		if len(stack) > canon.MaxDepth {
			return false
		}
	}
}

// TestPooled: a document leaves nothing to the next one, whoever writes it.
func TestPooled(t *testing.T) {
	documents := []string{`{"b":{"x":[1]},"a":2}`, `{"a":1,"a":2}`, `[{"c":1},{"b":2,"a":"\u00e9"}]`, `{"b":`, `1`}
	var want [5]string
	for i, s := range documents {
		want[i], _ = spell(s)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for n := range 500 {
				i := n % len(documents)
				if got, _ := spell(documents[i]); got != want[i] {
					t.Errorf("%s became %s, and before %s", documents[i], got, want[i])
				}
			}
		})
	}
	wg.Wait()
}

// FuzzWrite takes two documents: they have one spelling only if encoding/json
// reads the same from both.
func FuzzWrite(f *testing.F) {
	for _, d := range []string{
		`{"b":[1,2,{"y":"\ud83d\ude00","x":1e5}],"a":{"d":null,"c":true}}`, ` [ "\u0041" , -0.5e-3 ] `, `{"seed":9007199254740993}`, `{"seed":9007199254740992}`,
		`{"a":1,"a":2}`, `{"a":1,"\u0061":2}`, `"\ud800"`, `"\ufffd"`, `"\\ufffd"`, "\"\xff\"", `{"a":1} {"a":1}`, `1.0`, `1`, `{"":{"":{}}}`, `[[],[[]],{}]`, `{"a":"é"}`, `{"a":"e\u0301"}`, `"\/"`, `"/"`, "\"\u2028<>&\"",
	} {
		f.Add([]byte(d), []byte(`{"a":{"c":true,"d":null},"b":[1,2]}`))
		f.Add([]byte(d), []byte(d))
	}
	f.Fuzz(func(t *testing.T, one, two []byte) {
		was := bytes.Clone(one)
		var a, b bytes.Buffer
		okA, okB := canon.Write(&a, one), canon.Write(&b, two)
		if !bytes.Equal(was, one) {
			t.Fatalf("%q was changed", was)
		}
		v, valid := decode(one)
		if want := valid && faithful(one); okA != want {
			// A U+FFFD that is really there is beyond what decode can tell.
			if !(okA && valid && bytes.Contains(a.Bytes(), []byte("\ufffd"))) {
				t.Fatalf("Write(%q) = %v, want %v", one, okA, want)
			}
		}
		if !okA {
			if a.Len() > 0 {
				t.Fatalf("Write(%q) = false, but wrote %q", one, a.Bytes())
			}
			return
		}
		if w, ok := decode(a.Bytes()); !ok || !reflect.DeepEqual(v, w) {
			t.Fatalf("%q is written %q, which is something else", one, a.Bytes())
		}
		var again bytes.Buffer
		if !canon.Write(&again, a.Bytes()) || !bytes.Equal(again.Bytes(), a.Bytes()) {
			t.Fatalf("%q is written %q, and that %q", one, a.Bytes(), again.Bytes())
		}
		// encoding/json sorts and indents: another spelling of the same.
		other, err := json.MarshalIndent(v, " ", "\t")
		if err != nil {
			t.Fatal(err)
		}
		again.Reset()
		if !canon.Write(&again, other) || !bytes.Equal(again.Bytes(), a.Bytes()) {
			t.Fatalf("%q is written %q, and %q is %q", one, a.Bytes(), other, again.Bytes())
		}
		if okB {
			w, _ := decode(two)
			if same := reflect.DeepEqual(v, w); same != bytes.Equal(a.Bytes(), b.Bytes()) {
				t.Fatalf("%q is written %q, and %q is %q", one, a.Bytes(), two, b.Bytes())
			}
		}
	})
}

func prompt(size int) []byte {
	type message struct {
		Role    string `json:"role"`
		Content string `json:"content"`
	}
	var m []message
	for n := 0; n < size; n += 400 {
		m = append(m, message{"user", strings.Repeat("Some words of a prompt,\n\"quoted\" as it may be. ", 8)})
	}
	b, _ := json.Marshal(map[string]any{"model": "m", "messages": m, "temperature": 0.5, "stream": true})
	return b
}

// BenchmarkWrite is to be read beside BenchmarkHash: the key of a prompt is both.
func BenchmarkWrite(b *testing.B) {
	document := prompt(37_000)
	b.SetBytes(int64(len(document)))
	b.ReportAllocs()
	h := sha256.New()
	for b.Loop() {
		canon.Write(h, document)
	}
}

func BenchmarkHash(b *testing.B) {
	document := prompt(37_000)
	b.SetBytes(int64(len(document)))
	h := sha256.New()
	for b.Loop() {
		h.Write(document)
	}
}
