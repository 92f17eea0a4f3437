package rfc9111

import (
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"
	"unsafe"
)

// epoch is when every answer in these tests is received: a whole second, so
// that Date can say it.
var epoch = time.Date(2030, 6, 5, 12, 0, 0, 0, time.UTC)

// ago is an HTTP-date that lies d before epoch.
func ago(d time.Duration) string { return epoch.Add(-d).Format(http.TimeFormat) }

// in is one that lies d after it.
func in(d time.Duration) string { return ago(-d) }

// fields makes a header of lines "Name: value". "{1h}" in a value is the
// HTTP-date an hour after epoch, "{-1h}" that before.
func fields(lines ...string) http.Header {
	h := http.Header{}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ":")
		if before, rest, ok := strings.Cut(value, "{"); ok {
			span, after, _ := strings.Cut(rest, "}")
			d, err := time.ParseDuration(span)
			if err != nil {
				panic(err)
			}
			value = before + in(d) + after
		}
		h.Add(name, strings.TrimPrefix(value, " "))
	}
	return h
}

// dated is fields with a Date of epoch, if they have none.
func dated(lines ...string) http.Header {
	h := fields(lines...)
	if _, ok := h["Date"]; !ok {
		h.Set("Date", in(0))
	}
	return h
}

func request(lines ...string) *Request {
	q := ReadRequest(fields(lines...))
	return &q
}

