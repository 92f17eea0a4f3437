package main

import (
	"bytes"
	"fmt"
	"html"
	"math"
	"slices"
	"strconv"
	"time"
)

// The colours, like those of the text, are legible on white and on black: whoever
// shows the plot may have a theme that the image is not told of. The best possible is grey, for
// it is not a contender.
var colours = map[string]string{
	"oracle":                      "#8b949e",
	"snubber":                     "#2f81f7",
	"snubber, told":               "#39c5cf",
	"openai-go over snubber":      "#6e9bd8",
	"backoff + x/time/rate, told": "#3fb950",
	"failsafe-go, told":           "#bf8700",
	"go-retryablehttp":            "#db6d28",
	"openai-go":                   "#e5534b",
	"sleep(2**attempt)":           "#a371f7",
	"bare":                        "#db61a2",
}

const (
	width, margin    = 900, 60
	chartTop, chartH = 40, 250
	rowsTop, rowH    = chartTop + chartH + 98, 22
	wasteX, wasteW   = 250, 250
	waitX, waitW     = 590, 270
)

// svg collects a drawing.
type svg struct{ bytes.Buffer }

func (b *svg) text(x, y float64, anchor, class, s string) {
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f" text-anchor="%s" class="%s">%s</text>`+"\n", x, y, anchor, class, html.EscapeString(s))
}

