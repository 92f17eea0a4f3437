package keyed

import (
	"net/url"
	"strconv"
	"strings"
)

// Key names what a state is for. It is a struct and not a string, so that no string is
// built to find a state.
type Key struct {
	Custom       string // a user's own name; the other fields are then empty
	Scheme, Host string
	Model        string
	Credential   uint64 // a hash, 0 for no credential
}

// Origin returns the key of a URL's origin and a model.
func Origin(u *url.URL, model string) Key {
	return Key{Scheme: u.Scheme, Host: u.Host, Model: model}
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

// Parse returns the key without a credential whose String is s.
func Parse(s string) Key {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return Key{Custom: s}
	}
	host, model, _ := strings.Cut(rest, " ")
	return Key{Scheme: scheme, Host: host, Model: model}
}
