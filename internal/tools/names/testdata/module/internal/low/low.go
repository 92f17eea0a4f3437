// Package low is an engine.
package low

import "sync"

// Engine is a type.
type Engine struct {
	mu    sync.Mutex
	queue []int
}
