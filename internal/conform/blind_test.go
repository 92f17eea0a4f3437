package conform_test

import (
	"bytes"
	"io"
	"net/http"
	"path"
	"strings"
	"testing"
	"testing/synctest"
)

// blind is a cache without rules: it stores the first response to a URL and returns
// it for ever.
type blind struct {
	base http.RoundTripper
	kept map[string]kept
}

type kept struct {
	res  http.Response
	body []byte
}

func (b *blind) RoundTrip(req *http.Request) (*http.Response, error) {
	key := strings.ToLower(path.Base(req.URL.Path))
	k, ok := b.kept[key]
	if !ok {
		res, err := b.base.RoundTrip(req)
		if err != nil {
			return nil, err
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		k = kept{*res, body}
		b.kept[key] = k
	}
	res := k.res
	res.Request, res.Body = req, io.NopCloser(bytes.NewReader(k.body))
	return &res, nil
}

// Every case fails without a cache or with a blind one, or it would prove nothing.
func TestConformCanFail(t *testing.T) {
	for _, x := range cases() {
		synctest.Test(t, func(t *testing.T) {
			none := x.run(t.Context(), func(base http.RoundTripper) http.RoundTripper { return base })
			keep := x.run(t.Context(), func(base http.RoundTripper) http.RoundTripper {
				return &blind{base: base, kept: make(map[string]kept)}
			})
			if len(none) == 0 && len(keep) == 0 {
				t.Errorf("%s: passes without a cache and with a blind one", x.id)
			}
		})
	}
}
