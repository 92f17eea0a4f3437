package keyed

import (
	"net/url"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Key names what a state is for. It is a struct and not a string, so that no string is
// built to find a state.
type Key struct {
	Custom       string // a user's own name; the other fields are then empty
	Scheme, Host string
	Model        string
	Credential   uint64 // a hash, 0 for no credential
}

// Origin returns the key of a URL's origin and a model. The model's name is made fit
// for a log here, once, so that what a key is called is what it is found by.
func Origin(u *url.URL, model string) Key {
	return Key{Scheme: u.Scheme, Host: u.Host, Model: printable(model)}
}

// String returns the key for people: "https://api.example.com gpt-4o", and behind a '#'
// the hash of the credential.
func (k Key) String() string {
	if k.Scheme == "" && k.Host == "" {
		return k.Custom
	}
	s := k.Scheme + "://" + k.Host
	if k.Model != "" {
		s += " " + k.Model
	}
	if k.Credential != 0 {
		s += " #" + strconv.FormatUint(k.Credential, 16)
	}
	return s
}

// maxName bounds how many bytes of a model's name are shown. It comes from a request, and
// can be anything of any length.
const maxName = 128

// printable returns a name as it may stand in a log: without what begins a new line
// or moves a cursor, and cut.
func printable(name string) string {
	plain := len(name) <= maxName
	for _, c := range name {
		plain = plain && c != utf8.RuneError && unicode.IsPrint(c)
	}
	if plain {
		return name
	}
	quoted := strconv.Quote(name[:min(len(name), maxName)])
	quoted = quoted[1 : len(quoted)-1]
	if len(name) > maxName || len(quoted) > maxName {
		quoted = quoted[:min(len(quoted), maxName)] + "…"
	}
	return strings.ToValidUTF8(quoted, "")
}

// Parse returns the key without a credential whose String is s.
func Parse(s string) Key {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return Key{Custom: s}
	}
	host, model, _ := strings.Cut(rest, " ")
	return Key{Scheme: scheme, Host: host, Model: model}
}
