package rfc9111

import (
	"strings"
	"time"
)

// readDate reads a field that holds one HTTP-date; more than one line is none.
func readDate(field []string, now time.Time) (time.Time, bool) {
	if len(field) != 1 {
		return time.Time{}, false
	}
	return parseDate(field[0], now)
}

// The three formats of an HTTP-date (RFC 9110, section 5.6.7). The last is for
// a day of one digit, which the grammar of asctime has with a zero too.
const (
	imfFixdate  = "Mon, 02 Jan 2006 15:04:05 GMT"
	rfc850      = "Monday, 02-Jan-06 15:04:05 GMT"
	asctime     = "Mon Jan 02 15:04:05 2006"
	asctimeWide = "Mon Jan _2 15:04:05 2006"
)

// parseDate reads an HTTP-date strictly, but for the letters' case, which a
// cache is told not to mind (section 4.2). now is for the century of a year with
// two digits, which is never more than 50 years ahead.
//
// [http.ParseTime] is of no use here: it takes spaces wherever it likes, hours
// of one digit, and wrong days of the week.
func parseDate(s string, now time.Time) (time.Time, bool) {
	if len(s) < len(asctime) || len(s) > len("Wednesday, 02-Jan-06 15:04:05 GMT") {
		return time.Time{}, false
	}
	var format string
	switch s[3] {
	case ',':
		format = imfFixdate
	case ' ':
		if format = asctime; s[8] == ' ' {
			format = asctimeWide
		}
	default:
		format = rfc850
	}
	// The zone is all that time.Parse wants in the format's own letters.
	zone := len(s) - len("GMT")
	t, err := time.Parse(format, s[:zone]+strings.ToUpper(s[zone:]))
	if err != nil {
		return time.Time{}, false
	}
	if format == rfc850 {
		t = century(t, now)
	}
	// Parse is as lenient as ParseTime. What it read must be what is written.
	return t, strings.EqualFold(t.Format(format), s)
}

// century moves a year that was written with two digits, which time.Parse puts
// between 1969 and 2068, to the last one that is at most 50 years ahead.
func century(t, now time.Time) time.Time {
	limit := now.AddDate(50, 0, 0)
	year := t.Year() % 100
	year += limit.Year() - limit.Year()%100
	at := func(year int) time.Time {
		return time.Date(year, t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), 0, time.UTC)
	}
	if at(year).After(limit) {
		year -= 100
	}
	return at(year)
}
