package snubber

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/breaker"
	"github.com/seed-9e4f5248/snubber/internal/limit"
	"github.com/seed-9e4f5248/snubber/internal/mono"
	"github.com/seed-9e4f5248/snubber/internal/notify"
	"github.com/seed-9e4f5248/snubber/internal/watchdog"
)

// attempt is one try on the wire. It is the context of its own request, which saves the
// allocations of a derived one. It lives until the response's body has ended: a context
// that ended with RoundTrip would cut the body off.
//
// It has two lifetimes that must not be merged. The permit is held until a stream's
// terminal event, or until nobody has read for long. The attempt itself ends at EOF, at
// an error, at Close or with the caller's context, and only then lets go of the
// connection.
type attempt struct {
	exchange *exchange
	req      http.Request // what Base gets
	number   uint16       // in the call, from 1

	kind      admission // how it was admitted
	counted   bool      // it is in the root's number of attempts
	blackHole bool      // it shows that the service hangs

	// Under mu.
	flags    attemptFlags
	finished bool
	ended    ending

	circuitPermit breaker.Permit
	permit        limit.Permit

	mu           sync.Mutex
	done         chan struct{}     // made at the first Done
	timeoutErr   *TimeoutError     // the limit that ended it
	after        notify.AfterFuncs // to call at its end
	stopWatching func() bool       // stops watching the caller's context
	outcome      *Outcome          // the provisional verdict; nil for a plain success
	watch        watchdog.Watch
	timer        *watchdog.Timer[attempt, *attempt]
	body         responseBody
}

// attemptFlags are facts about an attempt. They are bits and not fields for the size of
// call.
type attemptFlags uint8

const (
	attemptClaimed  attemptFlags = 1 << iota // a nested Transport sends it as its own first attempt
	attemptHedged                            // it races: its verdict is not the call's yet
	attemptComplete                          // the meter saw all of the response, and no error in it
)

func (f attemptFlags) has(flag attemptFlags) bool { return f&flag != 0 }

func (f *attemptFlags) set(flag attemptFlags, on bool) {
	if *f &^= flag; on {
		*f |= flag
	}
}

// admission is how an attempt was admitted.
type admission uint8

const (
	firstTry    admission = iota
	budgetedTry           // paid for from the retry budget
	requeuedTry           // put off by a server's limit or an open circuit: it counts as no attempt
	hedgeTry              // paid for from the retry budget, beside another one
	viaRoute              // sent to another route, past all layers of this Transport
	noRetry               // not at all
)

// ending says why an attempt's context has ended.
type ending uint8

const (
	attemptRunning  ending = iota
	attemptAborting        // the context lives until the verdict has been given
	attemptFinished
	attemptTimedOut
	attemptAbandoned
	attemptLostRace // to another attempt of the same call
)

// lostRaceReason is the reason of a Canceled Outcome. The Report is about the winner.
const lostRaceReason = "overtaken"

type attemptKey struct{}

// parentAttempt returns the attempt of the Transport around the one that got ctx, or
// nil.
func parentAttempt(ctx context.Context) *attempt {
	a, _ := ctx.Value(attemptKey{}).(*attempt)
	return a
}

func (a *attempt) Deadline() (time.Time, bool) { return a.exchange.ctx().Deadline() }

func (a *attempt) Value(key any) any {
	switch key {
	case attemptKey{}:
		return a
	case knownRequestKey{}:
		return &a.exchange.knownRequest
	}
	return a.exchange.ctx().Value(key)
}

func (a *attempt) Done() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.done == nil {
		a.done = make(chan struct{})
		if a.ended > attemptAborting {
			close(a.done)
		}
	}
	return a.done
}

func (a *attempt) Err() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.errLocked()
}

func (a *attempt) errLocked() error {
	switch a.ended {
	case attemptRunning, attemptAborting:
		return nil
	case attemptTimedOut:
		return context.DeadlineExceeded
	case attemptAbandoned:
		return a.exchange.ctx().Err()
	}
	return context.Canceled
}