// TestUse asks of an answer with the given fields, a while after it came,
// whether it may be given to a request.
func TestUse(t *testing.T) {
	const hour = time.Hour
	type row struct {
		what    string
		status  int // 0: 200
		fields  []string
		request []string
		after   time.Duration
		want    Use
	}
	lines := func(s ...string) []string { return s }
	for _, c := range []row{
		// Section 4.2.1.
		{"max-age", 0, lines("Cache-Control: max-age=3600"), nil, hour - 1, Fresh},
		{"max-age, the moment it is over", 0, lines("Cache-Control: max-age=3600"), nil, hour, Validate},
		{"max-age in any case", 0, lines("Cache-Control: MaX-aGe=3600"), nil, 0, Fresh},
		{"max-age after an extension", 0, lines(`Cache-Control: foo, bar="x,y", max-age=3600`), nil, 0, Fresh},
		{"max-age on a second line", 0, lines("Cache-Control: foo", "Cache-Control: max-age=3600"), nil, 0, Fresh},
		{"max-age 2^31-1", 0, lines("Cache-Control: max-age=2147483647"), nil, hour, Fresh},
		{"max-age 2^31", 0, lines("Cache-Control: max-age=2147483648"), nil, hour, Fresh},
		{"max-age beyond everything", 0, lines("Cache-Control: max-age=" + strings.Repeat("9", 400)), nil, hour, Fresh},
		{"max-age beats a past Expires", 0, lines("Cache-Control: max-age=3600", "Expires: {-1h}"), nil, 0, Fresh},
		{"max-age beats an invalid Expires", 0, lines("Cache-Control: max-age=3600", "Expires: 0"), nil, 0, Fresh},
		{"max-age=0 beats a future Expires", 0, lines("Cache-Control: max-age=0", "Expires: {1h}"), nil, 0, Validate},
		{"negative max-age beats a future Expires", 0, lines("Cache-Control: max-age=-3600", "Expires: {1h}"), nil, 0, Validate},
		{"Age counts against max-age", 0, lines("Cache-Control: max-age=3600", "Age: 3600"), nil, 0, Validate},
		{"s-maxage is for others", 0, lines("Cache-Control: s-maxage=3600"), nil, 0, Validate},
		{"s-maxage does not shorten", 0, lines("Cache-Control: max-age=3600, s-maxage=1"), nil, 60 * time.Second, Fresh},
		{"nothing said", 0, nil, nil, 0, Validate},

		// Section 5.2, syntax.
		{"inside a quoted string", 0, lines(`Cache-Control: ext="max-age=3600"`), nil, 0, Validate},
		{"inside a quoted list", 0, lines(`Cache-Control: ext="a, max-age=3600, b"`), nil, 0, Validate},
		{"no-store inside a quoted string", 0, lines(`Cache-Control: max-age=3600, ext="a, no-store, b"`), nil, 0, Fresh},
		{"an escaped quote does not end it", 0, lines(`Cache-Control: max-age=3600, ext="a\", no-cache, b"`), nil, 0, Fresh},
		{"an open quote hides what follows", 0, lines(`Cache-Control: max-age=3600, ext="a, b`), nil, 0, Validate},
		{"leading zeros", 0, lines("Cache-Control: max-age=003600"), nil, hour - 1, Fresh},
		{"single quotes", 0, lines("Cache-Control: max-age='3600'"), nil, 0, Validate},
		{"double quotes", 0, lines(`Cache-Control: max-age="3600"`), nil, hour - 1, Fresh},
		{"space before =", 0, lines("Cache-Control: max-age =3600"), nil, 0, Validate},
		{"space after =", 0, lines("Cache-Control: max-age= 3600"), nil, 0, Validate},
		{"a decimal", 0, lines("Cache-Control: max-age=3600.0"), nil, 0, Validate},
		{"letters before", 0, lines("Cache-Control: max-age=a3600"), nil, 0, Validate},
		{"letters after", 0, lines("Cache-Control: max-age=3600a"), nil, 0, Validate},
		{"no argument", 0, lines("Cache-Control: max-age", "Expires: {1h}"), nil, 0, Validate},
		{"the same twice", 0, lines("Cache-Control: max-age=3600, max-age=3600"), nil, 0, Fresh},
		{"two that differ", 0, lines("Cache-Control: max-age=3600, max-age=7200"), nil, 0, Validate},
		{"two that differ, on two lines", 0, lines("Cache-Control: max-age=7200", "Cache-Control: max-age=3600"), nil, 0, Validate},
		{"a semicolon is no comma", 0, lines("Cache-Control: max-age=3600; foo"), nil, 0, Validate},
		{"a longer name", 0, lines("Cache-Control: xmax-age=3600, max-agex=3600"), nil, 0, Validate},

		// Section 5.1.
		{"no Age", 0, lines("Cache-Control: max-age=3600"), nil, 0, Fresh},
		{"Age is no number", 0, lines("Cache-Control: max-age=3600", "Age: abc"), nil, 0, Fresh},
		{"Age negative", 0, lines("Cache-Control: max-age=3600", "Age: -7200"), nil, 0, Fresh},
		{"Age with a fraction", 0, lines("Cache-Control: max-age=3600", "Age: 7200.0"), nil, 0, Fresh},
		{"Age with a parameter", 0, lines("Cache-Control: max-age=3600", "Age: 7200;a=b"), nil, 0, Fresh},
		{"Age 2^31-1", 0, lines("Cache-Control: max-age=3600", "Age: 2147483647"), nil, 0, Validate},
		{"Age 2^31", 0, lines("Cache-Control: max-age=3600", "Age: 2147483648"), nil, 0, Validate},
		{"Age as large as a max-age that is too large", 0, lines("Cache-Control: max-age=99999999999", "Age: 2147483648"), nil, 0, Validate},
		{"Age beyond everything", 0, lines("Cache-Control: max-age=3600", "Age: "+strings.Repeat("9", 400)), nil, hour, Validate},
		{"of Age's list the first, old", 0, lines("Cache-Control: max-age=3600", "Age: 7200, 0"), nil, 0, Validate},
		{"of Age's list the first, young", 0, lines("Cache-Control: max-age=3600", "Age: 0, 7200"), nil, 0, Fresh},
		{"of Age's lines the first, old", 0, lines("Cache-Control: max-age=3600", "Age: 7200", "Age: 0"), nil, 0, Validate},
		{"of Age's lines the first, young", 0, lines("Cache-Control: max-age=3600", "Age: 0", "Age: 7200"), nil, 0, Fresh},
		{"of Age's list the first that is there", 0, lines("Cache-Control: max-age=3600", "Age: , 7200"), nil, 0, Validate},

		// Section 5.3.
		{"Expires", 0, lines("Expires: {1h}"), nil, hour - 1, Fresh},
		{"Expires, the moment it is over", 0, lines("Expires: {1h}"), nil, hour, Validate},
		{"Expires equal to Date", 0, lines("Expires: {0s}"), nil, 0, Validate},
		{"Expires of a slow server", 0, lines("Date: {-10h}", "Expires: {-2h}"), nil, 0, Validate},
		{"Expires of a fast server", 0, lines("Date: {10h}", "Expires: {11h}"), nil, hour - 1, Fresh},
		{"Expires of a fast server, over", 0, lines("Date: {10h}", "Expires: {11h}"), nil, hour, Validate},
		{"Expires older than Date, both fast", 0, lines("Date: {5m}", "Expires: {3m}"), nil, 0, Validate},
		{"Expires less Age, slow Date", 0, lines("Date: {-10s}", "Expires: {10s}", "Age: 25"), nil, 0, Validate},
		{"Expires less Age, fast Date", 0, lines("Date: {10s}", "Expires: {20s}", "Age: 15"), nil, 0, Validate},
		{"Expires 0", 0, lines("Expires: 0"), nil, 0, Validate},
		{"Expires invalid beside Last-Modified", 0, lines("Expires: 0", "Last-Modified: {-1000h}"), nil, 0, Validate},
		{"Expires without Date", 0, lines("Date: foo", "Expires: {1h}"), nil, hour - 1, Fresh},
		{"Expires twice", 0, lines("Expires: {1h}", "Expires: {1h}"), nil, 0, Validate},
		{"Expires beyond everything", 0, lines("Expires: Fri, 31 Dec 9999 23:59:59 GMT"), nil, 24000 * hour, Fresh},

		// Section 4.2.3: an old Date is an age.
		{"an old Date", 0, lines("Date: {-2h}", "Cache-Control: max-age=3600"), nil, 0, Validate},
		{"a Date beyond everything", 0, lines("Date: Mon, 01 Jan 0001 00:00:00 GMT", "Cache-Control: max-age=99999999999"), nil, 0, Validate},

		// Section 4.2.2.
		{"a tenth of Last-Modified", 0, lines("Last-Modified: {-10h}"), nil, hour - 1, Fresh},
		{"a tenth of Last-Modified, over", 0, lines("Last-Modified: {-10h}"), nil, hour, Validate},
		{"no more than a day", 0, lines("Last-Modified: {-100000h}"), nil, 24 * hour, Validate},
		{"modified in the future", 0, lines("Last-Modified: {10h}"), nil, 0, Validate},
		{"no guess for 302", 302, lines("Last-Modified: {-10h}"), nil, 0, Validate},
		{"a guess for a public 302", 302, lines("Last-Modified: {-10h}", "Cache-Control: public"), nil, 0, Fresh},
		{"no guess for a private 302", 302, lines("Last-Modified: {-10h}", "Cache-Control: private"), nil, 0, Validate},

		// Section 5.2.2.
		{"no-cache", 0, lines("Cache-Control: no-cache, max-age=3600"), nil, 0, Validate},
		{"No-Cache", 0, lines("Cache-Control: No-CaChE", "Cache-Control: max-age=3600"), nil, 0, Validate},
		{"no-cache with an empty list", 0, lines(`Cache-Control: no-cache="", max-age=3600`), nil, 0, Validate},
		{"no-cache of a field", 0, lines(`Cache-Control: no-cache="Set-Cookie", max-age=3600`), nil, 0, Fresh},
		{"no-cache of a field, unquoted", 0, lines(`Cache-Control: no-cache=Set-Cookie, max-age=3600`), nil, 0, Fresh},
		{"no-cache of a field that is needed", 0, lines(`Cache-Control: no-cache="a, vary", max-age=3600`), nil, 0, Validate},
		{"no-cache of a field that is none", 0, lines(`Cache-Control: no-cache="a\"b", max-age=3600`), nil, 0, Validate},
		{"must-revalidate, fresh", 0, lines("Cache-Control: must-revalidate, max-age=3600"), nil, 0, Fresh},
		{"must-revalidate, stale", 0, lines("Cache-Control: must-revalidate, max-age=3600"), lines("Cache-Control: max-stale"), hour, Validate},
		{"private", 0, lines("Cache-Control: private, max-age=3600"), nil, 0, Fresh},
		{"proxy-revalidate is for others", 0, lines("Cache-Control: proxy-revalidate, max-age=3600"), lines("Cache-Control: max-stale"), hour, Stale},
		{"immutable, stale", 0, lines("Cache-Control: immutable, max-age=3600"), nil, hour, Validate},
		{"immutable, fresh, reload", 0, lines("Cache-Control: immutable=1, max-age=3600"), lines("Cache-Control: max-age=0"), hour - 1, Fresh},
		{"immutable, stale, reload", 0, lines("Cache-Control: immutable, max-age=3600"), lines("Cache-Control: max-age=0"), hour, Validate},
		{"immutable, stale, reload, max-stale", 0, lines("Cache-Control: immutable, max-age=3600"), lines("Cache-Control: max-age=0, max-stale"), hour, Validate},
		{"immutable, fresh, forced reload", 0, lines("Cache-Control: immutable, max-age=3600"), lines("Cache-Control: no-cache"), 0, Validate},
		{"Pragma in an answer is ignored", 0, lines("Pragma: no-cache", "Cache-Control: max-age=3600"), nil, 0, Fresh},

		// RFC 5861, section 3.
		{"stale-while-revalidate", 0, lines("Cache-Control: max-age=60, stale-while-revalidate=60"), nil, 60 * time.Second, Refresh},
		{"stale-while-revalidate, its last moment", 0, lines("Cache-Control: max-age=60, stale-while-revalidate=60"), nil, 120*time.Second - 1, Refresh},
		{"stale-while-revalidate, over", 0, lines("Cache-Control: max-age=60, stale-while-revalidate=60"), nil, 120 * time.Second, Validate},
		{"stale-while-revalidate of what was never fresh", 0, lines("Cache-Control: max-age=0, stale-while-revalidate=60"), nil, 0, Refresh},
		{"stale-while-revalidate and must-revalidate", 0, lines("Cache-Control: max-age=60, stale-while-revalidate=60, must-revalidate"), nil, 60 * time.Second, Validate},
		{"stale-while-revalidate and no-cache", 0, lines("Cache-Control: max-age=60, stale-while-revalidate=60, no-cache"), nil, 60 * time.Second, Validate},
		{"stale-while-revalidate that is no number", 0, lines("Cache-Control: max-age=60, stale-while-revalidate=x"), nil, 60 * time.Second, Validate},
		{"stale-while-revalidate, reload", 0, lines("Cache-Control: max-age=60, stale-while-revalidate=60"), lines("Cache-Control: max-age=3600"), 60 * time.Second, Validate},
		{"stale-while-revalidate, min-fresh", 0, lines("Cache-Control: max-age=60, stale-while-revalidate=60"), lines("Cache-Control: min-fresh=1"), 60 * time.Second, Validate},
		{"stale-while-revalidate, forced reload", 0, lines("Cache-Control: max-age=60, stale-while-revalidate=60"), lines("Cache-Control: no-cache"), 60 * time.Second, Validate},

		// Section 5.2.1.
		{"request max-age", 0, lines("Cache-Control: max-age=3600"), lines("Cache-Control: max-age=600"), 10 * time.Minute, Fresh},
		{"request max-age, over", 0, lines("Cache-Control: max-age=3600"), lines("Cache-Control: max-age=600"), 10*time.Minute + 1, Validate},
		{"request max-age and Age", 0, lines("Cache-Control: max-age=3600", "Age: 1800"), lines("Cache-Control: max-age=600"), 0, Validate},
		{"request max-age=0 at once", 0, lines("Cache-Control: max-age=3600"), lines("Cache-Control: max-age=0"), 0, Validate},
		{"request max-age that is no number", 0, lines("Cache-Control: max-age=3600"), lines("Cache-Control: max-age=x"), 0, Validate},
		{"request max-age does not refresh", 0, lines("Cache-Control: max-age=60"), lines("Cache-Control: max-age=3600"), 60 * time.Second, Validate},
		{"min-fresh", 0, lines("Cache-Control: max-age=3600"), lines("Cache-Control: min-fresh=3599"), 0, Fresh},
		{"min-fresh, not enough", 0, lines("Cache-Control: max-age=3600"), lines("Cache-Control: min-fresh=3600"), 0, Validate},
		{"min-fresh and Age", 0, lines("Cache-Control: max-age=3600", "Age: 1000"), lines("Cache-Control: min-fresh=3000"), 0, Validate},
		{"min-fresh that is no number", 0, lines("Cache-Control: max-age=3600"), lines("Cache-Control: min-fresh=x"), 0, Validate},
		{"min-fresh and max-stale", 0, lines("Cache-Control: max-age=60"), lines("Cache-Control: min-fresh=1, max-stale=600"), 60 * time.Second, Validate},
		{"max-stale", 0, lines("Cache-Control: max-age=60"), lines("Cache-Control: max-stale=60"), 120*time.Second - 1, Stale},
		{"max-stale, over", 0, lines("Cache-Control: max-age=60"), lines("Cache-Control: max-stale=60"), 120 * time.Second, Validate},
		{"max-stale and Age", 0, lines("Cache-Control: max-age=60", "Age: 200"), lines("Cache-Control: max-stale=60"), 0, Validate},
		{"max-stale of any age", 0, lines("Cache-Control: max-age=60"), lines("Cache-Control: max-stale"), 1000 * hour, Stale},
		{"max-stale that is no number", 0, lines("Cache-Control: max-age=60"), lines("Cache-Control: max-stale=x"), 60 * time.Second, Validate},
		{"max-stale on what is fresh", 0, lines("Cache-Control: max-age=60"), lines("Cache-Control: max-stale=x"), 0, Fresh},
		{"max-stale before a refresh", 0, lines("Cache-Control: max-age=60, stale-while-revalidate=600"), lines("Cache-Control: max-stale=60"), 60 * time.Second, Stale},
		{"max-stale too short, but a refresh", 0, lines("Cache-Control: max-age=60, stale-while-revalidate=600"), lines("Cache-Control: max-stale=60"), 200 * time.Second, Refresh},
		{"max-stale and no-cache", 0, lines("Cache-Control: max-age=60, no-cache"), lines("Cache-Control: max-stale"), 0, Validate},
		{"request no-cache", 0, lines("Cache-Control: max-age=60"), lines("Cache-Control: no-cache"), 0, Validate},
		{"request Pragma", 0, lines("Cache-Control: max-age=60"), lines("Pragma: foo, No-Cache"), 0, Validate},
		{"request Pragma beside Cache-Control", 0, lines("Cache-Control: max-age=60"), lines("Pragma: no-cache", "Cache-Control: max-age=60"), 0, Fresh},
	} {
		t.Run(c.what, func(t *testing.T) {
			status := c.status
			if status == 0 {
				status = 200
			}
			r := Read(status, dated(c.fields...), epoch, epoch)
			if got := r.Use(request(c.request...), epoch.Add(c.after)); got != c.want {
				t.Errorf("Use = %v, want %v\n%q %q", got, c.want, c.fields, c.request)
			}
		})
	}
}

