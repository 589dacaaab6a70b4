//go:build linux

package queue

import (
	"testing"
	"time"

	"github.com/go-aio/aio/internal/aiotest"
)

// Here is all that the tests know of the fields of a Queue.

// queueOn returns a queue whose context open makes.
func queueOn(depth int, open func(int) (kernel, error)) *Queue {
	q := newQueue(depth, open)
	q.stuckAfter = time.Hour // tests have submitters hang for as long as it pleases them
	return q
}

// newTestQueue returns such a queue, which the end of the test closes.
func newTestQueue(t testing.TB, depth int, open func(int) (kernel, error)) *Queue {
	aiotest.Guard(t)
	q := queueOn(depth, open)
	t.Cleanup(func() {
		closeQueue(q)
		if s := q.Stats(); s.Overlooked > 0 && !t.Failed() && q.dog.every == patrolEvery {
			t.Errorf("the watchdog found something forgotten: %s", s.Incident)
		}
	})
	return q
}

// closeQueue ends the reaper and the context. Nothing may be in flight.
func closeQueue(q *Queue) {
	if q.relief != nil {
		q.relief.Stop()
	}
	if q.dog.timer != nil {
		q.dog.timer.Stop()
	}
	if k := q.kernel.Swap(nil); k != nil {
		(*k).close()
	}
}

// countStarved returns the number of requests that have no slot yet.
func countStarved(q *Queue) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.starved.len()
}

// countPending returns the number of requests that have a slot, and that nobody has in hand
// to give to the kernel.
func countPending(q *Queue) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.pending.len()
}

// countSubmitters returns the number of goroutines that give requests to the kernel.
func countSubmitters(q *Queue) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.submitting
}

// checkIdle fails the test if a queue without requests keeps something.
func checkIdle(t testing.TB, q *Queue) {
	t.Helper()
	// Who delivers wakes the owners first and counts afterwards.
	aiotest.Until(t, "nobody submits or delivers", func() bool { return countSubmitters(q) == 0 && q.inKernel.Load() == 0 })
	q.mu.Lock()
	defer q.mu.Unlock()
	aiotest.Until(t, "nothing is silent in the kernel", func() bool { return q.silent.Load() == 0 })
	if q.active.Load() != 0 || q.starved.len() != 0 || q.pending.len() != 0 {
		t.Errorf("the idle queue counts %d active, %d starved, %d pending",
			q.active.Load(), q.starved.len(), q.pending.len())
	}
	if len(q.free) != q.made {
		t.Errorf("%d slots of %d have been returned", len(q.free), q.made)
	}
	seen := make(map[*slot]bool)
	for _, s := range q.free {
		if seen[s] || len(s.done) != 0 {
			t.Errorf("slot %d is free twice, or done for nobody", s.iocb.Data)
		}
		seen[s] = true
	}
}