// AfterFunc calls f when the attempt has ended. Without this method the context package
// would start a goroutine for each context derived from an attempt, and net/http
// derives one for each request.
func (a *attempt) AfterFunc(f func()) (stop func() bool) {
	a.mu.Lock()
	if a.ended > attemptAborting {
		a.mu.Unlock()
		go f() // in a goroutine: the context package holds a lock here that f takes
		return func() bool { return false }
	}
	defer a.mu.Unlock()
	return a.after.Add(&a.mu, f)
}

// start arms the timers, and then watches the caller's context. That may end the
// attempt at once, so everything else must be ready before.
func (a *attempt) start() {
	a.mu.Lock()
	if d, ok := a.watch.Start(a.limits()); ok {
		a.timer = watchdog.NewTimer(a.exchange.t.timerPool(), a, a.watch.Started, d)
	}
	a.mu.Unlock()
	if ctx := a.exchange.ctx(); ctx.Done() != nil {
		stop := context.AfterFunc(ctx, func() { a.abort(attemptAbandoned, nil) })
		a.mu.Lock()
		if a.ended <= attemptAborting {
			a.stopWatching = stop
		}
		a.mu.Unlock()
	}
}

// limits returns the limits of an attempt. On another route, that route sets its own.
func (a *attempt) limits() *watchdog.Limits {
	if a.kind == viaRoute {
		return &noLimits
	}
	return a.exchange.t.limits()
}

// rearmLocked sets the timer, unless it rings no later than the nearest limit.
func (a *attempt) rearmLocked(now mono.Time) {
	if a.ended != attemptRunning {
		return
	}
	d, ok := a.watch.Arm(a.limits(), now)
	switch {
	case !ok:
	case a.timer == nil:
		a.timer = watchdog.NewTimer(a.exchange.t.timerPool(), a, a.watch.Started, d)
	default:
		a.timer.Reset(d)
	}
}

// Tick is called by the timer. It ends what has taken too long.
func (a *attempt) Tick() {
	a.mu.Lock()
	now := mono.Now()
	phase, limit, passed := a.watch.Ring(a.limits(), now)
	switch {
	case a.ended != attemptRunning:
		a.mu.Unlock()
	case !passed:
		a.rearmLocked(now)
		a.mu.Unlock()
	case phase == watchdog.PhaseHold:
		held := a.stopHoldingLocked()
		a.rearmLocked(now)
		a.mu.Unlock()
		if held {
			a.permit.Release()
		}
	default:
		a.mu.Unlock()
		a.abort(attemptTimedOut, &TimeoutError{Phase: TimeoutPhase(phase), After: limit})
	}
}

// stopHoldingLocked marks the permit as released, and reports whether it was held. The
// caller then releases it after unlocking.
func (a *attempt) stopHoldingLocked() (held bool) {
	held, a.watch.Holding = a.watch.Holding, false
	return held
}

// abort ends the attempt from outside: by a timer, the caller's context or a race.
// Until the response is returned, the loop that waits in Base, or for the start of the
// body, gives the verdict. After that nobody may be reading, so abort gives the
// verdict.
func (a *attempt) abort(why ending, timeout *TimeoutError) {
	a.mu.Lock()
	if a.ended != attemptRunning {
		a.mu.Unlock()
		return
	}
	a.timeoutErr = timeout
	rc := a.body.rc
	if reads := a.body.reads(); rc == nil || reads != nil && reads.Filling() { // end it in the same step: wrapBody must not come between
		after, stopWatching := a.endLocked(why)
		a.mu.Unlock()
		runCallbacks(after, stopWatching)
		if rc != nil {
			rc.Close() // wakes the Read of lookAhead
		}
		return
	}
	a.ended = attemptAborting
	a.mu.Unlock()

	// The verdict comes before the error: a caller that reads the error may close at
	// once, and Close has a verdict of its own.
	o, err := Outcome{Class: Canceled, Reason: cancelReason(a.exchange.ctx())}, a.exchange.ctx().Err()
	switch {
	case timeout != nil:
		o, err = Outcome{Class: TimedOut, Reason: "timeout_" + string(timeout.Phase)}, timeout
	case why == attemptLostRace:
		o, err = Outcome{Class: Canceled, Reason: lostRaceReason}, context.Canceled
	}
	a.finish(o)
	a.mu.Lock()
	if a.body.err == nil {
		a.body.fail(a.exchange, o, err)
	}
	a.mu.Unlock()
	if a.end(why) {
		rc.Close() // wakes a Read that does not watch the context
	}
}

