package httpcache

import (
	"context"
	"errors"
	"time"
)

// run is the flight's goroutine. Nothing that functions of the user do in it ends the
// program: a panic reaches the leader's goroutine.
func (fl *flight) run() {
	finished := false
	defer fl.lookup.core.pending.untrack(&fl.pending)
	defer func() {
		if !finished {
			fl.fail(recover())
		}
	}()
	fl.callerHeader = fl.lookup.header.Clone()
	fl.addCondition()
	requested := time.Now()
	fl.received = fl.exchange.Send()
	if !fl.handleCondition(requested) {
		fl.decideSharing(requested)
	}
	if fl.result.kind == resultStreaming {
		fl.record()
	}
	finished = true
}

// errPanicked is what followers get whose body has ended with a panic.
var errPanicked = errors.New("the shared upstream request panicked")

// fail ends the flight after a panic, or after the end of its goroutine, for which
// recover has no value.
func (fl *flight) fail(panicked any) {
	if panicked == nil {
		panicked = errors.New("a function of the Transport ended its goroutine")
	}
	select {
	case <-fl.published:
		fl.group.unlink(fl)
		fl.mu.Lock()
		fl.panicked, fl.bodyErr = panicked, errPanicked
		fl.dataReady.Wake()
		fl.mu.Unlock()
		fl.exchange.Discard()
	default:
		fl.exchange.Discard()
		fl.panicked = panicked
		fl.publish(flightResult{kind: resultPanicked})
	}
	fl.end(context.Canceled)
}
