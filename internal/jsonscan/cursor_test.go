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
	`{"data":[{"embedding":[0.0123,-1.5e-05,12345678901234567890, 3,{"x":"]"}],"y":"\"}"}],"model":"m"}`,
	`{"a":{"n":[10,"1234567]",20,"1,2,3,4}"]},"model":1}`,
	`{"":"","a":"\\","b":"\\\"","c":[true,false,null,-1.5e-3]}`,
	"\n\n\t {\r\n \"a\" : [ 1 , { } , [ ] ] } \n",
	strings.Repeat("[", 100) + strings.Repeat("]", 100),
}

// broken are no JSON; both readers must come to an end.
var broken = []string{
	``, `{`, `"`, `"\`, `"\u`, `"\u12"`, `{"a`, `{"a":`, `}`, `]]]]`, `{"a":]`, `[}`, `{"a":1}}}{"a":2}`,
	`{"error":"\`, `{"usage":{"in":}`, `{"a":tru`, "\xff\xfe", `{"error":{"a":[}]`, `\u0022`, "{\x1a\"\"0", `0[000000000A00000000`,
	`{"\n` + strings.Repeat("\xff", 60) + `":1}`, // a name that grows as it is unquoted `{"a":"b" "c"}`, `"\ud83d\u`,
}

func TestStringEnd(t *testing.T) {
	naive := func(b []byte, i int) int {
		for ; i < len(b) && b[i] != '"'; i++ {
			if b[i] == '\\' {
				i++
			}
		}
		return min(i, len(b))
	}
	for n := range 40 {
		for escapes := range 5 {
			for _, rest := range []string{``, `"`, `" and "more"`, `",0123456789`, `x\"y"`} {
				text := strings.Repeat("x", n) + strings.Repeat(`\`, escapes) + rest
				for start := range min(3, len(text)) {
					end, plain := stringEnd([]byte(text), start)
					if want := naive([]byte(text), start); end != want {
						t.Fatalf("%s from %d: ends at %d, want %d", text, start, end, want)
					}
					if plain && strings.Contains(text[start:end], `\`) {
						t.Fatalf("%s is plain", text[start:end])
					}
				}
			}
		}
	}
}

func TestTextSize(t *testing.T) {
	for _, raw := range []string{
		``, `a`, `\n`, `\"`, `\\`, `\u0041`, `\u00e9`, `\u07ff`, `\u0800`, `\u4e2d`, `\uffff`, `\ud83d\ude00`, `\uD83D\uDE00`,
		`é中😀`, strings.Repeat(`x\n`, 30), strings.Repeat("y", 600) + `\"` + strings.Repeat("z", 600), `\ud7ff`, `\ue000`,
		`1234567\n`, `123456\n`, `12345678\n`, strings.Repeat(`\u0434\u0430 `, 50),
	} {
		var text string
		if err := json.Unmarshal([]byte(`"`+raw+`"`), &text); err != nil {
			t.Fatal(err)
		}
		c := NewCursor([]byte(`"` + raw + `"`))
		if got := c.Next(); got.Kind != String || string(got.Raw) != raw {
			t.Errorf("%q: token %d %q", raw, got.Kind, got.Raw)
		}
		if end := c.Next(); end.Kind != None {
			t.Errorf("%q: a second token %v", raw, end)
		}
		if got := TextSize([]byte(raw)); got != wantSize(raw, text) {
			t.Errorf("%q: size %d, want %d", raw, got, wantSize(raw, text))
		}
	}
}

// wantSize is that of the text where there are many escapes.
func wantSize(raw, text string) int {
	if strings.Count(raw, `\`)*8 > len(raw) {
		return len(text)
	}
	return len(raw)
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
		sum(t, doc)
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
				if size := TextSize(tok.Raw); !strings.ContainsRune(w, utf8.RuneError) {
					ok = ok && size >= len(w) && (size == len(w) || size == len(tok.Raw))
				}
			case json.Number:
				ok = tok.Kind == Number && string(tok.Raw) == w.String()
			case bool:
				ok = tok.Kind == True && w || tok.Kind == False && !w
			case nil:
				ok = tok.Kind == Null
			}
			if !ok {
				t.Fatalf("token %d is %d %q, want %#v", i, tok.Kind, tok.Raw, want)
			}
		}
	})
}

// sum checks that Sum adds up what Next returns.
func sum(t *testing.T, doc []byte) {
	const long = 8
	c := NewCursor(doc)
	var want Sum
	name := ""
	var omitted []string
	for {
		tok := c.Next()
		switch {
		case tok.Key:
			name = string(tok.Raw)
			want.Names += len(tok.Raw)
		case tok.Kind == String && len(tok.Raw) >= long && len(name)%2 == 1:
			omitted = append(omitted, name+" "+string(tok.Raw))
		case tok.Kind == String:
			want.Text += TextSize(tok.Raw)
		case tok.Kind == Number:
			want.Numbers++
		}
		if tok.Kind == None || !tok.Key && c.Depth <= 0 {
			break
		}
	}
	d := NewCursor(doc)
	got := d.Sum(nil, long, func(name, text []byte) bool {
		if len(name)%2 == 0 {
			return false
		}
		if len(omitted) == 0 || omitted[0] != string(name)+" "+string(text) {
			t.Fatalf("%q named %q, want %q", text, name, omitted)
		}
		omitted = omitted[1:]
		return true
	})
	if got != want || d.i != c.i || d.Depth != c.Depth || len(omitted) > 0 {
		t.Fatalf("%+v at %d, depth %d, want %+v at %d, depth %d; omitted too: %q", got, d.i, d.Depth, want, c.i, c.Depth, omitted)
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
