package notify

// Broadcast wakes every goroutine that waits for the next change of some state. The
// zero Broadcast is ready. The mutex that guards the state guards it too.
type Broadcast struct{ c chan struct{} }

// Wait returns a channel that the next Wake closes. Call it and look at the state under
// one lock of the mutex. Otherwise a change between the two is missed. Without a
// goroutine that waits there is no channel.
func (b *Broadcast) Wait() <-chan struct{} {
	if b.c == nil {
		b.c = make(chan struct{})
	}
	return b.c
}

// Wake wakes every goroutine that waits.
func (b *Broadcast) Wake() {
	if b.c != nil {
		close(b.c)
		b.c = nil
	}
}