func (u Use) String() string { return [...]string{"Validate", "Fresh", "Refresh", "Stale"}[u] }

// TestZeroResponse: what was never read is never given.
func TestZeroResponse(t *testing.T) {
	var r Response
	q := request("Cache-Control: max-stale, stale-if-error=99999")
	if got := r.Use(q, time.Time{}); got != Validate {
		t.Errorf("Use = %v", got)
	}
	if r.StaleIfError(q, time.Time{}, time.Hour) {
		t.Error("it may be stale")
	}
}

// TestUseAllocatesNothing: the decision is on the way of every hit.
func TestUseAllocatesNothing(t *testing.T) {
	r := Read(200, dated("Cache-Control: max-age=3600, stale-while-revalidate=60"), epoch, epoch)
	for _, h := range []http.Header{
		nil,
		fields("Accept: */*", "Authorization: x"),
		fields("Cache-Control: max-age=60, min-fresh=10, max-stale=10, stale-if-error=5, only-if-cached"),
	} {
		if n := testing.AllocsPerRun(100, func() {
			q := ReadRequest(h)
			if r.Use(&q, epoch) != Fresh {
				t.Error("it is not fresh")
			}
		}); n != 0 {
			t.Errorf("%v allocations for %q", n, h)
		}
	}
}

func TestUnstorable(t *testing.T) {
	const hour = time.Hour
	type row struct {
		status  int
		fields  []string
		request []string
		beyond  time.Duration
		want    string
	}
	lines := func(s ...string) []string { return s }
	var rows []row
	for _, status := range []int{200, 201, 202, 203, 204, 299, 300, 301, 302, 303, 307, 308, 400, 401, 403, 404, 405, 410, 414, 418, 451, 499, 500, 501, 502, 503, 504, 599} {
		guessed := "status without lifetime"
		if heuristic(status) {
			guessed = ""
		}
		rows = append(rows,
			row{status, lines("Cache-Control: max-age=60"), nil, 0, ""},
			row{status, lines("Expires: {1h}"), nil, 0, ""},
			row{status, lines("Cache-Control: public", "Last-Modified: {-10h}"), nil, 0, ""},
			row{status, lines("Cache-Control: private", `Etag: "a"`), nil, 0, ""},
			row{status, lines("Last-Modified: {-10h}"), nil, 0, guessed},
			row{status, lines("Cache-Control: no-store, max-age=60"), nil, 0, "no-store"},
		)
	}
	for _, status := range []int{100, 101, 103, 304, 412, 416, 428, 429, 431, 511} {
		rows = append(rows, row{status, lines("Cache-Control: public, max-age=60"), nil, hour, "status"})
	}
	rows = append(rows,
		row{206, lines("Cache-Control: max-age=60", "Content-Range: bytes 0-1/2"), nil, 0, "part"},
		row{200, lines("Cache-Control: max-age=60, No-StorE"), nil, 0, "no-store"},
		row{200, lines("Cache-Control: max-age=60", "Cache-Control: foo, no-store=bar"), nil, 0, "no-store"},
		row{200, lines("Cache-Control: max-age=60"), lines("Cache-Control: no-store"), 0, "request no-store"},
		row{200, lines(`Cache-Control: max-age=60, a="b`), nil, 0, "no-store"},
		// Section 5.2.2.3.
		row{200, lines("Cache-Control: max-age=60, no-store, must-understand"), nil, 0, ""},
		row{299, lines("Cache-Control: max-age=60, no-store, must-understand"), nil, 0, "no-store"},
		row{299, lines("Cache-Control: max-age=60, must-understand"), nil, 0, "no-store"},
		row{429, lines("Cache-Control: max-age=60, no-store, must-understand"), nil, 0, "no-store"},
		// Nothing to reuse it by.
		row{200, nil, nil, 0, "no lifetime and no validator"},
		row{200, lines("Cache-Control: max-age=0"), nil, 0, "no lifetime and no validator"},
		row{200, lines("Cache-Control: max-age=60", "Age: 600"), nil, 0, ""}, // for max-stale
		row{200, lines("Cache-Control: max-age=0", `Etag: "a"`), nil, 0, ""},
		row{200, lines("Cache-Control: max-age=0, stale-while-revalidate=1"), nil, 0, ""},
		row{200, lines("Cache-Control: max-age=0, stale-if-error=1"), nil, 0, ""},
		row{200, lines("Cache-Control: max-age=0, stale-if-error=1, must-revalidate"), nil, hour, "no lifetime and no validator"},
		row{200, lines("Cache-Control: no-cache, max-age=60", `Etag: "a"`), nil, 0, ""},
		row{200, nil, nil, hour, ""},
		row{200, nil, lines("Cache-Control: stale-if-error=1"), 0, ""},
		row{200, lines("Cache-Control: max-age=0, stale-if-error=10", "Age: 10"), nil, 0, "no lifetime and no validator"},
		// What cannot be read is said all the same.
		row{302, lines("Expires: 0", `Etag: "a"`), nil, 0, ""},
		row{302, lines("Cache-Control: max-age=x", `Etag: "a"`), nil, 0, ""},
		// Vary.
		row{200, lines("Cache-Control: max-age=60", "Vary: Foo, *"), nil, 0, "vary *"},
		row{200, lines("Cache-Control: max-age=60", "Vary: Foo"), nil, 0, ""},
	)
	for _, c := range rows {
		t.Run(fmt.Sprint(c.status, c.fields, c.request), func(t *testing.T) {
			r := Read(c.status, dated(c.fields...), epoch, epoch)
			if got := r.Unstorable(request(c.request...), c.beyond); got != c.want {
				t.Errorf("Unstorable = %q, want %q", got, c.want)
			}
			if c.want == "no-store" && r.Use(request("Cache-Control: max-stale"), epoch) != Validate {
				t.Error("it is given, were it stored all the same")
			}
		})
	}
}

