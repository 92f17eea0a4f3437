package dashboard_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/dashboard"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

const key = "https://api.example.com m"

// page is the JSON twin, as a program reads it.
type page struct {
	Version int
	Time    time.Time
	Totals  struct{ Attempts, Answered, Wasted, Refused, Retries, Saved, Fallbacks, Output_tokens int }
	Omitted int
	Keys    []struct {
		Key, Why                            string
		Trouble, Attempts, Answered, Wasted int
		Refused, Waiting, In_flight         int
		Oldest_seconds                      float64
		Until                               time.Time
		Circuit                             *struct{ State string }
		Cache                               *struct{ Ratio float64 }
		Queues                              []struct {
			Tenant string
			Limits []struct {
				Kind, Source string
				Per_minute   float64
				Used         *float64
			}
		}
		Slots [][4]int64
	}
	Events []struct {
		Seq                            int
		Kind, Key, Class, Reason, Text string
	}
}

func get(h http.Handler, target string) *httptest.ResponseRecorder {
	return do(h, httptest.NewRequest("GET", target, nil))
}

func do(h http.Handler, req *http.Request) *httptest.ResponseRecorder {
	if req.Host == "example.com" { // httptest's own
		req.Host = "localhost:8080"
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	return w
}

func look(t *testing.T, h http.Handler, query string) (p page) {
	t.Helper()
	w := get(h, "/?format=json"+query)
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || p.Version != dashboard.Version {
		t.Fatalf("format=json: version %d, %v", p.Version, err)
	}
	return p
}

func attempt(class snubber.Class) snubber.Event {
	return snubber.Event{Kind: snubber.EventAttempt, Time: time.Now(), Key: key, Attempt: 1, Outcome: snubber.Outcome{Class: class}}
}

// The page of a call that failed, waited and opened a circuit says all of it.
func TestDashboardTellsTheStory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := wiretest.Play(wiretest.Step{Status: 500})
		tr := &snubber.Transport{Base: base, Breaker: &snubber.Breaker{Failures: 2}, Limiter: &snubber.Limiter{RequestsPerMinute: 6000}}
		d := dashboard.New(tr, nil)
		tr.Observe = d.Observe
		for range 3 {
			wiretest.Fetch(tr, wiretest.Chat(t, "Authorization", "Bearer secret"))
		}
		p := look(t, d, "")
		if len(p.Keys) != 1 {
			t.Fatalf("%d keys, want 1: %+v", len(p.Keys), p.Keys)
		}
		k := p.Keys[0]
		if k.Key != key || k.Trouble != 4 || k.Circuit.State != "open" || k.Attempts != 2 || k.Wasted != 2 || k.Refused != 1 {
			t.Errorf("key %+v, want an open circuit, two wasted attempts and a refusal", k)
		}
		if until := k.Until.Sub(p.Time); until < 3*time.Second || until > 7*time.Second {
			t.Errorf("open for %v, want about 5s", until)
		}
		if !strings.Contains(k.Why, "2 failures in a row; the last one: server-error (http_500)") {
			t.Errorf("why = %q, want the failures", k.Why)
		}
		if q := k.Queues[0]; len(q.Tenant) == 0 || len(q.Limits) != 1 || q.Limits[0].Source != "configured" || *q.Limits[0].Used != 2 {
			t.Errorf("queue %+v, want the configured limit with two used", q)
		}
		if tot := p.Totals; tot.Attempts != 2 || tot.Wasted != 2 || tot.Refused != 1 {
			t.Errorf("totals %+v", tot)
		}
		var kinds []string
		for i, e := range p.Events {
			kinds = append(kinds, e.Kind)
			if i > 0 && e.Seq <= p.Events[i-1].Seq {
				t.Errorf("event %d comes after %d", e.Seq, p.Events[i-1].Seq)
			}
		}
		if got := strings.Join(kinds, " "); got != "attempt circuit attempt refused" && got != "attempt attempt circuit refused" {
			t.Errorf("events %q", got)
		}
		text := get(d, "/?format=text").Body.String()
		for _, want := range []string{"!! " + key, "Next try in ", "circuit open", "6000 requests a minute, configured, used 2", "From closed to open for"} {
			if !strings.Contains(text, want) {
				t.Errorf("the text twin lacks %q:\n%s", want, text)
			}
		}
	})
}

