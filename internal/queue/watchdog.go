//go:build linux

package queue

import (
	"fmt"
	"time"

	"github.com/go-aio/aio/libaio"
)

// A forgotten request hangs its caller for ever, which is the worst fault of a queue. So
// while any request is under way, a timer checks now and then for two faults: a completion in
// the kernel that no goroutine collects, and a pending request that no goroutine submits. It
// should never find any. If it does, it repairs the damage and counts it, and the tests fail.
//
// The watchdog acts if it finds the same fault twice without any progress in between. A
// completion that has just come will be taken before the second check.

// patrolEvery is the time between checks. An idle queue has no timer.
const patrolEvery = time.Second

// A watchdog is the state that one check leaves for the next.
type watchdog struct {
	timer *time.Timer   // nil until needed; guarded by Queue.mu, like set
	set   bool          // a check is due
	every time.Duration // patrolEvery, except in tests

	last   progress // progress at the last check
	stands bool     // the last check found a fault
}

// A progress changes with every step of any request.
type progress struct {
	completed, inKernel, collects int64
	pushes                        uint64
}

// guard starts the watchdog unless it runs. The caller holds q.mu.
func (q *Queue) guard(k kernel) {
	if q.dog.set {
		return
	}
	q.dog.set = true
	if q.dog.timer == nil {
		q.dog.timer = time.AfterFunc(q.dog.every, func() { q.patrol(k) })
		return
	}
	q.dog.timer.Reset(q.dog.every)
}

// patrol makes one check; the timer calls it.
func (q *Queue) patrol(k kernel) {
	q.mu.Lock()
	now := progress{q.counts.completed, q.inKernel.Load(), q.collects.Load(), q.pushes}
	if now.completed == q.counts.submitted {
		q.dog.set = false
		q.mu.Unlock()
		return
	}
	still := now == q.dog.last
	forgotten := q.pending.len() > 0 && q.submitting == 0 && !q.stalled.Load()
	q.mu.Unlock()

	stood := q.dog.stands
	q.dog.last, q.dog.stands = now, still && (forgotten || k.waiting())
	if stood && q.dog.stands {
		q.rescue(k)
	}
	q.mu.Lock()
	q.dog.timer.Reset(q.dog.every)
	q.mu.Unlock()
}

// rescue collects and submits what was forgotten.
func (q *Queue) rescue(k kernel) {
	q.mu.Lock()
	q.counts.overlooked++
	first := q.incident == ""
	if first {
		q.incident = q.state() + k.state()
	}
	q.mu.Unlock()
	events := make([]libaio.Event, 128)
	for {
		// This asks the kernel even if the mapped ring looks empty; reap does not.
		n, err := k.collect(1, events, time.Nanosecond)
		if err != nil || n == 0 {
			break
		}
		q.deliver(events[:n])
	}
	if q.collecting.Load() {
		go q.collectFn() // the collector has not collected for long; two of them do no harm
	}
	wakes := q.wakes.Load()
	k.ring()
	q.resume(k)
	if first {
		time.Sleep(q.dog.every / 8)
		q.mu.Lock()
		q.incident += fmt.Sprintf("; a ring wakes the reaper: %t", q.wakes.Load() > wakes)
		q.mu.Unlock()
	}
}

// state describes q for a report. The caller holds q.mu.
func (q *Queue) state() string {
	return fmt.Sprintf("in the kernel %d, quiet %d, collecting %t, no collecting %t, stalled %t; "+
		"pending %d, submitting %d of %d, starved %d, active %d; wakes %d, collects %d, pushes %d, %+v",
		q.inKernel.Load(), q.quiet.Load(), q.collecting.Load(), q.noCollect.Load(), q.stalled.Load(),
		q.pending.len(), q.submitting, q.procs.Load(), q.starved.len(), q.active.Load(),
		q.wakes.Load(), q.collects.Load(), q.pushes, q.counts)
}
