package notify

// Broadcast wakes every goroutine that waits for the next change of something.
// The zero value is ready. The mutex that guards the thing guards it too.
type Broadcast struct{ c chan struct{} }

// Wait returns a channel that the next Wake closes. Take it under the mutex, look
// at the state, and only then let go of the mutex and wait: a change between
// would be missed otherwise. Nobody waiting costs no channel.
func (b *Broadcast) Wait() <-chan struct{} {
	if b.c == nil {
		b.c = make(chan struct{})
	}
	return b.c
}

// Wake wakes all that wait.
func (b *Broadcast) Wake() {
	if b.c != nil {
		close(b.c)
		b.c = nil
	}
}
