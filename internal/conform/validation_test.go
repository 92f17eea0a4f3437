package conform_test

import (
	"strings"
	"time"
)

func validation() []test {
	const rfc = "9111 4.3.1"
	on := func(id string, k kind, give []string, second step) test {
		return test{id: "validate-" + id, kind: k, rfc: rfc, steps: []step{
			{give: append(cc("max-age=2"), give...), then: 3 * time.Second}, second,
		}}
	}
	return []test{
		on("etag-strong", optional, []string{"ETag", `"abc"`}, step{status: 304, give: []string{"ETag", `"abc"`}, want: etag}),
		on("etag-weak", optional, []string{"ETag", `W/"abc"`}, step{status: 304, give: []string{"ETag", `W/"abc"`}, want: etag}),
		on("etag-empty", optional, []string{"ETag", `""`}, step{status: 304, give: []string{"ETag", `""`}, want: etag}),
		on("etag-comma", informational, []string{"ETag", `"a,b"`}, step{status: 304, give: []string{"ETag", `"a,b"`}, want: either, asks: []string{"If-None-Match", `"a,b"`}}),
		on("etag-without-304-etag", required, []string{"ETag", `"abc"`}, step{status: 304, want: etag}),
		on("modified", optional, []string{"Last-Modified", "{-360000}"}, step{status: 304, want: dated}),
		on("modified-verbatim", informational, []string{"Last-Modified", "Monday, 02-Mar-26 05:22:33 GMT"}, step{status: 304, want: dated}),
		on("both", optional, []string{"ETag", `"abc"`, "Last-Modified", "{-360000}"}, step{status: 304, want: etag}),
		on("both-dated", optional, []string{"ETag", `"abc"`, "Last-Modified", "{-360000}"}, step{status: 304, want: dated}),
		on("changed", required, []string{"ETag", `"abc"`}, step{give: cc("max-age=3600", "ETag", `"def"`), asks: []string{"If-None-Match", `"abc"`}}),
		on("none", required, nil, step{spares: []string{"If-None-Match", "If-Modified-Since"}}),
		{id: "validate-changed-replaces", kind: required, rfc: "9111 4.3.3", steps: []step{
			{give: cc("max-age=2", "ETag", `"abc"`), then: 3 * time.Second},
			{give: cc("max-age=3600", "ETag", `"def"`)},
			{want: hit, text: "answer 1", has: []string{"ETag", `"def"`}},
		}},
		{id: "validate-404", kind: required, rfc: "9111 4.3.3", steps: []step{
			{give: cc("max-age=2", "ETag", `"abc"`), then: 3 * time.Second},
			{status: 404, give: cc("max-age=3600")},
			{want: hit, code: 404, text: "answer 1"},
		}},
		{id: "validate-503-passes", kind: required, rfc: "9111 4.3.3", steps: []step{
			{give: cc("max-age=2", "ETag", `"abc"`), then: 3 * time.Second},
			{status: 503},
			{status: 304, give: []string{"ETag", `"abc"`}, want: either},
		}},
		{id: "validate-selecting-fields", kind: required, rfc: rfc, steps: []step{
			{send: []string{"Foo", "1"}, give: cc("max-age=2", "Vary", "Foo", "ETag", `"abc"`), then: 3 * time.Second},
			{send: []string{"Foo", "1", "Other", "2"}, status: 304, give: []string{"ETag", `"abc"`}, want: etag, asks: []string{"Foo", "1", "Other", "2"}},
		}},
		{id: "validate-again-and-again", kind: required, rfc: "9111 4.3.4", steps: []step{
			{give: cc("max-age=2", "ETag", `"abc"`), then: 3 * time.Second},
			{status: 304, give: []string{"ETag", `"abc"`}, want: etag},
			// The 304 brought no lifetime; the stored one counts from its Date.
			{want: hit, then: 3 * time.Second},
			{status: 304, give: []string{"ETag", `"abc"`}, want: etag},
		}},
	}
}

