package conform_test

func variants() []test {
	const rfc = "9111 4.1"
	// on is two requests for a resource that varies.
	on := func(id string, k kind, vary string, first, second []string, w want, more ...string) test {
		return test{id: "vary-" + id, kind: k, rfc: rfc, steps: []step{
			{send: first, give: append(cc("max-age=3600", "Vary", vary), more...)},
			{send: second, want: w},
		}}
	}
	f := func(pairs ...string) []string { return pairs }
	return []test{
		on("match", required, "Foo", f("Foo", "1"), f("Foo", "1"), hit),
		on("no-match", required, "Foo", f("Foo", "1"), f("Foo", "2"), origin),
		on("omitted-later", required, "Foo", f("Foo", "1"), nil, origin),
		on("omitted-first", required, "Foo", nil, f("Foo", "1"), origin),
		on("empty-is-not-absent", informational, "Foo", nil, f("Foo", ""), origin),
		on("omitted-both", required, "Foo", nil, nil, hit),
		on("name-case", required, "fOO", f("Foo", "1"), f("foo", "2"), origin),
		on("name-case-match", optional, "fOO", f("Foo", "1"), f("foo", "1"), hit),
		on("value-case", required, "Foo", f("Foo", "a"), f("Foo", "A"), origin),
		on("two-match", required, "Foo, Bar", f("Foo", "1", "Bar", "2"), f("Foo", "1", "Bar", "2"), hit),
		on("two-no-match", required, "Foo, Bar", f("Foo", "1", "Bar", "2"), f("Foo", "2", "Bar", "2"), origin),
		on("two-swapped", required, "Foo, Bar", f("Foo", "1", "Bar", "2"), f("Foo", "2", "Bar", "1"), origin),
		on("three-match", required, "Foo, Bar, Baz", f("Foo", "1", "Bar", "2", "Baz", "3"), f("Baz", "3", "Bar", "2", "Foo", "1"), hit),
		on("three-no-match", required, "Foo, Bar, Baz", f("Foo", "1", "Bar", "2", "Baz", "3"), f("Foo", "1", "Bar", "2", "Baz", "4"), origin),
		on("three-omitted", required, "Foo, Bar, Baz", f("Foo", "1", "Baz", "3"), f("Foo", "1", "Baz", "3"), hit),
		on("three-omitted-no-match", required, "Foo, Bar, Baz", f("Foo", "1", "Baz", "3"), f("Foo", "1", "Bar", "2", "Baz", "3"), origin),
		on("not-nominated", required, "Foo", f("Foo", "1", "Other", "2"), f("Foo", "1", "Other", "3"), hit),
		on("shifted-values", required, "Foo, Bar", f("Foo", "1, Bar: 2"), f("Foo", "1", "Bar", "2"), origin),
		{id: "vary-lines", kind: required, rfc: rfc, steps: []step{
			{send: f("Foo", "1", "Bar", "2"), give: cc("max-age=3600", "Vary", "Foo", "Vary", "Bar")},
			{send: f("Foo", "1", "Bar", "2"), want: hit},
			{send: f("Foo", "1", "Bar", "3")},
		}},
		on("combined", optional, "Foo", f("Foo", "1", "Foo", "2"), f("Foo", "1, 2"), hit),
		on("combined-order", required, "Foo", f("Foo", "1", "Foo", "2"), f("Foo", "2, 1"), origin),
		on("space", optional, "Foo", f("Foo", "1,2"), f("Foo", " 1, 2 "), hit),
		on("space-tab", informational, "Foo", f("Foo", "1,2"), f("Foo", "1\t,\t2"), hit),
		on("space-inside", required, "Foo", f("Foo", "a b"), f("Foo", "ab"), origin),
		on("space-quoted", required, "Foo", f("Foo", `"a, b"`), f("Foo", `"a,b"`), origin),
		on("language-case", optional, "Accept-Language", f("Accept-Language", "en-US"), f("Accept-Language", "EN-us"), hit),
		on("language-space", optional, "Accept-Language", f("Accept-Language", "en,de"), f("Accept-Language", "en , de"), hit),
		on("language-order", optional, "Accept-Language", f("Accept-Language", "en, de"), f("Accept-Language", "de, en"), hit),
		on("language-weight-spelling", optional, "Accept-Language", f("Accept-Language", "en, de;q=0.5"), f("Accept-Language", "de; q=0.500, en;q=1.0"), hit),
		on("language-weight", required, "Accept-Language", f("Accept-Language", "en, de;q=0.5"), f("Accept-Language", "en;q=0.5, de"), origin),
		on("language-other", required, "Accept-Language", f("Accept-Language", "en"), f("Accept-Language", "de"), origin),
		// What the client likes best is what has been stored.
		on("language-selected", optional, "Accept-Language", f("Accept-Language", "en, de"), f("Accept-Language", "fr;q=0.5, de;q=1.0"), hit, "Content-Language", "de"),
		on("language-not-selected", required, "Accept-Language", f("Accept-Language", "en, de"), f("Accept-Language", "fr;q=1.0, de;q=0.5"), origin, "Content-Language", "de"),
		{id: "vary-side-by-side", kind: optional, rfc: rfc, steps: []step{
			{send: f("Foo", "1"), give: cc("max-age=3600", "Vary", "Foo")},
			{send: f("Foo", "2"), give: cc("max-age=3600", "Vary", "Foo")},
			{send: f("Foo", "1"), want: hit, text: "answer 0"},
			{send: f("Foo", "2"), want: hit, text: "answer 1"},
			{give: cc("max-age=3600", "Vary", "Foo")},
			{send: f("Foo", "1"), want: hit, text: "answer 0"},
			{want: hit, text: "answer 4"},
		}},
		{id: "vary-order-of-names", kind: optional, rfc: rfc, steps: []step{
			{send: f("Foo", "1", "Bar", "1"), give: cc("max-age=3600", "Vary", "Foo, Bar")},
			{send: f("Foo", "2", "Bar", "1"), give: cc("max-age=3600", "Vary", "bar, foo")},
			{send: f("Foo", "1", "Bar", "1"), want: hit, text: "answer 0"},
			{send: f("Foo", "2", "Bar", "1"), want: hit, text: "answer 1"},
		}},
		// Resources come to vary by more, or less. What was stored before still binds.
		{id: "vary-grows", kind: required, rfc: rfc, steps: []step{
			{send: f("Foo", "1"), give: cc("max-age=3600", "Vary", "Foo")},
			{send: f("Foo", "2", "Bar", "1"), give: cc("max-age=3600", "Vary", "Foo, Bar")},
			{send: f("Foo", "2", "Bar", "2"), want: origin},
			{send: f("Foo", "2", "Bar", "1"), want: hit, text: "answer 1"},
		}},
		{id: "vary-appears", kind: required, rfc: rfc, steps: []step{
			{send: f("Foo", "1"), give: cc("max-age=1"), then: 3e9},
			{send: f("Foo", "1"), give: cc("max-age=3600", "Vary", "Foo")},
			{send: f("Foo", "2")},
		}},
		{id: "vary-newest", kind: required, rfc: "9111 4", steps: []step{
			{send: f("Foo", "1"), give: cc("max-age=3600", "Vary", "Foo"), then: 3e9},
			{send: f("Foo", "1", "Cache-Control", "no-cache"), give: cc("max-age=3600", "Vary", "Foo")},
			{send: f("Foo", "1"), want: hit, text: "answer 1"},
		}},
		// Two that are selected, each by a list of its own.
		{id: "vary-newest-of-lists", kind: required, rfc: "9111 4", steps: []step{
			{send: f("Foo", "1", "Bar", "1"), give: cc("max-age=3600", "Vary", "Foo"), then: 1e9},
			{send: f("Foo", "1", "Bar", "1", "Cache-Control", "no-cache"), give: cc("max-age=3600", "Vary", "Foo, Bar"), then: 1e9},
			{send: f("Foo", "2", "Bar", "1"), give: cc("max-age=3600", "Vary", "Foo")},
			{send: f("Foo", "1", "Bar", "1"), want: hit, text: "answer 1"},
			{send: f("Foo", "1", "Bar", "2"), want: hit, text: "answer 0"},
		}},
		{id: "vary-stale-apart", kind: required, rfc: "9111 4.3.4", steps: []step{
			{send: f("Foo", "1"), give: cc("max-age=2", "Vary", "Foo", "ETag", `"1"`)},
			{send: f("Foo", "2"), give: cc("max-age=3600", "Vary", "Foo", "ETag", `"2"`), then: 3e9},
			{send: f("Foo", "2"), want: hit, text: "answer 1"},
			{send: f("Foo", "1"), status: 304, give: cc("max-age=3600", "Vary", "Foo", "ETag", `"1"`), want: either,
				asks: f("Foo", "1")},
			{send: f("Foo", "1"), want: hit, text: "answer 0"},
			{send: f("Foo", "2"), want: hit, text: "answer 1"},
		}},
		// A 304 to validators of several variants says by its tag which is meant.
		{id: "vary-304-other-variant", kind: informational, rfc: "9111 4.3.3", steps: []step{
			{send: f("Foo", "1"), give: cc("max-age=3600", "Vary", "Foo", "ETag", `"1"`)},
			{send: f("Foo", "2"), give: cc("max-age=3600", "Vary", "Foo", "ETag", `"2"`)},
			{send: f("Foo", "3"), status: 304, give: cc("max-age=3600", "Vary", "Foo", "ETag", `"1"`), want: either},
		}},
		{id: "vary-invalidated", kind: optional, rfc: "9111 4.4", steps: []step{
			{send: f("Foo", "1"), give: cc("max-age=3600", "Vary", "Foo")},
			{send: f("Foo", "2"), give: cc("max-age=3600", "Vary", "Foo")},
			{method: "POST", upload: "x"},
			{send: f("Foo", "1")},
			{send: f("Foo", "2")},
		}},
		{id: "vary-no-store-variant", kind: required, rfc: rfc, steps: []step{
			{send: f("Foo", "1"), give: cc("max-age=3600", "Vary", "Foo")},
			{send: f("Foo", "2"), give: cc("no-store", "Vary", "Foo")},
			{send: f("Foo", "1"), want: hit, text: "answer 0"},
		}},
		on("accept-encoding", required, "Accept-Encoding", f("Accept-Encoding", "br"), f("Accept-Encoding", "identity"), origin),
		on("accept-encoding-match", required, "Accept-Encoding", nil, nil, hit),
		on("user-agent", required, "User-Agent", f("User-Agent", "a"), f("User-Agent", "b"), origin),
		on("origin", required, "Origin", f("Origin", "http://a.test"), f("Origin", "http://b.test"), origin),
		on("authorization", required, "Authorization", f("Authorization", "Bearer a"), f("Authorization", "Bearer b"), origin),
		on("authorization-match", required, "Authorization", f("Authorization", "Bearer a"), f("Authorization", "Bearer a"), hit),
		on("cookie", required, "Cookie", f("Cookie", "a=1"), f("Cookie", "a=2"), origin),
	}
}

