package snubber

// Observers joins several functions into one for [Transport].Observe, which calls
// them in order. A nil one is left out. If none is left, Observers returns nil, and
// the Transport then makes no events.
//
// They run one after the other in the goroutine of the call, so a slow one delays the
// call. If one panics, the functions after it do not get the event.
func Observers(observers ...func(Event)) func(Event) {
	var all []func(Event)
	for _, o := range observers {
		if o != nil {
			all = append(all, o)
		}
	}
	switch len(all) {
	case 0:
		return nil
	case 1:
		return all[0]
	}
	return func(e Event) {
		for _, o := range all {
			o(e)
		}
	}
}
