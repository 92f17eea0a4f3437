package keyed

import (
	"net/url"
	"strings"
	"testing"
)

func TestKeyString(t *testing.T) {
	for _, tt := range []struct {
		key    Key
		string string
		parsed Key // of the string, where it is another
	}{
		{Key{}, "", Key{}},
		{Key{Custom: "tenant 7"}, "tenant 7", Key{}},
		{Key{Scheme: "https", Host: "api.example.com"}, "https://api.example.com", Key{}},
		{Key{Scheme: "https", Host: "h:8080", Model: "gpt-4o"}, "https://h:8080 gpt-4o", Key{}},
		{Key{Scheme: "https", Host: "h", Model: "a model #2"}, "https://h a model #2", Key{}},
		{Key{Scheme: "https", Host: "h", Model: "m", Credential: 255}, "https://h m #ff", Key{Scheme: "https", Host: "h", Model: "m #ff"}},
	} {
		if got := tt.key.String(); got != tt.string {
			t.Errorf("%+v.String() = %q, want %q", tt.key, got, tt.string)
		}
		want := tt.parsed
		if want == (Key{}) {
			want = tt.key
		}
		if got := Parse(tt.string); got != want {
			t.Errorf("Parse(%q) = %+v, want %+v", tt.string, got, want)
		}
	}
}

// A model's name is a request's, and goes into logs.
func TestOriginOfAName(t *testing.T) {
	for _, tt := range []struct{ model, want string }{
		{"a\nb\x1b[2Jc", `a\nb\x1b[2Jc`},
		{"a\u202eb", `a\u202eb`},
		{"a\xffb", `a\xffb`},
		{"模型-7b", "模型-7b"},
		{strings.Repeat("x", 129), strings.Repeat("x", 128) + "…"},
		{strings.Repeat("\n", 128), strings.Repeat(`\n`, 64) + "…"},
	} {
		if got, want := Origin(&url.URL{Scheme: "https", Host: "h"}, tt.model).String(), "https://h "+tt.want; got != want {
			t.Errorf("the key of model %q = %q, want %q", tt.model, got, want)
		} else if k := Parse(got); k != Origin(&url.URL{Scheme: "https", Host: "h"}, tt.model) {
			t.Errorf("Parse(%q) = %+v, want the key", got, k)
		}
	}
}

func TestOrigin(t *testing.T) {
	u, err := url.Parse("https://user@h:8080/v1/chat?key=secret")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := Origin(u, "m"), (Key{Scheme: "https", Host: "h:8080", Model: "m"}); got != want {
		t.Errorf("Origin = %+v, want %+v", got, want)
	}
}