// ownConditions are conditional requests of the client's own.
func ownConditions() []test {
	on := func(id string, k kind, rfc string, give []string, second step) test {
		return test{id: "own-" + id, kind: k, rfc: rfc, steps: []step{{give: append(cc("max-age=3600"), give...)}, second}}
	}
	inm := func(v string) []string { return []string{"If-None-Match", v} }
	ims := func(v string) []string { return []string{"If-Modified-Since", v} }
	same := step{want: hit, code: 304}
	tagged := []string{"ETag", `"abc"`}
	modified := []string{"Last-Modified", "{-36000}"}
	with := func(s step, send ...string) step { s.send = send; return s }
	whole := step{want: hit}
	return []test{
		on("etag", optional, "9111 4.3.2", tagged, with(same, inm(`"abc"`)...)),
		on("etag-weak-asked", optional, "9110 13.1.2", tagged, with(same, inm(`W/"abc"`)...)),
		on("etag-weak-stored", optional, "9110 13.1.2", []string{"ETag", `W/"abc"`}, with(same, inm(`"abc"`)...)),
		on("etag-list-first", optional, "9110 13.1.2", tagged, with(same, inm(`"abc", "x"`)...)),
		on("etag-list-middle", optional, "9110 13.1.2", tagged, with(same, inm(`"x","abc" , "y"`)...)),
		on("etag-list-last", optional, "9110 13.1.2", tagged, with(same, inm(`"x", "y", "abc"`)...)),
		on("etag-lines", optional, "9110 13.1.2", tagged, with(same, "If-None-Match", `"x"`, "If-None-Match", `"abc"`)),
		on("etag-star", optional, "9110 13.1.2", tagged, with(same, inm("*")...)),
		on("etag-other", optional, "9111 4.3.2", tagged, with(whole, inm(`"x"`)...)),
		on("etag-part", required, "9110 13.1.2", tagged, with(whole, inm(`"abcd"`)...)),
		on("etag-comma-inside", informational, "9110 8.8.3", []string{"ETag", `"a,b"`}, with(same, inm(`"x", "a,b"`)...)),
		on("etag-comma-member", required, "9110 8.8.3", []string{"ETag", `"b"`}, with(whole, inm(`"a,"b","c"`)...)),
		on("etag-before-modified", required, "9110 13.2.2", append(tagged, modified...), with(whole, "If-None-Match", `"x"`, "If-Modified-Since", "{+0}")),
		on("modified-equal", optional, "9110 13.1.3", modified, with(same, ims("{-36000}")...)),
		on("modified-later", optional, "9110 13.1.3", modified, with(same, ims("{-3600}")...)),
		on("modified-earlier", optional, "9110 13.1.3", modified, with(whole, ims("{-72000}")...)),
		on("modified-rfc850", optional, "9110 13.1.3", modified, with(same, ims("{-36000|Monday, 02-Jan-06 15:04:05 GMT}")...)),
		on("modified-invalid", required, "9110 13.1.3", modified, with(whole, ims("yesterday")...)),
		on("modified-unknown", informational, "9111 4.3.2", nil, with(same, ims("{+0}")...)),
		{id: "own-304-fields", kind: optional, rfc: "9110 15.4.5", steps: []step{
			{give: cc("max-age=3600", "ETag", `"abc"`, "Vary", "Foo", "Expires", "{+60}", "Content-Location", "/b"), then: 2 * time.Second},
			{send: inm(`"abc"`), want: hit, code: 304, has: []string{"ETag", `"abc"`, "Vary", "Foo", "Date", "=", "Cache-Control", "max-age=3600", "Expires", "=", "Content-Location", "/b", "Age", "2"}},
		}},
		{id: "own-not-stored", kind: required, rfc: "9111 4.3.3", steps: []step{
			{send: inm(`"abc"`), status: 304, give: cc("max-age=3600", "ETag", `"abc"`), code: 304},
			{},
		}},
		{id: "own-full-answer-stored", kind: required, rfc: "9111 3", steps: []step{
			{send: inm(`"x"`), give: cc("max-age=3600", "ETag", `"abc"`)},
			{want: hit},
		}},
		// Stale: the origin must be asked; what it says about the client's tag is the client's.
		{id: "own-stale-not-modified", kind: required, rfc: "9111 4.3.1", steps: []step{
			{give: cc("max-age=2", "ETag", `"abc"`), then: 3 * time.Second},
			{send: inm(`"abc"`), status: 304, give: cc("max-age=3600", "ETag", `"abc"`), want: etag, code: 304},
			{want: hit, text: "answer 0"},
		}},
		{id: "own-stale-other-tag", kind: required, rfc: "9111 4.3.3", steps: []step{
			{give: cc("max-age=2", "ETag", `"abc"`), then: 3 * time.Second},
			{send: inm(`"x"`), status: 304, give: cc("max-age=3600", "ETag", `"x"`), want: either, code: 304},
			// "x" was said to be current, so what is stored as "abc" is not.
			{give: cc("max-age=3600")},
		}},
		{id: "own-stale-modified", kind: required, rfc: "9111 4.3.3", steps: []step{
			{give: cc("max-age=2", "ETag", `"abc"`), then: 3 * time.Second},
			{send: inm(`"abc"`), give: cc("max-age=3600", "ETag", `"def"`)},
			{want: hit, text: "answer 1"},
		}},
		// Preconditions about the resource are for the origin.
		on("if-match", required, "9111 4.3.2", tagged, step{send: []string{"If-Match", `"abc"`}, asks: []string{"If-Match", `"abc"`}}),
		on("if-match-failed", required, "9111 4.3.2", tagged, step{send: []string{"If-Match", `"x"`}, status: 412, asks: []string{"If-Match", `"x"`}}),
		on("if-unmodified-since", required, "9111 4.3.2", modified, step{send: []string{"If-Unmodified-Since", "{+0}"}}),
		on("no-cache", required, "9111 5.2.1.4", tagged, step{send: []string{"If-None-Match", `"abc"`, "Cache-Control", "no-cache"}, status: 304, give: tagged, want: etag, code: 304}),
	}
}

