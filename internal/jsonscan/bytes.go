package jsonscan

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

// stringEnd returns where the closing quote of a string is whose text begins at
// i, or the length of b if there is none. The text is plain if it certainly has
// no escape.
//
// Most strings of a document are names and words. Those end within two loads of
// eight bytes, each compared at once, which takes less time than a loop over the
// bytes or a call. Longer ones go to IndexByte, quote by quote. Backslashes are
// not looked for on the way: only those right before a quote matter, and there
// are few quotes. That keeps a text with an escape on every line as fast as one
// without.
func stringEnd(b []byte, i int) (end int, plain bool) {
	start := i
	for stop := min(i+16, len(b)-7); i < stop; i += 8 {
		w := binary.LittleEndian.Uint64(b[i:])
		if hit := zeros(w^ones*'"') | zeros(w^ones*'\\'); hit != 0 {
			if i += bits.TrailingZeros64(hit) / 8; b[i] == '"' {
				return i, true
			}
			break
		}
	}
	for {
		n := bytes.IndexByte(b[i:], '"')
		if n < 0 {
			return len(b), false
		}
		if i += n; i == start || b[i-1] != '\\' || !escapes(b[start:i]) {
			return i, false
		}
		i++
	}
}

const ones = 0x0101010101010101

// zeros sets the highest bit of each byte of x that is zero. It may set others
// above the lowest of them, but none below: the lowest bit set is right.
func zeros(x uint64) uint64 { return (x - ones) &^ x & (ones << 7) }

// escapes reports that what follows text in a string is escaped: text ends in an
// odd number of backslashes.
func escapes(text []byte) bool {
	i := len(text)
	for i > 0 && text[i-1] == '\\' {
		i--
	}
	return (len(text)-i)%2 == 1
}

// scalarEnd returns the index of the first byte from i on that no number or
// literal has, or the length of b.
func scalarEnd(b []byte, i int) int {
	for i < len(b) && !structural[b[i]] {
		i++
	}
	return i
}

// structural holds the bytes that end a number or a literal.
var structural = func() (t [256]bool) {
	for c := range t {
		t[c] = c <= ' '
	}
	for _, c := range `,:]}[{"` {
		t[c] = true
	}
	return t
}()

// leave passes over what is in open containers, up to the end of the outermost.
// It returns the index of the byte after that and 0; or the length of b and how
// many are open there; or the index of the quote of a string that does not end
// in b.
func leave(b []byte, i, open int) (int, int) {
	for i < len(b) {
		switch c := b[i]; c {
		case '"':
			end, _ := stringEnd(b, i+1)
			if end == len(b) {
				return i, open
			}
			i = end
		case '{', '[':
			open++
		case '}', ']':
			if open--; open == 0 {
				return i + 1, 0
			}
		case '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
			// The numbers of an embedding are the longest thing that is passed
			// over. Of them and what separates them no byte has the bit 0x40,
			// which all brackets have; only an exponent stops here for nothing.
			for i+8 < len(b) {
				w := binary.LittleEndian.Uint64(b[i+1:])
				if w&(ones*0x40)|zeros(w^ones*'"') != 0 {
					break
				}
				i += 8
			}
		}
		i++
	}
	return i, open
}