func varySyntax() []test {
	var tests []test
	for _, v := range []struct {
		id    string
		lines []string
	}{
		{"star", []string{"*"}},
		{"star-star", []string{"*, *"}},
		{"star-lines", []string{"*", "*"}},
		{"star-spaced", []string{"  *  "}},
		{"empty-star", []string{", *"}},
		{"empty-star-lines", []string{"", "*"}},
		{"star-empty", []string{"*,"}},
		{"star-name", []string{"*, Foo"}},
		{"name-star", []string{"Foo, *"}},
		{"name-star-lines", []string{"Foo", "*"}},
		{"star-name-lines", []string{"*", "Foo"}},
		{"name-star-name", []string{"Foo, *, Bar"}},
	} {
		give := cc("max-age=3600")
		for _, line := range v.lines {
			give = append(give, "Vary", line)
		}
		tests = append(tests, again("vary-syntax-"+v.id, required, "9111 4.1", 0, origin, give...))
	}
	return append(tests,
		again("vary-syntax-empty", required, "9111 4.1", 0, hit, cc("max-age=3600", "Vary", "")...),
		again("vary-syntax-commas", required, "9111 4.1", 0, hit, cc("max-age=3600", "Vary", ", ,")...),
		test{id: "vary-syntax-empty-members", kind: optional, rfc: "9110 5.6.1", steps: []step{
			{send: []string{"Foo", "1"}, give: cc("max-age=3600", "Vary", ", Foo ,,")},
			{send: []string{"Foo", "1"}, want: hit},
			{send: []string{"Foo", "2"}},
		}},
	)
}
