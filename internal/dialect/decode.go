package dialect

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"io"
	"net/http"
	"strings"
)

// maxBody bounds what is read of an error body.
const maxBody = 64 << 10

// plainBody is what there is of a body in plain text, at most 64 KiB of it. A
// caller that has set Accept-Encoding itself is given the bytes as they came, and
// its error bodies are compressed. Of one that was cut off it is what came before
// the cut, and of an encoding that is not known here, br and zstd, nothing: then
// the status has to do.
func plainBody(h http.Header, body []byte) []byte {
	encodings := strings.Join(h["Content-Encoding"], ",")
	if encodings == "" || len(body) == 0 {
		return body
	}
	list := strings.Split(strings.ToLower(encodings), ",")
	if len(list) > 2 {
		return nil // nobody does
	}
	for i := len(list) - 1; i >= 0; i-- {
		switch strings.TrimSpace(list[i]) {
		case "", "identity":
		case "gzip", "x-gzip":
			r, err := gzip.NewReader(bytes.NewReader(body))
			if err != nil {
				return nil
			}
			body = decoded(r)
		case "deflate":
			if r, err := zlib.NewReader(bytes.NewReader(body)); err == nil {
				body = decoded(r)
			} else { // what some servers take it for
				body = decoded(flate.NewReader(bytes.NewReader(body)))
			}
		default:
			return nil
		}
	}
	return body
}

func decoded(r io.Reader) []byte {
	b, _ := io.ReadAll(io.LimitReader(r, maxBody))
	return b
}