// What waits is shown with the age of the oldest and what it waits for.
func TestDashboardShowsQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := &snubber.Transport{Base: wiretest.Play(wiretest.Step{Delay: time.Minute}), Limiter: &snubber.Limiter{MaxConcurrent: 1}}
		d := dashboard.New(tr)
		for range 3 {
			go wiretest.Fetch(tr, wiretest.Chat(t))
		}
		synctest.Wait()
		time.Sleep(4 * time.Second)
		k := look(t, d, "").Keys[0]
		if k.Trouble != 2 || k.Waiting != 2 || k.In_flight != 1 || k.Oldest_seconds != 4 || !strings.Contains(k.Why, "2 requests wait for the limit of 1 requests at a time, configured, the oldest for 4 s") {
			t.Errorf("key %+v, want two that wait for 4 s", k)
		}
		time.Sleep(5 * time.Minute)
	})
}

// Trouble is on top, then traffic.
func TestDashboardOrder(t *testing.T) {
	d := dashboard.New()
	event := func(key string, class snubber.Class, n int) {
		for range n {
			e := attempt(class)
			e.Key = key
			d.Observe(e)
		}
	}
	event("quiet", snubber.Success, 1)
	event("busy", snubber.Success, 100)
	event("failing", snubber.Overloaded, 1)
	var got []string
	for _, k := range look(t, d, "").Keys {
		got = append(got, k.Key)
	}
	if want := "failing busy quiet"; strings.Join(got, " ") != want {
		t.Errorf("order %q, want %q", got, want)
	}
	if p := look(t, d, "&key=busy&kind=attempt"); len(p.Keys) != 1 || p.Keys[0].Key != "busy" || len(p.Events) != 50 {
		t.Errorf("filtered: %d keys and %d events, want busy's alone, the last 50", len(p.Keys), len(p.Events))
	}
}

// An attempt is wasted when it brought no answer, whatever the reason.
func TestDashboardWaste(t *testing.T) {
	for class, want := range map[snubber.Class]string{
		snubber.Success: "answered", snubber.Invalid: "answered", snubber.Filtered: "answered", snubber.TooLong: "answered",
		snubber.RateLimited: "wasted", snubber.QuotaExhausted: "wasted", snubber.Overloaded: "wasted", snubber.ServerError: "wasted",
		snubber.Unreachable: "wasted", snubber.TimedOut: "wasted", snubber.Transient: "wasted",
		snubber.Canceled: "", snubber.Unclassified: "",
	} {
		d := dashboard.New()
		d.Observe(attempt(class))
		tot := look(t, d, "").Totals
		got := ""
		switch {
		case tot.Wasted == 1 && tot.Answered == 0:
			got = "wasted"
		case tot.Wasted == 0 && tot.Answered == 1:
			got = "answered"
		}
		if got != want || tot.Attempts != 1 {
			t.Errorf("an attempt that is %v counts as %q, want %q", class, got, want)
		}
	}
}

// The loser of a race brought no answer to anybody.
func TestDashboardCountsLosersOfHedges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		times := wiretest.WarmTimes(time.Minute, time.Millisecond)
		tr := &snubber.Transport{Base: &wiretest.Latencies{Times: times}, Retry: &snubber.Retry{Hedge: true}}
		d := dashboard.New(tr)
		tr.Observe = d.Observe
		wiretest.WarmUp(t, tr)
		wiretest.Fetch(tr, wiretest.Chat(t))
		synctest.Wait()
		if tot := look(t, d, "").Totals; tot.Wasted != 1 {
			t.Errorf("totals %+v, want one wasted attempt, the slow one", tot)
		}
	})
}

