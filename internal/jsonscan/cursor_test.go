package jsonscan

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"unicode/utf8"
)

// documents seed the fuzz targets and serve the tests of both readers.
var documents = []string{
	`{}`, `[]`, `null`, `""`, `0`, ` true `, `{"a":{"b":[1,2,{"c":"d"}]}}`,
	`{"usage":{"in":12,"out":3e2},"model":"gpt","error":null}`,
	`{"error":{"message":"a \"b\" \\","code":429},"list":[{"x":1},{"x":2,"deep":[[[["y"]]]]}]}`,
	`{"mod\u0065l":"\u00e9\ud83d\ude00\u4e2d\n\\","model":"` + strings.Repeat("long ", 40) + `"}`,
	`[{"error":"x"},[{"error":[1]}]]`,
	`{"a":"` + strings.Repeat(`line\n`, 200) + `"}`,
	`{"":"","a":"\\","b":"\\\"","c":[true,false,null,-1.5e-3]}`,
	"\n\n\t {\r\n \"a\" : [ 1 , { } , [ ] ] } \n",
	strings.Repeat("[", 100) + strings.Repeat("]", 100),
}

// broken are no JSON; both readers must come to an end.
var broken = []string{
	``, `{`, `"`, `"\`, `"\u`, `"\u12"`, `{"a`, `{"a":`, `}`, `]]]]`, `{"a":]`, `[}`, `{"a":1}}}{"a":2}`,
	`{"error":"\`, `{"usage":{"in":}`, `{"a":tru`, "\xff\xfe", `{"error":{"a":[}]`, `\u0022`, "{\x1a\"\"0", `{"a":"b" "c"}`, `"\ud83d\u`,
}

func TestCursorSize(t *testing.T) {
	for _, raw := range []string{
		``, `a`, `\n`, `\"`, `\\`, `\u0041`, `\u00e9`, `\u07ff`, `\u0800`, `\u4e2d`, `\uffff`, `\ud83d\ude00`, `\uD83D\uDE00`,
		`é中😀`, strings.Repeat(`x\n`, 30), strings.Repeat("y", 600) + `\"` + strings.Repeat("z", 600), `\ud7ff`, `\ue000`,
	} {
		var want string
		if err := json.Unmarshal([]byte(`"`+raw+`"`), &want); err != nil {
			t.Fatal(err)
		}
		c := NewCursor([]byte(`"` + raw + `"`))
		got := c.Next()
		if got.Kind != String || string(got.Raw) != raw || got.Size != len(want) {
			t.Errorf("%q: token %d %q of size %d, want size %d", raw, got.Kind, got.Raw, got.Size, len(want))
		}
		if end := c.Next(); end.Kind != None {
			t.Errorf("%q: a second token %v", raw, end)
		}
	}
}

func TestCursorSkip(t *testing.T) {
	for _, value := range documents {
		c := NewCursor([]byte(`{"skip":` + value + `,"next":1}`))
		c.Next()
		if k := c.Next(); !k.Key || string(k.Raw) != "skip" {
			t.Fatalf("%s: first key %q", value, k.Raw)
		}
		c.Skip()
		if k := c.Next(); !k.Key || string(k.Raw) != "next" || c.Depth != 1 {
			t.Errorf("%s: after Skip %q at depth %d", value, k.Raw, c.Depth)
		}
	}
}

func FuzzCursor(f *testing.F) {
	for _, doc := range append(documents, broken...) {
		f.Add([]byte(doc))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		var got []Token
		c := NewCursor(doc)
		for tok := c.Next(); tok.Kind != None; tok = c.Next() {
			if got = append(got, tok); len(got) > len(doc) {
				t.Fatal("more tokens than bytes")
			}
		}
		scalars(t, doc, got)
		if !json.Valid(doc) {
			return
		}
		d := json.NewDecoder(bytes.NewReader(doc))
		d.UseNumber()
		for i := 0; ; i++ {
			want, err := d.Token()
			if err == io.EOF {
				if i != len(got) {
					t.Fatalf("%d tokens, want %d", len(got), i)
				}
				return
			}
			if i == len(got) {
				t.Fatalf("ends after %d tokens", i)
			}
			tok := got[i]
			ok := false
			switch w := want.(type) {
			case json.Delim:
				ok = tok.Kind == Object && strings.ContainsRune("{}", rune(w)) || tok.Kind == Array && strings.ContainsRune("[]", rune(w))
				ok = ok && tok.End == strings.ContainsRune("}]", rune(w))
			case string:
				// encoding/json writes a replacement character for what is no
				// text: invalid UTF-8 and half a surrogate pair.
				ok = tok.Kind == String && string(Unquote(tok.Raw)) == w || !utf8.Valid(tok.Raw)
				if !strings.ContainsRune(w, utf8.RuneError) {
					ok = ok && tok.Size == len(w)
				}
			case json.Number:
				ok = tok.Kind == Number && string(tok.Raw) == w.String()
			case bool:
				ok = tok.Kind == True && w || tok.Kind == False && !w
			case nil:
				ok = tok.Kind == Null
			}
			if !ok {
				t.Fatalf("token %d is %d %q (size %d), want %#v", i, tok.Kind, tok.Raw, tok.Size, want)
			}
		}
	})
}

// scalars checks that Scalars visits what Next returns, in the first value of
// doc, whose tokens these are.
func scalars(t *testing.T, doc []byte, tokens []Token) {
	c := NewCursor(doc)
	n := 0
	c.Scalars(func(kind Kind, key bool, raw []byte, size int) {
		for n < len(tokens) && tokens[n].Kind != String && tokens[n].Kind != Number {
			n++
		}
		if n == len(tokens) {
			t.Fatalf("one more scalar: %q", raw)
		}
		if w := tokens[n]; kind != w.Kind || key != w.Key || string(raw) != string(w.Raw) || size != w.Size {
			t.Fatalf("scalar %d %q, key %v, size %d, want %+v", kind, raw, key, size, w)
		}
		n++
	})
	if json.Valid(doc) {
		for _, w := range tokens[n:] {
			if w.Kind == String || w.Kind == Number {
				t.Fatalf("%q is not visited", w.Raw)
			}
		}
	}
}

func TestCount(t *testing.T) {
	for _, tt := range []struct {
		text string
		n    int
		ok   bool
	}{
		{"0", 0, true}, {"12", 12, true}, {"-1", 0, true}, {"1e3", 1000, true}, {"12.9", 12, true},
		{"1e300", MaxCount, true}, {"1e400", MaxCount, true}, {"-1e400", 0, true}, {"99999999999999999999", MaxCount, true},
		{"18446744073709551617", MaxCount, true}, // 1 modulo 2^64
		{"1099511627775", MaxCount - 1, true}, {"1099511627776", MaxCount, true}, {"1099511627777", MaxCount, true},
		{"", 0, false}, {"x", 0, false}, {"1x", 0, false}, {"nan", 0, false}, {"inf", 0, false}, {"-", 0, false}, {"NaN", 0, false},
	} {
		if n, ok := Count([]byte(tt.text)); n != tt.n || ok != tt.ok {
			t.Errorf("Count(%q) = %d, %v, want %d, %v", tt.text, n, ok, tt.n, tt.ok)
		}
	}
}
