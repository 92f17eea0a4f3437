package dashboard_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/dashboard"
)

// viewer takes the frames of a stream, and leaves after so many.
type viewer struct {
	header http.Header
	frames []string
	code   int
	want   int
	leave  context.CancelFunc
	stuck  time.Duration // of each Write
	until  time.Time     // the deadline of the next
}

func (v *viewer) Header() http.Header { return v.header }

func (v *viewer) WriteHeader(code int) { v.code = code }

func (v *viewer) Write(b []byte) (int, error) {
	if v.stuck > 0 {
		time.Sleep(min(v.stuck, time.Until(v.until)))
		return 0, errors.New("i/o timeout")
	}
	v.frames = append(v.frames, string(b))
	if len(v.frames) == v.want {
		v.leave()
	}
	return len(b), nil
}

func (v *viewer) Flush() {}

func (v *viewer) SetWriteDeadline(t time.Time) error {
	v.until = t
	return nil
}

// stream is what a viewer gets, until it has so many frames.
func stream(t *testing.T, d *dashboard.Dashboard, last string, n int) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	v := &viewer{header: http.Header{}, want: n, leave: cancel}
	req := httptest.NewRequest("GET", "http://localhost/events", nil).WithContext(ctx)
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	d.ServeHTTP(v, req)
	return v.frames
}

type frame struct {
	ID   string
	Full bool
	Keys []struct {
		Key      string
		Attempts int
		Slots    [][4]int64
	}
	Events []struct{ Seq int }
	Totals struct{ Attempts int }
}

func parse(t *testing.T, s string) (f frame) {
	t.Helper()
	for line := range strings.Lines(s) {
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			if err := json.Unmarshal([]byte(data), &f); err != nil {
				t.Fatal(err)
			}
		}
		if id, ok := strings.CutPrefix(line, "id: "); ok {
			f.ID = strings.TrimSpace(id)
		}
	}
	if f.ID == "" || !strings.HasSuffix(s, "\n\n") {
		t.Fatalf("no frame: %q", s)
	}
	return f
}

// A viewer first gets everything and then, once a second, what has changed.
func TestStreamSendsChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := dashboard.New()
		observe := func(key string) {
			e := attempt(snubber.Success)
			e.Key = key
			d.Observe(e)
		}
		observe("a")
		observe("b")
		time.Sleep(10 * time.Second) // so that the newest slots are at rest
		go func() {
			time.Sleep(1500 * time.Millisecond)
			observe("b")
			time.Sleep(time.Second)
			observe("c")
		}()
		began := time.Now()
		frames := stream(t, d, "", 4)
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("4 frames took %v, want 3s", took)
		}
		var got []string
		for _, s := range frames {
			f := parse(t, s)
			line := fmt.Sprint(f.Full, len(f.Events))
			for _, k := range f.Keys {
				line += fmt.Sprint(" ", k.Key, k.Attempts, len(k.Slots))
			}
			got = append(got, line)
		}
		// b's older slot is not sent again.
		want := []string{"true 2 a1 1 b1 1", "false 0", "false 1 b2 1", "false 1 c1 1"}
		if !slices.Equal(got, want) {
			t.Errorf("frames %q, want %q", got, want)
		}
	})
}

// A viewer that comes back gets what it has missed and no more. The ID of another run
// is that of a new viewer, and so is nonsense.
func TestStreamResumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := dashboard.New()
		d.Observe(attempt(snubber.Success))
		f := parse(t, stream(t, d, "", 1)[0])
		if !f.Full || len(f.Events) != 1 {
			t.Fatalf("first frame %+v, want everything", f)
		}
		for range 2 {
			d.Observe(attempt(snubber.Success))
		}
		time.Sleep(3 * time.Second)
		again := parse(t, stream(t, d, f.ID, 1)[0])
		if again.Full || len(again.Events) != 2 || len(again.Keys) != 1 || again.Keys[0].Attempts != 3 {
			t.Errorf("after the pause %+v, want the two events and the key", again)
		}
		if same := parse(t, stream(t, d, again.ID, 1)[0]); same.Full || len(same.Events) != 0 || len(same.Keys) != 0 {
			t.Errorf("at once %+v, want nothing new", same)
		}
		for _, id := range []string{"otherrun.1.1", "x", "..", f.ID + "9999999999999999999999", strings.Split(f.ID, ".")[0] + ".99999.0"} {
			if got := parse(t, stream(t, d, id, 1)[0]); !got.Full {
				t.Errorf("Last-Event-ID %q: %+v, want everything", id, got)
			}
		}
	})
}

// Viewers are bounded, and one that leaves makes room.
func TestStreamBoundsViewers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := dashboard.New()
		ctx, cancel := context.WithCancel(t.Context())
		open := func(ctx context.Context) *viewer {
			v := &viewer{header: http.Header{}, leave: func() {}}
			d.ServeHTTP(v, httptest.NewRequest("GET", "http://localhost/events", nil).WithContext(ctx))
			return v
		}
		for range 32 {
			go open(ctx)
		}
		synctest.Wait()
		if v := open(t.Context()); v.code != 503 {
			t.Errorf("viewer 33 = %d, want 503", v.code)
		}
		cancel()
		synctest.Wait()
		if frames := stream(t, d, "", 1); len(frames) != 1 {
			t.Errorf("%d frames after all have left, want 1", len(frames))
		}
	})
}

// A viewer that takes nothing is dropped, and delays neither events nor other viewers.
func TestStreamDropsSlowViewer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := dashboard.New()
		began := time.Now()
		gone := make(chan time.Duration, 1)
		go func() {
			v := &viewer{header: http.Header{}, stuck: time.Hour}
			d.ServeHTTP(v, httptest.NewRequest("GET", "http://localhost/events", nil))
			gone <- time.Since(began)
		}()
		synctest.Wait()
		d.Observe(attempt(snubber.Success))
		if frames := stream(t, d, "", 2); len(frames) != 2 || time.Since(began) != time.Second {
			t.Errorf("another viewer has %d frames after %v, want 2 after 1s", len(frames), time.Since(began))
		}
		if took := <-gone; took != 5*time.Second {
			t.Errorf("the slow viewer was dropped after %v, want 5s", took)
		}
	})
}

// Close ends all streams, so that a server can shut down.
func TestDashboardClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := dashboard.New()
		ended := make(chan bool, 1)
		go func() {
			v := &viewer{header: http.Header{}, leave: func() {}}
			d.ServeHTTP(v, httptest.NewRequest("GET", "http://localhost/events", nil))
			ended <- true
		}()
		synctest.Wait()
		d.Close()
		d.Close()
		<-ended
		d.Observe(attempt(snubber.Success))
		if w := get(d, "/?format=text"); w.Code != 200 || !bytes.Contains(w.Body.Bytes(), []byte("1 attempts")) {
			t.Errorf("the twin after Close = %d %s", w.Code, w.Body)
		}
	})
}

func BenchmarkLookThousandKeys(b *testing.B) {
	d := dashboard.New()
	for i := range 1000 {
		e := attempt(snubber.Success)
		e.Key = fmt.Sprintf("https://api.example.com model-%d", i)
		d.Observe(e)
	}
	for b.Loop() {
		get(d, "/?format=json")
	}
}
