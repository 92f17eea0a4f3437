// Package notify tells goroutines that something has happened: a list of
// functions for the end of a context, and a broadcast for each change. It has no
// lock of its own: the owner's mutex guards it, so that the owner's state and the
// list change in one step.
package notify

import "sync"

// AfterFuncs is a list of functions to call when a context has ended. The zero
// AfterFuncs is empty. The context's mutex guards it.
//
// It is for a context type with an AfterFunc method. Without that method the context
// package starts a goroutine for each context that is derived from ours, and net/http
// derives one for each request.
type AfterFuncs struct{ head *node }

type node struct {
	f    func()
	next *node
}

// Add registers f. The caller holds mu, the mutex that guards the list. stop locks mu,
// removes f, and reports whether f was still in the list.
func (l *AfterFuncs) Add(mu *sync.Mutex, f func()) (stop func() bool) {
	n := &node{f, l.head}
	l.head = n
	return func() bool {
		mu.Lock()
		defer mu.Unlock()
		for p := &l.head; *p != nil; p = &(*p).next {
			if *p == n {
				*p = n.next
				return true
			}
		}
		return false
	}
}

// Take empties the list and returns what was in it. Call the functions without the
// mutex: they may use the context.
func (l *AfterFuncs) Take() AfterFuncs {
	taken := *l
	l.head = nil
	return taken
}

// Call calls every function of the list, the latest first.
func (l AfterFuncs) Call() {
	for n := l.head; n != nil; n = n.next {
		n.f()
	}
}
