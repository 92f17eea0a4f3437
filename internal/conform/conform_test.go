// Package conform tests the cache of [snubber.Transport] against RFC 9111 from
// outside: an origin plays a script over connections in memory, an http.Client asks
// through the cache, and each step says where its response must come from. Nothing
// here knows how the cache works.
//
// A case is required if the RFC says MUST or if the response would be wrong, optional
// if a good cache saves a request, and informational if the RFC leaves the choice and
// the case records ours. All of them must pass.
package conform_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
)

type kind string

const (
	required      kind = "required"
	optional      kind = "optional"
	informational kind = "informational"
)

// test is a script, and what a cache must make of it.
type test struct {
	id     string
	kind   kind
	rfc    string // the section that decides
	steps  []step
	beyond time.Duration // the cache's StaleIfError
}

// step is one request, the origin's answer should it be asked, and the
// expectation.
type step struct {
	method string // "": GET
	path   string // "": /a, with the query
	send   []string
	upload string

	status  int      // 0: 200. A 304 is given to conditional requests only
	give    []string // {+60} in a value is a time so many seconds from now
	body    string   // "": one that names the step
	chunked bool     // no Content-Length
	trailer []string // after a chunked body
	open    bool     // neither: the end of the connection is that of the body
	short   bool     // the connection breaks in the middle of the body
	cut     bool     // the connection breaks before the answer
	early   []string // fields of a 103 before the answer
	noDate  bool
	slow    time.Duration // before the answer

	want   want
	code   int      // the status that the client gets; 0: the answer's
	text   string   // the body that it gets; "": the answer's
	has    []string // its fields; "=": as the origin gave it, ">=" and "<=" a number
	lacks  []string // fields that it must not have
	asks   []string // fields that the origin must have got
	spares []string // fields that it must not have got

	then time.Duration // the pause before the next step
}

// want is where an answer must have come from.
type want int

const (
	origin  want = iota // the origin, at this step
	hit                 // the cache, without a request
	stale               // the cache, and one request in the background
	etag                // the cache, after a request with If-None-Match
	dated               // the cache, after a request with If-Modified-Since
	rescued             // the cache, after a request that failed
	broken              // nowhere: an error or a 5xx
	local               // nowhere: the cache's own answer
	either              // not looked at
)

// start is when every script begins: a day and an hour of one digit.
var start = time.Date(2026, 3, 3, 5, 22, 33, 0, time.UTC)

