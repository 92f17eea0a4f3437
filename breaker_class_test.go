package snubber

import (
	"math"
	"testing"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/breaker"
	"github.com/seed-9e4f5248/snubber/internal/mono"
)

// The class of an outcome decides whether it counts as a failure, as a success,
// or not at all.
func TestBreakerClasses(t *testing.T) {
	for class, want := range map[Class]breaker.Result{
		Success: breaker.Alive, TooLong: breaker.Alive, Filtered: breaker.Alive, Invalid: breaker.Alive,
		QuotaExhausted: breaker.Neutral, Transient: breaker.Neutral, Canceled: breaker.Neutral, Rejected: breaker.Neutral,
		RateLimited: breaker.Limited,
		Overloaded:  breaker.Failed, ServerError: breaker.Failed, Unreachable: breaker.Failed, TimedOut: breaker.Failed,
	} {
		t.Run(class.String(), func(t *testing.T) {
			if got := class.circuitResult(); got != want {
				t.Errorf("%v counts as %v, want %v", class, got, want)
			}
		})
	}
}

// A zero field means the documented default; a negative field means what its
// comment says.
func TestBreakerDefaults(t *testing.T) {
	usual := breaker.Config{
		Failures: 10, Chance: chanceOfRow, Ratio: math.Inf(1), MinRequests: 20, Probes: 1,
		Window: 30 * time.Second, OpenFor: 5 * time.Second, MaxOpenFor: time.Minute,
	}
	with := func(change func(c *breaker.Config)) breaker.Config {
		c := usual
		change(&c)
		return c
	}
	for name, tt := range map[string]struct {
		b    *Breaker
		want breaker.Config
	}{
		"zero":              {&Breaker{}, usual},
		"failures":          {&Breaker{Failures: 3}, with(func(c *breaker.Config) { c.Failures, c.Chance = 3, 0 })},
		"no failures":       {&Breaker{Failures: -1}, with(func(c *breaker.Config) { c.Failures, c.Chance = math.MaxInt, 0 })},
		"ratio":             {&Breaker{Ratio: 0.1}, with(func(c *breaker.Config) { c.Ratio = 0.1 })},
		"no ratio":          {&Breaker{Ratio: -1}, usual},
		"ratio NaN":         {&Breaker{Ratio: math.NaN()}, usual},
		"requests":          {&Breaker{MinRequests: 5}, with(func(c *breaker.Config) { c.MinRequests = 5 })},
		"no minimum":        {&Breaker{MinRequests: -1}, with(func(c *breaker.Config) { c.MinRequests = 1 })},
		"probes":            {&Breaker{Probes: 7}, with(func(c *breaker.Config) { c.Probes = 7 })},
		"negative probes":   {&Breaker{Probes: -1}, usual},
		"window":            {&Breaker{Window: time.Hour}, with(func(c *breaker.Config) { c.Window = time.Hour })},
		"negative window":   {&Breaker{Window: -1}, usual},
		"open time":         {&Breaker{OpenFor: time.Second}, with(func(c *breaker.Config) { c.OpenFor = time.Second })},
		"open time beyond":  {&Breaker{OpenFor: time.Hour}, with(func(c *breaker.Config) { c.OpenFor = time.Minute })},
		"negative times":    {&Breaker{OpenFor: -1, MaxOpenFor: -1}, usual},
		"endless open time": {&Breaker{OpenFor: 1 << 62, MaxOpenFor: 1<<63 - 1}, with(func(c *breaker.Config) { c.OpenFor, c.MaxOpenFor = mono.Forever, mono.Forever })},
	} {
		t.Run(name, func(t *testing.T) {
			if got := tt.b.config(); got != tt.want {
				t.Errorf("config = %+v, want %+v", got, tt.want)
			}
		})
	}
}