func TestUnstorablePart(t *testing.T) {
	h := dated("Cache-Control: max-age=60", "Content-Range: bytes 0-1/2")
	part, whole := Read(206, h, epoch, epoch), Read(200, h, epoch, epoch)
	if why := part.UnstorablePart(request(), 0); why != "" {
		t.Errorf("a 206: %q", why)
	}
	if why := whole.UnstorablePart(request(), 0); why == "" {
		t.Error("a 200 is taken for a part")
	}
	if why := part.UnstorablePart(request("Cache-Control: no-store"), 0); why != "request no-store" {
		t.Errorf("a 206 against no-store: %q", why)
	}
	h.Set("Content-Range", "bytes */2")
	if part = Read(206, h, epoch, epoch); part.UnstorablePart(request(), 0) == "" {
		t.Error("a part that does not say which is stored")
	}
}

func TestStaleIfError(t *testing.T) {
	const minute = time.Minute
	for _, c := range []struct {
		control, request string
		beyond, after    time.Duration
		want             bool
	}{
		{"max-age=60, stale-if-error=60", "", 0, minute, true},
		{"max-age=60, stale-if-error=60", "", 0, 2*minute - 1, true},
		{"max-age=60, stale-if-error=60", "", 0, 2 * minute, false},
		{"max-age=60, Stale-If-Error=\"60\"", "", 0, minute, true},
		{"max-age=60, stale-if-error", "", 0, minute, false},
		{"max-age=60", "", 0, minute, false},
		{"max-age=60", "stale-if-error=60", 0, minute, true},
		{"max-age=60", "stale-if-error=60", 0, 2 * minute, false},
		{"max-age=60", "", minute, 2*minute - 1, true},
		{"max-age=60", "", minute, 2 * minute, false},
		{"max-age=60, stale-if-error=120", "stale-if-error=1", minute, 3*minute - 1, true},
		{"max-age=60, must-revalidate, stale-if-error=60", "stale-if-error=60", minute, minute, false},
		{"max-age=60, no-cache, stale-if-error=60", "stale-if-error=60", minute, 0, false},
		{"max-age=60, stale-if-error=60", "no-cache", minute, minute, false},
		{"max-age=60, stale-if-error=60", "max-age=0", 0, 0, true}, // RFC 5861: "regardless of other freshness information"
		{"max-age=60", "max-age=0", 0, 0, false},
		{"max-age=99999999999, stale-if-error=99999999999", "", 0, 200 * 365 * 24 * time.Hour, true},
	} {
		r := Read(200, dated("Cache-Control: "+c.control), epoch, epoch)
		var q []string
		if c.request != "" {
			q = []string{"Cache-Control: " + c.request}
		}
		if got := r.StaleIfError(request(q...), epoch.Add(c.after), c.beyond); got != c.want {
			t.Errorf("%q asked %q after %v, beyond %v: %v, want %v", c.control, c.request, c.after, c.beyond, got, c.want)
		}
	}
}

