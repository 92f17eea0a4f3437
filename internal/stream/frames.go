package stream

import (
	"encoding/binary"
	"hash/crc32"
)

// Frames reads the AWS event stream encoding (application/vnd.amazon.eventstream):
// a prelude of total length, header length and checksum, then headers, payload
// and a checksum, big-endian. The first checksum is verified, for it tells an
// event stream from anything else; the second is left to the client, since what
// is handed on cannot be taken back. The zero Frames is ready.
type Frames struct {
	part    framePart
	broken  bool
	failed  bool   // Event.Exception
	headers uint32 // bytes of headers left
	payload uint32 // bytes of payload left
	need    uint16 // bytes of the part to come: buf is full with them, or they are passed over
	have    uint16
	buf     [maxName]byte // the part's first bytes
	header  frameHeader
	nameLen uint8
	name    [maxName]byte // Event.Name
	pending int
}

type framePart uint8

const (
	prelude    framePart = iota
	nameLength           // of a header
	headerName
	valueType
	valueLength // of a value whose type has no fixed one
	headerValue
	payloadPart
	checksum
)

type frameHeader uint8

const (
	otherHeader frameHeader = iota
	messageType
	eventName
)

// valueSize is the length of a header's value by its type; -1: two bytes tell.
var valueSize = [...]int{0, 0, 1, 2, 4, 8, -1, -1, 8, 16}

// Broken reports that the bytes are no event stream. The rest of them is ignored.
func (f *Frames) Broken() bool { return f.broken }

// Whole reports that the stream is between two frames.
func (f *Frames) Whole() bool { return !f.broken && f.part == prelude && f.have == 0 }

// Pending is how many bytes of a frame that has not ended have come.
func (f *Frames) Pending() int { return f.pending }

// Feed reads the next piece.
func (f *Frames) Feed(p []byte, sink Sink) {
	for len(p) > 0 && !f.broken {
		if f.part == payloadPart {
			n := int(min(uint64(len(p)), uint64(f.payload)))
			sink.Data(p[:n])
			f.pending += n
			if f.payload -= uint32(n); f.payload == 0 {
				f.enter(checksum, 4)
			}
			p = p[n:]
			continue
		}
		if f.part == prelude {
			f.need = 12
		}
		n := min(len(p), int(f.need-f.have))
		if int(f.have) < len(f.buf) {
			copy(f.buf[f.have:], p[:n])
		}
		f.have += uint16(n)
		f.pending += n
		p = p[n:]
		for f.have == f.need && !f.broken && f.part != payloadPart {
			if f.advance(sink); f.part == prelude {
				break
			}
		}
	}
}

func (f *Frames) enter(part framePart, need uint16) { f.part, f.need, f.have = part, need, 0 }

// take accounts for bytes of headers, which must not reach beyond their end.
func (f *Frames) take(n uint32) bool {
	f.broken = n > f.headers
	f.headers -= min(n, f.headers)
	return !f.broken
}

// advance goes on from a part that is complete.
func (f *Frames) advance(sink Sink) {
	b := f.buf[:min(int(f.have), len(f.buf))]
	switch f.part {
	case prelude:
		total, headers := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
		if total < 16 || headers > total-16 || crc32.ChecksumIEEE(b[:8]) != binary.BigEndian.Uint32(b[8:]) {
			f.broken = true
			return
		}
		f.headers, f.payload = headers, total-16-headers
		f.failed, f.nameLen = false, 0
		f.nextHeader()
	case nameLength:
		if f.take(uint32(b[0])) {
			f.enter(headerName, uint16(b[0]))
		}
	case headerName:
		switch string(b) {
		case ":message-type":
			f.header = messageType
		case ":event-type", ":exception-type", ":error-code":
			f.header = eventName
		default:
			f.header = otherHeader
		}
		if f.take(1) {
			f.enter(valueType, 1)
		}
	case valueType:
		switch {
		case int(b[0]) >= len(valueSize):
			f.broken = true
		case valueSize[b[0]] < 0:
			if f.take(2) {
				f.enter(valueLength, 2)
			}
		case f.take(uint32(valueSize[b[0]])):
			f.enter(headerValue, uint16(valueSize[b[0]]))
		}
	case valueLength:
		if n := binary.BigEndian.Uint16(b); f.take(uint32(n)) {
			f.enter(headerValue, n)
		}
	case headerValue:
		switch f.header {
		case messageType:
			f.failed = string(b) == "exception" || string(b) == "error"
		case eventName:
			f.nameLen = uint8(copy(f.name[:], b))
		}
		f.nextHeader()
	case checksum:
		sink.End(Event{Name: f.name[:f.nameLen], Exception: f.failed})
		f.pending = 0
		f.enter(prelude, 12)
	}
}

func (f *Frames) nextHeader() {
	switch {
	case f.headers > 0:
		f.headers--
		f.enter(nameLength, 1)
	case f.payload > 0:
		f.enter(payloadPart, 0)
	default:
		f.enter(checksum, 4)
	}
}
