package rfc9111

import (
	"slices"
	"testing"
)

func TestVary(t *testing.T) {
	for _, c := range []struct {
		fields []string
		names  []string
		any    bool
	}{
		{nil, nil, false},
		{[]string{"Vary: foo"}, []string{"Foo"}, false},
		{[]string{"Vary: foo, BAR,,Foo ,\tbaz"}, []string{"Bar", "Baz", "Foo"}, false},
		{[]string{"Vary: foo", "Vary: bar"}, []string{"Bar", "Foo"}, false},
		{[]string{"Vary: "}, nil, false},
		{[]string{"Vary: *"}, nil, true},
		{[]string{"Vary: *, *"}, nil, true},
		{[]string{"Vary: , *"}, nil, true},
		{[]string{"Vary: ", "Vary: *"}, nil, true},
		{[]string{"Vary: foo", "Vary: *"}, nil, true},
		{[]string{"Vary: *, foo"}, nil, true},
		{[]string{"Vary: foo, *"}, nil, true},
		{[]string{"Vary: foo,*,bar"}, nil, true},
		{[]string{"Vary: foo*"}, []string{"foo*"}, false},
	} {
		names, any := Vary(fields(c.fields...))
		if len(names) > 0 && names[0] == "Foo*" {
			names[0] = "foo*"
		}
		if !slices.Equal(names, c.names) || any != c.any {
			t.Errorf("%q: %q, %v, want %q, %v", c.fields, names, any, c.names, c.any)
		}
	}
}

func TestSelecting(t *testing.T) {
	for _, c := range []struct {
		name string
		a, b []string // the field's lines in two requests
		same bool
	}{
		{"Foo", []string{"1"}, []string{"1"}, true},
		{"Foo", []string{"1"}, []string{"2"}, false},
		{"Foo", []string{"a"}, []string{"A"}, false},
		{"Foo", nil, nil, true},
		{"Foo", nil, []string{""}, false},
		{"Foo", []string{"1"}, nil, false},
		{"Foo", []string{"1, 2"}, []string{"1", "2"}, true},
		{"Foo", []string{"1, 2"}, []string{"1,2"}, true},
		{"Foo", []string{"1, 2"}, []string{" 1 ,\t2  "}, true},
		{"Foo", []string{"1,  2"}, []string{"1, 2"}, true},
		{"Foo", []string{"1 ,2"}, []string{"1, 2"}, true},
		{"Foo", []string{"1, 2"}, []string{"2, 1"}, false},
		{"Foo", []string{"1, 2"}, []string{"12"}, false},
		{"Foo", []string{"1 2"}, []string{"1  2"}, false},
		{"Foo", []string{`"1, 2"`}, []string{`"1,2"`}, false}, // one string, not a list
		{"Foo", []string{",1"}, []string{"1"}, true},
		{"Foo", []string{"1,"}, []string{"1"}, true},
		{"Foo", []string{"1, "}, []string{"1"}, true},
		{"Foo", []string{"1, ,2"}, []string{"1, 2"}, true},
		{"Foo", []string{"gzip, deflate, br"}, []string{"gzip,deflate,br"}, true},

		{"Accept-Language", []string{"en, de"}, []string{"de, en"}, true},
		{"Accept-Language", []string{"en, de"}, []string{"eN, De"}, true},
		{"Accept-Language", []string{"en, de"}, []string{"  en ,   de"}, true},
		{"Accept-Language", []string{"en, de"}, []string{"en", "de"}, true},
		{"Accept-Language", []string{"en;q=1.0, de;q=0.5"}, []string{"de;q=0.500,en"}, true},
		{"Accept-Language", []string{"en; q=0.5"}, []string{"en;Q=0.5"}, true},
		{"Accept-Language", []string{"en, de;q=0.5"}, []string{"en, de;q=0.6"}, false},
		{"Accept-Language", []string{"en, de;q=0.5"}, []string{"de, en;q=0.5"}, false},
		{"Accept-Language", []string{"en;q=x"}, []string{"en"}, false},
		{"Accept-Language", []string{"en;q=2"}, []string{"en;q=1"}, false},
		{"Accept-Language", []string{"en-US"}, []string{"en"}, false},
		{"Accept", []string{"a, b"}, []string{"b, a"}, false},
	} {
		value := func(lines []string) (string, bool) {
			h := fields()
			if lines != nil {
				h[c.name] = lines
			}
			return Selecting(h, c.name)
		}
		va, oka := value(c.a)
		vb, okb := value(c.b)
		if same := va == vb && oka == okb; same != c.same {
			t.Errorf("%s: %q and %q are the same: %v, want %v (%q, %q)", c.name, c.a, c.b, same, c.same, va, vb)
		}
	}
}

func TestPrefers(t *testing.T) {
	for _, c := range []struct {
		accept, language string
		want             bool
	}{
		{"de", "de", true},
		{"DE", "de", true},
		{"fr;q=0.5, de;q=1.0", "de", true},
		{"fr;q=0.5, de", "DE", true},
		{"fr, de", "de", false}, // a French answer may be had
		{"de, fr", "de", true},
		{"de;q=0.5, fr", "de", false},
		{"de;q=0", "de", false},
		{"*", "de", false},
		{"en-US", "en", false},
		{"de;q=x", "de", false},
		{"fr;q=x, de", "de", false},
		{"", "de", false},
		{"de, fr", "de, fr", false},
		{"de", "", false},
	} {
		if got := Prefers(fields("Accept-Language: "+c.accept), fields("Content-Language: "+c.language)); got != c.want {
			t.Errorf("%q prefers %q: %v, want %v", c.accept, c.language, got, c.want)
		}
	}
}

// FuzzSelecting: the short way for a tidy line must say what the long one would,
// and the form of a form is itself.
func FuzzSelecting(f *testing.F) {
	for _, s := range []string{";q=1 ,00000", "gzip, deflate", "a,b", `"a, b",c`, "en;q=0.5, de", "a, ,b", "a ,b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, name := range []string{"Foo", "Accept-Language"} {
			one, _ := Selecting(map[string][]string{name: {s}}, name)
			if again, _ := Selecting(map[string][]string{name: {one}}, name); again != one {
				t.Fatalf("%s %q becomes %q becomes %q", name, s, one, again)
			}
			if long, _ := Selecting(map[string][]string{name: {s, ""}}, name); long != one {
				t.Fatalf("%s %q is %q alone and %q with an empty line", name, s, one, long)
			}
		}
	})
}
