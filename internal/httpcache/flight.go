package httpcache

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/notify"
)

// flight is one upstream call for all who want its answer. It has a call of its
// own, with the flight for its context, so that no caller's end is the flight's:
// that comes when the last one has left. It is the only goroutine besides those
// of the callers, and ends with the body.
//
// Until it lands, which is when the answer's header is there, the callers wait.
// Then each either reads along, from the first byte on, or goes its own way.
type flight struct {
	visit *visit // of the one who began it, with the exchange's request
	ex    Exchange
	r     Answer // what ex has come to
	key   cacheKey
	table *flights // nil where nobody can join

	sender   Exchange // ex, before we have asked a second time
	asked    question
	own      http.Header // the leader's, without our questions
	values   Values      // the leader's
	priority int         // the leader's
	landed   chan struct{}

	course course // of what it brings

	mu         sync.Mutex
	waiting    int       // callers that have not left
	detached   bool      // it goes on without any
	deadline   time.Time // the latest of theirs
	endless    bool      // one of them has none
	err        error     // why the flight has ended; nil: it has not
	done       chan struct{}
	after      notify.AfterFuncs
	leaderLeft bool
	closed     bool // the body, by us

	// What it landed as. Only the leader may touch r after that, unless it left.
	how      landing
	panicked any
	shared   *cached        // what all may have, and if body is set, its header only
	template *http.Response // the leader's
	line     string
	note     string
	why      string

	// The body while it is recorded.
	head, tail *piece // head is nil when it is no longer kept from its beginning
	total      int64
	complete   bool // it is stored; what may still come is no part of the answer
	fin        error
	trailer    http.Header
	readers    []*reader
	lead       *reader       // the leader's; nil if it has left before
	moved      chan struct{} // closed when there is more to read
	drained    chan struct{} // closed when a reader has moved
}

type landing uint8

const (
	private  landing = iota // the result is the leader's, the others go alone
	known                   // shared is a whole answer
	recorded                // the body is being recorded
	crashed                 // a function of the user panicked
)

// piece is one Read's worth of a body.
type piece struct {
	data []byte
	next *piece
}

// flights are those that can be joined.
type flights struct {
	mu  sync.Mutex
	m   map[cacheKey]*flight
	all map[*course]struct{}   // what is under way, joined by others or not
	shy map[cacheKey]time.Time // until when nobody waits for another's answer
}

const (
	// shyFor is how long requests are not made to wait for each other's answer
	// after one that could not be stored, for which they would have waited in vain.
	shyFor = 2 * time.Second
	maxShy = 1024
	// refreshTime bounds a refresh that no caller waits for.
	refreshTime = 30 * time.Second
	minWindow   = 64 << 10
)

func (fl *flight) Deadline() (time.Time, bool) {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	return fl.deadline, !fl.endless && !fl.deadline.IsZero()
}

func (fl *flight) Done() <-chan struct{} { return fl.done }

func (fl *flight) Err() error {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	return fl.err
}

// Value is the leader's, but for what ties a call to those around it: the flight
// may outlive them.
func (fl *flight) Value(key any) any {
	return fl.values.Value(key)
}

// AfterFunc saves a goroutine, as that of [attempt] does.
func (fl *flight) AfterFunc(f func()) (stop func() bool) {
	fl.mu.Lock()
	if fl.err != nil {
		fl.mu.Unlock()
		go f()
		return func() bool { return false }
	}
	defer fl.mu.Unlock()
	return fl.after.Add(&fl.mu, f)
}

// end ends the flight's context, once.
func (fl *flight) end(err error) {
	fl.mu.Lock()
	if fl.err != nil {
		fl.mu.Unlock()
		return
	}
	fl.err = err
	close(fl.done)
	after := fl.after.Take()
	fl.mu.Unlock()
	after.Call()
}

