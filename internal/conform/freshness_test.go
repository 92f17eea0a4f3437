package conform_test

import (
	"strings"
	"time"
)

// again is the plainest script: an answer, a pause, the same request.
func again(id string, k kind, rfc string, pause time.Duration, w want, give ...string) test {
	return test{id: id, kind: k, rfc: rfc, steps: []step{
		{give: give, then: pause},
		{want: w},
	}}
}

// cc is a Cache-Control field.
func cc(value string, more ...string) []string {
	return append([]string{"Cache-Control", value}, more...)
}

func freshness() []test {
	const rfc = "9111 4.2.1"
	return []test{
		again("freshness-none", required, "9111 4.2", 0, origin),
		again("freshness-max-age", required, rfc, 0, hit, cc("max-age=3600")...),
		again("freshness-max-age-to-the-end", required, rfc, 58*time.Second, hit, cc("max-age=60")...),
		again("freshness-max-age-stale", required, rfc, 3*time.Second, origin, cc("max-age=2")...),
		again("freshness-max-age-equal", required, "9111 4.2", 2*time.Second, origin, cc("max-age=2")...),
		again("freshness-max-age-0", required, rfc, 0, origin, cc("max-age=0")...),
		again("freshness-max-age-2^31-1", optional, "9111 1.2.2", time.Hour, hit, cc("max-age=2147483647")...),
		again("freshness-max-age-2^31", optional, "9111 1.2.2", time.Hour, hit, cc("max-age=2147483648")...),
		again("freshness-max-age-2^63", optional, "9111 1.2.2", time.Hour, hit, cc("max-age=9223372036854775808")...),
		again("freshness-max-age-huge", optional, "9111 1.2.2", time.Hour, hit, cc("max-age=99999999999999999999999999999999")...),
		again("freshness-max-age-age", required, "9111 4.2.3", 0, origin, cc("max-age=3600", "Age", "12000")...),
		again("freshness-max-age-age-fresh", required, "9111 4.2.3", 0, hit, cc("max-age=3600", "Age", "1200")...),
		again("freshness-max-age-age-and-here", required, "9111 4.2.3", 10*time.Second, origin, cc("max-age=3600", "Age", "3595")...),
		again("freshness-max-age-date", required, "9111 4.2.3", 0, origin, cc("max-age=3600", "Date", "{-7200}")...),
		again("freshness-max-age-date-ahead", required, "9111 4.2.3", 0, hit, cc("max-age=3600", "Date", "{+7200}")...),
		again("freshness-max-age-expires-past", required, rfc, 0, hit, cc("max-age=3600", "Expires", "{-7200}")...),
		again("freshness-max-age-expires-invalid", required, rfc, 0, hit, cc("max-age=3600", "Expires", "0")...),
		again("freshness-max-age-0-expires", required, rfc, 0, origin, cc("max-age=0", "Expires", "{+7200}")...),
		again("freshness-max-age-short-expires", required, rfc, 3*time.Second, origin, cc("max-age=2", "Expires", "{+7200}")...),
		again("freshness-max-age-extension", optional, "9111 5.2.3", 0, hit, cc("foobar, max-age=3600")...),
		again("freshness-max-age-extension-after", optional, "9111 5.2.3", 0, hit, cc("max-age=3600, foobar=1")...),
		again("freshness-max-age-case", optional, "9111 5.2", 0, hit, cc("MaX-aGe=3600")...),
		again("freshness-max-age-two-lines", optional, "9110 5.3", 0, hit, "Cache-Control", "foobar", "Cache-Control", "max-age=3600"),
		again("freshness-max-age-negative", required, "9111 1.2.2", 0, origin, cc("max-age=-3600")...),
		again("freshness-max-age-s-maxage", required, "9111 5.2.2.10", 3*time.Second, hit, cc("max-age=3600, s-maxage=1")...),
		// Fields for caches of another kind.
		again("freshness-cdn-no-store", required, "9213 2", 0, hit, cc("max-age=3600", "CDN-Cache-Control", "no-store")...),
		again("freshness-cdn-shorter", required, "9213 2", 3*time.Second, hit, cc("max-age=3600", "CDN-Cache-Control", "max-age=1")...),
		again("freshness-cdn-longer", required, "9213 2", 3*time.Second, origin, cc("max-age=1", "CDN-Cache-Control", "max-age=3600")...),
		again("freshness-cdn-alone", required, "9213 2", 0, origin, "CDN-Cache-Control", "max-age=3600"),
		again("freshness-surrogate-control", required, "9111 4.2.1", 3*time.Second, origin, cc("max-age=1", "Surrogate-Control", "max-age=3600")...),
		again("freshness-max-age-s-maxage-lines", required, "9111 5.2.2.10", 3*time.Second, hit, "Cache-Control", "max-age=3600", "Cache-Control", "s-maxage=1"),
		again("freshness-s-maxage-longer", required, "9111 5.2.2.10", 3*time.Second, origin, cc("max-age=1, s-maxage=3600")...),
		again("freshness-s-maxage-alone", required, "9111 5.2.2.10", 0, origin, cc("s-maxage=3600")...),
	}
}

