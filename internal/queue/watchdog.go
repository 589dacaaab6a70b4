//go:build linux

package queue

import (
	"fmt"
	"time"

	"github.com/go-aio/aio/libaio"
)

// A request that is forgotten hangs its caller for ever, which is the worst that can happen to
// one. So while any is under way, a timer looks now and then whether the kernel has a completion
// that nobody has come for, or nobody submits what is to be submitted. Nothing of the kind should
// ever be found, whatever the kernel and the runtime do; what is, is made good and counted, and
// fails every test of ours.
//
// A watchdog that finds the same twice, with nothing done in between, is right: a completion that
// has just come will have been taken until the next time.

// patrolEvery is how often the watchdog looks. An idle queue has no timer.
const patrolEvery = time.Second

// A watchdog is what the timer's function keeps from one time to the next.
type watchdog struct {
	timer *time.Timer   // nil until it is needed; guarded by Queue.mu, as the next
	set   bool          // it is to look
	every time.Duration // patrolEvery, but for tests

	last   progress // what it saw last
	stands bool     // then something stood still that should not
}

// A progress changes with all that is done.
type progress struct {
	completed, inKernel, collects int64
	pushes                        uint64
}

// guard sets the watchdog, if it is not. q.mu is held.
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

// patrol is what the timer runs.
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

// rescue does what has been left undone.
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
		// Where the mapped ring looks empty this asks the kernel, which reap does not.
		n, err := k.collect(1, events, time.Nanosecond)
		if err != nil || n == 0 {
			break
		}
		q.deliver(events[:n])
	}
	if q.collecting.Load() {
		go q.collector() // who should collect has not for so long; two of them would do no harm
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

// state describes q for a report. q.mu is held.
func (q *Queue) state() string {
	return fmt.Sprintf("in the kernel %d, silent %d, collecting %t, no collecting %t, stalled %t; "+
		"pending %d, submitting %d of %d, starved %d, active %d; wakes %d, collects %d, pushes %d, %+v",
		q.inKernel.Load(), q.silent.Load(), q.collecting.Load(), q.noCollect.Load(), q.stalled.Load(),
		q.pending.len(), q.submitting, q.procs.Load(), q.starved.len(), q.active.Load(),
		q.wakes.Load(), q.collects.Load(), q.pushes, q.counts)
}