// What is older than two minutes counts for nothing, in the sums and in the slots.
func TestDashboardForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := dashboard.New()
		d.Observe(attempt(snubber.Success))
		time.Sleep(100 * time.Second)
		d.Observe(attempt(snubber.Success))
		if k := look(t, d, "").Keys[0]; k.Attempts != 2 || len(k.Slots) != 2 {
			t.Errorf("%d attempts in %d slots, want 2 and 2", k.Attempts, len(k.Slots))
		}
		time.Sleep(30 * time.Second)
		if k := look(t, d, "").Keys[0]; k.Attempts != 1 || len(k.Slots) != 1 {
			t.Errorf("%d attempts in %d slots, want those of two minutes", k.Attempts, len(k.Slots))
		}
		time.Sleep(time.Hour)
		if k := look(t, d, "").Keys[0]; k.Attempts != 0 || k.Trouble != 0 {
			t.Errorf("key %+v, want it at rest", k)
		}
	})
}

// Keys are bounded: what comes from more counts together, and a key that is silent
// for long gives up its place.
func TestDashboardBoundsKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := dashboard.New()
		for i := range 3000 {
			e := attempt(snubber.Success)
			e.Key = fmt.Sprintf("https://api.example.com model-%d", i)
			d.Observe(e)
		}
		p := look(t, d, "")
		others := 0
		for _, k := range p.Keys {
			if k.Key == "other keys" {
				others = k.Attempts
			}
		}
		if len(p.Keys) != 1025 || others != 3000-1024 || p.Totals.Attempts != 3000 {
			t.Errorf("%d keys, %d attempts in others, %d in all; want 1025, 1976, 3000", len(p.Keys), others, p.Totals.Attempts)
		}
		time.Sleep(3 * time.Minute)
		d.Observe(attempt(snubber.Success))
		if p = look(t, d, "&key="+strings.ReplaceAll(key, " ", "+")); len(p.Keys) != 1 || p.Keys[0].Attempts != 1 {
			t.Errorf("a new key after the pause: %+v, want a row of its own", p.Keys)
		}
	})
}

// What an operator looks for is not driven out of the list by successes.
func TestDashboardKeepsTroubleApart(t *testing.T) {
	d := dashboard.New()
	d.Observe(snubber.Event{Kind: snubber.EventCircuit, Time: time.Now(), Key: key, To: snubber.CircuitOpen})
	for range 5000 {
		d.Observe(attempt(snubber.Success))
	}
	if es := look(t, d, "&kind=circuit").Events; len(es) != 1 || es[0].Seq != 1 || es[0].Text != "From closed to open" {
		t.Errorf("events %+v, want the circuit that opened before 5000 successes", es)
	}
}

// An event allocates nothing and starts nothing.
func TestObserveAllocatesNothing(t *testing.T) {
	d := dashboard.New()
	e := snubber.Event{
		Kind: snubber.EventAttempt, Time: time.Now(), Key: key + " #0123456789abcdef", Attempt: 1,
		Outcome: snubber.Outcome{Class: snubber.Overloaded, Reason: strings.Repeat("long ", 30), Usage: snubber.Usage{Input: 3}}, Detail: "d",
	}
	d.Observe(e)
	for k := range snubber.EventLimitStoreFailed + 2 {
		e.Kind = k
		if got := testing.AllocsPerRun(1000, func() { d.Observe(e) }); got != 0 {
			t.Errorf("Observe of %v allocates %v times, want 0", k, got)
		}
	}
}

func BenchmarkObserve(b *testing.B) {
	d := dashboard.New()
	e := attempt(snubber.Success)
	b.ReportAllocs()
	for b.Loop() {
		d.Observe(e)
	}
}

// Hostile texts stay texts: in JSON, in the terminal, in a frame of the stream.
func TestDashboardHostileNames(t *testing.T) {
	d := dashboard.New()
	e := attempt(snubber.Overloaded)
	e.Key = "https://api.example.com </script><img src=x onerror=alert(1)>\x1b[2J\r\ndata: x\n\n\xff" + strings.Repeat("x", 10_000)
	e.Outcome.Reason = "\x1b]0;x\x07" + strings.Repeat("ü", 100)
	d.Observe(e)
	if p := look(t, d, ""); len(p.Keys[0].Key) > 300 {
		t.Errorf("a name of %d bytes is kept", len(p.Keys[0].Key))
	}
	text := get(d, "/?format=text").Body.String()
	if strings.ContainsAny(text, "\x1b\x07\r") {
		t.Errorf("the terminal gets control characters: %q", text)
	}
	if strings.Contains(get(d, "/").Body.String(), "onerror") {
		t.Error("the page itself holds a name")
	}
	frames := stream(t, d, "", 1)
	if len(frames) != 1 || bytes.Count([]byte(frames[0]), []byte("\ndata:")) != 1 {
		t.Errorf("frames %q, want one line of data", frames)
	}
}