func controlSyntax() []test {
	const rfc = "9111 5.2"
	return []test{
		again("cc-quoted-not-directive", required, rfc, 0, origin, cc(`extension="max-age=3600"`)...),
		again("cc-quoted-list-not-directive", required, rfc, 0, origin, cc(`extension="a, max-age=3600, b"`)...),
		again("cc-quoted-escaped", required, "9110 5.6.4", 0, origin, cc(`extension="a\", max-age=3600"`)...),
		again("cc-quoted-short-before", required, rfc, 3*time.Second, hit, cc(`extension="max-age=1", max-age=3600`)...),
		again("cc-quoted-short-after", required, rfc, 3*time.Second, hit, cc(`max-age=3600, extension="max-age=1"`)...),
		again("cc-quoted-no-store", required, rfc, 0, hit, cc(`extension="no-store", max-age=3600`)...),
		again("cc-quoted-value", optional, rfc, 0, hit, cc(`max-age="3600"`)...),
		again("cc-leading-zeros", optional, "9111 1.2.2", 0, hit, cc("max-age=003600")...),
		again("cc-single-quoted", required, rfc, 0, origin, cc("max-age='3600'")...),
		again("cc-empty-members", optional, "9110 5.6.1", 0, hit, cc(", ,max-age=3600,, ")...),
		again("cc-tab-between", optional, "9110 5.6.1", 0, hit, cc("foobar,\tmax-age=3600")...),
		// Of the readings that the RFC leaves, the one that asks the origin.
		again("cc-twice-fresh-stale", informational, "9111 4.2.1", 3*time.Second, origin, cc("max-age=1800, max-age=1")...),
		again("cc-twice-stale-fresh", informational, "9111 4.2.1", 3*time.Second, origin, cc("max-age=1, max-age=1800")...),
		again("cc-twice-fresh-stale-lines", informational, "9111 4.2.1", 3*time.Second, origin, "Cache-Control", "max-age=1800", "Cache-Control", "max-age=1"),
		again("cc-twice-stale-fresh-lines", informational, "9111 4.2.1", 3*time.Second, origin, "Cache-Control", "max-age=1", "Cache-Control", "max-age=1800"),
		again("cc-space-before-equals", informational, rfc, 0, origin, cc("max-age =3600")...),
		again("cc-space-after-equals", informational, rfc, 0, origin, cc("max-age= 3600")...),
		again("cc-decimal", informational, "9111 1.2.2", 0, origin, cc("max-age=3600.0")...),
		again("cc-letter-before", informational, "9111 1.2.2", 0, origin, cc("max-age=a3600")...),
		again("cc-letter-after", informational, "9111 1.2.2", 0, origin, cc("max-age=3600a")...),
		again("cc-no-value", informational, "9111 4.2.1", 0, origin, cc("max-age")...),
		again("cc-empty-value", informational, "9111 4.2.1", 0, origin, cc("max-age=")...),
		again("cc-invalid-beside-expires", informational, "9111 4.2.1", 0, origin, cc("max-age=x", "Expires", "{+3600}")...),
	}
}

