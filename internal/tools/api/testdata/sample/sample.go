// Package sample has one of each kind of declaration.
package sample

import (
	"context"
	"io"
	"math/rand"
	"net/http"
	"time"
)

// Class is a named integer with a method on its value.
type Class int

// The classes.
const (
	Unclassified Class = iota
	Success
	internalClass
	Failure
)

const (
	Name    = "a\tname"
	Timeout = 2 * time.Second
	hidden  = 1
)

func (Class) String() string { return Name }
func (Class) rank() int      { return hidden }

var (
	ErrOpen error
	Stale   http.RoundTripper = http.DefaultTransport
	cache   map[string]int
)

// Config has fields of every kind.
type Config struct {
	Base   http.RoundTripper
	If     func(*http.Request, Class) bool
	Source *rand.Rand
	Tagged int `json:"tagged"`
	io.Writer
	promoted
	*node

	state int
}

type promoted struct {
	Inner int
	inner int
}

func (*promoted) Promoted(ctx context.Context) {}

type node struct {
	Depth int
	*node
}

func (c *Config) Get(key string, opts ...Class) (value []byte, err error) { return nil, ErrOpen }
func (c Config) Copy() Config                                             { return c }
func (c *Config) reset()                                                  { c.state, c.inner = 0, len(cache)+int(internalClass) }

// Store can be implemented by anybody.
type Store interface {
	io.Closer
	Load(ctx context.Context, key string) ([]byte, error)
}

// Sealed can not.
type Sealed interface{ sealed() }

// Number is a constraint.
type Number interface{ ~int | ~float64 }

type (
	Alias          = Config
	Handler        func(w io.Writer) error
	Pair[K, V any] struct {
		Key   K
		Value V
	}
	unexported struct{ Field int }
	Recursive  struct{ Next *Recursive }
)

func (p *Pair[K, V]) Swap(v V) (old V) { old, p.Value = p.Value, v; return old }

func New(base http.RoundTripper) *Config { c := &Config{Base: base}; c.reset(); return c }
func Sum[N Number](ns ...N) (total N)    { return total }
func helper(unexported) int              { return Success.rank() }
func init()                              { helper(unexported{}) }
