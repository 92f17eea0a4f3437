package mono

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestTimeIsExact(t *testing.T) {
	now := time.Now()
	if got := Of(now).Time(); !got.Equal(now) {
		t.Errorf("Of(%v).Time() = %v", now, got)
	}
	later := Of(now.Add(90 * time.Minute))
	if got := later.Sub(Of(now)); got != 90*time.Minute {
		t.Errorf("Sub = %v, want 1h30m", got)
	}
}

func TestFake(t *testing.T) {
	if Now().Fake() {
		t.Error("the real clock is taken for a bubble's")
	}
	synctest.Test(t, func(t *testing.T) {
		if !Now().Fake() {
			t.Error("a bubble's clock is taken for the real one")
		}
		before := Now()
		time.Sleep(time.Hour)
		if got := Now().Sub(before); got != time.Hour {
			t.Errorf("Sub = %v after an hour's sleep in a bubble", got)
		}
	})
}

func TestEarlier(t *testing.T) {
	now := time.Now()
	if a, b := Earlier(now, now.Add(1)), Earlier(now.Add(1), now); !a.Equal(now) || !b.Equal(now) {
		t.Errorf("Earlier = %v and %v, want %v", a, b, now)
	}
}

// A bound that is switched off must survive a little arithmetic.
func TestForeverDoesNotOverflow(t *testing.T) {
	if 8*Forever <= Forever || time.Now().Add(8*Forever).Before(time.Now()) {
		t.Error("8*Forever overflows")
	}
	if Now()+Time(Forever) >= Never {
		t.Error("Forever from now is not before Never")
	}
}
