// Package wiretest has what the tests of several packages share: scripted
// round-trippers in memory, bodies with a timetable, requests and responses of
// providers.
//
// The package knows net/http and testing/synctest, and nothing of this module,
// so that the tests of every package can import it. All but [Serve] works inside
// a synctest bubble. No package variable holds a channel or a timer.
package wiretest

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// Step is what a [Script] does with one attempt. The zero Step answers 200 with
// an empty body.
type Step struct {
	Status int // 0: 200
	Header http.Header
	Body   string
	Stream io.ReadCloser                               // in place of Body, of unknown length
	Err    error                                       // in place of a response
	Delay  time.Duration                               // before either; the attempt's context cuts it short
	Do     func(*http.Request) (*http.Response, error) // in place of all that; it has to read the request's body
}

// Attempt is the record of one attempt.
type Attempt struct {
	At     time.Time
	Header http.Header
	Body   string
	Closed time.Time // when the response's body was first closed; zero while it is open
}

// Script is a round-tripper that plays its steps in order, the last one for
// ever, and records the attempts. It is safe for concurrent use, if Steps is not
// changed meanwhile.
type Script struct {
	Steps []Step

	mu       sync.Mutex
	attempts []*Attempt
}

// Play returns a Script of the steps. Without steps every attempt gets the
// response of the zero [Step].
func Play(steps ...Step) *Script { return &Script{Steps: steps} }

// FailTimes returns n times the step and then the zero [Step].
func FailTimes(n int, failure Step) []Step {
	steps := make([]Step, n, n+1)
	for i := range steps {
		steps[i] = failure
	}
	return append(steps, Step{})
}

// RoundTrip plays the next step.
func (s *Script) RoundTrip(req *http.Request) (*http.Response, error) {
	s.mu.Lock()
	a := &Attempt{At: time.Now(), Header: req.Header.Clone()}
	step := Step{}
	if n := len(s.Steps); n > 0 {
		step = s.Steps[min(len(s.attempts), n-1)]
	}
	s.attempts = append(s.attempts, a)
	s.mu.Unlock()
	if step.Do != nil {
		return step.Do(req)
	}
	if req.Body != nil {
		b, err := io.ReadAll(req.Body)
		req.Body.Close()
		if err != nil {
			return nil, err
		}
		s.mu.Lock()
		a.Body = string(b)
		s.mu.Unlock()
	}
	if step.Delay > 0 {
		if err := Sleep(req.Context(), step.Delay); err != nil {
			return nil, err
		}
	}
	if step.Err != nil {
		return nil, step.Err
	}
	res := &http.Response{
		StatusCode: step.Status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: step.Header.Clone(), ContentLength: int64(len(step.Body)), Request: req,
	}
	if res.StatusCode == 0 {
		res.StatusCode = http.StatusOK
	}
	res.Status = http.StatusText(res.StatusCode)
	if res.Header == nil {
		res.Header = http.Header{}
	}
	var body io.ReadCloser = io.NopCloser(strings.NewReader(step.Body))
	if step.Stream != nil {
		body, res.ContentLength = step.Stream, -1
	}
	res.Body = &WatchedBody{ReadCloser: body, Closing: func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if a.Closed.IsZero() {
			a.Closed = time.Now()
		}
	}}
	return res, nil
}

// Attempts returns a copy of the record.
func (s *Script) Attempts() []Attempt {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Attempt, len(s.attempts))
	for i, a := range s.attempts {
		all[i] = *a
	}
	return all
}

// Sent returns the number of attempts.
func (s *Script) Sent() int { return len(s.Attempts()) }

// Names returns the names of the requests of [Named], in the order in which
// they were sent.
func (s *Script) Names() string {
	var names []string
	for _, a := range s.Attempts() {
		names = append(names, a.Header.Get(nameHeader))
	}
	return strings.Join(names, " ")
}

// Waits returns the times between the attempts.
func Waits(attempts []Attempt) []time.Duration {
	var waits []time.Duration
	for i := 1; i < len(attempts); i++ {
		waits = append(waits, attempts[i].At.Sub(attempts[i-1].At))
	}
	return waits
}

// CheckRate fails if any window has more attempts than a quota of perMinute and
// burst admits.
func CheckRate(t testing.TB, attempts []Attempt, start time.Time, perMinute, burst int) {
	t.Helper()
	for i := range attempts {
		for j := i; j < len(attempts); j++ {
			d := attempts[j].At.Sub(attempts[i].At)
			if n, most := float64(j-i+1), d.Minutes()*float64(perMinute)+float64(burst); n > most+1e-6 {
				t.Fatalf("%v requests in %v from %v on, want at most %v", n, d, attempts[i].At.Sub(start), most)
			}
		}
	}
}