func (b *svg) line(x1, y1, x2, y2 float64, class string) {
	fmt.Fprintf(b, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" class="%s"/>`+"\n", x1, y1, x2, y2, class)
}

// plot draws a scenario: what was done over time, and for each contender what
// it wasted and how long its callers waited. It is of the first seed; nil
// where there is nothing to see.
func (t *table) plot() []byte {
	if len(t.scenario.targets) == 0 || t.rows[0].runs[0].ok == 0 {
		return nil
	}
	rows := slices.DeleteFunc(slices.Clone(t.rows), func(r *row) bool { return r.who.name == "openai-go over snubber" })
	b := &svg{}
	height := rowsTop + rowH*len(rows) + 16
	fmt.Fprintf(b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img">
<title>%s</title>
<style>
text { font: 12px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #6e7781 }
.head { font-weight: 600; fill: #59636e }
.grid { stroke: #8b949e; stroke-opacity: .3 }
.axis { stroke: #8b949e }
path { fill: none; stroke-width: 2; stroke-linejoin: round }
@media (prefers-color-scheme: dark) { text { fill: #9ea7b3 } .head { fill: #e6edf3 } }
</style>
`, width, height, width, height, html.EscapeString(capital(t.scenario.title)))
	b.text(margin, 20, "start", "head", capital(t.scenario.title))
	if t.scenario.load.endless() {
		t.rates(b, rows)
	} else {
		t.completion(b, rows)
	}
	b.rows(rows)
	b.WriteString("</svg>\n")
	return b.Bytes()
}

// axes draws the frame of a chart and returns its scales.
func (b *svg) axes(maxX, maxY float64, labelY string) (x, y func(float64) float64) {
	x = func(v float64) float64 { return margin + v/maxX*(width-2*margin) }
	y = func(v float64) float64 { return chartTop + chartH - v/maxY*chartH }
	for _, v := range ticks(maxY) {
		b.line(margin, y(v), width-margin, y(v), "grid")
		b.text(margin-8, y(v)+4, "end", "", strconv.FormatFloat(v, 'f', -1, 64))
	}
	for _, v := range ticks(maxX) {
		b.line(x(v), chartTop+chartH, x(v), chartTop+chartH+4, "axis")
		b.text(x(v), chartTop+chartH+18, "middle", "", strconv.FormatFloat(v, 'f', -1, 64))
	}
	b.line(margin, chartTop+chartH, width-margin, chartTop+chartH, "axis")
	b.text(width-margin, chartTop+chartH+34, "end", "", "seconds")
	b.text(width-margin, 20, "end", "", labelY)
	return x, y
}

// ticks are four to eight round numbers from zero.
func ticks(limit float64) (ts []float64) {
	step := math.Pow(10, math.Floor(math.Log10(limit)))
	for limit/step < 4 {
		step /= 2
	}
	for limit/step > 8 {
		step *= 2
	}
	for v := 0.0; v <= limit*1.0001; v += step {
		ts = append(ts, math.Round(v*1e6)/1e6)
	}
	return ts
}

// completion draws how many calls were answered by when.
func (t *table) completion(b *svg, rows []*row) {
	best, longest := rows[0].runs[0].makespan.Seconds(), 0.0
	for _, r := range rows {
		longest = max(longest, r.runs[0].makespan.Seconds())
	}
	maxX := min(longest*1.02, 2.5*best)
	x, y := b.axes(maxX, float64(t.scenario.load.batch()), "calls answered")
	for _, r := range inOrder(rows) {
		var ends []time.Duration
		for _, c := range r.runs[0].calls {
			if c.ok {
				ends = append(ends, c.ended)
			}
		}
		slices.Sort(ends)
		b.begin(r)
		fmt.Fprintf(b, "M%.1f %.1f", x(0), y(0))
		drawn := 0.0
		for i, at := range ends {
			if s := at.Seconds(); s <= maxX && (s-drawn > maxX/300 || i == len(ends)-1) {
				if s-drawn > maxX/50 { // nothing was answered meanwhile
					fmt.Fprintf(b, "H%.1f", x(s))
				}
				fmt.Fprintf(b, "L%.1f %.1f", x(s), y(float64(i+1)))
				drawn = s
			}
		}
		fmt.Fprintf(b, "H%.1f\"/>\n", x(maxX))
	}
}

// rates draws how many calls a second were let in.
func (t *table) rates(b *svg, rows []*row) {
	const bin = 4 * time.Second
	n := int(t.scenario.horizon / bin)
	most := 0.0
	rates := map[*row][]float64{}
	for _, r := range rows {
		rate := make([]float64, n+1)
		for _, e := range r.runs[0].admitted {
			rate[int(e.at/bin)] += 1 / bin.Seconds()
		}
		rates[r], most = rate, max(most, slices.Max(rate[1:]))
	}
	x, y := b.axes(t.scenario.horizon.Seconds(), most*1.05, "calls let in each second")
	for _, r := range inOrder(rows) {
		b.begin(r)
		for j, v := range rates[r][:n] {
			fmt.Fprintf(b, "%s%.1f %.1f", map[bool]string{true: "M", false: "L"}[j == 0], x((time.Duration(j)*bin + bin/2).Seconds()), y(min(v, most*1.05)))
		}
		b.WriteString("\"/>\n")
	}
}

// inOrder is the order of drawing, what the reader looks for on top.
func inOrder(rows []*row) []*row {
	return slices.SortedStableFunc(slices.Values(rows), func(a, b *row) int {
		top := []string{"snubber, told", "snubber", "oracle"}
		return slices.Index(top, a.who.name) - slices.Index(top, b.who.name)
	})
}

func (b *svg) begin(r *row) {
	dash := ""
	if r.who.name == "oracle" {
		dash = ` stroke-dasharray="6 4"`
	}
	fmt.Fprintf(b, `<path stroke="%s"%s d="`, colours[r.who.name], dash)
}

// rows draws, for each contender, the calls on the wire for each answer and
// the waits from the median to the 99th percentile. They are the legend too.
func (b *svg) rows(rows []*row) {
	worst, longest := 10.0, 1.0
	for _, r := range rows {
		worst = max(worst, r.median(perAnswer))
		if w := r.median(waits(0.99)); !math.IsInf(w, 0) {
			longest = max(longest, w)
		}
	}
	decades := math.Ceil(math.Log10(worst))
	wire := func(v float64) float64 {
		return wasteX + math.Log10(min(max(v, 1), math.Pow(10, decades)))/decades*wasteW
	}
	wait := func(v float64) float64 { return waitX + v/longest*waitW }
	top, bottom := float64(rowsTop-14), float64(rowsTop+rowH*len(rows)-8)
	b.text(wasteX, top-22, "start", "head", "calls on the wire for each answer")
	b.text(waitX, top-22, "start", "head", "seconds of waiting: p50, p90, p99")
	for d := 0.0; d <= decades; d++ {
		v := math.Pow(10, d)
		b.line(wire(v), top, wire(v), bottom, "grid")
		b.text(wire(v), top-6, "middle", "", strconv.FormatFloat(v, 'f', -1, 64))
	}
	for _, v := range ticks(longest) {
		b.line(wait(v), top, wait(v), bottom, "grid")
		b.text(wait(v), top-6, "middle", "", strconv.FormatFloat(v, 'f', -1, 64))
	}
	for i, r := range rows {
		y, colour := float64(rowsTop+rowH*i), colours[r.who.name]
		name := r.who.name
		if s := r.median(success); s < 1 {
			name += fmt.Sprintf(" (%.0f %% answered)", math.Floor(100*s))
		}
		fmt.Fprintf(b, `<rect x="12" y="%.1f" width="12" height="12" rx="2" fill="%s"/>`+"\n", y-6, colour)
		b.text(30, y+4, "start", "", name)
		calls := r.median(perAnswer)
		fmt.Fprintf(b, `<rect x="%d" y="%.1f" width="%.1f" height="10" rx="1" fill="%s"/>`+"\n", wasteX, y-5, max(1.5, wire(calls)-wasteX), colour)
		if calls < 1e9 {
			b.text(wire(calls)+5, y+4, "start", "", fmt.Sprintf("%.2f", calls))
		}
		if p := r.median(waits(0.5)); !math.IsInf(p, 0) {
			fmt.Fprintf(b, `<path stroke="%s" d="M%.1f %.1fH%.1f"/>`+"\n", colour, wait(p), y, wait(r.median(waits(0.99))))
			for _, q := range []float64{0.5, 0.9, 0.99} {
				fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`+"\n", wait(r.median(waits(q))), y, colour)
			}
		}
	}
}

func perAnswer(r, _ *run) float64 { return float64(r.wire) / math.Max(1, float64(len(r.admitted))) }
