package dialect

import (
	"strconv"
	"strings"
	"time"
)

const day = 24 * time.Hour

// A headerFamily is what the name of a header says that belongs to a quota: the
// same words in another order for every provider, X-Ratelimit-Remaining-Requests-
// Minute, X-Rate-Limit-Limit-Input-Tokens, Anthropic-Ratelimit-Unified-5h-Reset.
type headerFamily struct {
	part   string // "limit", "remaining", "reset", and "status" of a unified one
	kind   string
	window time.Duration
	whose  string // what else tells it from its siblings, as it is written
}

// familyOf reads the name of a header that no table knows. It reports false for
// one with a word that it does not understand: a quota that is half understood is
// worse than none.
func familyOf(name string) (f headerFamily, ok bool) {
	rest := ""
	for _, prefix := range [...]string{"X-Ratelimit-", "X-Rate-Limit-", "Anthropic-Ratelimit-", "Ratelimit-"} {
		if after, found := strings.CutPrefix(name, prefix); found {
			rest = after
			break
		}
	}
	if rest == "" || len(name) > 96 {
		return f, false
	}
	f.kind = "requests"
	side := ""
	for word := range strings.SplitSeq(strings.ToLower(rest), "-") {
		switch word {
		case "limit", "remaining", "reset", "status":
			if f.part != "" {
				return f, false
			}
			f.part = word
		case "requests", "request", "req", "reqs", "calls":
		case "tokens", "token":
			if f.kind = "tokens"; side != "" {
				f.kind = side
			}
		case "input", "prompt":
			side, f.kind = "input-tokens", "input-tokens"
		case "output", "completion", "generated":
			side, f.kind = "output-tokens", "output-tokens"
		case "concurrent", "concurrency":
			f.kind = "concurrency"
		case "per", "in", "after":
		case "project", "org", "organization", "model", "user", "key", "team", "account", "unified", "workspace", "endpoint":
			f.whose += word + "-"
		default:
			window := windowOf(word)
			if window == 0 || f.window != 0 {
				return f, false
			}
			f.window = window
		}
	}
	return f, f.part != ""
}

// windowOf is the period that a word names: minute, 1m, 5h, daily.
func windowOf(word string) time.Duration {
	switch word {
	case "second", "sec", "seconds":
		return time.Second
	case "minute", "min", "minutes":
		return time.Minute
	case "hour", "hourly", "hours":
		return time.Hour
	case "day", "daily", "days":
		return day
	case "week", "weekly":
		return 7 * day
	case "month", "monthly":
		return 30 * day
	}
	n, err := strconv.Atoi(word[:max(len(word)-1, 0)])
	if err != nil || n <= 0 || n > 1000 {
		return 0
	}
	switch word[len(word)-1] {
	case 's':
		return time.Duration(n) * time.Second
	case 'm':
		return time.Duration(n) * time.Minute
	case 'h':
		return time.Duration(n) * time.Hour
	case 'd':
		return time.Duration(n) * day
	}
	return 0
}
