package httpcache

import (
	"context"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/cachestore"
	"github.com/seed-9e4f5248/snubber/internal/notify"
)

// flight is one exchange for every caller that wants its response: the leader, which
// began it, and the followers, which joined. The flight is the context of its
// exchange, so that no caller's end is the exchange's. It ends when the last caller
// has left. Its goroutine ends with the body.
//
// The callers wait until the flight publishes its result, which it does when it has
// the response's header. Then each caller takes the result or goes on alone.
type flight struct {
	lookup   lookup // the flight's own
	group    *flightGroup
	key      cachestore.Key
	priority int // the leader's
	first    Exchange
	pending  pendingStore

	// The flight's goroutine writes these until it publishes. Then they are constant,
	// but for the response of an unshared result, which is the leader's alone.
	exchange     Exchange // first, or a later one without the cache's own condition
	received     Result   // of exchange
	condition    condition
	callerHeader http.Header // of the request, without the cache's own condition
	result       flightResult

	published chan struct{} // closed when result is there
	done      chan struct{} // closed when the flight has ended

	mu         sync.Mutex
	callers    int       // that have not left
	detached   bool      // the flight goes on without callers
	deadline   time.Time // the latest of the callers'
	noDeadline bool      // a caller has none
	err        error     // why the flight has ended; nil: it has not
	after      notify.AfterFuncs
	leaderLeft bool
	recording
}

// recording is the body of a flight, which its callers read while it arrives. It is
// guarded by the flight's mu.
type recording struct {
	head, tail *chunk // head is nil when the body is not kept from its beginning
	total      int64
	overhead   int64 // of the chunks
	replayed   bool  // the body is a stream, whose chunks are replayed
	complete   bool  // the response is stored; what may follow is not part of it
	bodyClosed bool  // by the cache
	bodyErr    error
	panicked   any // by a function of the user
	readers    []*reader
	leader     *reader          // nil if the leader has left before
	dataReady  notify.Broadcast // for readers
	spaceReady notify.Broadcast // for the flight's goroutine
}

// flightResult is what the callers of a flight get.
type flightResult struct {
	kind     resultKind
	entry    *cachestore.Entry // of resultStreaming without its body
	template *http.Response    // of resultStreaming: the leader's, without its body
	status   string            // of resultStored
	params   string            // of resultStored, for Cache-Status
	detail   string
}

type resultKind uint8

const (
	resultUnshared  resultKind = iota // the response is the leader's, the followers go on alone
	resultStored                      // entry is a complete response
	resultStreaming                   // the body is being recorded
	resultPanicked                    // a function of the user panicked: recording.panicked
)

// condition is what a flight asks on behalf of the stored entry.
type condition uint8

const (
	conditionNone condition = iota
	conditionValidator
	conditionRest // of an entry that is a part
)

// Deadline implements [context.Context].
func (fl *flight) Deadline() (time.Time, bool) {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	return fl.deadline, !fl.noDeadline && !fl.deadline.IsZero()
}

// Done implements [context.Context].
func (fl *flight) Done() <-chan struct{} { return fl.done }

// Err implements [context.Context].
func (fl *flight) Err() error {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	return fl.err
}

// Value implements [context.Context] with the leader's values, but for those that tie
// a call to the calls around it: the flight may outlive them.
func (fl *flight) Value(key any) any { return fl.lookup.call.Values().Value(key) }

// AfterFunc makes [context.AfterFunc] need no goroutine.
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

// end ends the flight, once.
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

// countLocked counts one caller more.
func (fl *flight) countLocked(ctx context.Context) {
	fl.callers++
	if at, ok := ctx.Deadline(); !ok {
		fl.noDeadline = true
	} else if at.After(fl.deadline) {
		fl.deadline = at
	}
}

// queuesBehind reports whether the flight is still in a queue with a lower priority. A
// high-priority caller must not wait behind a low-priority request that is still
// queued, so it sends its own. Once the request is on the wire, sharing is faster.
func (fl *flight) queuesBehind(priority int) bool {
	return priority > fl.priority && fl.first.Waiting()
}

// admit takes one more caller, unless the flight has ended or its body cannot be read
// from the beginning.
func (fl *flight) admit(ctx context.Context) bool {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	select {
	case <-fl.published:
		if fl.result.kind != resultStreaming || fl.head == nil {
			return false
		}
	default:
	}
	if fl.err != nil && !fl.complete || fl.bodyErr != nil && fl.bodyErr != io.EOF {
		return false
	}
	fl.countLocked(ctx)
	return true
}

// leaveEarly lets a caller go that waits for the result. It returns true if there is
// a result for the caller all the same: the flight had published it before, or ends
// because the caller, its leader, was the last one.
func (fl *flight) leaveEarly(err error, isLeader bool) bool {
	fl.group.mu.Lock()
	fl.mu.Lock()
	select {
	case <-fl.published:
		fl.mu.Unlock()
		fl.group.mu.Unlock()
		return true
	default:
	}
	fl.callers--
	last := fl.callers == 0 && !fl.detached
	if last {
		fl.group.unlinkLocked(fl)
	}
	fl.leaderLeft = fl.leaderLeft || isLeader && !last
	fl.mu.Unlock()
	fl.group.mu.Unlock()
	if last {
		fl.end(err)
	}
	return last && isLeader
}

// decline lets a caller go that has seen the result and does not take it.
func (fl *flight) decline() {
	fl.mu.Lock()
	fl.callers--
	last := fl.callers == 0 && !fl.detached && fl.result.kind != resultUnshared
	fl.mu.Unlock()
	if last {
		fl.end(context.Canceled)
	}
}

// startRecording begins the recording with the part of the body that is stored.
func (fl *flight) startRecording(chunks [][]byte, size int64) {
	fl.head = new(chunk)
	fl.tail, fl.total = fl.head, size
	for _, data := range chunks {
		fl.tail.next = &chunk{data: data}
		fl.tail = fl.tail.next
	}
}

// publish gives the callers the result, and the leader a reader, so that the recording
// cannot get ahead of it. An unshared response is closed if the leader has left.
func (fl *flight) publish(r flightResult) {
	if r.kind != resultStreaming {
		fl.group.unlink(fl)
	}
	fl.mu.Lock()
	fl.result = r
	unwanted := r.kind == resultUnshared && (fl.leaderLeft || fl.detached)
	failedRefresh := fl.detached && r.kind != resultStreaming && r.status != statusRevalidated
	if r.kind == resultStreaming && !fl.leaderLeft && !fl.detached {
		fl.leader = &reader{flight: fl, call: fl.lookup.call, req: fl.lookup.call.Request(), isLeader: true, at: fl.head}
		fl.readers = append(fl.readers, fl.leader)
	}
	close(fl.published)
	fl.mu.Unlock()
	if unwanted {
		fl.exchange.Discard()
	}
	if failedRefresh { // the next refresh is to wait
		fl.group.markUnshareable(fl.key, time.Now())
	}
}