// The page names no place elsewhere and holds no script or style of its own.
func TestDashboardPageIsSelfContained(t *testing.T) {
	d := dashboard.New()
	for target, want := range map[string]string{
		"/": "text/html; charset=utf-8", "/any/prefix/": "text/html; charset=utf-8",
		"/style.css": "text/css; charset=utf-8", "/x/app.js": "text/javascript; charset=utf-8", "/icon.svg": "image/svg+xml",
		"/?format=json": "application/json", "/?format=text": "text/plain; charset=utf-8",
	} {
		w := get(d, target)
		h := w.Result().Header
		if w.Code != 200 || h.Get("Content-Type") != want {
			t.Errorf("%s: %d %s, want 200 %s", target, w.Code, h.Get("Content-Type"), want)
		}
		csp := h.Get("Content-Security-Policy")
		if !strings.HasPrefix(csp, "default-src 'none'; script-src 'self';") || strings.Contains(csp, "unsafe") || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: header %v", target, h)
		}
		body := strings.ReplaceAll(w.Body.String(), "http://www.w3.org/2000/svg", "")
		for _, bad := range []string{"http://", "https://", "style=\"", "onclick", "innerHTML", "<style"} {
			if strings.Contains(body, bad) {
				t.Errorf("%s contains %s", target, bad)
			}
		}
		if strings.HasPrefix(want, "text/html") && strings.Count(body, "<script") != strings.Count(body, `<script src="app.js" defer></script>`) {
			t.Errorf("%s has a script of its own", target)
		}
	}
	for target, want := range map[string]int{"/nothing": 404, "/?format=xml": 400} {
		if w := get(d, target); w.Code != want {
			t.Errorf("%s: %d, want %d", target, w.Code, want)
		}
	}
	if w := do(d, httptest.NewRequest("POST", "/", nil)); w.Code != 405 || w.Header().Get("Allow") == "" {
		t.Errorf("POST / = %d, want 405", w.Code)
	}
}

// A name that is not this machine's for certain gets nothing, by any method.
func TestDashboardHost(t *testing.T) {
	d := dashboard.New()
	d.Hosts = []string{"ops.example.org"}
	for host, want := range map[string]int{
		"localhost": 200, "LOCALHOST:8080": 200, "127.0.0.1": 200, "10.1.2.3:80": 200, "[::1]:8080": 200, "[::1]": 200, "localhost.": 200,
		"ops.example.org": 200, "OPS.example.org:443": 200,
		"evil.example.net": 421, "localhost.evil.example": 421, "127.0.0.1.evil.example:80": 421, "": 421, "sub.ops.example.org": 421,
	} {
		for _, target := range []string{"/", "/?format=json", "/events"} {
			req := httptest.NewRequest("HEAD", target, nil)
			req.Host = host
			w := httptest.NewRecorder()
			d.ServeHTTP(w, req)
			if w.Code != want {
				t.Errorf("Host %q %s = %d, want %d", host, target, w.Code, want)
			}
		}
	}
}