// join boards the flight that is under way, or begins one. It returns none if
// an answer has been stored since the visit looked, for once: in a busy cache
// something is stored at every moment.
func (t *flights) join(v *visit, key cacheKey, joins, looked bool) (fl *flight, leads bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !joins {
		return t.begin(v, key, nil), true
	}
	if fl := t.m[key]; fl != nil && !fl.queuesBehind(v.facts.Priority) && fl.board(v.req.Context()) {
		return fl, false
	}
	if puts := v.cache.shelf.puts.Load(); puts != v.puts && !looked {
		v.puts = puts
		return nil, false
	}
	if until, ok := t.shy[key]; ok {
		if v.now.Before(until) {
			return t.begin(v, key, nil), true
		}
		delete(t.shy, key)
	}
	if t.m == nil {
		t.m = make(map[cacheKey]*flight)
	}
	fl = t.begin(v, key, t)
	t.m[key] = fl
	return fl, true
}

// begin makes a flight, under mu.
func (t *flights) begin(v *visit, key cacheKey, table *flights) *flight {
	fl := v.newFlight(v.req.Context(), key, table)
	fl.course.key = v.key
	t.watchLocked(&fl.course)
	return fl
}

// course is the way of an answer to the shelf, from when the server is asked until
// it is stored.
type course struct {
	key      cacheKey    // of what it is about
	doubtful atomic.Bool // an unsafe request has changed that
}

func (t *flights) watch(w *course) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.watchLocked(w)
}

func (t *flights) watchLocked(w *course) {
	if t.all == nil {
		t.all = make(map[*course]struct{})
	}
	t.all[w] = struct{}{}
}

// over says that nothing is stored any more.
func (t *flights) over(w *course) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.all, w)
}

// doubt is told that what is stored under a key is out of date, and with it what
// is under way to there, which the server may have said before the change. The
// answer to the request that made the change, if that is to be stored, it has not.
func (t *flights) doubt(key cacheKey, own *course) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for w := range t.all {
		if w.key == key && w != own {
			w.doubtful.Store(true)
		}
	}
	for k, fl := range t.m {
		if fl.course.key == key {
			delete(t.m, k)
		}
	}
}

// keep stores an answer, unless what it is about has changed since it was asked
// for. A change that comes between the two finds it, or is seen here.
func (w *course) keep(v *visit, e *cached, put func(*cached)) {
	if w.doubtful.Load() {
		return
	}
	if put(e); w.doubtful.Load() {
		v.cache.shelf.forget(v, e.key)
		if e.primary != e.key { // the index, written back with what it had before the change
			v.cache.shelf.forget(v, e.primary)
		}
	}
}

// shun keeps requests from waiting for each other for a while.
func (t *flights) shun(key cacheKey, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.shy == nil {
		t.shy = make(map[cacheKey]time.Time)
	}
	if len(t.shy) >= maxShy {
		for k, until := range t.shy {
			if !now.Before(until) {
				delete(t.shy, k)
			}
		}
		if len(t.shy) >= maxShy {
			clear(t.shy)
		}
	}
	t.shy[key] = now.Add(shyFor)
}

func (t *flights) unlink(fl *flight) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.m[fl.key] == fl {
		delete(t.m, fl.key)
	}
}

// newFlight makes the flight and its call, which takes the request's body over.
func (v *visit) newFlight(ctx context.Context, key cacheKey, table *flights) *flight {
	fl := &flight{key: key, table: table, values: v.call.Values(), priority: v.facts.Priority, landed: make(chan struct{}), done: make(chan struct{})}
	fl.visit = new(visit)
	*fl.visit = *v
	fl.waitFor(ctx)
	fl.ex = v.call.Start(fl, fl.visit)
	fl.visit.req, fl.sender = fl.ex.Request(), fl.ex
	return fl
}

func (fl *flight) waitFor(ctx context.Context) {
	fl.waiting++
	if at, ok := ctx.Deadline(); !ok {
		fl.endless = true
	} else if at.After(fl.deadline) {
		fl.deadline = at
	}
}

