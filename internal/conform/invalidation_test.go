package conform_test

import "strings"

func invalidation() []test {
	var tests []test
	const rfc = "9111 4.4"
	for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "M-SEARCH", "FOO"} {
		name := strings.ToLower(method)
		unsafe := func(id string, k kind, s step, last want) test {
			s.method, s.path = method, "/b"
			if method != "DELETE" {
				s.upload = "x"
			}
			return test{id: "invalidate-" + name + id, kind: k, rfc: rfc, steps: []step{
				{path: "/a", give: cc("max-age=3600")}, s, {path: "/a", want: last},
			}}
		}
		same := func(id string, k kind, s step, last want) test {
			x := unsafe(id, k, s, last)
			x.steps[1].path = "/a"
			return x
		}
		tests = append(tests,
			same("", required, step{}, origin),
			same("-204", required, step{status: 204}, origin),
			same("-303", required, step{status: 303, give: []string{"Location", "/c"}}, origin),
			same("-failed", optional, step{status: 500}, hit),
			same("-refused", optional, step{status: 404}, hit),
			unsafe("-elsewhere", required, step{}, hit),
			unsafe("-location", optional, step{give: []string{"Location", "/a"}}, origin),
			unsafe("-location-absolute", optional, step{give: []string{"Location", "http://origin.test/a"}}, origin),
			unsafe("-content-location", optional, step{give: []string{"Content-Location", "/a"}}, origin),
			unsafe("-content-location-relative", optional, step{give: []string{"Content-Location", "a"}}, origin),
			unsafe("-location-failed", informational, step{status: 500, give: []string{"Location", "/a"}}, hit),
		)
		foreign := unsafe("-location-foreign", required, step{give: []string{"Location", "http://origin.test/a"}}, hit)
		foreign.steps[1].path = "http://elsewhere.test/b"
		tests = append(tests, foreign)
	}
	for _, method := range []string{"HEAD", "OPTIONS", "TRACE"} {
		tests = append(tests, test{id: "invalidate-not-" + strings.ToLower(method), kind: required, rfc: rfc, steps: []step{
			{give: cc("max-age=3600")}, {method: method, want: either}, {want: hit, text: "answer 0"},
		}})
	}
	return append(tests,
		test{id: "invalidate-query-apart", kind: required, rfc: rfc, steps: []step{
			{path: "/a?x=1", give: cc("max-age=3600")}, {method: "POST", path: "/a?x=2", upload: "x"}, {path: "/a?x=1", want: hit},
		}},
		test{id: "invalidate-connection-lost", kind: informational, rfc: rfc, steps: []step{
			{give: cc("max-age=3600")}, {method: "POST", upload: "x", cut: true, want: broken}, {want: either},
		}},
		test{id: "invalidate-other-credential", kind: informational, rfc: rfc, steps: []step{
			{send: []string{"Authorization", "Bearer a"}, give: cc("max-age=3600")},
			{method: "POST", send: []string{"Authorization", "Bearer a"}, upload: "x"},
			{send: []string{"Authorization", "Bearer a"}},
		}},
		test{id: "unsafe-never-cached", kind: required, rfc: "9111 2", steps: []step{
			{method: "PUT", upload: "x", give: cc("max-age=3600")}, {method: "PUT", upload: "x"},
		}},
		test{id: "options-never-cached", kind: required, rfc: "9110 9.3.7", steps: []step{
			{method: "OPTIONS", give: cc("max-age=3600")}, {method: "OPTIONS"},
		}},
		test{id: "post-never-answered", kind: required, rfc: "9110 9.3.3", steps: []step{
			{method: "POST", upload: "x", give: cc("max-age=3600")}, {method: "POST", upload: "x"},
		}},
	)
}

// postThenGet is a POST's answer that says what a GET would have been given.
func postThenGet() []test {
	on := func(id string, k kind, give []string, last want) test {
		return test{id: "post-get-" + id, kind: k, rfc: "9110 9.3.3", steps: []step{
			{method: "POST", upload: "x", give: give}, {want: last},
		}}
	}
	return []test{
		on("content-location", optional, cc("max-age=3600", "Content-Location", "/a"), hit),
		on("content-location-absolute", optional, cc("max-age=3600", "Content-Location", "http://origin.test/a"), hit),
		on("content-location-elsewhere", required, cc("max-age=3600", "Content-Location", "/b"), origin),
		on("no-content-location", required, cc("max-age=3600"), origin),
		on("no-freshness", required, []string{"Content-Location", "/a"}, origin),
		on("no-heuristics", required, []string{"Content-Location", "/a", "Last-Modified", "{-360000}"}, origin),
		on("no-store", required, cc("max-age=3600, no-store", "Content-Location", "/a"), origin),
		{id: "post-get-then-post", kind: required, rfc: "9110 9.3.3", steps: []step{
			{method: "POST", upload: "x", give: cc("max-age=3600", "Content-Location", "/a")},
			{method: "POST", upload: "x"},
			{},
		}},
	}
}
