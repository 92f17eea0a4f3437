package snubber

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/rfc9111"
)

// flight is one upstream call for all who want its answer. It has a call of its
// own, with the flight for its context, so that no caller's end is the flight's:
// that comes when the last one has left. It is the only goroutine besides those
// of the callers, and ends with the body.
//
// Until it lands, which is when the answer's header is there, the callers wait.
// Then each either reads along, from the first byte on, or goes its own way.
type flight struct {
	visit *visit // of the one who began it, with the flight's own call
	call  *call
	key   cacheKey
	table *flights // nil where nobody can join

	asked  question
	own    http.Header     // the leader's, without our questions
	values context.Context // the leader's
	landed chan struct{}

	doubtful atomic.Bool // an unsafe request has changed what it is about

	mu         sync.Mutex
	waiting    int       // callers that have not left
	detached   bool      // it goes on without any
	deadline   time.Time // the latest of theirs
	endless    bool      // one of them has none
	err        error     // why the flight has ended; nil: it has not
	done       chan struct{}
	after      *callback
	leaderLeft bool
	closed     bool // the body, by us

	// What it landed as. Only the leader may touch r after that, unless it left.
	how      landing
	r        result
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

// question is what a flight asks about what is stored.
type question uint8

const (
	nothing question = iota
	validation
	completion // of a part
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
	switch key.(type) {
	case attemptKey, ledgerKey, reportKey:
		return nil
	}
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
	cb := &callback{f, fl.after}
	fl.after = cb
	fl.mu.Unlock()
	return func() bool {
		fl.mu.Lock()
		defer fl.mu.Unlock()
		for p := &fl.after; *p != nil; p = &(*p).next {
			if *p == cb {
				*p = cb.next
				return true
			}
		}
		return false
	}
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
	after := fl.after
	fl.after = nil
	fl.mu.Unlock()
	tell(after, nil)
}

// fly gets the answer from the server, or from a flight that is under way.
func (v *visit) fly() (*http.Response, error) {
	key, joins := v.flightKey(), v.joins()
	var fl *flight
	var leads, orderly bool
	defer func() {
		if !orderly { // a function of the user panicked: the place on board is not kept
			v.desert(fl, leads)
		}
	}()
	for {
		fl, leads = v.cache.flights.join(v, key, joins)
		if fl == nil { // something was stored since we looked
			v.now = time.Now()
			v.look()
			if v.use() == rfc9111.Fresh {
				orderly = true
				return v.hit(v.found, "hit", "")
			}
			continue
		}
		if leads {
			go fl.run()
		}
		ctx := v.call.ctx()
		select {
		case <-fl.landed:
		case <-ctx.Done():
			if !fl.abandon(ctx.Err(), leads) {
				orderly = true
				v.note("miss", "canceled")
				return v.call.deliver(&result{err: ctx.Err(), o: classifyError(v.call.in, ctx.Err())})
			}
			<-fl.landed // the flight has ended with its last caller, and has the verdict
		}
		if res, err, ok := v.arrive(fl, leads); ok {
			orderly = true
			return res, err
		}
		// Another variant: those who want the same may wait for each other once more.
		if joins = joins && fl.how == recorded && !v.selects(fl) && key != v.refined(fl); joins {
			key = v.refined(fl)
		}
	}
}

// desert gives up a place on board in the middle of things.
func (v *visit) desert(fl *flight, leads bool) {
	switch {
	case fl == nil:
	case v.reader != nil:
		v.reader.Close()
	case leads && fl.how == private:
		fl.r.drop()
	}
}

// joins reports whether the answer to another's request will do, and ours for it.
func (v *visit) joins() bool {
	return v.fwd != "request" && !v.q.NoCache && !v.q.Conditional && !v.q.Range
}

// flightKey is what requests agree on that wait for each other: beside the key
// the fields by which answers most often vary. What else an answer varies by is
// seen when it comes.
func (v *visit) flightKey() cacheKey {
	if v.kind == prompting {
		return v.key
	}
	return v.variantKey([16]byte{}, []string{"Accept", "Accept-Encoding", "Accept-Language"}, v.call.in.Header)
}

// refined is the key of a flight for those who select the same variant of what
// another flight has brought.
func (v *visit) refined(fl *flight) cacheKey {
	names, _ := rfc9111.Vary(fl.shared.header)
	return v.variantKey([16]byte{1}, names, v.call.in.Header)
}

// join boards the flight that is under way, or begins one. It returns none if
// an answer has been stored since the visit looked.
func (t *flights) join(v *visit, key cacheKey, joins bool) (fl *flight, leads bool) {
	ctx := v.call.ctx()
	if !joins {
		return v.newFlight(ctx, key, nil), true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if fl := t.m[key]; fl != nil && fl.board(ctx) {
		return fl, false
	}
	if puts := v.cache.shelf.puts.Load(); puts != v.puts {
		v.puts = puts
		return nil, false
	}
	if until, ok := t.shy[key]; ok {
		if v.now.Before(until) {
			return v.newFlight(ctx, key, nil), true
		}
		delete(t.shy, key)
	}
	if t.m == nil {
		t.m = make(map[cacheKey]*flight)
	}
	fl = v.newFlight(ctx, key, t)
	t.m[key] = fl
	return fl, true
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
	fl := &flight{key: key, table: table, values: ctx, landed: make(chan struct{}), done: make(chan struct{})}
	fl.visit = new(visit)
	*fl.visit = *v
	fl.waitFor(ctx)
	fl.call = v.call.detach(fl)
	fl.visit.call = fl.call
	fl.call.detours().visit = fl.visit
	return fl
}

// detach makes a call for the same request that does not end with this one.
func (c *call) detach(ctx context.Context) *call {
	d := &call{t: c.t, in: c.in.Clone(ctx), asked: c.asked, replay: c.replay}
	c.replay = replay{}
	if c.t.Retry != nil {
		if d.limit = c.t.Retry.attempts(); c.outer != nil {
			root := c.root()
			root.mu.Lock()
			d.limit = min(d.limit, root.limit-root.sent+int32(root.free)+1) // the first is the enclosing attempt itself
			root.mu.Unlock()
		}
	}
	d.first.prepare(d)
	return d
}

func (fl *flight) waitFor(ctx context.Context) {
	fl.waiting++
	if at, ok := ctx.Deadline(); !ok {
		fl.endless = true
	} else if at.After(fl.deadline) {
		fl.deadline = at
	}
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
	defer func() {
		if !orderly {
			fl.crash(recover())
		}
	}()
	fl.own = fl.call.in.Header.Clone()
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
	fl.call.ask(&fl.r)
	fl.call.replay.end(fl.call.in.Body)
}

// validate asks the server about what is stored, where there is something: with
// the caller's own conditions, if it has any, beside ours.
func (fl *flight) validate() {
	v, h := fl.visit, fl.call.in.Header
	switch {
	case v.found == nil || v.kind != getting:
	case v.found.status == http.StatusPartialContent:
		if span, ifRange, ok := rfc9111.Rest(v.found.header, v.found.span); ok && v.found.span.First == 0 && !v.q.Range && !v.q.Conditional {
			h["Range"], h["If-Range"] = []string{span}, []string{ifRange}
			fl.asked = completion
		}
	case !v.q.Conditional:
		if rfc9111.Conditions(h, v.found.header) {
			fl.asked = validation
		}
	default:
		etag, own := v.found.header["Etag"], h["If-None-Match"]
		if len(etag) > 0 && (len(own) > 0 || h["If-Modified-Since"] != nil) {
			h["If-None-Match"] = append(own[:len(own):len(own)], etag[0])
			fl.asked = validation
		}
	}
}

// answered handles the answer to a question of our own: a 304, or the rest of
// what is stored. It reports false if the result is an answer like any other.
func (fl *flight) answered(requested time.Time) bool {
	v, res := fl.visit, fl.r.res
	switch {
	case fl.asked == validation && res != nil && res.StatusCode == http.StatusNotModified:
		return fl.confirmed(requested)
	case fl.asked == completion && res != nil && res.StatusCode != http.StatusOK:
		span, ok := rfc9111.ContentRange(res.Header)
		if ok = ok && res.StatusCode == http.StatusPartialContent && span.First == v.found.span.Last+1; ok {
			span, ok = rfc9111.Combine(v.found.header, v.found.span, res.Header, span)
		}
		if ok && span.Whole() && span.Size <= v.cache.maxEntry() {
			fl.completed(span, requested)
			return true
		}
		if res.StatusCode < 500 {
			fl.again()
		}
	}
	return false
}

// confirmed handles a 304.
func (fl *flight) confirmed(requested time.Time) bool {
	v, res := fl.visit, fl.r.res
	now := time.Now()
	if rfc9111.Confirms(v.found.header, res.Header) && (!v.q.Conditional || res.Header["Etag"] != nil) {
		e := v.found.freshened(v.cache, res.Header, requested, now)
		v.cache.shelf.put(v, e)
		fl.r.drop()
		fl.land(known, func() {
			fl.shared, fl.note = e, "revalidated"
			fl.line = "; fwd=" + v.fwd + "; fwd-status=304"
		})
		return true
	}
	if v.q.Conditional && res.Header["Etag"] != nil { // it is the caller's that is current
		v.cache.shelf.drop(v, v.found.key)
		return false
	}
	// It speaks of another answer than ours, or does not say of which.
	fl.again()
	return false
}

// again asks without the questions of our own.
func (fl *flight) again() {
	v := fl.visit
	fl.r.drop()
	again := fl.call.detach(fl)
	for _, name := range [...]string{"If-None-Match", "If-Modified-Since", "Range", "If-Range"} {
		if own := fl.own[name]; own != nil {
			again.in.Header[name] = own
		} else {
			delete(again.in.Header, name)
		}
	}
	again.absorb(fl.call)
	again.detours().visit = v
	fl.call, v.call, v.found, fl.r, fl.asked = again, again, nil, result{}, nothing
	fl.ask()
}

// completed makes one answer of what is stored and of its rest, which is coming.
func (fl *flight) completed(span rfc9111.Span, requested time.Time) {
	v := fl.visit
	now := time.Now()
	e := v.found.freshened(v.cache, fl.r.res.Header, requested, now)
	e.status, e.span = http.StatusOK, rfc9111.Span{}
	e.chunks, e.size = nil, 0 // they come with the recording
	delete(e.header, "Content-Range")
	e.header["Content-Length"] = []string{strconv.FormatInt(span.Size, 10)}
	e.prepare(v.cache)
	template := *fl.r.res
	template.StatusCode, template.Status = http.StatusOK, statusLine(http.StatusOK)
	template.Header, template.ContentLength = e.header, span.Size
	fl.land(recorded, func() {
		fl.shared, fl.template, fl.total = e, &template, v.found.size
		fl.head = new(piece)
		fl.tail = fl.head
		for _, chunk := range v.found.chunks {
			fl.tail.next = &piece{data: chunk}
			fl.tail = fl.tail.next
		}
	})
}

// settle decides what becomes of the result, and lands.
func (fl *flight) settle(requested time.Time) {
	v, r := fl.visit, &fl.r
	c, now := v.cache, time.Now()
	v.now = now
	if v.found != nil && fl.Err() == nil && failing(r) && v.found.serves(v) && v.found.meta.StaleIfError(&v.q, now, c.StaleIfError) {
		line := "; fwd=stale"
		if r.res != nil {
			line += "; fwd-status=" + strconv.Itoa(r.res.StatusCode)
		}
		r.drop()
		fl.land(known, func() { fl.shared, fl.note, fl.line, fl.why = v.found, "stale", line, "stale-if-error" })
		return
	}
	if r.res == nil {
		fl.land(private, nil)
		return
	}
	e, why := fl.storable(requested, now)
	if why == "" && r.res.ContentLength > c.maxEntry() {
		why = "too large"
	}
	if why != "" {
		if r.res.StatusCode < 500 {
			if v.found != nil { // the server says something new about it
				c.shelf.drop(v, v.found.key)
			}
			if r.res.StatusCode < 400 {
				c.flights.shun(fl.key, now)
			}
		}
		fl.table.unlink(fl)
		fl.land(private, func() { fl.why = why })
		return
	}
	if r.res.StatusCode >= 400 { // which are not shared, so that one failure is not everybody's
		fl.table.unlink(fl)
	}
	fl.land(recorded, func() {
		fl.shared, fl.template = e, r.res
		if t := r.res.Trailer; t != nil { // net/http writes into it at the body's end
			announced := *r.res
			announced.Trailer = t.Clone()
			fl.template = &announced
		}
		fl.head = new(piece)
		fl.tail = fl.head
	})
}

// failing reports whether a stored answer is better than the result.
func failing(r *result) bool {
	if r.err != nil {
		return r.o.Class != Canceled
	}
	switch r.res.StatusCode {
	case 500, 502, 503, 504:
		return true
	}
	return false
}

// storable makes the entry for the answer, without its body, or says why there
// is none.
func (fl *flight) storable(requested, now time.Time) (*cached, string) {
	v, r, f := fl.visit, &fl.r, fl.call
	f.mu.Lock()
	route := f.detours().route
	f.mu.Unlock()
	switch {
	case route != 0 || r.a == nil || r.a.how == rerouted:
		return nil, "fallback"
	case r.cut:
		return nil, "cut"
	}
	res := r.res
	e := &cached{
		key: v.key, primary: v.key, prompt: v.kind == prompting, method: http.MethodGet, url: publicURL(f.in.URL),
		status: res.StatusCode, uncompressed: res.Uncompressed, negotiated: f.in.Header["Accept-Encoding"] != nil, requested: requested, received: now,
	}
	if e.prompt {
		e.method, e.model = http.MethodPost, f.asked.model
		switch {
		case res.StatusCode != http.StatusOK:
			return nil, "status"
		case res.Header["Content-Encoding"] != nil:
			return nil, "content encoding"
		case !judgeable(res.Header.Get("Content-Type")):
			return nil, "content type"
		}
		e.header = v.kept(res.Header, now)
		e.prepare(v.cache)
		return e, ""
	}
	meta := rfc9111.Read(res.StatusCode, res.Header, requested, now)
	why := ""
	if res.StatusCode == http.StatusPartialContent {
		var ok bool
		if e.span, ok = rfc9111.ContentRange(res.Header); !ok || res.Uncompressed {
			return nil, "parts"
		}
		why = meta.UnstorablePart(&v.q, v.cache.StaleIfError)
	} else {
		why = meta.Unstorable(&v.q, v.cache.StaleIfError)
	}
	if why != "" {
		return nil, why
	}
	e.header = v.kept(res.Header, now)
	e.prepare(v.cache)
	return e, ""
}

// judgeable reports the media types of answers of which it can be seen whether
// they are whole.
func judgeable(media string) bool {
	media = strings.ToLower(media)
	return strings.Contains(media, "json") || strings.Contains(media, "event-stream") || strings.Contains(media, "eventstream")
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
		fl.r.drop()
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
		fl.r.drop()
	default:
		fl.r.drop()
		fl.land(crashed, func() { fl.panicked = why })
	}
	fl.end(context.Canceled)
}

var errCrashed = errors.New("a function of the Transport that answers another request panicked")

// arrive makes the caller's response of what the flight has come to; false if it
// must go on alone.
func (v *visit) arrive(fl *flight, leads bool) (*http.Response, error, bool) {
	switch fl.how {
	case crashed:
		if leads {
			panic(fl.panicked)
		}
	case private:
		if leads {
			res, err := v.own(fl)
			return res, err, true
		}
	case known:
		if !leads && !v.selects(fl) {
			break
		}
		if leads {
			v.call.absorb(fl.call)
		}
		note, line := fl.note, fl.line
		if !leads {
			note, line = "collapsed", line+"; collapsed"
		}
		v.now = time.Now()
		v.note(note, fl.why)
		res, err := v.deliver(fl.shared.response(v, []byte(line), fl.why))
		return res, err, true
	case recorded:
		if leads {
			v.reader = fl.lead
			fl.mu.Lock()
			v.reader.call = v.call
			fl.mu.Unlock()
		}
		if leads || fl.shared.status < 400 && v.selects(fl) {
			res, err, ok := v.along(fl, leads)
			return res, err, ok
		}
	}
	fl.leave()
	return nil, nil, false
}

// selects reports whether the answer that the flight has brought is the one that
// this request would have got.
func (v *visit) selects(fl *flight) bool {
	if v.kind == prompting {
		return true
	}
	names, _ := rfc9111.Vary(fl.shared.header)
	for _, name := range names {
		a, hasA := rfc9111.Selecting(v.call.in.Header, name)
		b, hasB := rfc9111.Selecting(fl.call.in.Header, name)
		if a != b || hasA != hasB {
			return false
		}
	}
	return fl.shared.legible(v.call.in.Header)
}

// own gives the leader the result that is nobody else's.
func (v *visit) own(fl *flight) (*http.Response, error) {
	r := &fl.r
	v.call.absorb(fl.call)
	v.note("miss", fl.why)
	if v.call.tried = fl.call.tried; v.call.tried > 0 {
		o := fl.verdict()
		v.call.root().settle(&o)
	}
	if r.res == nil {
		fl.leave()
		return v.call.deliver(r)
	}
	r.res.Header = r.res.Header.Clone()
	status(r.res.Header, "; fwd="+v.fwd+"; fwd-status="+strconv.Itoa(r.res.StatusCode), fl.why)
	r.res.Body = fl.handOver(v, r.res.Body)
	return v.call.deliver(r)
}

// along makes the caller a reader of the body that is recorded.
func (v *visit) along(fl *flight, leads bool) (*http.Response, error, bool) {
	p := v.reader
	if !leads {
		p = &reader{flight: fl, call: v.call}
		fl.mu.Lock()
		if p.at = fl.head; p.at == nil { // it was too long to be kept, and is half gone
			fl.mu.Unlock()
			return nil, nil, false
		}
		fl.readers = append(fl.readers, p)
		fl.mu.Unlock()
		v.reader = p
	}
	if ctx := v.call.ctx(); ctx.Done() != nil {
		unhook := context.AfterFunc(ctx, func() { p.leave(ctx.Err(), false) })
		fl.mu.Lock()
		p.unhook = unhook
		fl.mu.Unlock()
	}
	v.now = time.Now()
	if leads {
		v.call.absorb(fl.call)
		v.note("miss", v.fwd)
		v.call.root().settle(&fl.r.o)
		res := *fl.template
		res.Header = res.Header.Clone()
		status(res.Header, "; fwd="+v.fwd+"; stored", "")
		res.Trailer = p.announce(res.Trailer)
		res.Body = p
		given, err := v.call.deliver(&result{a: fl.r.a, res: &res, o: fl.r.o})
		return given, err, true
	}
	v.note("collapsed", v.fwd)
	t := fl.template
	res := &http.Response{
		Status: t.Status, StatusCode: t.StatusCode, Proto: t.Proto, ProtoMajor: t.ProtoMajor, ProtoMinor: t.ProtoMinor,
		Header: fl.shared.replay(v.now, []byte("; fwd="+v.fwd+"; collapsed"), ""), ContentLength: t.ContentLength, Uncompressed: t.Uncompressed,
		Trailer: p.announce(t.Trailer), Body: p,
	}
	res, err := v.deliver(res)
	return res, err, true
}

// refresh asks the server for a new answer while the caller has the old one.
func (v *visit) refresh() {
	t := &v.cache.flights
	key := v.flightKey()
	t.mu.Lock()
	if until := t.shy[key]; t.m[key] != nil || v.now.Before(until) {
		t.mu.Unlock()
		return
	}
	if t.m == nil {
		t.m = make(map[cacheKey]*flight)
	}
	fl := v.newFlight(v.call.ctx(), key, t)
	fl.waiting, fl.detached, fl.endless, fl.deadline = 0, true, false, v.now.Add(refreshTime)
	t.m[key] = fl
	t.mu.Unlock()
	go func() {
		timer := time.AfterFunc(refreshTime, func() { fl.end(context.DeadlineExceeded) })
		defer timer.Stop()
		fl.run()
	}()
}

// absorb books what another call, made for this one, has come to.
func (c *call) absorb(f *call) {
	f.mu.Lock()
	sent, free, readmitted, judged, unsafe := f.sent, f.free, f.readmitted, f.judged, f.unsafe
	var d detour
	if p := f.detour.Load(); p != nil {
		d.queued, d.waited, d.hops, d.route = p.queued, p.waited, p.hops, p.route
	}
	f.mu.Unlock()
	if c.outer != nil && sent > 0 && c.outer.claim() {
		sent--
	}
	root := c.root()
	root.mu.Lock()
	root.sent += sent
	root.free += free
	root.readmitted += readmitted
	root.judged, root.unsafe = root.judged || judged, root.unsafe || unsafe
	if d.queued|d.waited != 0 {
		rd := root.detours()
		rd.queued += d.queued
		rd.waited += d.waited
	}
	root.mu.Unlock()
	if d.hops != nil || d.route != 0 {
		c.hopped(d.hops, d.route)
	}
}

// verdictOf is the latest verdict on the flight's call.
func (fl *flight) verdict() Outcome {
	f := fl.call
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.final != nil {
		return *f.final
	}
	return Outcome{Class: Success}
}