func ages() []test {
	const rfc = "9111 5.1"
	age := func(id string, k kind, w want, lines ...string) test {
		give := cc("max-age=3600")
		for _, line := range lines {
			give = append(give, "Age", line)
		}
		return again("age-"+id, k, rfc, 0, w, give...)
	}
	return []test{
		age("nonnumeric", required, hit, "abc"),
		age("negative", required, hit, "-7200"),
		age("float", required, hit, "7200.5"),
		age("2^31-1", required, origin, "2147483647"),
		age("2^31", required, origin, "2147483648"),
		age("2^31+1", required, origin, "2147483649"),
		age("2^32", required, origin, "4294967296"),
		age("2^64", required, origin, "18446744073709551616"),
		age("first-old", required, origin, "7200, 0"),
		age("first-young", required, hit, "0, 7200"),
		age("first-old-lines", required, origin, "7200", "0"),
		age("first-young-lines", required, hit, "0", "7200"),
		age("zeros", required, hit, "0, 0"),
		age("zeros-lines", required, hit, "0", "0"),
		age("first-old-rest-invalid", required, origin, "7200, abc"),
		age("first-invalid", informational, hit, "abc, 7200"),
		age("leading-zeros", required, origin, "0007200"),
		age("parameter", informational, hit, "7200;foo=bar"),
		age("numeric-parameter", informational, hit, "7200;foo=111"),
		age("suffix", informational, hit, "7200s"),
		age("plus", informational, hit, "+7200"),
		age("empty", required, hit, ""),
	}
}

func expires() []test {
	const rfc = "9111 4.2.1"
	return []test{
		again("expires-future", required, rfc, 0, hit, "Expires", "{+3600}"),
		again("expires-past", required, rfc, 0, origin, "Expires", "{-3600}"),
		again("expires-passes", required, rfc, 11*time.Second, origin, "Expires", "{+10}"),
		again("expires-equals-date", required, rfc, 0, origin, "Expires", "{+0}", "Date", "{+0}"),
		again("expires-before-date", required, rfc, 0, origin, "Date", "{-3600}", "Expires", "{-7200}"),
		again("expires-old-date", required, "9111 4.2.3", 0, origin, "Date", "{-7200}", "Expires", "{-3600}"),
		again("expires-0", required, "9111 5.3", 0, origin, "Expires", "0"),
		again("expires-minus-1", required, "9111 5.3", 0, origin, "Expires", "-1"),
		again("expires-unparsable", required, "9111 5.3", 0, origin, "Expires", "tomorrow"),
		again("expires-empty", required, "9111 5.3", 0, origin, "Expires", ""),
		// An invalid Expires is a statement, not an absence.
		again("expires-invalid-no-heuristic", required, "9111 5.3", 0, origin, "Expires", "0", "Last-Modified", "{-360000}"),
		again("expires-no-date", required, rfc, 0, hit, "Expires", "{+3600}", "Date", "never"),
		{id: "expires-without-date", kind: required, rfc: "9110 6.6.1", steps: []step{
			{give: []string{"Expires", "{+3600}"}, noDate: true}, {want: hit},
		}},
		// A clock that is two hours fast: fresh for as long as it says, not longer.
		again("expires-fast-clock", required, rfc, 59*time.Minute, hit, "Date", "{+7200}", "Expires", "{+10800}"),
		again("expires-fast-clock-over", required, rfc, 61*time.Minute, origin, "Date", "{+7200}", "Expires", "{+10800}"),
		again("expires-fast-clock-past", required, rfc, 0, origin, "Date", "{+7200}", "Expires", "{+3600}"),
		again("expires-fast-clock-age", required, "9111 4.2.3", 0, origin, "Date", "{+86400}", "Expires", "{+86460}", "Age", "90"),
		// A clock that is slow, or a message that was two hours under way.
		again("expires-slow-clock", required, rfc, 0, hit, "Date", "{-3600}", "Expires", "{+3600}"),
		again("expires-slow-clock-age", required, "9111 4.2.3", 0, origin, "Date", "{-3600}", "Expires", "{+3600}", "Age", "7300"),
		again("expires-age", required, "9111 4.2.3", 0, origin, "Expires", "{+3600}", "Age", "3700"),
		again("expires-s-maxage", required, "9111 5.2.2.10", 0, hit, "Expires", "{+3600}", "Cache-Control", "s-maxage=0"),
	}
}