// TestAge follows section 4.2.3 from the fields to a later moment.
func TestAge(t *testing.T) {
	h := dated("Cache-Control: max-age=3600", "Age: 100")
	r := Read(200, h, epoch.Add(-7*time.Second), epoch) // sent seven seconds before
	if got, want := r.Age(epoch.Add(20*time.Second)), 127*time.Second; got != want {
		t.Errorf("Age = %v, want %v: Age, the way, and the time here", got, want)
	}
	if got, want := r.TTL(epoch.Add(20*time.Second)), 3473*time.Second; got != want {
		t.Errorf("TTL = %v, want %v", got, want)
	}
	if got := r.Age(epoch.Add(-time.Hour)); got != 107*time.Second {
		t.Errorf("Age = %v before it came", got)
	}

	h = dated("Date: {-200s}", "Age: 100")
	r = Read(200, h, epoch.Add(-7*time.Second), epoch)
	if got, want := r.Age(epoch), 200*time.Second; got != want {
		t.Errorf("Age = %v, want %v: the older of Date and Age", got, want)
	}

	// Date has no fractions of a second, the moment of receipt has.
	at := epoch.Add(900 * time.Millisecond)
	r = Read(200, dated("Cache-Control: max-age=1"), at, at)
	if got := r.Age(at); got != 0 {
		t.Errorf("Age = %v of an answer that was made when it came", got)
	}

	if r = Read(200, dated("Age: 2147483648"), epoch, epoch); r.Age(epoch.AddDate(250, 0, 0)) < maxSpan {
		t.Error("a long time overflows")
	}
}

