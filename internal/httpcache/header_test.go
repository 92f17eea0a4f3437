package httpcache

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// Only members of this cache's own name are dropped from Cache-Status.
func TestCacheStatusOfOthers(t *testing.T) {
	for _, tt := range []struct{ lines, want []string }{
		{nil, nil},
		{[]string{"edge; hit"}, []string{"edge; hit"}},
		{[]string{"snubber; hit"}, nil},
		{[]string{"Snubber"}, nil},
		{[]string{`"snubber"; hit`}, nil},
		{[]string{" snubber ; hit", "edge"}, []string{"edge"}},
		{[]string{`edge; hit; detail="snubber.example"`}, []string{`edge; hit; detail="snubber.example"`}},
		{[]string{"snubber.example; hit", "mysnubber"}, []string{"snubber.example; hit", "mysnubber"}},
		{[]string{`origin; fwd=miss; detail="a, snubber", snubber; hit, edge; hit`}, []string{`origin; fwd=miss; detail="a, snubber", edge; hit`}},
		{[]string{`edge; detail="\", snubber; hit"`}, []string{`edge; detail="\", snubber; hit"`}},
		{[]string{"snubber; hit,, snubber"}, nil},
	} {
		if got := othersStatus(tt.lines); !slices.Equal(got, tt.want) {
			t.Errorf("othersStatus(%q) = %q, want %q", tt.lines, got, tt.want)
		}
	}
}

// Whatever a server sends, no member of our name is left, and lines without it stay.
func FuzzCacheStatusOfOthers(f *testing.F) {
	for _, line := range []string{"snubber; hit", `edge; detail="snubber, snubber"`, `a, "snubber", b`, `"\"snubber, snubber`} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		got := othersStatus([]string{line})
		if !strings.Contains(strings.ToLower(line), cacheName) && !slices.Equal(got, []string{line}) {
			t.Errorf("othersStatus(%q) = %q, want the same line", line, got)
		}
		for _, line := range got {
			for _, member := range statusMembers(line) {
				if strings.EqualFold(statusName(member), cacheName) {
					t.Errorf("othersStatus leaves %q in %q", member, line)
				}
			}
		}
	})
}

func TestAddStatus(t *testing.T) {
	h := http.Header{"Cache-Status": {"edge; hit"}, cachedRequestID: {"forged"}}
	addStatus(h, "; fwd=bypass", "method")
	if want := []string{"edge; hit", `snubber; fwd=bypass; detail="method"`}; !slices.Equal(h["Cache-Status"], want) {
		t.Errorf("Cache-Status = %q, want %q", h["Cache-Status"], want)
	}
	if id := h[cachedRequestID]; id != nil {
		t.Errorf("%s = %q, want none: the server has sent it", cachedRequestID, id)
	}
}

func TestAppendSeconds(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "0", 1: "1", time.Second: "1", 1500 * time.Millisecond: "2", -1: "-1", -1500 * time.Millisecond: "-2"} {
		if got := string(appendSeconds(nil, d)); got != want {
			t.Errorf("appendSeconds(%v) = %s, want %s", d, got, want)
		}
	}
}