// dates are spellings of Expires. The time itself is always in the future.
func dates() []test {
	var tests []test
	for _, d := range []struct {
		id    string
		k     kind
		w     want
		value string
	}{
		{"imf", required, hit, "{+3600}"},
		{"rfc850", required, hit, "{+3600|Monday, 02-Jan-06 15:04:05 GMT}"},
		{"asctime", required, hit, "{+3600|Mon Jan _2 15:04:05 2006}"},
		{"2038", required, hit, "Thu, 18 Aug 2050 02:01:18 GMT"},
		{"2106", required, hit, "Sun, 07 Feb 2106 06:28:17 GMT"},
		{"9999", optional, hit, "Fri, 31 Dec 9999 23:59:59 GMT"},
		{"lower-month", optional, hit, "{+3600|month}"},
		{"upper-weekday", optional, hit, "{+3600|weekday}"},
		{"lower-zone", optional, hit, "{+3600|zone}"},
		{"rfc850-within-50-years", optional, hit, "Sunday, 03-Mar-75 05:22:33 GMT"},
		{"rfc850-beyond-50-years", required, origin, "Wednesday, 03-Mar-77 05:22:33 GMT"},
		{"zone-aest", required, origin, "{+3600|Mon, 02 Jan 2006 15:04:05 AEST}"},
		{"zone-utc", required, origin, "{+3600|Mon, 02 Jan 2006 15:04:05 UTC}"},
		{"zone-offset", required, origin, "{+3600|Mon, 02 Jan 2006 15:04:05 +0000}"},
		{"zone-none", required, origin, "{+3600|Mon, 02 Jan 2006 15:04:05}"},
		{"two-digit-year", required, origin, "{+3600|Mon, 02 Jan 06 15:04:05 GMT}"},
		{"no-comma", required, origin, "{+3600|Mon 02 Jan 2006 15:04:05 GMT}"},
		{"dashes", required, origin, "{+3600|Mon, 02-Jan-2006 15:04:05 GMT}"},
		{"dots", required, origin, "{+3600|Mon, 02 Jan 2006 15.04.05 GMT}"},
		{"spaces", required, origin, "{+3600|Mon, 02  Jan  2006 15:04:05 GMT}"},
		{"one-digit-hour", required, origin, "{+3600|Mon, 02 Jan 2006 3:04:05 GMT}"},
		{"one-digit-day", required, origin, "{+3600|Mon, 2 Jan 2006 15:04:05 GMT}"},
		{"no-seconds", required, origin, "{+3600|Mon, 02 Jan 2006 15:04 GMT}"},
		{"fraction", required, origin, "{+3600|Mon, 02 Jan 2006 15:04:05.0 GMT}"},
		{"day-32", required, origin, "Sun, 32 Mar 2026 05:22:33 GMT"},
		{"seconds-since-1970", required, origin, "4102444800"},
		{"iso", required, origin, "{+3600|2006-01-02T15:04:05Z}"},
		{"twice-in-line", required, origin, "{+3600}, {+3600}"},
	} {
		tests = append(tests, again("date-"+d.id, d.k, "9110 5.6.7", 0, d.w, "Expires", d.value))
	}
	return append(tests,
		again("date-lines", required, "9110 5.5", 0, origin, "Expires", "{-3600}", "Expires", "{+3600}"),
		again("date-lines-equal", informational, "9110 5.5", 0, origin, "Expires", "{+3600}", "Expires", "{+3600}"),
		again("date-field-lower-zone", optional, "9110 5.6.7", 0, origin, "Date", "{-7200|zone}", "Cache-Control", "max-age=3600"),
		again("date-last-modified-spaces", informational, "9110 5.6.7", time.Second, origin,
			"Last-Modified", "{-360000|Mon, 02  Jan  2006 15:04:05 GMT}"),
	)
}

