package httpcache

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/cachestore"
)

// cacheName is the name of this cache in Cache-Status.
const cacheName = "snubber"

// cachedRequestID has the id that the server gave the request whose response is
// stored.
const cachedRequestID = "X-Cached-Request-Id"

// addStatus adds this cache's member to the Cache-Status of a header, which must
// not be shared. params begin with "; ". It removes what the server has said in the
// name of this cache. The members of other caches stay, the nearest to the server
// first (RFC 9211, section 2).
func addStatus(h http.Header, params, detail string) {
	delete(h, cachedRequestID)
	member := cacheName + params
	if detail != "" {
		member += `; detail="` + detail + `"`
	}
	h["Cache-Status"] = append(othersStatus(h["Cache-Status"]), member)
}

// othersStatus returns the lines of a Cache-Status without the members of a cache
// of this name, in a slice of its own.
func othersStatus(lines []string) []string {
	var others []string
	for _, line := range lines {
		if !strings.Contains(strings.ToLower(line), cacheName) {
			others = append(others, line)
			continue
		}
		var members []string
		for _, member := range statusMembers(line) {
			if name := statusName(member); name != "" && !strings.EqualFold(name, cacheName) {
				members = append(members, member)
			}
		}
		if members != nil {
			others = append(others, strings.Join(members, ", "))
		}
	}
	return others
}

// statusMembers splits a line of a list (RFC 9651, section 3.1) at the commas that
// no string has.
func statusMembers(line string) (members []string) {
	quoted, start := false, 0
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '\\' && quoted:
			i++
		case c == '"':
			quoted = !quoted
		case c == ',' && !quoted:
			members = append(members, strings.TrimSpace(line[start:i]))
			start = i + 1
		}
	}
	return append(members, strings.TrimSpace(line[start:]))
}

// statusName is the name of the cache that a member is of: a token or a string.
func statusName(member string) string {
	name, _, _ := strings.Cut(member, ";")
	return strings.Trim(strings.TrimSpace(name), `"`)
}

// entryHeader is the header of a stored response as a caller gets it: with its Age
// and this cache's status. It needs no more allocations than Header.Clone.
func entryHeader(e *cachestore.Entry, now time.Time, params []byte, detail string) http.Header {
	h, room := e.CopyHeader(2)
	var buf [64]byte
	text := strconv.AppendInt(buf[:0], int64(max(e.Meta.Age(now), 0)/time.Second), 10)
	age := len(text)
	text = append(append(text, cacheName...), params...)
	both := string(text)
	room[0] = both[:age]
	h["Age"], room = room[:1:1], room[1:]
	if detail == "" && h["Cache-Status"] == nil {
		room[0] = both[age:]
		h["Cache-Status"] = room[:1:1]
		return h
	}
	id := h[cachedRequestID] // set by storedHeader, not by the server
	if addStatus(h, string(params), detail); id != nil {
		h[cachedRequestID] = id
	}
	return h
}

// appendSeconds appends a time to live, rounded so that it and the Age add up to
// the lifetime.
func appendSeconds(b []byte, d time.Duration) []byte {
	seconds := math.Floor(d.Seconds())
	if d > 0 {
		seconds = math.Ceil(d.Seconds())
	}
	return strconv.AppendInt(b, int64(seconds), 10)
}

// setResponse makes res a response of the cache itself, without a body.
func setResponse(res *http.Response, status int, h http.Header) {
	*res = http.Response{Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: h, Body: http.NoBody}
	setStatusCode(res, status)
}

func setStatusCode(res *http.Response, status int) {
	res.StatusCode = status
	if status == http.StatusOK { // almost always, and without an allocation
		res.Status = "200 OK"
		return
	}
	res.Status = strconv.Itoa(status) + " " + http.StatusText(status)
}
