//go:build linux

package queue

import (
	"testing"
	"time"

	"github.com/go-aio/aio/internal/aiotest"
)

// newBusyState returns a busyState whose yields take as long as took returns.
func newBusyState(took func() time.Duration) *busyState {
	b := new(busyState)
	b.used = func() time.Duration { return 0 }
	b.procs = func() int32 { return 2 }
	calls := 0
	b.gosched = func() {
		if calls++; calls%2 == 1 { // a look yields twice
			for began := sinceEpoch(); sinceEpoch() < began+took(); {
				time.Sleep(took() / 4)
			}
		}
	}
	return b
}

// given returns a function that counts n requests.
func given(n int64) func() int64 { return func() int64 { return n } }

// A yield is not late if requests continue meanwhile, as those of a crowd do.
func TestBusyCrowd(t *testing.T) {
	b := newBusyState(func() time.Duration { return 2 * lateFrom })
	var n int64
	flow := func() int64 { n += int64(4 * lateFrom / flowEvery); return n }
	now := time.Now()
	for range 2 * lateOf {
		if again := b.look(flow, 1, now); again != lookEvery || b.on.Load() {
			t.Fatalf("again after %v, busy %t", again, b.on.Load())
		}
	}
}

// Processors count as busy after two late yields of four, and no sooner.
func TestBusyAfterLateYields(t *testing.T) {
	var took time.Duration
	b := newBusyState(func() time.Duration { return took })
	now := time.Now()
	look := func(n int64, yield time.Duration) time.Duration {
		took = yield
		now = now.Add(lookEvery)
		return b.look(given(n), 1, now)
	}
	for n, yield := range []time.Duration{0, lateFrom, 0, 0, 0, lateFrom, 0} {
		if again := look(int64(n+1), yield); again != lookEvery || b.on.Load() {
			t.Fatalf("look %d: again after %v, busy %t", n, again, b.on.Load())
		}
	}
	if again := look(8, lateFrom); again != leastBusy || !b.on.Load() {
		t.Errorf("after two late yields of three: again after %v, busy %t", again, b.on.Load())
	}
}

// While processors stay busy, the time until the next trial doubles; one late yield suffices.
// After a long time without a late yield it starts again at its minimum.
func TestBusyIsTried(t *testing.T) {
	took := lateFrom
	b := newBusyState(func() time.Duration { return took })
	now := time.Now()
	var submitted int64
	look := func() time.Duration {
		submitted++
		return b.look(given(submitted), 1, now)
	}
	look()
	for _, want := range []time.Duration{1, 2, 4, 8, 10, 10} {
		want *= leastBusy
		if again := look(); again != want || !b.on.Load() {
			t.Fatalf("again after %v, want %v; busy %t", again, want, b.on.Load())
		}
		now = now.Add(want)
		if again := look(); again != trialAfter || b.on.Load() {
			t.Fatalf("a trial: again after %v, busy %t", again, b.on.Load())
		}
		now = now.Add(trialAfter)
		time.Sleep(trialAfter) // the yield is late from then on
	}
	took = 0
	b.yields.Store(0) // the look comes in time
	for range 100 {
		if again := look(); again != lookEvery || b.on.Load() {
			t.Fatalf("prompt: again after %v, busy %t", again, b.on.Load())
		}
	}
	took, now = lateFrom, now.Add(2*mostBusy)
	look()
	if again := look(); again != leastBusy {
		t.Errorf("busy long after the last trial: again after %v, want %v", again, leastBusy)
	}
}

// Processors are busy at once if the process has used nearly all of them, and made few requests.
func TestBusyFull(t *testing.T) {
	const requests = int64(2 * lateFrom / flowEvery)
	for _, c := range []struct {
		name     string
		used     time.Duration // of 2 * 2 * lateFrom
		requests int64
		want     time.Duration
	}{
		{"all", 4 * lateFrom, requests / 2, fullBusy},
		{"one processor", 2 * lateFrom, requests / 2, lookEvery},
		{"a crowd", 4 * lateFrom, 4 * requests, lookEvery},
	} {
		b := newBusyState(func() time.Duration { return 0 })
		b.used = func() time.Duration { return c.used }
		b.arranged = sinceEpoch() - 2*lateFrom
		if again := b.look(given(c.requests), 1, time.Now()); again != c.want {
			t.Errorf("%s: again after %v, want %v", c.name, again, c.want)
		}
		if on := b.on.Load(); on != (c.want == fullBusy) {
			t.Errorf("%s: busy %t", c.name, on)
		}
	}
	// What is found again and again lasts longer.
	b := newBusyState(func() time.Duration { return 0 })
	b.used = func() time.Duration { return time.Hour }
	now := time.Now()
	for n, want := range []time.Duration{fullBusy, mostBusy, mostBusy} {
		b.arranged = sinceEpoch() - lateFrom
		if again := b.look(given(int64(2*n+1)), 1, now); again != want {
			t.Errorf("again after %v, want %v", again, want)
		}
		now = now.Add(want)
		b.look(given(int64(2*n+1)), 1, now) // a trial
	}
}

// A queue without requests has no timer, busy or not.
func TestBusyIdle(t *testing.T) {
	b := newBusyState(func() time.Duration { return lateFrom })
	now := time.Now()
	b.look(given(1), 1, now)
	if again := b.look(given(1), 1, now); again != 0 {
		t.Errorf("nothing submitted since the last look: again after %v", again)
	}
	b.look(given(2), 1, now)
	b.look(given(3), 1, now)
	if !b.on.Load() {
		t.Fatal("not busy")
	}
	now = now.Add(leastBusy)
	if again := b.look(given(3), 0, now); again != 0 || b.on.Load() {
		t.Errorf("nothing under way: again after %v, busy %t", again, b.on.Load())
	}
	if again := b.look(given(3), 0, now); again != 0 {
		t.Errorf("nothing submitted since: again after %v", again)
	}
	// The next request is a trial, for which one late yield suffices.
	if again := b.look(given(4), 1, now); again != 2*leastBusy || !b.on.Load() {
		t.Errorf("busy again: again after %v, busy %t", again, b.on.Load())
	}
}

// A yield that is under way and late counts already, for every caller of Busy.
func TestBusyWhileTheYieldIsLate(t *testing.T) {
	_, q := newFake(t, 32)
	if q.Busy() {
		t.Fatal("busy without any request")
	}
	blocked, began := make(chan struct{}), make(chan struct{}, 1)
	q.busy.gosched = func() {
		select {
		case began <- struct{}{}:
			<-blocked
		default:
		}
	}
	done := start(q, 1)
	<-began
	aiotest.Until(t, "the yield is late", q.Busy)
	if q.busy.on.Load() {
		t.Error("on before the yield has ended")
	}
	close(blocked)
	want(t, 1, done, 1, nil)
	aiotest.Until(t, "it looks no more", func() bool {
		return !q.busy.set.Load()
	})
	if q.Busy() {
		t.Error("busy after one late yield, with nothing in flight")
	}
}
