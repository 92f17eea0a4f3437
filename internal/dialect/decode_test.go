package dialect

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"io"
	"strings"
	"testing"
)

func packed(t testing.TB, body string, pack func(io.Writer) io.WriteCloser) []byte {
	t.Helper()
	var b bytes.Buffer
	w := pack(&b)
	if _, err := io.WriteString(w, body); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// An error that was compressed for the caller is judged as if it were not.
func TestCompressedErrors(t *testing.T) {
	const body = `{"error":{"type":"insufficient_quota","code":"project_spend_limit_exceeded","message":"x"}}`
	gz := func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }
	zl := func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) }
	raw := func(w io.Writer) io.WriteCloser { f, _ := flate.NewWriter(w, 6); return f }
	whole := packed(t, body, gz)
	bomb := packed(t, strings.Repeat(" ", 64<<20), gz)
	for _, tt := range []struct {
		name, encoding string
		body           []byte
		want           Class
	}{
		{"gzip", "gzip", whole, QuotaExhausted},
		{"another case", "X-GZIP", whole, QuotaExhausted},
		{"zlib", "deflate", packed(t, body, zl), QuotaExhausted},
		{"deflate", "deflate", packed(t, body, raw), QuotaExhausted},
		{"twice", "deflate, gzip", packed(t, string(packed(t, body, zl)), gz), QuotaExhausted},
		{"identity", "identity", []byte(body), QuotaExhausted},
		{"unknown", "zstd", whole, RateLimited},
		{"mislabelled", "gzip", []byte(body), RateLimited},
		{"cut", "gzip", whole[:len(whole)-9], QuotaExhausted},
		{"cut in its header", "gzip", whole[:4], RateLimited},
		{"many times", "gzip,gzip,gzip,gzip", whole, RateLimited},
		{"a bomb", "gzip", bomb, RateLimited},
	} {
		before := bytes.Clone(tt.body)
		v := Classify(&Response{Status: 429, Header: headerOf("Content-Encoding", tt.encoding), Body: tt.body, Now: localTime})
		if v.Class != tt.want {
			t.Errorf("%s: class %d, want %d", tt.name, v.Class, tt.want)
		}
		if !bytes.Equal(tt.body, before) {
			t.Errorf("%s: the body has changed", tt.name)
		}
	}
}