// run plays the script through the RoundTripper that through makes of the
// connections, and returns what was not as wanted.
func (x *test) run(ctx context.Context, through func(http.RoundTripper) http.RoundTripper) (faults []string) {
	time.Sleep(time.Until(start))
	o := &server{steps: x.steps}
	base := &http.Transport{DialContext: o.dial, DisableKeepAlives: true}
	client := &http.Client{
		Transport:     through(base),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	for n := range x.steps {
		for _, f := range x.play(ctx, client, o, n) {
			faults = append(faults, fmt.Sprintf("step %d: %s", n, f))
		}
		synctest.Wait() // what goes on in the background is part of the step
		time.Sleep(x.steps[n].then)
	}
	return append(faults, o.faults()...)
}

// play is one step.
func (x *test) play(ctx context.Context, client *http.Client, o *server, n int) (faults []string) {
	s := &x.steps[n]
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	ctx, cancel := context.WithTimeout(ctx, time.Minute) // of the script's time
	defer cancel()
	path := s.path
	if path == "" {
		path = "/a"
	}
	url := path
	if strings.HasPrefix(path, "/") {
		url = "http://origin.test" + path
	}
	var upload io.Reader
	if s.upload != "" {
		upload = strings.NewReader(s.upload)
	}
	method := s.method
	if method == "" {
		method = "GET"
	}
	req, err := http.NewRequestWithContext(ctx, method, url, upload)
	if err != nil {
		fault("%v", err)
		return
	}
	req.Header.Set("Step", strconv.Itoa(n))
	for i := 0; i < len(s.send); i += 2 {
		req.Header.Add(s.send[i], o.expand(s.send[i+1]))
	}
	modified := o.modified() // before this step's answer changes it
	tag := o.tag()
	res, err := client.Do(req)
	var body []byte
	if err == nil {
		body, err = io.ReadAll(res.Body)
		res.Body.Close()
	}
	if s.want != stale {
		synctest.Wait()
	}
	asked := o.asked(n)
	for i := 0; i < len(s.asks); i += 2 {
		if len(asked) == 0 || asked[0].Get(s.asks[i]) != o.expand(s.asks[i+1]) {
			fault("the origin got %v, want %s: %s", asked, s.asks[i], s.asks[i+1])
		}
	}
	for _, name := range s.spares {
		if len(asked) > 0 && asked[0].Get(name) != "" {
			fault("the origin got %s: %s", name, asked[0].Get(name))
		}
	}
	switch {
	case s.want == broken:
		if err == nil && res.StatusCode < 500 {
			fault("status %d and %q, want an error", res.StatusCode, body)
		}
		return
	case err != nil:
		if s.want != either {
			fault("%v", err)
		}
		return
	case s.want == local:
		if len(asked) > 0 {
			fault("the origin was asked: %v", asked)
		}
		if res.StatusCode != s.code {
			fault("status %d, want %d", res.StatusCode, s.code)
		}
		return append(faults, s.fields(res, o, n)...)
	}
	from, err := strconv.Atoi(res.Header.Get("Origin-Step"))
	if err != nil {
		if s.want != either {
			fault("not an answer of the origin: status %d, %v", res.StatusCode, res.Header)
		}
		return
	}
	switch s.want {
	case either:
		return append(faults, s.fields(res, o, n)...)
	case origin:
		if from != n || len(asked) == 0 {
			fault("an answer to step %d, want the origin's", from)
		}
	case hit:
		if from >= n || len(asked) > 0 {
			fault("an answer to step %d, %d requests, want one from the cache", from, len(asked))
		}
	case stale:
		synctest.Wait()
		if asked = o.asked(n); from >= n || len(asked) != 1 {
			fault("an answer to step %d, %d requests, want a stale one and a refresh", from, len(asked))
		}
	case rescued:
		if from >= n || len(asked) == 0 {
			fault("an answer to step %d, %d requests, want a stale one after a failure", from, len(asked))
		}
	case etag:
		if len(asked) != 1 || tag == "" || !slices.Contains(splitList(asked[0].Values("If-None-Match")), tag) {
			fault("requests %v, want one with If-None-Match: %s", asked, tag)
		}
	case dated:
		if len(asked) != 1 || modified == "" || asked[0].Get("If-Modified-Since") != modified {
			fault("requests %v, want one with If-Modified-Since: %s", asked, modified)
		}
	}
	faults = append(faults, s.fields(res, o, from)...)
	if s.want != origin {
		from = o.full(from) // a 304 lends its fields to an older answer
	}
	code := s.code
	if code == 0 {
		code = x.steps[from].code0()
	}
	if res.StatusCode != code {
		fault("status %d, want %d", res.StatusCode, code)
	}
	text := s.text
	if text == "" && !x.steps[from].bodiless(method) {
		text = x.steps[from].answer(from)
	}
	if code == http.StatusNotModified {
		text = ""
	}
	if string(body) != text {
		fault("body %q, want %q", body, text)
	}
	return faults
}

// fields compares the fields of a response with the expectation.
func (s *step) fields(res *http.Response, o *server, from int) (faults []string) {
	for i := 0; i < len(s.has); i += 2 {
		name, value := s.has[i], s.has[i+1]
		got := strings.Join(res.Header.Values(name), ", ")
		num, err := strconv.Atoi(got)
		switch {
		case value == "=":
			if given := strings.Join(o.given(from, name), ", "); got != given {
				faults = append(faults, fmt.Sprintf("%s: %q, want %q as it was given", name, got, given))
			}
		case strings.HasPrefix(value, ">=") || strings.HasPrefix(value, "<="):
			bound, _ := strconv.Atoi(value[2:])
			if err != nil || value[0] == '>' && num < bound || value[0] == '<' && num > bound {
				faults = append(faults, fmt.Sprintf("%s: %q, want %s", name, got, value))
			}
		case got != value:
			faults = append(faults, fmt.Sprintf("%s: %q, want %q", name, got, value))
		}
	}
	for _, name := range s.lacks {
		if v, ok := res.Header[http.CanonicalHeaderKey(name)]; ok {
			faults = append(faults, fmt.Sprintf("%s: %q, want none", name, v))
		}
	}
	return faults
}

func (s *step) code0() int {
	if s.status == 0 {
		return http.StatusOK
	}
	return s.status
}

// answer is the body that the origin sends.
func (s *step) answer(n int) string {
	if s.body != "" {
		return s.body
	}
	return fmt.Sprintf("answer %d", n)
}

func (s *step) bodiless(method string) bool {
	return method == "HEAD" || s.status == http.StatusNoContent || s.status == http.StatusNotModified
}

// splitList splits the members of list-based fields of which none holds a comma.
func splitList(lines []string) (members []string) {
	for _, line := range lines {
		for m := range strings.SplitSeq(line, ",") {
			members = append(members, strings.TrimSpace(m))
		}
	}
	return members
}

// cases are all tests, by category.
func cases() []test {
	return slices.Concat(
		freshness(), controlSyntax(), ages(), expires(), dates(),
		responseDirectives(), stales(), heuristics(), statuses(),
		requestDirectives(), pragmas(),
		variants(), varySyntax(),
		validation(), ownConditions(), storedFields(), notModified(), heads(),
		invalidation(), postThenGet(), ranges(), upkeep(), wire(),
	)
}

// stacks are the compositions in which the cache must be the same cache.
var stacks = map[string]func(t *testing.T, base http.RoundTripper, c *snubber.Cache) http.RoundTripper{
	"alone": func(_ *testing.T, base http.RoundTripper, c *snubber.Cache) http.RoundTripper {
		return &snubber.Transport{Base: base, Cache: c}
	},
	"on a disk": func(t *testing.T, base http.RoundTripper, c *snubber.Cache) http.RoundTripper {
		c.Store, c.Secret = &snubber.DiskStore{Dir: t.TempDir()}, bytes.Repeat([]byte("s"), 32)
		return &snubber.Transport{Base: base, Cache: c}
	},
	"among layers": func(_ *testing.T, base http.RoundTripper, c *snubber.Cache) http.RoundTripper {
		rt := snubber.New(base)
		rt.Cache, rt.Retry = c, nil // retries would take the script's time
		return rt
	},
	"over a transport": func(_ *testing.T, base http.RoundTripper, c *snubber.Cache) http.RoundTripper {
		return &snubber.Transport{Base: &snubber.Transport{Base: base}, Cache: c}
	},
}

func TestConform(t *testing.T) {
	for name, stack := range stacks {
		t.Run(name, func(t *testing.T) {
			passed, all := map[kind]int{}, map[kind]int{}
			seen := map[string]bool{}
			for _, x := range cases() {
				if seen[x.id] {
					t.Errorf("%s: twice", x.id)
				}
				seen[x.id] = true
				all[x.kind]++
				if t.Run(x.id, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						for _, fault := range x.run(t.Context(), func(base http.RoundTripper) http.RoundTripper {
							return stack(t, base, &snubber.Cache{StaleIfError: x.beyond})
						}) {
							t.Errorf("%s, RFC %s: %s", x.kind, x.rfc, fault)
						}
					})
				}) {
					passed[x.kind]++
				}
			}
			t.Logf("required %d of %d, optional %d of %d, informational %d of %d", passed[required], all[required],
				passed[optional], all[optional], passed[informational], all[informational])
		})
	}
}
