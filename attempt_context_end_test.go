package snubber

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/body"
)

// endsBetween is an attempt that ends between the context package's look at Done
// and its call of AfterFunc.
type endsBetween struct {
	*attempt
}

func (e endsBetween) Value(k any) any {
	e.attempt.end(attemptFinished)
	return e.attempt.Value(k)
}

// A context that is derived from an attempt in the moment in which the attempt
// ends is done too. The context package holds the new context's lock when it
// calls AfterFunc, so an AfterFunc that runs its function in place would
// deadlock.
func TestAttemptContextEndsWhileDerived(t *testing.T) {
	req, err := http.NewRequest("GET", "http://x.test/", nil)
	if err != nil {
		t.Fatal(err)
	}
	c := new(call)
	c.init(&Transport{}, knownRequest{req: req}, nil, body.Replay{})
	derived := make(chan context.Context)
	go func() {
		ctx, cancel := context.WithCancel(endsBetween{&c.first})
		defer cancel()
		derived <- ctx
		<-ctx.Done()
	}()
	select {
	case ctx := <-derived:
		<-ctx.Done()
	case <-time.After(time.Minute):
		t.Fatal("context.WithCancel hangs")
	}
}
