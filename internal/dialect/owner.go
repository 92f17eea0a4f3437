package dialect

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// QuotaOwner names whose quota a request uses: all in it that tells callers apart
// and stays the same from one call to the next. It is "" for a request that says
// nothing of its caller, and it holds secrets: hash it before it goes anywhere.
//
// Of a signature only the account counts, of a JSON Web Token what it says of its
// bearer, since a token that is renewed each hour has the quota of the one before.
// Nothing of it is verified: claims says that somebody else could have made a
// token with the same name, so that a 401 or 403 says nothing about the owner.
// Cookies count where there is no other credential.
//
// It does not see a client certificate, nor a credential that is added below.
func QuotaOwner(h http.Header, u *url.URL) (owner string, claims bool) {
	var few [4]part
	parts := few[:0]
	add := func(name, value string) {
		if value != "" {
			parts = append(parts, part{name, value})
		}
	}
	for name, values := range h {
		if plain(name) || AskerOf(name) != Owner {
			continue
		}
		for _, v := range values {
			v, claimed := lasting(v)
			claims = claims || claimed
			add(name, v)
		}
	}
	for query := u.RawQuery; query != ""; {
		var p string
		p, query, _ = strings.Cut(query, "&")
		name := parameter(p)
		switch {
		case strings.EqualFold(name, "X-Amz-Credential"), strings.EqualFold(name, "X-Goog-Credential"):
			id, _, _ := strings.Cut(parameterOf(p, name), "/")
			add(name, id)
		case AskerOf(name) == Owner:
			_, v, _ := strings.Cut(p, "=")
			add(name, v)
		}
	}
	if u.User != nil {
		add("userinfo", u.User.String())
	}
	if len(parts) == 0 {
		for _, v := range fields(h, "Cookie") {
			add("cookie", ownCookies(v))
		}
	}
	switch len(parts) {
	case 0:
		return "", false
	case 1:
		return parts[0].value, claims // as it stands: nothing is allocated for the one key that most have
	}
	for i := range parts {
		parts[i].name = strings.ToLower(parts[i].name)
	}
	slices.SortFunc(parts, func(a, b part) int { // a map has no order
		return cmp.Or(strings.Compare(a.name, b.name), strings.Compare(a.value, b.value))
	})
	var b []byte
	for _, p := range parts {
		b = strconv.AppendInt(append(b, p.name...), int64(len(p.value)), 10)
		b = append(append(b, ':'), p.value...)
	}
	return string(b), claims
}

type part struct{ name, value string }

// plain reports that a field is one that nearly every request has and that names
// nobody: to look at its words takes longer.
func plain(name string) bool {
	switch name {
	case "Accept", "Accept-Encoding", "Content-Type", "Content-Length", "User-Agent", "Cookie",
		"Anthropic-Version", "Anthropic-Beta", "Openai-Beta", "Idempotency-Key", "Traceparent",
		"X-Stainless-Lang", "X-Stainless-Package-Version", "X-Stainless-Os", "X-Stainless-Arch", "X-Stainless-Runtime",
		"X-Stainless-Runtime-Version", "X-Stainless-Retry-Count", "X-Stainless-Timeout", "X-Stainless-Async":
		return true
	}
	return false
}

// lasting is what of a credential is the same in the next request.
func lasting(v string) (owner string, claims bool) {
	scheme, rest, found := strings.Cut(v, " ")
	if !found {
		rest = v
	}
	if strings.HasPrefix(rest, "eyJ") {
		if name := bearerOf(rest); name != "" {
			return name, true
		}
		return v, false
	}
	if !found || strings.EqualFold(scheme, "Bearer") || strings.EqualFold(scheme, "Basic") || strings.EqualFold(scheme, "Token") {
		return v, false
	}
	// A signature has its account in one of these, and the rest is new in each request.
	for _, key := range [...]string{"Credential=", "keyId=", "username=", "oauth_token=", "oauth_consumer_key=", "Client-Id=", "id="} {
		if _, id, ok := strings.Cut(rest, key); ok {
			id, _, _ = strings.Cut(strings.TrimPrefix(id, `"`), ",")
			id, _, _ = strings.Cut(id, `"`)
			id, _, _ = strings.Cut(id, "/")
			return strings.TrimSpace(id), false
		}
	}
	if account, _, ok := strings.Cut(rest, ":"); ok && strings.HasPrefix(scheme, "SharedKey") || ok && scheme == "AWS" {
		return account, false
	}
	return v, false
}

// bearerOf names the bearer of a JSON Web Token by what is in it: who has issued
// it to whom, for what. It is "" where the token does not say.
func bearerOf(token string) string {
	_, payload, _ := strings.Cut(token, ".")
	payload, signature, ok := strings.Cut(payload, ".")
	if !ok || signature == "" || len(payload) > 16<<10 {
		return ""
	}
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(payload, "="))
	if err != nil {
		return ""
	}
	var c struct {
		Iss, Sub, Tid, Azp string
		Tenant             string          `json:"tenant"`
		Org                string          `json:"org_id"`
		Client             string          `json:"client_id"`
		App                string          `json:"appid"`
		Aud                json.RawMessage `json:"aud"`
	}
	if json.Unmarshal(raw, &c) != nil || c.Iss == "" || c.Sub == "" {
		return ""
	}
	return strings.Join([]string{"jwt", c.Iss, c.Sub, c.Tid, c.Tenant, c.Org, c.Azp, c.Client, c.App, string(c.Aud)}, "\x00")
}

// ownCookies are those of a line that an application has set: what a proxy counts
// its clients and servers by changes from call to call.
func ownCookies(line string) string {
	kept := ""
	for c := range strings.SplitSeq(line, ";") {
		c = strings.TrimSpace(c)
		name, _, _ := strings.Cut(c, "=")
		switch {
		case c == "", strings.HasPrefix(name, "AWSALB"), strings.HasPrefix(name, "AWSELB"), strings.HasPrefix(name, "ARRAffinity"):
		case strings.HasPrefix(name, "__cf"), strings.HasPrefix(name, "_cf"), strings.HasPrefix(name, "cf_"):
		default:
			kept += c + ";"
		}
	}
	return kept
}
