// Package jsonscan finds a few members of a JSON document without decoding it.
//
// [Cursor] walks a document that is whole in memory, in place. [Scanner] takes
// one that arrives in pieces and keeps none of it: its memory does not grow with
// the document, so that a count at the end of a very long answer can be found.
//
// Neither validates. Both agree with encoding/json on every valid document; on
// anything else they find what they can, in linear time, and never panic.
package jsonscan

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
)

// Kind is the type of a JSON value.
type Kind uint8

const (
	None Kind = iota // no value: the document is over
	Null
	False
	True
	Number
	String
	Object
	Array
)

// kindOf tells what the first byte of a scalar that is not a string begins.
// Bytes that begin nothing are taken for a number, which no [Count] will accept.
func kindOf(c byte) Kind {
	switch c {
	case 'n':
		return Null
	case 'f':
		return False
	case 't':
		return True
	}
	return Number
}

// MaxCount is the largest number that [Count] reports.
const MaxCount = min(1<<40, math.MaxInt)

// Count reads a number of things. Negative ones count as 0, those beyond
// [MaxCount] as MaxCount, and fractions are cut. It reports false for text that
// is no number.
func Count(text []byte) (n int, ok bool) {
	var sum int64 // an int may be too small for ten times MaxCount
	for i, c := range text {
		if c < '0' || c > '9' || i == 12 {
			return countFloat(text)
		}
		sum = sum*10 + int64(c-'0')
	}
	return int(min(sum, MaxCount)), len(text) > 0
}

// countFloat takes what a few digits do not say: 1e3, 12.0, -1, 1e300.
func countFloat(text []byte) (int, bool) {
	if c := text[0]; c != '-' && (c < '0' || c > '9') {
		return 0, false // ParseFloat would take "inf"
	}
	f, err := strconv.ParseFloat(string(text), 64)
	switch {
	case err != nil && !math.IsInf(f, 0): // out of range is a number too
		return 0, false
	case !(f > 0):
		return 0, true
	case f >= MaxCount:
		return MaxCount, true
	}
	return int(f), true
}

// Unquote returns the text of a string as it is written between its quotes. It
// copies only if there is an escape to resolve; what cannot be resolved is
// returned as it is.
func Unquote(raw []byte) []byte {
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw
	}
	var s string
	if json.Unmarshal(append(append([]byte{'"'}, raw...), '"'), &s) != nil {
		return raw
	}
	return []byte(s)
}