// storedFields are the fields of an answer that come back from the cache.
func storedFields() []test {
	var tests []test
	for _, name := range []string{
		"Test-Header", "X-Test-Header", "Unknown", "Accept-Ranges", "Alt-Svc", "Allow", "Clear-Site-Data", "Content-Disposition", "Content-Foo",
		"Content-Language", "Content-Location", "Content-MD5", "Content-Range", "Content-Security-Policy", "Content-Type", "Content-Encoding",
		"ETag", "Expires", "Link", "Location", "Public-Key-Pins", "Refresh", "Retry-After", "Server", "Set-Cookie", "Set-Cookie2",
		"Strict-Transport-Security", "Via", "Warning", "WWW-Authenticate", "X-Content-Foo", "X-Content-Type-Options", "X-Frame-Options",
		"X-XSS-Protection", "X-Ratelimit-Remaining", "X-Request-Id", "Surrogate-Key",
	} {
		value := "value of " + strings.ToLower(name)
		switch name {
		case "ETag":
			value = `"value"`
		case "Expires":
			value = "Fri, 01 Jan 2049 00:00:00 GMT"
		case "Content-Location", "Location":
			value = "/value"
		}
		tests = append(tests, test{id: "store-" + strings.ToLower(name), kind: required, rfc: "9111 3.1", steps: []step{
			{give: cc("max-age=3600", name, value), has: []string{name, value}},
			{want: hit, has: []string{name, value}},
		}})
	}
	for _, name := range []string{"Keep-Alive", "Proxy-Authenticate", "Proxy-Authentication-Info", "Proxy-Authorization", "Proxy-Connection", "TE", "Upgrade"} {
		tests = append(tests, test{id: "omit-" + strings.ToLower(name), kind: required, rfc: "9111 3.1", steps: []step{
			{give: cc("max-age=3600", name, "value")},
			{want: hit, lacks: []string{name}},
		}})
	}
	return append(tests,
		test{id: "omit-connection", kind: required, rfc: "9111 3.1", steps: []step{
			{give: cc("max-age=3600", "Connection", "A, b", "A", "1", "B", "2", "C", "3")},
			{want: hit, lacks: []string{"Connection", "A", "B"}, has: []string{"C", "3"}},
		}},
		test{id: "omit-connection-lines", kind: required, rfc: "9111 3.1", steps: []step{
			{give: cc("max-age=3600", "Connection", "a", "Connection", "b", "A", "1", "B", "2", "C", "3")},
			{want: hit, lacks: []string{"Connection", "A", "B"}, has: []string{"C", "3"}},
		}},
		// A connection option cannot take what the cache itself lives on.
		test{id: "connection-cache-control", kind: informational, rfc: "9110 7.6.1", steps: []step{
			{give: cc("max-age=3600", "Connection", "cache-control")},
			{want: hit},
		}},
		test{id: "store-order-of-lines", kind: required, rfc: "9110 5.3", steps: []step{
			{give: cc("max-age=3600", "Set-Cookie", "a=1", "Set-Cookie", "b=2", "Link", "<b>", "Link", "<a>")},
			{want: hit, has: []string{"Set-Cookie", "a=1, b=2", "Link", "<b>, <a>"}},
		}},
		// Who names no coding has net/http decode, which what is stored does not pass.
		test{id: "encoding-not-asked-for", kind: informational, rfc: "9110 12.5.3", steps: []step{
			{send: []string{"Accept-Encoding", "br"}, give: cc("max-age=3600", "Content-Encoding", "br")},
			{give: cc("max-age=3600")},
			{send: []string{"Accept-Encoding", "br"}, want: hit, text: "answer 1"},
		}},
		test{id: "store-trailer", kind: informational, rfc: "9111 3.1", steps: []step{
			{give: cc("max-age=3600", "Trailer", "Digest"), chunked: true, trailer: []string{"Digest", "x"}},
			{want: hit, lacks: []string{"Trailer", "Digest"}},
		}},
	)
}

