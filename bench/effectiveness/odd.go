package main

import (
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// odd is a refusal that has nothing to do with what is left of any quota: of a
// capacity that all share, of one bad replica, by mistake. The zero odd refuses
// nobody.
type odd struct {
	share    float64                     // of all calls
	curve    func(time.Duration) float64 // the share as it changes, in the place of share
	from, to time.Duration               // only then; to 0: to the end
	after    time.Duration               // what its Retry-After says; 0: nothing, below zero: 0
	ms       bool                        // the same in milliseconds
	says     string                      // "": a rate limit; else one of oddBodies
}

// at is the share that is refused at an instant.
func (o *odd) at(at time.Duration) float64 {
	switch {
	case at < o.from || o.to > 0 && at >= o.to:
		return 0
	case o.curve != nil:
		return o.curve(at)
	}
	return o.share
}

// oddBodies are refusals that sound as if they were meant for all calls of the
// account.
var oddBodies = map[string]struct {
	status int
	body   string
}{
	"exhausted": {429, `{"error":{"message":"You exceeded your current quota, please check your plan and billing details.","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}`},
	"402":       {402, `{"error":{"message":"Insufficient credits","code":402}}`},
	"daily":     {429, `{"error":{"message":"Rate limit reached for gpt-4o on tokens per day (TPD): Limit 1000000, Used 999990, Requested 100. Please try again in 8m12s.","type":"tokens","param":null,"code":"rate_limit_exceeded"}}`},
	"full":      {429, `{"error":{"message":"Rate limit reached","type":"requests","param":null,"code":"rate_limit_exceeded"}}`},
	"event":     {200, "event: error\ndata: {\"error\":{\"message\":\"Rate limit reached\",\"type\":\"requests\",\"param\":null,\"code\":\"rate_limit_exceeded\"}}\n\n"},
}

// respond makes res the refusal and returns its body.
func (o *odd) respond(res *http.Response) (body string) {
	switch {
	case o.ms:
		res.Header.Set("Retry-After-Ms", strconv.FormatInt(o.after.Milliseconds(), 10))
	case o.after != 0:
		res.Header.Set("Retry-After", fmt.Sprint(max(0, o.after.Seconds())))
	}
	res.StatusCode = http.StatusTooManyRequests
	body = `{"error":{"message":"Rate limit reached","type":"requests","param":null,"code":"rate_limit_exceeded"}}`
	if b, ok := oddBodies[o.says]; ok {
		res.StatusCode, body = b.status, b.body
	}
	switch o.says {
	case "full":
		res.Header.Set("x-ratelimit-limit-requests", "60000")
		res.Header.Set("x-ratelimit-remaining-requests", "59000")
		res.Header.Set("x-ratelimit-reset-requests", "1s")
	case "event":
		res.Header.Set("Content-Type", "text/event-stream")
	}
	return body
}