// queuesBehind reports whether the flight still waits to be sent, with a lower
// priority than the caller's. Who is urgent would wait in the place of who is not:
// a second request is the smaller evil. Once it is sent, it is the faster one.
func (fl *flight) queuesBehind(priority int) bool {
	return priority > fl.priority && fl.sender.Waiting()
}

// board takes one more caller, unless the flight has ended or has nothing that
// could be had from the beginning.
func (fl *flight) board(ctx context.Context) bool {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	select {
	case <-fl.landed:
		if fl.how != recorded || fl.head == nil {
			return false
		}
	default:
	}
	if fl.err != nil && !fl.complete || fl.fin != nil && fl.fin != io.EOF {
		return false
	}
	fl.waitFor(ctx)
	return true
}

// abandon lets a caller go that waits for the landing. It reports true if the
// flight has landed or, with its last caller, ended: then there is a result to
// wait for, which is the leader's.
func (fl *flight) abandon(err error, leads bool) bool {
	fl.table.lock()
	fl.mu.Lock()
	select {
	case <-fl.landed:
		fl.mu.Unlock()
		fl.table.unlock()
		return true
	default:
	}
	fl.waiting--
	last := fl.waiting == 0 && !fl.detached
	if last {
		fl.table.unlinkLocked(fl)
	}
	fl.leaderLeft = fl.leaderLeft || leads && !last
	fl.mu.Unlock()
	fl.table.unlock()
	if last {
		fl.end(err)
	}
	return last && leads
}

func (t *flights) lock() {
	if t != nil {
		t.mu.Lock()
	}
}

func (t *flights) unlock() {
	if t != nil {
		t.mu.Unlock()
	}
}

func (t *flights) unlinkLocked(fl *flight) {
	if t != nil && t.m[fl.key] == fl {
		delete(t.m, fl.key)
	}
}

// run is the flight's goroutine.
func (fl *flight) run() {
	orderly := false
	defer fl.visit.cache.flights.over(&fl.course)
	defer func() {
		if !orderly {
			fl.crash(recover())
		}
	}()
	fl.own = fl.ex.Request().Header.Clone()
	fl.validate()
	requested := time.Now()
	fl.ask()
	if !fl.answered(requested) {
		fl.settle(requested)
	}
	if fl.how == recorded {
		fl.pump()
	}
	orderly = true
}

func (fl *flight) ask() {
	fl.r = fl.ex.Send()
}

// land tells the callers what the flight has come to. If the leader has left,
// nobody wants a private result.
func (fl *flight) land(how landing, set func()) {
	if how != recorded {
		fl.table.unlink(fl)
	}
	fl.mu.Lock()
	fl.how = how
	if set != nil {
		set()
	}
	unwanted := how == private && (fl.leaderLeft || fl.detached)
	if fl.detached && how != recorded && fl.note != "revalidated" {
		defer fl.table.shun(fl.key, time.Now()) // a refresh that failed is not tried again at once
	}
	if how == recorded && !fl.leaderLeft && !fl.detached {
		// The leader is on board from now on, or the pump could run ahead of it.
		fl.lead = &reader{flight: fl, leads: true, at: fl.head}
		fl.readers = append(fl.readers, fl.lead)
	}
	close(fl.landed)
	fl.mu.Unlock()
	if unwanted {
		fl.ex.Discard()
	}
}

// crash is what a panic, or the end of the goroutine, in a function of the user
// comes to: it reaches the leader's goroutine.
func (fl *flight) crash(why any) {
	if why == nil {
		why = errors.New("a function of the Transport ended its goroutine")
	}
	select {
	case <-fl.landed:
		fl.table.unlink(fl)
		fl.mu.Lock()
		fl.panicked, fl.fin = why, errCrashed
		fl.stir(&fl.moved)
		fl.mu.Unlock()
		fl.ex.Discard()
	default:
		fl.ex.Discard()
		fl.land(crashed, func() { fl.panicked = why })
	}
	fl.end(context.Canceled)
}

var errCrashed = errors.New("a function of the Transport that answers another request panicked")
