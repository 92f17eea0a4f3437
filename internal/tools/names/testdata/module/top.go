// Package module has a few declarations of each kind.
package module

import (
	"sync"

	"example/module/internal/low"
)

// Top is a type.
type Top struct {
	mu     sync.Mutex
	state  struct{ open bool }
	engine *low.Engine
	base
}

// Run is a method.
func (t *Top) Run() {}

type base struct{}

func (base) Start() {}

func call() {}