// notModified are the fields of a 304, which replace the stored ones.
func notModified() []test {
	update := func(id string, k kind, first, second, has []string, validator ...string) test {
		w := etag
		if len(validator) == 0 {
			validator = []string{"ETag", `"abc"`}
		} else {
			w = dated
		}
		return test{id: "304-" + id, kind: k, rfc: "9111 4.3.4", steps: []step{
			{give: append(append(cc("max-age=2"), validator...), first...), then: 3 * time.Second},
			{status: 304, give: append(append(cc("max-age=3600"), validator...), second...), want: w, has: has, then: time.Second},
			{want: hit, has: has},
		}}
	}
	tests := []test{
		update("stored-field", required, []string{"Test-Header", "A"}, nil, []string{"Test-Header", "A"}),
		update("stored-field-dated", required, []string{"Test-Header", "A"}, nil, []string{"Test-Header", "A"}, "Last-Modified", "Mon, 02 Mar 2026 05:22:33 GMT"),
		update("new-field-dated", required, []string{"Test-Header", "A"}, []string{"Test-Header", "B"}, []string{"Test-Header", "B"}, "Last-Modified", "Mon, 02 Mar 2026 05:22:33 GMT"),
		update("content-length", required, nil, []string{"Content-Length", "99"}, []string{"Content-Length", "8"}),
		update("content-length-0", required, nil, []string{"Content-Length", "0"}, []string{"Content-Length", "8"}),
		update("added-field", required, nil, []string{"Test-Header", "B"}, []string{"Test-Header", "B"}),
		update("fewer-lines", required, []string{"Test-Header", "A", "Test-Header", "B"}, []string{"Test-Header", "C"}, []string{"Test-Header", "C"}),
		update("more-lines", required, []string{"Test-Header", "A"}, []string{"Test-Header", "B", "Test-Header", "C"}, []string{"Test-Header", "B, C"}),
		// net/http would have decoded a gzip body; the stored one is what it says it is.
		update("content-encoding", required, nil, []string{"Content-Encoding", "gzip"}, nil),
		update("etag-added", informational, nil, []string{"ETag", `"abc"`}, []string{"ETag", `"abc"`}, "Last-Modified", "Mon, 02 Mar 2026 05:22:33 GMT"),
		{id: "304-content-encoding-of-decoded", kind: required, rfc: "9111 3.2", steps: []step{
			{give: cc("max-age=2", "ETag", `"abc"`), then: 3 * time.Second},
			{status: 304, give: cc("max-age=3600", "ETag", `"abc"`, "Content-Encoding", "gzip"), want: etag, lacks: []string{"Content-Encoding"}},
			{want: hit, lacks: []string{"Content-Encoding"}},
		}},
		{id: "304-connection", kind: required, rfc: "9111 3.2", steps: []step{
			{give: cc("max-age=2", "ETag", `"abc"`, "A", "1"), then: 3 * time.Second},
			{status: 304, give: cc("max-age=3600", "ETag", `"abc"`, "Connection", "a", "A", "2", "Proxy-Connection", "x", "Transfer-Encoding", "chunked"), want: etag},
			{want: hit, has: []string{"A", "1"}, lacks: []string{"Connection", "Proxy-Connection", "Transfer-Encoding"}},
		}},
		{id: "304-longer-lifetime", kind: required, rfc: "9111 4.3.4", steps: []step{
			{give: cc("max-age=2", "ETag", `"abc"`), then: 3 * time.Second},
			{status: 304, give: cc("max-age=10", "ETag", `"abc"`), want: etag, then: 8 * time.Second},
			{want: hit, has: []string{"Age", "8"}, then: 3 * time.Second},
			{status: 304, give: []string{"ETag", `"abc"`}, want: etag},
		}},
		{id: "304-age", kind: required, rfc: "9111 4.3.4", steps: []step{
			{give: cc("max-age=2", "ETag", `"abc"`, "Age", "1"), then: 3 * time.Second},
			{status: 304, give: cc("max-age=100", "ETag", `"abc"`), want: etag, then: 4 * time.Second},
			{want: hit, has: []string{"Age", "4"}},
		}},
		{id: "304-no-store", kind: required, rfc: "9111 5.2.2.5", steps: []step{
			{give: cc("max-age=2", "ETag", `"abc"`), then: 3 * time.Second},
			{status: 304, give: cc("no-store", "ETag", `"abc"`), want: etag},
			{spares: []string{"If-None-Match"}},
		}},
		{id: "304-no-cache", kind: required, rfc: "9111 4.3.4", steps: []step{
			{give: cc("max-age=2", "ETag", `"abc"`), then: 3 * time.Second},
			{status: 304, give: cc("max-age=3600, no-cache", "ETag", `"abc"`), want: etag},
			{status: 304, give: []string{"ETag", `"abc"`}, want: etag},
		}},
		{id: "304-no-cache-field", kind: required, rfc: "9111 5.2.2.4", steps: []step{
			{give: cc("max-age=2", "ETag", `"abc"`, "A", "1", "B", "1"), then: 3 * time.Second},
			{status: 304, give: cc(`max-age=3600, no-cache="a"`, "ETag", `"abc"`), want: etag},
			{want: hit, lacks: []string{"A"}, has: []string{"B", "1"}},
		}},
		// What is confirmed may come to be selected by more, or by nothing any more.
		{id: "304-vary-star", kind: required, rfc: "9111 4.1", steps: []step{
			{give: cc("max-age=2", "ETag", `"abc"`), then: 3 * time.Second},
			{status: 304, give: cc("max-age=3600", "ETag", `"abc"`, "Vary", "*"), want: etag},
			{},
		}},
		{id: "304-vary-appears", kind: required, rfc: "9111 4.1", steps: []step{
			{send: []string{"Foo", "1"}, give: cc("max-age=2", "ETag", `"abc"`), then: 3 * time.Second},
			{send: []string{"Foo", "1"}, status: 304, give: cc("max-age=3600", "ETag", `"abc"`, "Vary", "Foo"), want: etag},
			{send: []string{"Foo", "1"}, want: hit, text: "answer 0"},
			{send: []string{"Foo", "2"}},
		}},
		{id: "304-vary-grows", kind: required, rfc: "9111 4.1", steps: []step{
			{send: []string{"Foo", "1", "Bar", "1"}, give: cc("max-age=2", "ETag", `"abc"`, "Vary", "Foo"), then: 3 * time.Second},
			{send: []string{"Foo", "1", "Bar", "1"}, status: 304, give: cc("max-age=3600", "ETag", `"abc"`, "Vary", "Foo, Bar"), want: etag},
			{send: []string{"Foo", "1", "Bar", "1"}, want: hit, text: "answer 0"},
			{send: []string{"Foo", "1", "Bar", "2"}},
		}},
		// A strong tag that nothing stored has: this 304 is about something else, and
		// the cache must ask once more.
		{id: "304-of-another-tag", kind: required, rfc: "9111 4.3.3", steps: []step{
			{give: cc("max-age=2", "ETag", `"abc"`, "A", "1"), then: 3 * time.Second},
			{status: 304, give: cc("max-age=3600", "ETag", `"other"`, "A", "2"), code: 200, text: "answer 1"},
		}},
		{id: "304-unasked", kind: required, rfc: "9111 4.3.3", steps: []step{
			{send: []string{"If-None-Match", `"mine"`}, status: 304, give: cc("max-age=3600", "ETag", `"mine"`), code: 304},
			{give: cc("max-age=3600")},
			{want: hit, text: "answer 1"},
		}},
	}
	for _, name := range []string{"Test-Header", "X-Test-Header", "Clear-Site-Data", "Content-Foo", "Content-Location", "Content-Security-Policy",
		"Content-Type", "Content-MD5", "Public-Key-Pins", "Set-Cookie", "Set-Cookie2", "X-Content-Foo", "X-Frame-Options", "X-XSS-Protection", "Link", "Server", "Via"} {
		tests = append(tests, update("update-"+strings.ToLower(name), required,
			[]string{name, "/old"}, []string{name, "/new"}, []string{name, "/new"}))
	}
	return append(tests, update("update-expires", required, []string{"Expires", "{+60}"}, []string{"Expires", "Fri, 01 Jan 2049 00:00:00 GMT"}, []string{"Expires", "Fri, 01 Jan 2049 00:00:00 GMT"}))
}