// end ends the attempt's context. It reports false if the context has ended before.
func (a *attempt) end(why ending) bool {
	a.mu.Lock()
	if a.ended > attemptAborting {
		a.mu.Unlock()
		return false
	}
	after, stopWatching := a.endLocked(why)
	a.mu.Unlock()
	runCallbacks(after, stopWatching)
	return true
}

// endLocked returns the callbacks to run after unlocking.
func (a *attempt) endLocked(why ending) (after notify.AfterFuncs, stopWatching func() bool) {
	a.ended = why
	if a.done != nil {
		close(a.done)
	}
	if timer := a.timer; timer != nil {
		a.timer = nil
		timer.Free(a.exchange.t.timerPool(), a.watch.Started)
	}
	if m := a.body.meter; m != nil { // after the verdict, which reads it
		if a.body.err == nil || m.reads == nil { // otherwise a Read may still be copying from it
			a.body.meter = nil
		}
		m.Free()
	}
	after, stopWatching = a.after.Take(), a.stopWatching
	a.stopWatching = nil
	return after, stopWatching
}

func runCallbacks(after notify.AfterFuncs, stopWatching func() bool) {
	after.Call()
	if stopWatching != nil {
		stopWatching()
	}
}

// claim reports whether the caller, a nested Transport, is the first to send something
// for this attempt.
func (a *attempt) claim() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	was := a.flags.has(attemptClaimed)
	a.flags.set(attemptClaimed, true)
	return !was
}

// unclaim takes a claim back: nothing was sent.
func (a *attempt) unclaim() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.flags.set(attemptClaimed, false)
}

func (a *attempt) isClaimed() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.flags.has(attemptClaimed)
}

// finish gives the final verdict, once, to everything that waits for it.
func (a *attempt) finish(o Outcome) {
	a.mu.Lock()
	finished := a.finished
	a.mu.Unlock()
	if !finished {
		a.finishAt(o, mono.Now())
	}
}

func (a *attempt) finishAt(o Outcome, at mono.Time) {
	a.mu.Lock()
	if a.finished {
		a.mu.Unlock()
		return
	}
	a.finished = true
	if o.Quotas == nil && a.outcome != nil {
		o.Quotas = a.outcome.Quotas
	}
	if u, ok := a.body.usage(); ok {
		o.Usage = Usage(u)
	}
	if a.flags.has(attemptHedged) {
		a.outcome = new(Outcome)
		*a.outcome = o
	} else {
		a.exchange.recordOutcome(&o) // under mu: once finished is set, anybody may read the Report
	}
	held := a.stopHoldingLocked()
	took := at.Sub(a.watch.Started)
	a.mu.Unlock()

	now := at.Time()
	if held && o.Unsent {
		a.exchange.queue.cancel(a.permit)
	} else {
		a.exchange.queue.settle(a.permit, &o, a.exchange.info, held, now)
	}
	a.exchange.onFinish(a, &o, took, now)
}

// translate returns what an error of Base means. A timer of the attempt or the end of
// the caller's context may be behind it, whatever Base says.
func (a *attempt) translate(err error) error {
	a.mu.Lock()
	timeout := a.timeoutErr
	a.mu.Unlock()
	if timeout != nil {
		return timeout
	}
	if end := a.exchange.ctx().Err(); end != nil && !errors.Is(err, end) {
		return &endedError{end: end, err: err}
	}
	return err
}

// wonRace makes the verdict of an attempt that raced the call's, whether it was given
// yet or not.
func (a *attempt) wonRace() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.flags.set(attemptHedged, false); a.finished {
		a.exchange.recordOutcome(a.outcome)
	}
}

// hasLostRace reports whether another attempt of the call has won the race.
func (a *attempt) hasLostRace() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.ended == attemptLostRace
}

// headerSeen notes that the response's header has arrived. It reports false if the
// attempt has ended meanwhile.
func (a *attempt) headerSeen(now mono.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.circuitPermit.Header(now.Sub(a.watch.Started))
	a.watch.Header(now)
	return a.ended == attemptRunning
}
