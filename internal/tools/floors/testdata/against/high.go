package against

// Limit is a constant.
const Limit = 3

// Box is a type with a field and two methods.
type Box struct{ Size int }

// Open has a value as its receiver.
func (b Box) Open() bool { return b.Size > 0 }

// Close has a pointer.
func (b *Box) Close() { b.Size = 0 }

// Outer embeds Box.
type Outer struct{ Box }

// Made is a variable.
var Made Outer

// Of is generic.
type Of[T any] struct{ Value T }

// Get is a method of a generic type.
func (o Of[T]) Get() T { return o.Value }

// Each is a generic function.
func Each[T any](values []T) int { return len(values) }

// Opener is an interface.
type Opener interface{ Open() bool }

// Numbers is an instance.
var Numbers Of[int]

// Pointed embeds through a pointer.
type Pointed struct{ *Outer }

// Deep is a variable.
var Deep Pointed