func heads() []test {
	const rfc = "9111 4.3.5"
	return []test{
		{id: "head-from-get", kind: optional, rfc: "9111 4", steps: []step{
			{give: cc("max-age=3600", "A", "1")},
			{method: "HEAD", want: hit, has: []string{"A", "1", "Content-Length", "8"}},
			{want: hit},
		}},
		{id: "head-writethrough", kind: informational, rfc: rfc, steps: []step{
			{give: cc("max-age=2"), then: 3 * time.Second},
			{method: "HEAD"},
		}},
		{id: "head-not-for-get", kind: required, rfc: "9111 3", steps: []step{
			{method: "HEAD", give: cc("max-age=3600")},
			{},
		}},
		{id: "head-updates", kind: informational, rfc: rfc, steps: []step{
			{give: cc("max-age=2", "ETag", `"abc"`, "A", "1"), then: 3 * time.Second},
			{method: "HEAD", give: cc("max-age=3600", "ETag", `"abc"`, "A", "2", "Content-Length", "8"), want: either},
			{want: either, has: []string{"A", "2"}, text: "answer 0"},
		}},
		{id: "head-updates-freshness", kind: informational, rfc: rfc, steps: []step{
			{give: cc("max-age=2", "ETag", `"abc"`), then: 3 * time.Second},
			{method: "HEAD", give: cc("max-age=3600", "ETag", `"abc"`, "Content-Length", "8"), want: either},
			{want: hit, text: "answer 0"},
		}},
		{id: "head-retains", kind: informational, rfc: rfc, steps: []step{
			{give: cc("max-age=2", "ETag", `"abc"`, "A", "1"), then: 3 * time.Second},
			{method: "HEAD", give: cc("max-age=3600", "ETag", `"abc"`, "Content-Length", "8"), want: either},
			{want: hit, has: []string{"A", "1"}, text: "answer 0"},
		}},
		{id: "head-other-tag", kind: required, rfc: rfc, steps: []step{
			{give: cc("max-age=2", "ETag", `"abc"`), then: 3 * time.Second},
			{method: "HEAD", give: cc("max-age=3600", "ETag", `"def"`), want: either},
			{},
		}},
		{id: "head-other-length", kind: required, rfc: rfc, steps: []step{
			{give: cc("max-age=2"), then: 3 * time.Second},
			{method: "HEAD", give: cc("max-age=3600", "Content-Length", "99"), want: either},
			{},
		}},
		{id: "head-other-tag-fresh", kind: informational, rfc: rfc, steps: []step{
			{give: cc("max-age=3600", "ETag", `"abc"`)},
			{method: "HEAD", send: cc("no-cache"), give: cc("max-age=3600", "ETag", `"def"`), want: either},
			{},
		}},
		{id: "head-no-store", kind: required, rfc: "9111 5.2.2.5", steps: []step{
			{give: cc("max-age=2", "ETag", `"abc"`), then: 3 * time.Second},
			{method: "HEAD", give: cc("no-store", "ETag", `"abc"`, "Content-Length", "8"), want: either},
			{spares: []string{"If-None-Match"}},
		}},
		{id: "head-vary-star", kind: required, rfc: "9111 4.1", steps: []step{
			{give: cc("max-age=2", "ETag", `"abc"`), then: 3 * time.Second},
			{method: "HEAD", give: cc("max-age=3600", "ETag", `"abc"`, "Content-Length", "8", "Vary", "Foo, *"), want: either},
			{},
		}},
		{id: "head-vary-appears", kind: required, rfc: "9111 4.1", steps: []step{
			{send: []string{"Foo", "1"}, give: cc("max-age=2", "ETag", `"abc"`), then: 3 * time.Second},
			{method: "HEAD", send: []string{"Foo", "1"}, give: cc("max-age=3600", "ETag", `"abc"`, "Content-Length", "8", "Vary", "Foo"), want: either},
			{send: []string{"Foo", "2"}},
			{send: []string{"Foo", "1"}, want: hit, text: "answer 0"},
		}},
		{id: "head-410", kind: informational, rfc: rfc, steps: []step{
			{give: cc("max-age=2", "ETag", `"abc"`), then: 3 * time.Second},
			{method: "HEAD", status: 410, want: either},
			{},
		}},
	}
}
