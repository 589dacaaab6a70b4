//go:build linux

package queue

import (
	"testing"
	"time"

	"github.com/go-aio/aio/internal/aiotest"
)

// Only this file knows the fields of a Queue.

// A testQueue is a queue with one Lane.
type testQueue struct {
	*Queue
	*Lane
}

// queueOn returns a queue whose context comes from open.
func queueOn(depth int, open func(int) (kernel, error)) *testQueue {
	q := newQueue(depth, open)
	return &testQueue{q, testLane(q)}
}

// testLane returns a Lane whose submitters may hang for any time, as those of tests do.
func testLane(q *Queue) *Lane {
	l := q.Lane()
	l.stuckAfter = time.Hour
	return l
}

// newTestQueue is queueOn with a queue that the end of the test closes.
func newTestQueue(t testing.TB, depth int, open func(int) (kernel, error)) *testQueue {
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
func closeQueue(q *testQueue) {
	for l := range q.each {
		l.relief.Stop()
	}
	q.dog.timer.Stop()
	q.busy.timer.Stop()
	q.starting.Lock()
	defer q.starting.Unlock()
	q.up.Store(false)
	q.retryAt.Store(never)
	if q.kernel != nil {
		q.kernel.close()
	}
}

// countPending returns the number of requests that are in no submitter's batch.
func countPending(q *testQueue) (n int) {
	for l := range q.each {
		n += l.pending.len()
	}
	return n
}

// countSubmitters returns the number of goroutines that submit.
func countSubmitters(q *testQueue) (n int) {
	for l := range q.each {
		n += l.submitting
	}
	return n
}

// checkInvariants fails the test if an invariant of Lane or collector does not hold.
func checkInvariants(t testing.TB, q *testQueue) {
	t.Helper()
	for l := range q.each {
		if l.pending.len() > 0 && !l.watched {
			t.Errorf("%d requests are pending, and the relief timer is not set", l.pending.len())
		}
	}
	if w := q.collector.word.Load(); w < 0 || w > 0 && w&token == 0 {
		t.Errorf("the collector's word is %d", w)
	}
}

// checkIdle fails the test if a queue without requests holds on to anything.
func checkIdle(t testing.TB, q *testQueue) {
	t.Helper()
	// deliver wakes the callers first and counts afterwards.
	aiotest.Until(t, "no goroutine submits or delivers", func() bool {
		return countSubmitters(q) == 0 && q.Queue.inKernel.Load() == 0
	})
	aiotest.Until(t, "no request relies on a goroutine that collects", func() bool {
		return q.collector.word.Load() <= token
	})
	if n, pending := q.underWay(), countPending(q); n != 0 || pending != 0 {
		t.Errorf("the idle queue counts %d active, %d pending", n, pending)
	}
	for l := range q.each {
		if n := l.inKernel(); n != 0 {
			t.Errorf("the idle queue counts %d in the kernel", n)
		}
	}
	checkInvariants(t, q)
}
