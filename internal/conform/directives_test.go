package conform_test

import "time"

func responseDirectives() []test {
	const tag = `"a"`
	return []test{
		again("no-store", required, "9111 5.2.2.5", 0, origin, cc("no-store")...),
		again("no-store-case", required, "9111 5.2", 0, origin, cc("No-StOrE")...),
		again("no-store-fresh", required, "9111 5.2.2.5", 0, origin, cc("max-age=3600, no-store")...),
		again("no-store-lines", required, "9111 5.2.2.5", 0, origin, "Cache-Control", "max-age=3600", "Cache-Control", "no-store"),
		again("no-store-expires", required, "9111 5.2.2.5", 0, origin, cc("no-store", "Expires", "{+3600}")...),
		again("no-store-argument", informational, "9111 5.2.2.5", 0, origin, cc("no-store=foo, max-age=3600")...),
		{id: "no-store-no-validator", kind: required, rfc: "9111 5.2.2.5", steps: []step{
			{give: cc("no-store", "ETag", tag, "Last-Modified", "{-360000}")},
			{spares: []string{"If-None-Match", "If-Modified-Since"}},
		}},
		// A newer answer that may not be stored has still said that the older is past.
		{id: "no-store-newer", kind: informational, rfc: "9111 4", steps: []step{
			{give: cc("max-age=3600")},
			{send: cc("no-cache"), give: cc("no-store")},
			{},
		}},
		{id: "no-store-older", kind: required, rfc: "9111 3", steps: []step{
			{give: cc("no-store")},
			{give: cc("max-age=3600")},
			{want: hit},
		}},
		again("no-cache", required, "9111 5.2.2.4", 0, origin, cc("no-cache, max-age=3600")...),
		again("no-cache-case", required, "9111 5.2", 0, origin, cc("No-CaChE, max-age=3600")...),
		again("no-cache-expires", required, "9111 5.2.2.4", 0, origin, cc("no-cache", "Expires", "{+3600}")...),
		{id: "no-cache-validated", kind: optional, rfc: "9111 5.2.2.4", steps: []step{
			{give: cc("no-cache", "ETag", tag)},
			{status: 304, give: []string{"ETag", tag}, want: etag},
			{status: 304, give: []string{"ETag", tag}, want: etag},
		}},
		{id: "no-cache-validated-fresh", kind: optional, rfc: "9111 5.2.2.4", steps: []step{
			{give: cc("max-age=3600, no-cache", "ETag", tag)},
			{status: 304, give: []string{"ETag", tag}, want: etag},
		}},
		{id: "no-cache-case-validated", kind: required, rfc: "9111 5.2", steps: []step{
			{give: cc("max-age=3600, No-CACHE", "Last-Modified", "{-360000}")},
			{status: 304, want: dated},
		}},
		{id: "no-cache-fields", kind: informational, rfc: "9111 5.2.2.4", steps: []step{
			{give: cc(`max-age=3600, no-cache="a, B"`, "A", "1", "B", "2", "C", "3"), has: []string{"A", "1", "B", "2"}},
			{want: hit, lacks: []string{"A", "B"}, has: []string{"C", "3"}},
		}},
		{id: "no-cache-field-token", kind: informational, rfc: "9111 5.2.2.4", steps: []step{
			{give: cc(`max-age=3600, no-cache=a`, "A", "1", "C", "3")},
			{want: hit, lacks: []string{"A"}, has: []string{"C", "3"}},
		}},
		// A private cache is the one that those fields are for.
		{id: "private-fields", kind: informational, rfc: "9111 5.2.2.7", steps: []step{
			{give: cc(`max-age=3600, private="a"`, "A", "1")},
			{want: hit},
		}},
		again("private", optional, "9111 5.2.2.7", 0, hit, cc("private, max-age=3600")...),
		again("private-case", optional, "9111 5.2.2.7", 0, hit, cc("PRIVATE, max-age=3600")...),
		again("public", optional, "9111 5.2.2.9", 0, hit, cc("public, max-age=3600")...),
		again("proxy-revalidate-fresh", optional, "9111 5.2.2.8", 0, hit, cc("proxy-revalidate, max-age=3600")...),
		again("no-transform", optional, "9111 5.2.2.6", 0, hit, cc("no-transform, max-age=3600")...),
		again("must-revalidate-fresh", optional, "9111 5.2.2.2", 0, hit, cc("must-revalidate, max-age=3600")...),
		again("must-revalidate-stale", required, "9111 5.2.2.2", 3*time.Second, origin, cc("must-revalidate, max-age=2")...),
		{id: "must-revalidate-validated", kind: required, rfc: "9111 5.2.2.2", steps: []step{
			{give: cc("must-revalidate, max-age=2", "ETag", tag), then: 3 * time.Second},
			{status: 304, give: cc("must-revalidate, max-age=2", "ETag", tag), want: etag, then: time.Second},
			{want: hit, then: 2 * time.Second},
			{status: 304, give: []string{"ETag", tag}, want: etag},
		}},
		again("must-revalidate-alone", required, "9111 4.2", 0, origin, cc("must-revalidate")...),
		again("immutable", optional, "8246 2", 0, hit, cc("immutable, max-age=3600")...),
		{id: "immutable-request-max-age-0", kind: optional, rfc: "8246 2", steps: []step{
			{give: cc("immutable, max-age=3600", "ETag", tag), then: time.Second},
			{send: cc("max-age=0"), want: hit},
		}},
		{id: "immutable-stale", kind: required, rfc: "8246 2", steps: []step{
			{give: cc("immutable, max-age=2", "ETag", tag), then: 3 * time.Second},
			{status: 304, give: []string{"ETag", tag}, want: etag},
		}},
		again("immutable-stale-no-validator", required, "8246 2", 3*time.Second, origin, cc("immutable, max-age=2")...),
		again("immutable-alone", required, "8246 2", 0, origin, cc("immutable")...),
		{id: "immutable-no-cache-request", kind: informational, rfc: "9111 5.2.1.4", steps: []step{
			{give: cc("immutable, max-age=3600")},
			{send: cc("no-cache")},
		}},
		{id: "request-max-age-0-not-immutable", kind: required, rfc: "9111 5.2.1.1", steps: []step{
			{give: cc("max-age=3600", "ETag", tag), then: time.Second},
			{send: cc("max-age=0"), status: 304, give: []string{"ETag", tag}, want: etag},
		}},
		// The others tests' cases that read a newer answer: it replaces the older.
		{id: "replaced", kind: required, rfc: "9111 4", steps: []step{
			{give: cc("max-age=3600")},
			{send: cc("no-cache"), give: cc("max-age=3600")},
			{want: hit, text: "answer 1"},
		}},
	}
}

