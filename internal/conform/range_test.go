package conform_test

import "time"

const digits = "0123456789"

func ranges() []test {
	// part is a request for a range.
	part := func(r string, s step) step {
		s.send = append(s.send, "Range", "bytes="+r)
		return s
	}
	// whole is a stored complete answer, then a request for a range of it.
	whole := func(id string, k kind, give []string, second step) test {
		return test{id: "range-" + id, kind: k, rfc: "9111 3.3", steps: []step{
			{give: append(cc("max-age=3600"), give...), body: digits}, second, {want: hit, text: digits},
		}}
	}
	answer := func(text, r string) step {
		return step{want: hit, code: 206, text: text, has: []string{"Content-Range", "bytes " + r + "/10", "Content-Length", itoa(len(text))}}
	}
	// partial is an answer of the origin to a range of digits.
	partial := func(from, to int, s step) step {
		s.status, s.body = 206, digits[from:to+1]
		s.send = append(s.send, "Range", "bytes="+itoa(from)+"-"+itoa(to))
		s.give = append(cc("max-age=3600", "Content-Range", "bytes "+itoa(from)+"-"+itoa(to)+"/10", "ETag", `"abc"`), s.give...)
		return s
	}
	return []test{
		whole("of-complete", optional, nil, part("0-1", answer("01", "0-1"))),
		whole("of-complete-middle", optional, nil, part("3-5", answer("345", "3-5"))),
		whole("of-complete-open", optional, nil, part("5-", answer("56789", "5-9"))),
		whole("of-complete-suffix", optional, nil, part("-3", answer("789", "7-9"))),
		whole("of-complete-long-suffix", informational, nil, part("-30", answer(digits, "0-9"))),
		whole("of-complete-beyond", informational, nil, part("5-99", answer("56789", "5-9"))),
		whole("of-complete-spaced", informational, nil, step{send: []string{"Range", "bytes= 0-1"}, give: cc("max-age=3600"), body: digits, want: either}),
		// A range that is not understood may be ignored, or be the origin's.
		whole("other-unit", informational, nil, step{send: []string{"Range", "lines=0-1"}, give: cc("max-age=3600"), body: digits, want: either}),
		whole("reversed", informational, nil, step{send: []string{"Range", "bytes=5-1"}, give: cc("max-age=3600"), body: digits, want: either}),
		whole("if-range-etag", optional, []string{"ETag", `"abc"`}, part("0-1", func() step {
			s := answer("01", "0-1")
			s.send = []string{"If-Range", `"abc"`}
			return s
		}())),
		whole("if-range-other", optional, []string{"ETag", `"abc"`}, part("0-1", step{send: []string{"If-Range", `"x"`}, want: hit, text: digits})),
		whole("if-range-weak", optional, []string{"ETag", `W/"abc"`}, part("0-1", step{send: []string{"If-Range", `W/"abc"`}, want: hit, text: digits})),
		{id: "range-of-stale", kind: required, rfc: "9111 4.2.4", steps: []step{
			{give: cc("max-age=2"), body: digits, then: 3 * time.Second},
			part("0-1", step{status: 206, body: "ab", give: []string{"Content-Range", "bytes 0-1/10"}, asks: []string{"Range", "bytes=0-1"}}),
		}},
		{id: "range-of-404", kind: optional, rfc: "9110 14.2", steps: []step{
			{status: 404, give: cc("max-age=3600"), body: digits},
			part("0-1", step{want: hit, text: digits}),
		}},

		// What came as a part is never a whole.
		{id: "partial-not-complete", kind: required, rfc: "9111 3.3", steps: []step{
			partial(0, 4, step{}),
			{body: digits, text: digits},
		}},
		{id: "partial-not-complete-unasked", kind: required, rfc: "9111 3.3", steps: []step{
			{status: 206, give: cc("max-age=3600", "Content-Range", "bytes 0-4/10"), body: "01234"},
			{},
		}},
		{id: "partial-not-other-part", kind: required, rfc: "9111 3.3", steps: []step{
			partial(0, 4, step{}),
			partial(5, 9, step{}),
		}},
		{id: "partial-not-wider", kind: required, rfc: "9111 3.3", steps: []step{
			partial(0, 4, step{}),
			part("2-7", step{status: 206, body: "234567", give: []string{"Content-Range", "bytes 2-7/10", "ETag", `"abc"`}, code: 206, text: "234567"}),
		}},
		{id: "partial-invalidated", kind: required, rfc: "9111 4.4", steps: []step{
			partial(0, 4, step{}),
			{method: "POST", upload: "x"},
			partial(0, 4, step{}),
		}},
		{id: "partial-no-store", kind: required, rfc: "9111 5.2.2.5", steps: []step{
			{send: []string{"Range", "bytes=0-4"}, status: 206, body: "01234", give: cc("max-age=3600, no-store", "Content-Range", "bytes 0-4/10")},
			partial(0, 4, step{}),
		}},
		// Optional: parts are stored.
		{id: "partial-reused", kind: optional, rfc: "9111 3.3", steps: []step{
			partial(0, 4, step{}),
			part("0-4", answer("01234", "0-4")),
		}},
		{id: "partial-reused-no-tag", kind: optional, rfc: "9111 3.3", steps: []step{
			{send: []string{"Range", "bytes=0-4"}, status: 206, body: "01234", give: cc("max-age=3600", "Content-Range", "bytes 0-4/10")},
			part("0-4", answer("01234", "0-4")),
		}},
		{id: "partial-reused-inside", kind: optional, rfc: "9111 3.3", steps: []step{
			partial(0, 4, step{}),
			part("1-3", answer("123", "1-3")),
		}},
		{id: "partial-reused-suffix", kind: optional, rfc: "9111 3.3", steps: []step{
			partial(5, 9, step{}),
			part("-2", answer("89", "8-9")),
		}},
		{id: "partial-reused-open", kind: optional, rfc: "9111 3.3", steps: []step{
			partial(5, 9, step{}),
			part("6-", answer("6789", "6-9")),
		}},
		{id: "partial-combined", kind: optional, rfc: "9111 3.4", steps: []step{
			partial(0, 4, step{}),
			partial(5, 9, step{give: []string{"A", "1"}}),
			{want: hit, code: 200, text: digits, has: []string{"A", "1", "Content-Length", "10"}, lacks: []string{"Content-Range"}},
		}},
		{id: "partial-completed", kind: optional, rfc: "9111 3.4", steps: []step{
			partial(0, 4, step{}),
			{status: 206, body: "56789", give: cc("max-age=3600", "Content-Range", "bytes 5-9/10", "ETag", `"abc"`), code: 200, text: digits,
				asks: []string{"Range", "bytes=5-"}, lacks: []string{"Content-Range"}},
			{want: hit, code: 200, text: digits},
		}},
		{id: "partial-completed-no-store", kind: required, rfc: "9111 5.2.2.5", steps: []step{
			partial(0, 4, step{}),
			{status: 206, body: "56789", give: cc("no-store", "Content-Range", "bytes 5-9/10", "ETag", `"abc"`), code: 200, text: digits},
			{body: digits, text: digits, spares: []string{"Range", "If-None-Match"}},
		}},
		{id: "partial-newer-fields", kind: optional, rfc: "9111 3.4", steps: []step{
			partial(0, 4, step{give: []string{"A", "1", "B", "1"}}),
			partial(5, 9, step{give: []string{"A", "2"}}),
			{want: hit, code: 200, text: digits, has: []string{"A", "2", "B", "1"}},
		}},
		{id: "partial-completed-short", kind: required, rfc: "9111 3.4", steps: []step{
			partial(0, 4, step{}),
			{status: 206, body: "567", chunked: true, give: cc("max-age=3600", "Content-Range", "bytes 5-9/10", "ETag", `"abc"`), want: broken},
			{body: digits, status: 200, text: digits},
		}},
		{id: "partial-completed-other-tag", kind: required, rfc: "9111 3.4", steps: []step{
			partial(0, 4, step{}),
			{status: 206, body: "fghij", give: cc("max-age=3600", "Content-Range", "bytes 5-9/10", "ETag", `"other"`), want: either, lacks: []string{"Age"}, has: []string{"ETag", `"other"`}},
			{body: "abcdefghij", want: either, text: "abcdefghij"},
		}},
		{id: "partial-completed-twice", kind: optional, rfc: "9111 3.4", steps: []step{
			partial(0, 2, step{}),
			partial(3, 5, step{}),
			{status: 206, body: "6789", give: cc("max-age=3600", "Content-Range", "bytes 6-9/10", "ETag", `"abc"`), code: 200, text: digits, asks: []string{"Range", "bytes=6-"}},
			{want: hit, code: 200, text: digits},
			part("2-7", answer("234567", "2-7")),
		}},
		// A part does not stand in for the whole, or for another part, whatever may be stale.
		{id: "partial-not-for-failure", kind: required, rfc: "9111 3.3", steps: []step{
			partial(0, 4, step{give: []string{"Cache-Control", "stale-if-error=6000"}}),
			{status: 503},
			part("5-9", step{status: 503}),
			part("0-1", answer("01", "0-1")),
		}},
		{id: "partial-for-failure", kind: informational, rfc: "5861 4", steps: []step{
			partial(0, 4, step{give: []string{"Cache-Control", "stale-if-error=6000"}, then: 2 * time.Hour}),
			part("1-2", step{status: 503, want: rescued, code: 206, text: "12"}),
			part("5-9", step{status: 503}),
			{cut: true, want: broken},
		}},
		{id: "partial-swr-whole", kind: required, rfc: "5861 3", steps: []step{
			partial(0, 4, step{give: []string{"Cache-Control", "stale-while-revalidate=6000"}, then: 2 * time.Hour}),
			{body: digits, text: digits},
		}},
		{id: "partial-of-all", kind: required, rfc: "9111 3.3", steps: []step{
			{send: []string{"Range", "bytes=0-"}, status: 206, body: digits, give: cc("max-age=3600", "Content-Range", "bytes 0-9/10", "ETag", `"abc"`)},
			{want: hit, code: 200, text: digits, lacks: []string{"Content-Range"}},
			part("2-3", answer("23", "2-3")),
		}},
		// Parts of different wholes never meet.
		{id: "partial-other-tag", kind: required, rfc: "9111 3.4", steps: []step{
			{send: []string{"Range", "bytes=0-4"}, status: 206, body: "01234", give: cc("max-age=3600", "Content-Range", "bytes 0-4/10", "ETag", `"one"`)},
			{send: []string{"Range", "bytes=5-9"}, status: 206, body: "fghij", give: cc("max-age=3600", "Content-Range", "bytes 5-9/10", "ETag", `"two"`)},
			{body: "abcdefghij", want: origin, text: "abcdefghij"},
		}},
		{id: "partial-weak-tag", kind: required, rfc: "9111 3.4", steps: []step{
			{send: []string{"Range", "bytes=0-4"}, status: 206, body: "01234", give: cc("max-age=3600", "Content-Range", "bytes 0-4/10", "ETag", `W/"one"`)},
			{send: []string{"Range", "bytes=5-9"}, status: 206, body: "fghij", give: cc("max-age=3600", "Content-Range", "bytes 5-9/10", "ETag", `W/"one"`)},
			{body: "abcdefghij", want: origin, text: "abcdefghij"},
		}},
		{id: "partial-no-tag", kind: required, rfc: "9111 3.4", steps: []step{
			{send: []string{"Range", "bytes=0-4"}, status: 206, body: "01234", give: cc("max-age=3600", "Content-Range", "bytes 0-4/10")},
			{send: []string{"Range", "bytes=5-9"}, status: 206, body: "fghij", give: cc("max-age=3600", "Content-Range", "bytes 5-9/10")},
			{body: "abcdefghij", want: origin, text: "abcdefghij"},
		}},
		// A Content-Range that does not fit the body, or the request, is stored as nothing.
		{id: "partial-wrong-range", kind: required, rfc: "9110 14.4", steps: []step{
			{send: []string{"Range", "bytes=0-4"}, status: 206, body: "01234", give: cc("max-age=3600", "Content-Range", "bytes 0-9/10")},
			{body: digits, want: origin, text: digits},
		}},
		{id: "partial-after-whole", kind: required, rfc: "9111 3.4", steps: []step{
			{give: cc("max-age=2", "ETag", `"one"`), body: digits, then: 3 * time.Second},
			{send: []string{"Range", "bytes=0-1"}, status: 206, body: "ab", give: cc("max-age=3600", "Content-Range", "bytes 0-1/10", "ETag", `"two"`)},
			{body: "abcdefghij", want: origin, text: "abcdefghij"},
		}},
		{id: "range-200", kind: optional, rfc: "9110 14.2", steps: []step{
			part("0-1", step{give: cc("max-age=3600"), body: digits}),
			{want: hit, text: digits},
		}},
		{id: "range-416", kind: required, rfc: "9110 15.5.17", steps: []step{
			part("50-60", step{status: 416, give: append(cc("max-age=3600"), "Content-Range", "bytes */10")}),
			{},
		}},
	}
}