// upkeep is what a reuse must and must not do to an answer, and what the key is.
func upkeep() []test {
	pair := func(id string, k kind, rfc string, first, second step) test {
		first.give = append(cc("max-age=3600"), first.give...)
		return test{id: id, kind: k, rfc: rfc, steps: []step{first, second}}
	}
	return []test{
		{id: "age-generated", kind: required, rfc: "9111 5.1", steps: []step{
			{give: cc("max-age=3600"), then: 3 * time.Second},
			{want: hit, has: []string{"Age", "3"}, then: 4 * time.Second},
			{want: hit, has: []string{"Age", "7"}},
		}},
		{id: "age-at-once", kind: required, rfc: "9111 5.1", steps: []step{
			{give: cc("max-age=3600"), lacks: []string{"Age"}}, {want: hit, has: []string{"Age", "0"}},
		}},
		{id: "age-under-expires", kind: required, rfc: "9111 5.1", steps: []step{
			{give: []string{"Expires", "{+3600}"}, then: 3 * time.Second},
			{want: hit, has: []string{"Age", "3"}},
		}},
		{id: "age-added", kind: required, rfc: "9111 4.2.3", steps: []step{
			{give: cc("max-age=3600", "Age", "30"), has: []string{"Age", "30"}, then: 3 * time.Second},
			{want: hit, has: []string{"Age", "33"}},
		}},
		{id: "age-added-under-expires", kind: required, rfc: "9111 4.2.3", steps: []step{
			{give: []string{"Expires", "{+3600}", "Age", "30"}, then: 3 * time.Second},
			{want: hit, has: []string{"Age", "33"}},
		}},
		{id: "age-apparent", kind: required, rfc: "9111 4.2.3", steps: []step{
			{give: cc("max-age=3600", "Date", "{-100}"), then: 3 * time.Second},
			{want: hit, has: []string{"Age", "103"}},
		}},
		{id: "age-one-line", kind: required, rfc: "9111 5.1", steps: []step{
			{give: cc("max-age=3600", "Age", "1", "Age", "2"), then: 3 * time.Second},
			{want: hit, has: []string{"Age", "4"}},
		}},
		{id: "age-of-the-delay", kind: required, rfc: "9111 4.2.3", steps: []step{
			{give: cc("max-age=3600", "Age", "30"), slow: 4 * time.Second},
			{want: hit, has: []string{"Age", "34"}},
		}},
		{id: "age-of-the-delay-stale", kind: required, rfc: "9111 4.2.3", steps: []step{
			{give: cc("max-age=3", "Date", "{+0}"), slow: 4 * time.Second},
			{},
		}},
		{id: "date-kept", kind: required, rfc: "9110 6.6.1", steps: []step{
			{give: cc("max-age=3600"), then: 3 * time.Second},
			{want: hit, has: []string{"Date", "="}},
		}},
		{id: "date-kept-under-expires", kind: required, rfc: "9110 6.6.1", steps: []step{
			{give: []string{"Expires", "{+3600}"}, then: 3 * time.Second},
			{want: hit, has: []string{"Date", "=", "Expires", "="}},
		}},
		{id: "date-of-the-304", kind: required, rfc: "9111 4.3.4", steps: []step{
			{give: cc("max-age=1", "ETag", `"a"`), then: 3 * time.Second},
			{status: 304, give: cc("max-age=3600", "ETag", `"a"`), want: etag, then: 2 * time.Second},
			{want: hit, has: []string{"Date", "=", "Age", "2"}},
		}},
		pair("query-same", required, "9111 2", step{path: "/a?x=1"}, step{path: "/a?x=1", want: hit}),
		pair("query-different", required, "9111 2", step{path: "/a?x=1"}, step{path: "/a?x=2"}),
		pair("query-order", required, "9111 2", step{path: "/a?x=1&y=2"}, step{path: "/a?y=2&x=1"}),
		pair("query-none", required, "9111 2", step{path: "/a?x=1"}, step{path: "/a"}),
		pair("query-empty", informational, "3986 6.2.3", step{path: "/a?"}, step{path: "/a"}),
		pair("path-case", required, "3986 6.2.2.1", step{path: "/a"}, step{path: "/A"}),
		pair("path-escaped-slash", required, "3986 2.2", step{path: "/a%2Fb"}, step{path: "/a/b"}),
		pair("host-case", optional, "9110 4.2.3", step{path: "http://origin.test/a"}, step{path: "http://ORIGIN.test/a", want: hit}),
		pair("port-default", optional, "9110 4.2.3", step{path: "http://origin.test/a"}, step{path: "http://origin.test:80/a", want: hit}),
		pair("port-different", required, "9110 4.2.3", step{path: "http://origin.test/a"}, step{path: "http://origin.test:81/a"}),
		pair("path-empty", optional, "9110 4.2.3", step{path: "http://origin.test"}, step{path: "http://origin.test/", want: hit}),
		pair("fragment", required, "9110 4.2.5", step{path: "/a#x"}, step{path: "/a#y", want: hit}),
		pair("set-cookie", required, "9111 7.3", step{give: []string{"Set-Cookie", "a=b"}}, step{want: hit, has: []string{"Set-Cookie", "a=b"}}),
		pair("cookie", required, "9111 7.3", step{send: []string{"Cookie", "a=b"}}, step{send: []string{"Cookie", "a=b"}, want: hit}),
		// Stricter than the RFC, which would want Vary: one user's answer is not another's.
		pair("cookie-other", informational, "9111 7.3", step{send: []string{"Cookie", "a=b"}}, step{send: []string{"Cookie", "a=c"}}),
		pair("authorization", required, "9111 3.5", step{send: []string{"Authorization", "Bearer a"}}, step{send: []string{"Authorization", "Bearer a"}, want: hit}),
		pair("authorization-other", informational, "9111 3.5", step{send: []string{"Authorization", "Bearer a"}}, step{send: []string{"Authorization", "Bearer b"}}),
		pair("api-key-other", informational, "9111 3.5", step{send: []string{"X-Api-Key", "a"}}, step{send: []string{"X-Api-Key", "b"}}),
		pair("attachment", required, "9111 3", step{give: []string{"Content-Disposition", "attachment; filename=foo.txt"}}, step{want: hit}),
		again("attachment-heuristic", optional, "9111 4.2.2", 0, hit, "Content-Disposition", "attachment; filename=foo.txt", "Last-Modified", "{-360000}"),
		pair("user-agent-no-part", required, "9111 4.1", step{send: []string{"User-Agent", "a"}}, step{send: []string{"User-Agent", "b"}, want: hit}),
	}
}

