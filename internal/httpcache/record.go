package httpcache

import (
	"bytes"
	"io"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/cachestore"
)

// minWindow is the least by which the fastest reader can be ahead of the slowest.
const minWindow = 64 << 10

// record reads the body and gives it to the readers. While the body is kept from its
// beginning it reads at the speed of the network. When the body is too long for that,
// it reads at the speed of the slowest reader.
func (fl *flight) record() {
	body, l := fl.received.Response.Body, &fl.lookup
	size := int64(32 << 10)
	if n := fl.received.Response.ContentLength; n >= 0 {
		size = min(size, max(n, 1))
	}
	buf := make([]byte, size)
	stored := int64(-1) // bytes that were stored
	for {
		n, err := body.Read(buf)
		piece := buf[:n]
		total := fl.total + int64(n) // only this goroutine writes it, and head
		if err == io.EOF && fl.condition == conditionRest && !fl.lengthMatches(total) {
			err = io.ErrUnexpectedEOF // the caller was promised a length that the server does not know
		}
		if fl.head != nil && (total > l.core.MaxEntryBytes || total+fl.overhead > 2*l.core.MaxEntryBytes) {
			fl.dropHead()
		}
		if fl.head != nil && total != stored && fl.wholeAt(total, err) {
			stored = total
			if l.core.Store != nil && n > 0 {
				// A store may take its time, and no byte waits for it. Whoever asks again
				// meanwhile gets everything from the flight.
				fl.publishPiece(piece, nil, true)
				piece = nil
			}
			fl.storeEntry(piece)
		}
		if !fl.publishPiece(piece, err, stored == total) {
			body.Close() // the readers' Close is not the body's
			return
		}
	}
}

// wholeAt reports whether the response is complete after total bytes. A stream is
// complete at its terminal event, after which some SDKs close it. It is stored before
// they can see that event and ask again.
func (fl *flight) wholeAt(total int64, err error) bool {
	if fl.lookup.kind == kindPrompt {
		return fl.exchange.Complete()
	}
	return err == io.EOF && fl.lengthMatches(total)
}

// lengthMatches reports whether the header promised so many bytes.
func (fl *flight) lengthMatches(total int64) bool {
	if e := fl.result.entry; e.Partial() && e.Part.Len() != total {
		return false
	}
	n := fl.result.template.ContentLength
	return n < 0 || n == total
}

// dropHead stops keeping the body from its beginning. Nobody can join any more.
func (fl *flight) dropHead() {
	fl.group.unlink(fl)
	fl.mu.Lock()
	fl.head = nil
	fl.mu.Unlock()
}

// publishPiece gives the readers a piece of the body, and its end if err is not nil.
// It returns false at the end.
func (fl *flight) publishPiece(piece []byte, err error, complete bool) bool {
	window := max(fl.lookup.core.MaxEntryBytes, minWindow)
	if err != nil {
		fl.group.unlink(fl)
	}
	fl.mu.Lock()
	defer fl.mu.Unlock()
	if len(piece) > 0 {
		fl.appendLocked(piece)
	}
	fl.complete = fl.complete || complete
	fl.dataReady.Wake()
	if err != nil {
		if fl.complete && fl.bodyClosed {
			err = io.EOF // the last reader has closed it after the terminal event
		}
		fl.bodyErr = err
		return false
	}
	if fl.head == nil && fl.behindLocked(window) {
		fl.waitForReadersLocked(window)
	}
	return true
}

// appendLocked adds a piece to the body. Small pieces share a chunk, unless they are
// those of a stream that may be stored, and is to be replayed in them.
func (fl *flight) appendLocked(piece []byte) {
	t := fl.tail
	if merge := fl.head == nil || !fl.replayed; merge && t.recorded && cap(t.data)-len(t.data) >= len(piece) {
		t.data = append(t.data, piece...)
	} else {
		size := int64(len(piece))
		if merge {
			size = chunkSize(size, fl.total)
		}
		t.next = &chunk{data: append(make([]byte, 0, size), piece...), recorded: true}
		fl.tail = t.next
		fl.overhead += chunkOverhead
	}
	fl.total += int64(len(piece))
}

// waitForReadersLocked waits until no reader is further behind than the window. A
// reader that blocks the others and reads nothing gets an error: it may have forgotten
// the body, and then nothing else would end the wait. A reader that is alone blocks
// only itself, as without a cache.
func (fl *flight) waitForReadersLocked(window int64) {
	mark := func() {
		for _, p := range fl.readers {
			p.marked = p.position
		}
	}
	mark()
	timer := time.NewTimer(stallTime)
	defer timer.Stop()
	for fl.err == nil && fl.behindLocked(window) {
		ready := fl.spaceReady.Wait()
		fl.mu.Unlock()
		select {
		case <-ready:
			fl.mu.Lock()
		case <-fl.done:
			fl.mu.Lock()
		case <-timer.C:
			for _, p := range fl.slowReaders(window) {
				p.leave(ErrSlowReader, false)
			}
			fl.mu.Lock()
			mark()
			timer.Reset(stallTime)
		}
	}
}

// behindLocked reports whether a reader is further behind than the window.
func (fl *flight) behindLocked(window int64) bool {
	for _, p := range fl.readers {
		if fl.total-p.position > window {
			return true
		}
	}
	return false
}

// slowReaders are the readers that have blocked others and read nothing since they
// were marked.
func (fl *flight) slowReaders(window int64) (slow []*reader) {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	waiting := false
	for _, p := range fl.readers {
		waiting = waiting || p.position == fl.total
		if fl.total-p.position > window && p.position == p.marked {
			slow = append(slow, p)
		}
	}
	if !waiting {
		return nil
	}
	return slow
}

// storeEntry stores the response, with the piece that the readers do not have yet.
func (fl *flight) storeEntry(last []byte) {
	e := new(cachestore.Entry)
	*e = *fl.result.entry
	for c := fl.head.next; c != nil; c = c.next {
		e.Chunks = append(e.Chunks, c.data)
	}
	e.Size = fl.total
	if len(last) > 0 {
		e.Chunks = append(e.Chunks, bytes.Clone(last))
		e.Size += int64(len(last))
	}
	if t := fl.received.Response.Trailer; len(t) > 0 {
		e.Trailer = t.Clone()
	}
	fl.lookup.storePending(&fl.pending, e, nil)
}