func requestDirectives() []test {
	const tag = `"a"`
	after := func(id, rfc string, pause time.Duration, give []string, send string, w want) test {
		return test{id: "request-" + id, kind: informational, rfc: rfc, steps: []step{
			{give: give, then: pause}, {send: cc(send), want: w},
		}}
	}
	return []test{
		after("max-age-0", "9111 5.2.1.1", time.Second, cc("max-age=3600"), "max-age=0", origin),
		after("max-age-0-at-once", "9111 5.2.1.1", 0, cc("max-age=3600"), "max-age=0", origin),
		after("max-age-1", "9111 5.2.1.1", 2*time.Second, cc("max-age=3600"), "max-age=1", origin),
		after("max-age-enough", "9111 5.2.1.1", 2*time.Second, cc("max-age=3600"), "max-age=600", hit),
		after("max-age-case", "9111 5.2", 2*time.Second, cc("max-age=3600"), "Max-Age=1", origin),
		after("max-age-against-age", "9111 5.2.1.1", 0, cc("max-age=3600", "Age", "1800"), "max-age=600", origin),
		after("max-age-no-extension", "9111 5.2.1.1", 3*time.Second, cc("max-age=1"), "max-age=3600", origin),
		after("max-stale", "9111 5.2.1.2", 3*time.Second, cc("max-age=1"), "max-stale=1000", hit),
		after("max-stale-any", "9111 5.2.1.2", 3*time.Hour, cc("max-age=1"), "max-stale", hit),
		after("max-stale-over", "9111 5.2.1.2", 5*time.Second, cc("max-age=1"), "max-stale=2", origin),
		after("max-stale-against-age", "9111 5.2.1.2", 0, cc("max-age=1500", "Age", "2000"), "max-stale=1000", hit),
		after("max-stale-against-age-over", "9111 5.2.1.2", 0, cc("max-age=1500", "Age", "4000"), "max-stale=1000", origin),
		after("max-stale-must-revalidate", "9111 5.2.2.2", 3*time.Second, cc("max-age=1, must-revalidate"), "max-stale=1000", origin),
		after("max-stale-no-cache", "9111 5.2.2.4", 3*time.Second, cc("max-age=1, no-cache"), "max-stale=1000", origin),
		after("min-fresh", "9111 5.2.1.3", 0, cc("max-age=1500"), "min-fresh=1000", hit),
		after("min-fresh-over", "9111 5.2.1.3", 0, cc("max-age=1500"), "min-fresh=2000", origin),
		after("min-fresh-against-age", "9111 5.2.1.3", 0, cc("max-age=1500", "Age", "1000"), "min-fresh=1000", origin),
		after("no-cache", "9111 5.2.1.4", 0, cc("max-age=3600"), "no-cache", origin),
		after("no-cache-case", "9111 5.2", 0, cc("max-age=3600"), "No-Cache", origin),
		after("no-store", "9111 5.2.1.5", 0, cc("no-store"), "no-store", origin),
		{id: "request-no-cache-etag", kind: informational, rfc: "9111 5.2.1.4", steps: []step{
			{give: cc("max-age=3600", "ETag", tag)},
			{send: cc("no-cache"), status: 304, give: []string{"ETag", tag}, want: etag},
		}},
		{id: "request-no-cache-modified", kind: informational, rfc: "9111 5.2.1.4", steps: []step{
			{give: cc("max-age=3600", "Last-Modified", "{-360000}")},
			{send: cc("no-cache"), status: 304, want: dated},
		}},
		{id: "request-no-store-not-stored", kind: informational, rfc: "9111 5.2.1.5", steps: []step{
			{send: cc("no-store"), give: cc("max-age=3600")},
			{},
		}},
		{id: "request-no-cache-stored", kind: informational, rfc: "9111 5.2.1.4", steps: []step{
			{send: cc("no-cache"), give: cc("max-age=3600")},
			{want: hit},
		}},
		{id: "request-only-if-cached-miss", kind: informational, rfc: "9111 5.2.1.7", steps: []step{
			{send: cc("only-if-cached"), want: local, code: 504},
		}},
		{id: "request-only-if-cached-hit", kind: informational, rfc: "9111 5.2.1.7", steps: []step{
			{give: cc("max-age=3600")},
			{send: cc("only-if-cached"), want: hit},
		}},
		{id: "request-only-if-cached-stale", kind: informational, rfc: "9111 5.2.1.7", steps: []step{
			{give: cc("max-age=1", "ETag", tag), then: 3 * time.Second},
			{send: cc("only-if-cached"), want: local, code: 504},
		}},
	}
}

