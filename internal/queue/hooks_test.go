//go:build linux

package queue

import (
	"testing"
	"time"

	"github.com/go-aio/aio/internal/aiotest"
)

// Only this file knows the fields of a Queue.

// queueOn returns a queue whose context comes from open.
func queueOn(depth int, open func(int) (kernel, error)) *Queue {
	q := newQueue(depth, open)
	q.stuckAfter = time.Hour // the submitters of tests hang for any time
	return q
}

// newTestQueue is queueOn with a queue that the end of the test closes.
func newTestQueue(t testing.TB, depth int, open func(int) (kernel, error)) *Queue {
	aiotest.Guard(t)
	q := queueOn(depth, open)
	t.Cleanup(func() {
		closeQueue(q)
		if s := q.Stats(); s.Overlooked > 0 && !t.Failed() && q.dog.every == patrolEvery {
			t.Errorf("the watchdog found a forgotten request: %s", s.Incident)
		}
	})
	return q
}

// closeQueue ends the reaper and the context. No request may be in flight.
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

// countStarved returns the number of requests that wait for a slot.
func countStarved(q *Queue) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.starved.len()
}

// countPending returns the number of requests that have a slot and are in no submitter's
// batch.
func countPending(q *Queue) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.pending.len()
}

// countSubmitters returns the number of goroutines that submit.
func countSubmitters(q *Queue) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.submitting
}

// checkIdle fails the test if a queue without requests holds on to anything.
func checkIdle(t testing.TB, q *Queue) {
	t.Helper()
	// deliver wakes the callers first and counts afterwards.
	aiotest.Until(t, "no goroutine submits or delivers", func() bool {
		return countSubmitters(q) == 0 && q.inKernel.Load() == 0
	})
	q.mu.Lock()
	defer q.mu.Unlock()
	aiotest.Until(t, "no request in the kernel is quiet", func() bool {
		return q.quiet.Load() == 0
	})
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
			t.Errorf("slot %d is free twice, or still done", s.iocb.Data)
		}
		seen[s] = true
	}
}
