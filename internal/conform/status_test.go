package conform_test

import (
	"strconv"
	"time"
)

var itoa = strconv.Itoa

func heuristics() []test {
	with := func(id string, k kind, status int, pause time.Duration, second step, give ...string) test {
		return test{id: "heuristic-" + id, kind: k, rfc: "9111 4.2.2", steps: []step{
			{status: status, give: append([]string{"Last-Modified", "{-36000}"}, give...), then: pause}, second,
		}}
	}
	var tests []test
	for _, status := range []int{200, 203, 204, 404, 405, 410, 414, 501, 300, 301, 308} {
		k := optional
		tests = append(tests,
			with(itoa(status), k, status, 10*time.Minute, step{want: hit}),
			with(itoa(status)+"-over", required, status, 2*time.Hour, step{}),
		)
	}
	for _, status := range []int{201, 202, 302, 303, 307, 400, 403, 418, 422, 499, 500, 502, 503, 504, 599} {
		tests = append(tests, with(itoa(status), required, status, 0, step{}))
	}
	return append(tests,
		with("599-public", optional, 599, 10*time.Minute, step{want: hit}, "Cache-Control", "public"),
		with("403-public", optional, 403, 10*time.Minute, step{want: hit}, "Cache-Control", "public"),
		with("validated-after", required, 200, 2*time.Hour, step{status: 304, want: dated}),
		with("age-counts", required, 200, 0, step{}, "Age", "7200"),
		with("must-revalidate", informational, 200, 10*time.Minute, step{want: hit}, "Cache-Control", "must-revalidate"),
		with("no-cache", required, 200, 0, step{status: 304, want: dated}, "Cache-Control", "no-cache"),
		with("explicit-wins", required, 200, 3*time.Second, step{status: 304, want: dated}, "Cache-Control", "max-age=2"),
		test{id: "heuristic-just-modified", kind: required, rfc: "9111 4.2.2", steps: []step{
			{give: []string{"Last-Modified", "{-20}"}, then: 5 * time.Second}, {},
		}},
		test{id: "heuristic-future", kind: required, rfc: "9111 4.2.2", steps: []step{
			{give: []string{"Last-Modified", "{+3600}"}, then: 5 * time.Second}, {},
		}},
		test{id: "heuristic-etag-only", kind: required, rfc: "9111 4.2.2", steps: []step{
			{give: []string{"ETag", `"a"`}}, {status: 304, give: []string{"ETag", `"a"`}, want: etag},
		}},
	)
}

func statuses() []test {
	var tests []test
	for _, status := range []int{200, 203, 204, 299, 301, 302, 303, 307, 308, 400, 404, 410, 499, 500, 502, 503, 504, 599} {
		tests = append(tests,
			test{id: "status-" + itoa(status) + "-fresh", kind: optional, rfc: "9111 3", steps: []step{
				{status: status, give: cc("max-age=3600")}, {want: hit},
			}},
			test{id: "status-" + itoa(status) + "-expires", kind: optional, rfc: "9111 3", steps: []step{
				{status: status, give: []string{"Expires", "{+3600}"}}, {want: hit},
			}},
			test{id: "status-" + itoa(status) + "-stale", kind: required, rfc: "9111 4.2", steps: []step{
				{status: status, give: cc("max-age=2"), then: 3 * time.Second}, {status: status},
			}},
			test{id: "status-" + itoa(status) + "-no-store", kind: required, rfc: "9111 5.2.2.5", steps: []step{
				{status: status, give: cc("max-age=3600, no-store")}, {status: status},
			}},
		)
	}
	for _, status := range []int{428, 429, 431, 511} {
		tests = append(tests, test{id: "status-" + itoa(status) + "-never", kind: required, rfc: "6585 3-6", steps: []step{
			{status: status, give: cc("max-age=3600")}, {status: status},
		}})
	}
	return append(tests,
		test{id: "status-301-location", kind: required, rfc: "9111 3.1", steps: []step{
			{status: 301, give: cc("max-age=3600", "Location", "/b")}, {want: hit, has: []string{"Location", "/b"}},
		}},
		test{id: "status-303-of-post", kind: required, rfc: "9111 2", steps: []step{
			{method: "POST", status: 303, give: cc("max-age=3600", "Location", "/b")}, {},
		}},
		test{id: "must-understand-known", kind: optional, rfc: "9111 5.2.2.3", steps: []step{
			{give: cc("max-age=3600, no-store, must-understand")}, {want: hit},
		}},
		test{id: "must-understand-unknown", kind: required, rfc: "9111 5.2.2.3", steps: []step{
			{status: 599, give: cc("max-age=3600, no-store, must-understand")}, {status: 599},
		}},
		test{id: "must-understand-unknown-without-no-store", kind: required, rfc: "9111 5.2.2.3", steps: []step{
			{status: 599, give: cc("max-age=3600, must-understand")}, {status: 599},
		}},
		test{id: "must-understand-case", kind: optional, rfc: "9111 5.2.2.3", steps: []step{
			{give: cc("max-age=3600, NO-STORE, Must-Understand")}, {want: hit},
		}},
		test{id: "must-understand-no-cache", kind: required, rfc: "9111 5.2.2.3", steps: []step{
			{give: cc("max-age=3600, no-cache, no-store, must-understand")}, {},
		}},
	)
}
