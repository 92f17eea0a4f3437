package rfc9111

import "testing"

// BenchmarkHit is the decision about a fresh answer.
func BenchmarkHit(b *testing.B) {
	r := Read(200, dated("Cache-Control: max-age=3600"), epoch, epoch)
	h := fields("Accept: */*", "Authorization: x", "User-Agent: y")
	b.ReportAllocs()
	for b.Loop() {
		q := ReadRequest(h)
		if r.Use(&q, epoch) != Fresh {
			b.Fatal("it is not fresh")
		}
	}
}

// BenchmarkRead is what storing adds.
func BenchmarkRead(b *testing.B) {
	h := dated("Cache-Control: public, max-age=3600, stale-if-error=60", "Last-Modified: {-10h}", `Etag: "a"`, "Vary: Accept-Encoding")
	b.ReportAllocs()
	for b.Loop() {
		Read(200, h, epoch, epoch)
	}
}
