package sched

import (
	"testing"
	"time"

	"github.com/go-aio/aio/internal/aiotest"
)

// A unit that is handed on costs the same however many calls wait.
func TestSemaphoreInACrowd(t *testing.T) {
	aiotest.Guard(t)
	// handedOn returns what one of the units that are handed on to n waiting calls costs at best.
	handedOn := func(n int) time.Duration {
		best := time.Hour
		for range 5 {
			s := NewSemaphore(1).Share(0)
			s.Acquire(1)
			waiting := make([]*acquirer, n)
			for i := range waiting {
				waiting[i] = s.wait(1)
			}
			began := time.Now()
			for _, a := range waiting {
				s.Release(1)
				<-a.ready
				acquirers.Put(a)
			}
			best = min(best, time.Since(began)/time.Duration(n))
			s.Release(1)
			check(t, s, 0, 0)
		}
		return best
	}
	few, many := handedOn(100), handedOn(100_000)
	t.Logf("a unit is handed on in %v beside 100 calls that wait, in %v beside 100000", few, many)
	if many > 10*max(few, 100*time.Nanosecond) {
		t.Errorf("a unit is handed on in %v beside 100000 calls that wait, in %v beside 100", many, few)
	}
}
