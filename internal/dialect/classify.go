package dialect

import (
	"bytes"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// hopelessWait makes a rate limit a quota: no call is worth holding for an
	// hour, and Azure and Groq say 86400 where others say insufficient_quota.
	hopelessWait = time.Hour
	// dailyWait is up to where a message about a daily quota still describes a
	// wait. Daily buckets at OpenAI and Groq refill all the time, so that their
	// 7m12s is real, while 53m12s is as good as tomorrow.
	dailyWait = 15 * time.Minute
	// realWait is from where a wait stated beside an exhausted quota is
	// believed, and from where Gemini's retryDelay means an exhausted quota.
	// Shorter ones are habit: Gemini sends 34 s with a daily quota.
	realWait = 5 * time.Minute
)

// A Response is what Classify looks at.
type Response struct {
	Route  Route
	Host   string // of the request, with or without port
	Status int
	Header http.Header // canonical keys, as net/http makes them
	Body   []byte      // what is held of it as it came, at most 64 KiB are looked at; nil: judged without
	Now    time.Time   // local time, for a response without Date
	// Request is the body that was sent, where it is at hand. Of a 400, 403, 500 or
	// 503 a phrase that it has is an echo, and no word of the server's.
	Request []byte
}

// Classify tells what a response means: by its body first, whatever the status
// says, then by its status. It knows any status. 1xx to 3xx are Success, unless
// the body of an answer to an inference names a failure. Whether an answer is one
// at all is for [Meter.Proof] to tell.
//
// A Wait is the server's, in the order Retry-After-Ms, X-Ms-Retry-After-Ms,
// Retry-After, google.rpc.RetryInfo, members such as retry_after, message, reset of
// an empty bucket; it is
// between 0 and ten years, and 0 where a verdict makes waiting useless. A 429
// that asks for an hour or more is QuotaExhausted.
//
// It is safe for concurrent use, keeps nothing of r, and allocates nothing for
// a success that reports no quotas.
func Classify(r *Response) Verdict {
	if 100 <= r.Status && r.Status < 400 {
		if r.Status/100 != 2 || !r.Route.Inference || !r.names() {
			return Verdict{Class: Success, Quotas: readQuotas(r.Header, r.Host, r.Now, nil)}
		}
	}
	// A copy, and not r itself, so that the caller's Response stays on its stack.
	from := &reply{host: r.Host, header: r.Header, now: r.Now}
	f := readFailure(from, r.Route, r.Status, plainBody(r.Header, r.Body))
	f.request = r.Request
	return verdictOf(f, r.Status)
}

// names reports whether the answer of a 200 names a failure all the same, as
// OpenRouter's can. Answers pass here at each call: nothing is allocated.
func (r *Response) names() bool {
	body := bytes.TrimLeft(bytes.TrimPrefix(r.Body[:min(len(r.Body), maxBody)], []byte("\ufeff")), " \t\r\n")
	if len(body) == 0 || body[0] != '{' && body[0] != '[' {
		return false
	}
	format := r.Route.Format
	if format == Unknown {
		format = OpenAIChat // whose errors all that has no format of its own has
	}
	var m Meter
	m.Start(Route{Format: format}, jsonMedia, false)
	m.Observe(body)
	failed := m.Phase() == Failed
	m.Free()
	return failed
}

// ClassifyEvent tells what an error event inside a stream means; it is never
// Success. data is the event's payload: what follows data: in SSE, a line of
// NDJSON, the payload of a Bedrock exception. The exception's type is not in
// that payload: put it into header as X-Amzn-ErrorType, or "__type" into data.
// header is the response's.
func ClassifyEvent(route Route, host string, header http.Header, data []byte, now time.Time) Verdict {
	from := &reply{host: host, header: header, now: now}
	return verdictOf(readFailure(from, route, 0, data), 0)
}

// verdictOf judges a failure. status is HTTP's, f.status the one that counts.
func verdictOf(f *failure, status int) Verdict {
	v := Verdict{Quotas: readQuotas(f.header, f.host, f.now, f)}
	if h := repeatedHeader(f); v.Quotas == nil && h != nil {
		v.Quotas = readQuotas(h, f.host, f.date(), f)
	}
	wait, stated, declared := f.stated()
	f.wait = wait
	if !stated {
		f.wait = exhausted(v.Quotas)
	}

	var word string
	v.Class, word = f.judge()
	if v.Class == RateLimited || v.Class == QuotaExhausted {
		wait = f.wait // to an outage the state of the buckets says nothing
	}
	switch {
	case v.Class == RateLimited && wait >= hopelessWait:
		v.Class = QuotaExhausted
	case v.Class == ServerError && f.status == 503 && declared:
		// A proxy that lost its upstream has no idea of when to come back.
		v.Class = Overloaded
	}
	switch v.Class {
	case RateLimited, Overloaded, ServerError, Transient:
		v.Wait = wait
	case QuotaExhausted:
		if wait > realWait {
			v.Wait = wait
		}
	}
	if v.Class == RateLimited {
		v.Over = overOf(f.text, f.words, v.Quotas)
		if v.Over == "" && f.in("deepseek.com") {
			v.Over = "concurrency" // it has no other limit
		}
	}
	v.Phrase = f.phrase && v.Class != Unclassified
	v.Own = f.object || len(f.words) > 0
	v.Misdirected = v.Class == Invalid && f.misdirected()
	v.Declined = v.Class == RateLimited || v.Class == Overloaded || status == 429

	switch strings.ToLower(f.header.Get("X-Should-Retry")) {
	case "true":
		if v.Class != QuotaExhausted && v.Class != TooLong && v.Class != Filtered {
			v.Advice = Again
		}
	case "false":
		if !insistWords[word] {
			v.Advice = Stop
		}
	}

	switch {
	case word != "":
		v.Reason = reasonOf(word)
	case len(f.words) > 0:
		v.Reason = reasonOf(f.words[0])
	case f.status == 0 && f.page:
		v.Reason = "html"
	case f.status == 0:
		v.Reason = "error"
	default:
		v.Reason = "http_" + strconv.Itoa(f.status)
	}
	return v
}

