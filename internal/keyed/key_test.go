package keyed

import (
	"net/url"
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

func TestOrigin(t *testing.T) {
	u, err := url.Parse("https://user@h:8080/v1/chat?key=secret")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := Origin(u, "m"), (Key{Scheme: "https", Host: "h:8080", Model: "m"}); got != want {
		t.Errorf("Origin = %+v, want %+v", got, want)
	}
}