// wire is what the connection does to an answer.
func wire() []test {
	long := strings.Repeat("0123456789", 10_000)
	return []test{
		{id: "wire-truncated", kind: required, rfc: "9111 3.3", steps: []step{
			{give: cc("max-age=3600"), body: long, short: true, want: broken},
			{body: "whole"},
		}},
		{id: "wire-truncated-chunks", kind: required, rfc: "9111 3.3", steps: []step{
			{give: cc("max-age=3600"), body: long, chunked: true, short: true, want: broken},
			{body: "whole"},
		}},
		// Whether it was cut nobody can tell, but of a part or of what is encoded.
		{id: "wire-truncated-open", kind: required, rfc: "9112 6.3", steps: []step{
			{give: cc("max-age=3600"), body: long, open: true, short: true, want: either},
			{give: cc("max-age=3600"), body: "whole"},
			{want: hit, text: "whole"},
		}},
		{id: "wire-open-changed", kind: required, rfc: "9111 4.3.3", steps: []step{
			{give: cc("max-age=3600", "ETag", `"1"`)},
			{send: cc("no-cache"), give: cc("max-age=3600", "ETag", `"2"`), body: "other", open: true},
			{spares: []string{"If-None-Match"}},
		}},
		{id: "wire-truncated-open-posted", kind: required, rfc: "9112 6.3", steps: []step{
			{method: "POST", upload: "x", give: cc("max-age=3600", "Content-Location", "/a"), body: long, open: true, short: true, want: either},
			{body: "whole"},
		}},
		{id: "wire-open-part", kind: optional, rfc: "9111 3.3", steps: []step{
			{send: []string{"Range", "bytes=0-2"}, status: 206, give: cc("max-age=3600", "Content-Range", "bytes 0-2/10"), body: "012", open: true},
			{send: []string{"Range", "bytes=0-2"}, want: hit, code: 206, text: "012"},
		}},
		{id: "wire-truncated-open-part", kind: required, rfc: "9111 3.3", steps: []step{
			{send: []string{"Range", "bytes=0-2"}, status: 206, give: cc("max-age=3600", "Content-Range", "bytes 0-2/10"), body: "012", open: true, short: true, want: either},
			{send: []string{"Range", "bytes=0-2"}, status: 206, give: cc("max-age=3600", "Content-Range", "bytes 0-2/10"), body: "012"},
		}},
		{id: "wire-chunks", kind: required, rfc: "9111 3.1", steps: []step{
			{give: cc("max-age=3600"), body: long, chunked: true},
			{want: hit, text: long},
			{want: hit, text: long},
		}},
		{id: "wire-empty", kind: required, rfc: "9111 3", steps: []step{
			{give: cc("max-age=3600", "Content-Length", "0"), body: "", text: "", status: 204},
			{want: hit},
		}},
		{id: "wire-interim", kind: required, rfc: "9111 3", steps: []step{
			{give: cc("max-age=3600"), early: []string{"Link", "</style.css>", "Cache-Control", "no-store"}},
			{want: hit, lacks: []string{"Link"}},
		}},
		{id: "wire-length-kept", kind: required, rfc: "9111 3.1", steps: []step{
			{give: cc("max-age=3600"), body: long},
			{want: hit, text: long, has: []string{"Content-Length", "100000"}},
		}},
	}
}
