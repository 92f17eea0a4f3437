package dialect

import "strings"

// Incidental reports whether a header field of a prompt says nothing about what
// the answer is to be, by its name in any case. All fields count in a prompt's
// key but these and those that tell who asks ([AskerOf]): a guardrail, a target
// or a deployment can be named in any header, and an answer that comes from
// elsewhere is the wrong one. The list has
//
//   - what traces and numbers calls: Traceparent, X-Request-Id, X-B3-*, …;
//   - what SDKs say about themselves, which is another with each version of one:
//     User-Agent, X-Stainless-*, Amz-Sdk-*, X-Goog-Api-Client, …;
//   - what is about the connection, the bytes of the body or the caches on the
//     way: Content-Length, Date, Cache-Control, …;
//   - dates and digests of signatures.
//
// It allocates nothing.
func Incidental(name string) bool {
	var lower [64]byte
	if len(name) > len(lower) {
		return false
	}
	b := lower[:copy(lower[:], name)]
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	if incidental[string(b)] {
		return true
	}
	for _, prefix := range incidentalPrefixes {
		if strings.HasPrefix(string(b), prefix) {
			return true
		}
	}
	return false
}

var incidental = map[string]bool{
	// Traces and numbers of calls.
	"traceparent": true, "tracestate": true, "baggage": true, "b3": true, "uber-trace-id": true, "sentry-trace": true, "grpc-trace-bin": true,
	"x-cloud-trace-context": true, "x-amzn-trace-id": true, "x-trace-id": true, "x-span-id": true, "newrelic": true, "elastic-apm-traceparent": true,
	"x-request-id": true, "x-correlation-id": true, "x-client-request-id": true, "request-id": true, "correlation-id": true, "x-amzn-requestid": true,
	"x-ms-client-request-id": true, "x-ms-return-client-request-id": true, "x-ms-correlation-request-id": true, "x-invocation-id": true,
	"idempotency-key": true, "x-idempotency-key": true, "x-request-start": true, "x-queue-start": true,
	// SDKs.
	"user-agent": true, "x-user-agent": true, "x-amz-user-agent": true, "x-ms-useragent": true, "x-goog-api-client": true, "x-client-version": true,
	"x-server-timeout": true, "client-name": true, "x-client-name": true, "x-sdk-version": true, "http-referer": true, "x-title": true,
	"x-goog-request-params": true, // repeats parts of the URL
	// Connection, body and caches on the way. The length and the form of the body
	// are those of its bytes, which count.
	"host": true, "connection": true, "keep-alive": true, "te": true, "trailer": true, "transfer-encoding": true, "upgrade": true, "expect": true,
	"content-length": true, "content-md5": true, "content-digest": true, "digest": true, "date": true, "cache-control": true, "pragma": true,
	"via": true, "forwarded": true, "x-forwarded-for": true, "x-forwarded-proto": true, "x-forwarded-host": true, "x-real-ip": true, "dnt": true,
	"priority": true, "origin": true, "referer": true,
	// Signatures.
	"x-amz-date": true, "x-amz-content-sha256": true, "x-ms-date": true, "x-ms-content-sha256": true, "x-goog-date": true,
}

var incidentalPrefixes = [...]string{"x-b3-", "x-datadog-", "ot-tracer-", "x-stainless-", "amz-sdk-", "x-fern-", "sec-", "x-envoy-", "x-amz-checksum-"}