// TestAgeAsksBothClocks: the monotonic clock stands still while a machine
// sleeps, and the wall clock can be set back. Whichever has moved further is
// believed.
func TestAgeAsksBothClocks(t *testing.T) {
	received := time.Now()
	h := fields("Cache-Control: max-age=60")
	h.Set("Date", received.UTC().Format(http.TimeFormat))
	r := Read(200, h, received, received)

	asleep := received.Add(time.Hour)
	*monotonic(&asleep) -= int64(time.Hour)
	setBack := received
	*monotonic(&setBack) += int64(time.Hour)
	for what, now := range map[string]time.Time{
		"both":                    received.Add(time.Hour),
		"the wall clock alone":    asleep,
		"the monotonic one alone": setBack,
		"the only one":            received.Round(0).Add(time.Hour),
	} {
		if age := r.Age(now); age < time.Hour {
			t.Errorf("Age = %v after an hour by %s", age, what)
		}
	}
}

// monotonic is where package time keeps that reading of time.Now, the second
// word: no function sets it apart from the other.
func monotonic(t *time.Time) *int64 {
	return &(*struct {
		wall uint64
		ext  int64
	})(unsafe.Pointer(t)).ext
}

func TestUntil(t *testing.T) {
	for _, c := range []struct {
		control string
		beyond  time.Duration
		want    time.Duration
	}{
		{"max-age=60", 0, 60 * time.Second},
		{"max-age=60", 100 * time.Second, 160 * time.Second},
		{"max-age=60", -1, 60 * time.Second},
		{"max-age=99999999999", math.MaxInt64, 2 * maxSpan},
		{"max-age=60, stale-if-error=10, stale-while-revalidate=20", 0, 80 * time.Second},
		{"max-age=60, stale-if-error=10, must-revalidate", 100 * time.Second, 60 * time.Second},
		{"max-age=0", 0, 0},
	} {
		r := Read(200, dated("Cache-Control: "+c.control), epoch, epoch)
		if got := r.Until(c.beyond).Sub(epoch); got != c.want {
			t.Errorf("%q: Until = %v, want %v", c.control, got, c.want)
		}
	}
}

// TestReadRequest: what a request has for the cache beside directives.
func TestReadRequest(t *testing.T) {
	for _, c := range []struct {
		fields []string
		want   Request
	}{
		{nil, Request{}},
		{[]string{"Cache-Control: no-store, Only-If-Cached"}, Request{NoStore: true, OnlyIfCached: true}},
		{[]string{"Cache-Control: no-cache=\"x\""}, Request{NoCache: true}}, // there is no such form in a request
		{[]string{`If-None-Match: "a"`}, Request{Conditional: true}},
		{[]string{"If-Modified-Since: {0s}"}, Request{Conditional: true}},
		{[]string{`If-Match: "a"`}, Request{Origin: true}},
		{[]string{"If-Unmodified-Since: {0s}"}, Request{Origin: true}},
		{[]string{"Range: bytes=0-1"}, Request{Range: true}},
	} {
		c.want.maxAge, c.want.minFresh, c.want.maxStale, c.want.ifError = unsaid, unsaid, unsaid, unsaid
		if got := *request(c.fields...); got != c.want {
			t.Errorf("%q: %+v, want %+v", c.fields, got, c.want)
		}
	}
}
