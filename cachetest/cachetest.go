// Package cachetest checks that a [snubber.CacheStore] keeps the rules of its
// interface. To test a store, tell Run how to open it:
//
//	func TestStore(t *testing.T) {
//		cachetest.Run(t, func(t *testing.T) snubber.CacheStore {
//			return &mystore.Store{Dir: t.TempDir()}
//		})
//	}
//
// The store need not be empty: the rules use keys of their own, and delete them. The
// store needs room for some megabytes, or it may evict an entry that a rule still
// needs. No rule waits for an entry to expire, because a store need not delete it then.
package cachetest

import (
	"testing"

	"github.com/seed-9e4f5248/snubber"
)

// A Rule is one clause of the interface.
type Rule struct {
	// Name is short, unique, lower case and fit for -run: "visible-at-commit".
	Name string

	// Doc says in a sentence what a store has to do.
	Doc string

	// Check returns nil if the store keeps the rule, and otherwise an error that
	// says what the store did instead.
	Check func(snubber.CacheStore) error
}

// Rules returns all rules, in a new slice. Remove the rules that a store breaks on
// purpose, and say why beside the code that removes them.
func Rules() []Rule {
	return []Rule{
		rule("miss", "an entry that is not there is an fs.ErrNotExist", miss),
		rule("verbatim", "right after Commit an entry is there, as it was written, of any size and bytes", verbatim),
		rule("any-key", "each key of the alphabet has an entry of its own", anyKey),
		rule("long-ttl", "an entry may live for a second or a hundred years", longTTL),
		rule("visible-at-commit", "what is not committed cannot be seen, and an older entry is there until then", visibleAtCommit),
		rule("abort", "an aborted entry is never there, and an older one stays", abort),
		rule("writer-ends", "a writer that has ended takes no bytes, commits nothing, and may be aborted again", writerEnds),
		rule("replace", "a new entry takes the place of the older one, the whole of it", replace),
		rule("delete", "a deleted entry is gone, the others are not, and to delete none is no error", deleted),
		rule("keys", "Keys yields every committed key once, and no other", keys),
		rule("keys-loop", "the loop over Keys may delete, and may be left", keysLoop),
		rule("reader-stays", "a reader gives its own entry to the end or an error, whatever becomes of the key", readerStays),
		rule("own-bytes", "neither a writer's nor a reader's buffer is kept", ownBytes),
		rule("context-done", "when the context is done nothing is said to be missing, and nothing is half-written", contextDone),
		rule("concurrent-keys", "many keys may be written, read and deleted at once", concurrentKeys),
		rule("concurrent-writers", "of several writers to one key the last to commit wins, whole", concurrentWriters),
	}
}

// Run checks every rule in a subtest of its own, on the store that open returns
// for it. open may return the same store each time.
func Run(t *testing.T, open func(*testing.T) snubber.CacheStore) {
	t.Helper()
	for _, rule := range Rules() {
		t.Run(rule.Name, func(t *testing.T) {
			if err := rule.Check(open(t)); err != nil {
				t.Errorf("%s: %v", rule.Doc, err)
			}
		})
	}
}