// Circuits are steered by POST from the page itself alone, and only where that is
// permitted.
func TestDashboardSteer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := &snubber.Transport{Base: wiretest.Play(), Breaker: &snubber.Breaker{}}
		wiretest.Fetch(tr, wiretest.Chat(t))
		d := dashboard.New(tr, tr)
		send := func(method, action, key string, header ...string) int {
			req := httptest.NewRequest(method, "http://localhost:8080/p/"+action, strings.NewReader("key="+strings.ReplaceAll(key, " ", "%20")))
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			for i := 0; i < len(header); i += 2 {
				req.Header.Set(header[i], header[i+1])
			}
			return do(d, req).Code
		}
		if got := send("POST", "trip", key); got != 403 {
			t.Errorf("trip without the option = %d, want 403", got)
		}
		d.AllowTripAndReset = true
		for name, tt := range map[string]struct {
			method, key string
			header      []string
			want        int
		}{
			"GET":               {"GET", key, nil, 405},
			"another site":      {"POST", key, []string{"Sec-Fetch-Site", "cross-site"}, 403},
			"another subdomain": {"POST", key, []string{"Sec-Fetch-Site", "same-site"}, 403},
			"another origin":    {"POST", key, []string{"Origin", "http://evil.example"}, 403},
			"another port":      {"POST", key, []string{"Origin", "http://localhost:9999"}, 403},
			"unknown key":       {"POST", "https://api.example.com other", nil, 404},
		} {
			if got := send(tt.method, "trip", tt.key, tt.header...); got != tt.want {
				t.Errorf("trip by %s = %d, want %d", name, got, tt.want)
			}
		}
		if cs := tr.Breaker.Circuits(); len(cs) != 1 || cs[0].State != snubber.CircuitClosed {
			t.Fatalf("circuits %+v, want the one, closed", cs)
		}
		if got := send("POST", "trip", key, "Sec-Fetch-Site", "same-origin"); got != 204 || !tr.Breaker.Circuits()[0].Forced {
			t.Errorf("trip = %d, circuit %+v", got, tr.Breaker.Circuits()[0])
		}
		if k := look(t, d, "").Keys[0]; k.Trouble != 4 || !strings.Contains(k.Why, "by hand") {
			t.Errorf("key %+v, want it opened by hand", k)
		}
		if got := send("POST", "reset", key, "Origin", "http://localhost:8080"); got != 204 || tr.Breaker.Circuits()[0].State != snubber.CircuitClosed {
			t.Errorf("reset = %d, circuit %+v", got, tr.Breaker.Circuits()[0])
		}
	})
}

// No credential, prompt or answer is on the page or in its twins.
func TestDashboardSecrets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const mark = "sEcReT"
		url := "https://user:" + mark + "@api.example.com/v1/chat/completions?key=" + mark
		prompt := `{"model":"m","messages":[{"role":"user","content":"` + mark + `"}],"user":"` + mark + `"}`
		tr := snubber.New(wiretest.Play(
			wiretest.Step{Status: 500, Body: `{"error":{"message":"` + mark + `","type":"server_error"}}`},
			wiretest.Step{Body: `{"choices":[{"message":{"content":"` + mark + `"}}],"usage":{"prompt_tokens":1,"completion_tokens":1}}`}))
		tr.Cache = &snubber.Cache{PromptTTL: time.Minute}
		d := dashboard.New(tr)
		tr.Observe = d.Observe
		for range 2 {
			wiretest.Fetch(tr, wiretest.NewRequest(t, "POST", url, prompt, "Authorization", "Bearer "+mark, "Cookie", mark))
		}
		all := get(d, "/?format=json").Body.String() + get(d, "/?format=text").Body.String() + strings.Join(stream(t, d, "", 1), "")
		if strings.Contains(all, mark) || !strings.Contains(all, "api.example.com m") {
			t.Errorf("leaked, or empty: %s", all)
		}
	})
}

// A transport without layers and an observer that hears while somebody looks.
func TestDashboardConcurrent(t *testing.T) {
	tr := snubber.New(wiretest.RawFunc(func(req *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader("{}")), Header: http.Header{}, Request: req}, nil
	}))
	d := dashboard.New(tr, new(snubber.Transport))
	tr.Observe = d.Observe
	done := make(chan bool)
	for range 4 {
		go func() {
			for range 200 {
				wiretest.Fetch(tr, wiretest.NewRequest(t, "GET", "https://api.example.com/v1/models", ""))
			}
			done <- true
		}()
	}
	for range 20 {
		get(d, "/?format=json")
	}
	for range 4 {
		<-done
	}
	if got := look(t, d, "").Totals; got.Attempts != 800 || got.Answered != 800 {
		t.Errorf("totals %+v, want 800 answered attempts", got)
	}
}
