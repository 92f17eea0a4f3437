package examples

import (
	"context"
	"errors"
	"io"
	"net/http/httptest"
	"testing"

	"github.com/seed-9e4f5248/snubber/snubbertest"
)

// An error in place of the first word is nothing that a program has to know of:
// it gets one answer, from the second wire call.
func TestErrorBeforeTheFirstWord(t *testing.T) {
	t.Parallel()
	for _, kind := range []snubbertest.Kind{snubbertest.ErrorEvent, snubbertest.Truncate, snubbertest.Reset} {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			each(t, func(t *testing.T, s sdk, streamed bool) {
				if kind == snubbertest.ErrorEvent && !streamed {
					t.Skip("there is no event")
				}
				r := newRig(t, s, &snubbertest.Provider{})
				r.provider.Inject(snubbertest.Fault{Kind: kind, Times: 1})
				r.works(t, streamed)
				r.wants(t, 1, 2)
			})
		})
	}
}

// A stream that breaks off after its first words is an error in every SDK, and is
// not asked for again: part of it has been heard.
func TestCutStream(t *testing.T) {
	t.Parallel()
	for _, s := range sdks {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			l := &lockstep{provider: &snubbertest.Provider{}, sent: make(chan string, 1)}
			srv := httptest.NewServer(l)
			t.Cleanup(srv.Close)
			r := newRigAt(t, s, l.provider, srv)
			l.client = r.above
			l.provider.Inject(snubbertest.Fault{Kind: snubbertest.Truncate, After: 6})
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			a, err := r.call(ctx, true)
			if err == nil {
				t.Fatalf("%+v, and no error", a)
			}
			if !s.opaque && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%v is not io.ErrUnexpectedEOF", err)
			}
			if a.text == "" {
				t.Error("the words before the cut are lost")
			}
			r.wants(t, 1, 1)
		})
	}
}