func pragmas() []test {
	return []test{
		// Deprecated, and only ever meant as the request's no-cache.
		again("pragma-response", required, "9111 5.4", 0, hit, cc("max-age=3600", "Pragma", "no-cache")...),
		again("pragma-response-extension", informational, "9111 5.4", 0, hit, cc("max-age=3600", "Pragma", "foo")...),
		// net/http makes a Cache-Control of it where there is none.
		again("pragma-response-heuristic", informational, "9111 5.4", 0, origin, "Pragma", "no-cache", "Last-Modified", "{-360000}"),
		{id: "pragma-request-extension", kind: informational, rfc: "9111 5.4", steps: []step{
			{give: cc("max-age=3600")}, {send: []string{"Pragma", "foo"}, want: hit},
		}},
		{id: "pragma-request-beside-control", kind: informational, rfc: "9111 5.4", steps: []step{
			{give: cc("max-age=3600")}, {send: []string{"Pragma", "no-cache", "Cache-Control", "max-age=600"}, want: hit},
		}},
	}
}

func stales() []test {
	const tag = `"a"`
	on := func(id string, k kind, rfc string, give []string, pause time.Duration, second step) test {
		return test{id: "stale-" + id, kind: k, rfc: rfc, steps: []step{{give: give, then: pause}, second}}
	}
	tests := []test{
		{id: "stale-while-revalidate", kind: optional, rfc: "5861 3", steps: []step{
			{give: cc("max-age=1, stale-while-revalidate=3600"), then: 3 * time.Second},
			{give: cc("max-age=10"), want: stale, text: "answer 0", has: []string{"Age", "3"}},
			{want: hit, text: "answer 1", then: 12 * time.Second},
			{},
		}},
		on("while-revalidate-over", required, "5861 3", cc("max-age=1, stale-while-revalidate=1"), 5*time.Second, step{}),
		on("while-revalidate-fresh", required, "5861 3", cc("max-age=60, stale-while-revalidate=60"), 3*time.Second, step{want: hit}),
		on("while-revalidate-no-cache", required, "9111 4.2.4", cc("max-age=1, no-cache, stale-while-revalidate=3600"), 3*time.Second, step{}),
		on("while-revalidate-must-revalidate", required, "9111 4.2.4", cc("max-age=1, must-revalidate, stale-while-revalidate=3600"), 3*time.Second, step{}),
		on("while-revalidate-request-no-cache", required, "9111 5.2.1.4", cc("max-age=1, stale-while-revalidate=3600"), 3*time.Second, step{send: cc("no-cache")}),
		on("while-revalidate-request-max-age-0", informational, "9111 5.2.1.1", cc("max-age=1, stale-while-revalidate=3600"), 3*time.Second, step{send: cc("max-age=0")}),
		{id: "stale-while-revalidate-304", kind: optional, rfc: "5861 3", steps: []step{
			{give: cc("max-age=1, stale-while-revalidate=3600", "ETag", tag, "A", "1"), then: 3 * time.Second},
			{status: 304, give: cc("max-age=10, stale-while-revalidate=3600", "ETag", tag, "A", "2"), want: stale, has: []string{"A", "1"}},
			{want: hit, text: "answer 0", has: []string{"A", "2"}},
		}},
		{id: "stale-while-revalidate-failing", kind: informational, rfc: "5861 3", steps: []step{
			{give: cc("max-age=1, stale-while-revalidate=3600"), then: 3 * time.Second},
			{cut: true, want: stale, text: "answer 0", then: 10 * time.Minute},
			{give: cc("max-age=60"), want: stale, text: "answer 0"},
			{want: hit, text: "answer 2"},
		}},

		// The connection fails. Without permission nothing stale, whatever has been stored.
		on("close", informational, "9111 4.2.4", cc("max-age=1"), 3*time.Second, step{cut: true, want: broken}),
		on("close-no-store", required, "9111 5.2.2.5", cc("no-store, stale-if-error=60"), 3*time.Second, step{cut: true, want: broken}),
		on("close-must-revalidate", required, "9111 5.2.2.2", cc("max-age=1, must-revalidate"), 3*time.Second, step{cut: true, want: broken}),
		on("close-no-cache", required, "9111 5.2.2.4", cc("max-age=1, no-cache"), 3*time.Second, step{cut: true, want: broken}),
		on("if-error-close-must-revalidate", required, "9111 5.2.2.2", cc("max-age=1, must-revalidate, stale-if-error=60"), 3*time.Second, step{cut: true, want: broken}),
		on("if-error-close-no-cache", required, "9111 5.2.2.4", cc("max-age=1, no-cache, stale-if-error=60"), 3*time.Second, step{cut: true, want: broken}),
		on("if-error-close", informational, "5861 4", cc("max-age=1, stale-if-error=60"), 3*time.Second, step{cut: true, want: rescued, has: []string{"Age", "3"}, lacks: []string{"Warning"}}),
		on("if-error-close-over", informational, "5861 4", cc("max-age=1, stale-if-error=60"), 62*time.Second, step{cut: true, want: broken}),
		on("if-error-404", informational, "5861 4", cc("max-age=1, stale-if-error=60"), 3*time.Second, step{status: 404}),
		on("if-error-429", informational, "5861 4", cc("max-age=1, stale-if-error=60"), 3*time.Second, step{status: 429}),
		on("if-error-501", informational, "5861 4", cc("max-age=1, stale-if-error=60"), 3*time.Second, step{status: 501}),
		on("if-error-of-the-error", informational, "5861 4", cc("max-age=1"), 3*time.Second,
			step{status: 503, give: cc("stale-if-error=60"), want: origin}),
		on("if-error-request", informational, "5861 4", cc("max-age=1"), 3*time.Second, step{send: cc("stale-if-error=60"), status: 503, want: rescued, code: 200}),
		on("if-error-request-must-revalidate", required, "9111 5.2.2.2", cc("max-age=1, must-revalidate"), 3*time.Second, step{send: cc("stale-if-error=60"), status: 503}),
		on("if-error-validating", informational, "5861 4", cc("max-age=1, stale-if-error=60", "ETag", tag), 3*time.Second,
			step{status: 503, want: rescued, code: 200, asks: []string{"If-None-Match", tag}}),
		on("if-error-request-no-cache", informational, "9111 5.2.1.4", cc("max-age=1, stale-if-error=60"), 3*time.Second, step{send: cc("no-cache"), status: 503}),
		{id: "stale-if-error-kept", kind: informational, rfc: "5861 4", steps: []step{
			{give: cc("max-age=1, stale-if-error=600"), then: 3 * time.Second},
			{status: 503, want: rescued, code: 200},
			{status: 503, give: cc("max-age=60"), want: rescued, code: 200, then: 3 * time.Second},
			{give: cc("max-age=60"), want: origin},
			{want: hit, text: "answer 3"},
		}},
		{id: "stale-if-error-option", kind: informational, rfc: "9111 4.2.4", beyond: time.Minute, steps: []step{
			{give: cc("max-age=1"), then: 3 * time.Second},
			{cut: true, want: rescued},
			{status: 503, want: rescued, code: 200, then: time.Minute},
			{cut: true, want: broken},
		}},
	}
	for _, option := range []string{"must-revalidate", "no-cache"} {
		tests = append(tests, test{id: "stale-if-error-option-" + option, kind: required, rfc: "9111 4.2.4",
			beyond: time.Minute, steps: []step{
				{give: cc("max-age=1, " + option), then: 3 * time.Second},
				{cut: true, want: broken},
				{status: 503},
			}})
	}
	for _, status := range []int{500, 502, 503, 504} {
		tests = append(tests,
			on("if-error-"+itoa(status), informational, "5861 4", cc("max-age=1, stale-if-error=60"), 3*time.Second, step{status: status, want: rescued, code: 200}),
			on("if-error-over-"+itoa(status), required, "5861 4", cc("max-age=1, stale-if-error=60"), 65*time.Second, step{status: status}),
			on("if-error-must-revalidate-"+itoa(status), required, "9111 5.2.2.2", cc("max-age=1, must-revalidate, stale-if-error=60"), 3*time.Second, step{status: status}),
			on("bare-"+itoa(status), informational, "9111 4.2.4", cc("max-age=1"), 3*time.Second, step{status: status}),
		)
	}
	return tests
}