// judge finds the class, and the machine word where one decided.
func (f *failure) judge() (Class, string) {
	for _, w := range f.words {
		if c := sureWords[w]; c != Unclassified && !f.perMinute(w) {
			return c, w
		}
	}
	for _, p := range providers {
		if p.details != nil {
			if c := p.details(f); c != Unclassified {
				return c, ""
			}
		}
	}
	f.phrase = true
	if c := f.byPhrase(); c != Unclassified {
		return c, ""
	}
	if c := f.bySaying(); c != Unclassified {
		return c, ""
	}
	f.phrase = false
	if c, w := f.byGeneralWord(); c != Unclassified {
		return c, w
	}
	for _, p := range providers {
		if c := p.status[f.status]; c != Unclassified && p.mark(f) {
			return c, ""
		}
	}
	if f.status != 402 && f.status != 413 {
		for _, w := range f.words {
			c := vagueWords[w]
			if c != Unclassified && (f.status == 0 || c != Invalid && c != ServerError) {
				return c, w
			}
		}
	}
	if f.status == 0 {
		for _, w := range f.words {
			if c := failedReasons[w]; c != Unclassified {
				return c, w
			}
		}
	}
	return byStatus(f.status), ""
}

// misdirected reports whether an Invalid is about the place and the credential.
// What is not found is, of an inference, the model: its path names nothing else.
// A signature that has expired says nothing about who has signed.
func (f *failure) misdirected() bool {
	switch f.status {
	case 401, 403:
		return !f.late()
	case 404, 410:
		return f.route.Inference
	}
	for _, p := range providers {
		for _, w := range p.misdirects {
			if slices.Contains(f.words, w) || strings.Contains(w, " ") && strings.Contains(f.text, w) {
				return true
			}
		}
	}
	return false
}

// late reports that a request was refused for the age of its signature.
func (f *failure) late() bool {
	for _, w := range f.words {
		if w == "requestexpired" || w == "requesttimetooskewed" {
			return true
		}
	}
	return strings.Contains(f.text, "signature expired") || strings.Contains(f.text, "signature not yet current")
}

func (f *failure) byPhrase() Class {
	if f.text == "" {
		return Unclassified
	}
	if limit, requested := numberAfter(f.text, "limit "), numberAfter(f.text, "requested "); limit >= 0 && requested >= 0 {
		if requested > limit {
			return TooLong
		}
		f.fits = true // whatever the words say: it will pass when the bucket is full
	}
	for _, p := range providers {
		for _, ph := range p.phrases {
			if f.fits && ph.class == TooLong || !strings.Contains(f.message(), ph.text) || f.echoes(ph.text) {
				continue
			}
			if ph.on != nil && f.status != 0 && !slices.Contains(ph.on, f.status) {
				continue
			}
			if ph.daily && f.wait > 0 && f.wait <= dailyWait {
				return RateLimited
			}
			return ph.class
		}
	}
	return Unclassified
}

// numberAfter is the number behind the first mention of lead that has one, else
// -1. Thousands may be grouped by commas.
func numberAfter(text, lead string) int64 {
	for {
		_, after, found := strings.Cut(text, lead)
		if !found {
			return -1
		}
		n, digits := int64(0), 0
		for _, c := range []byte(after) {
			if c == ',' && digits > 0 {
				continue
			}
			if c < '0' || c > '9' || digits == 18 {
				break
			}
			n = n*10 + int64(c-'0')
			digits++
		}
		if digits > 0 {
			return n
		}
		text = after
	}
}

// byStatus is what a status means where the body tells nothing. A 503 may come
// from a proxy that lost its upstream in the middle of the work, so without
// more it is no better than a 502.
func byStatus(status int) Class {
	switch status {
	case 0:
		return ServerError
	case 402:
		return QuotaExhausted
	case 408, 409, 425:
		return Transient
	case 413:
		return TooLong
	case 429:
		return RateLimited
	case 529:
		return Overloaded
	}
	if 400 <= status && status < 500 {
		return Invalid
	}
	return ServerError
}
