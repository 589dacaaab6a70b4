//go:build linux

package queue

import (
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-aio/aio/libaio"
)

// A forgotten request hangs its caller for ever, which is the worst fault of a queue. So while any
// request is under way, a timer checks now and then for two faults: a completion in the kernel that
// no goroutine collects, and a pending request for which the relief timer is not set. It should
// never find any. If it does, it repairs the damage and counts it, and the tests fail.
//
// The watchdog acts if it finds a fault twice without any progress in between. A completion that
// has just come will be taken before the second check.

// patrolEvery is the time between checks. An idle queue has no timer.
const patrolEvery = time.Second

// A watchdog is the state that one check leaves for the next. All but the first field belongs to
// the goroutine that checks.
type watchdog struct {
	set   atomic.Bool // a check is due
	timer *time.Timer
	every time.Duration // patrolEvery, except in tests

	last   progress // progress at the last check
	stands bool     // the last check found a fault

	overlooked atomic.Int64
	incident   atomic.Pointer[string] // the first
}

// A progress changes with every step of any request.
type progress struct {
	delivered, collects int64
	pushes              uint64
}

// guard starts the watchdog unless it runs.
func (q *Queue) guard() {
	if !q.dog.set.Load() && q.dog.set.CompareAndSwap(false, true) {
		q.dog.timer.Reset(q.dog.every)
	}
}

// patrol makes one check; the timer calls it.
func (q *Queue) patrol() {
	q.noteHung()
	now, forgotten := q.survey()
	stood := q.dog.stands
	q.dog.stands = now == q.dog.last && (forgotten || q.kernel.waiting())
	q.dog.last = now
	if stood && q.dog.stands {
		q.rescue()
	}
	// A request that came after the survey has found set true.
	if q.dog.set.Store(false); q.underWay() > 0 {
		q.guard()
	}
}

// survey returns what has been done so far, and whether a pending request is forgotten.
func (q *Queue) survey() (now progress, forgotten bool) {
	for l := range q.each {
		now.delivered += l.delivered.Load()
		now.pushes += l.pushes
		forgotten = forgotten || l.pending.len() > 0 && !l.watched
	}
	now.collects = q.collects.Load()
	return now, forgotten
}

// rescue collects and submits what was forgotten.
func (q *Queue) rescue() {
	q.dog.overlooked.Add(1)
	state := q.state()
	first := q.dog.incident.CompareAndSwap(nil, &state)
	events := make([]libaio.Event, maxEvents)
	for {
		// This asks the kernel even if the mapped ring looks empty; reap does not.
		n, err := q.kernel.collect(1, events, time.Nanosecond)
		if err != nil || n == 0 {
			break
		}
		q.deliver(events[:n])
	}
	if q.collector.held() {
		go q.collector.collectFn() // the goroutine that has the token has not collected for long
	}
	wakes := q.wakes.Load()
	q.kernel.ring()
	q.mu.Lock()
	lanes := q.lanes
	q.mu.Unlock()
	for _, l := range lanes {
		l.resume()
	}
	if first {
		time.Sleep(q.dog.every / 8)
		more := state + fmt.Sprintf("; a ring wakes the reaper: %t", q.wakes.Load() > wakes)
		q.dog.incident.Store(&more)
	}
}

// state describes q for a report.
func (q *Queue) state() string {
	var b strings.Builder
	fmt.Fprintf(&b, "in the kernel %d, on devices that hang %d, collector %d, refused %t, "+
		"wakes %d, collects %d",
		q.inKernel.Load(), q.hung.Load(), q.collector.word.Load(), q.collector.refused.Load(),
		q.wakes.Load(), q.collects.Load())
	for l := range q.each {
		fmt.Fprintf(&b, "; device: active %d, in the kernel %d, stalled %t, pending %d, "+
			"watched %t, submitting %d, pushes %d, %+v", l.active.Load(), l.inKernel(),
			l.stalled.Load(), l.pending.len(), l.watched, l.submitting, l.pushes, l.counts)
	}
	b.WriteString(q.kernel.state())
	return b.String()
}
