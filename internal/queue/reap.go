//go:build linux

package queue

import (
	"errors"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/go-aio/aio/libaio"
)

// reapLoop is the reaper, a goroutine that runs until the context is closed.
func (q *Queue) reapLoop(k kernel) {
	events := make([]libaio.Event, 128)
	k.watch(func() {
		q.procs.Store(int32(runtime.GOMAXPROCS(0)))
		q.wakes.Add(1)
		if q.collecting.Load() {
			return // the collector will drain the ring, too
		}
		q.drain(k, events)
		crowd := q.inKernel.Load() >= collectFrom
		if crowd && !q.noCollect.Load() && q.collecting.CompareAndSwap(false, true) {
			q.collect(k, events)
		}
	})
}

// A wakeup through the poller costs 5 to 10 us of the processor. Without a crowd there is one
// for every two or three requests. With many requests in the kernel the reaper therefore
// collects: it waits in io_getevents(2) instead. It waits for a quarter of the requests at a
// time, and no longer than a disk takes for one. The kernel checks the number before it wakes
// a thread (Linux 6.8; earlier kernels check it in the woken thread). Collecting saves a
// fifth to a quarter of the CPU of a read, at 32 requests in flight and at 128.
const (
	collectFrom    = 16 // requests in the kernel from which the reaper collects
	collectUntil   = 8  // below this number it returns to the poller
	collectShare   = 4  // it waits for 1/collectShare of the requests
	maxCollect     = 64 // and for no more events than this
	collectTimeout = 50 * time.Microsecond
)

// collect takes events until there is no crowd any more. Completions of requests submitted
// meanwhile are quiet, because a signalled one would wake the poller; q.quiet counts them.
// The caller has set q.collecting, which one goroutine at a time can do.
func (q *Queue) collect(k kernel, events []libaio.Event) {
	for hung := false; ; {
		// A goroutine that has just been woken is about to make its next request. One yield is
		// not enough: another P takes the first runnable goroutine, which is this one.
		runtime.Gosched()
		runtime.Gosched()
		n := q.inKernel.Load()
		if n < collectUntil && q.stopCollecting() {
			break
		}
		minEvents, wait := int(min(max(n/collectShare, 1), maxCollect)), collectTimeout
		if hung {
			minEvents, wait = 1, -1 // the disk hangs; an idle process has no timer
		}
		q.collects.Add(1)
		got, err := k.collect(minEvents, events, wait)
		if err != nil {
			q.noCollect.Store(true)
			q.sweep(k, events)
			break
		}
		hung = got == 0
		q.deliver(events[:got])
	}
	q.drain(k, events)
}

// collectDetached collects for a group owner that is done with its own requests. It runs in a
// new goroutine. The reaper would have to be woken through the poller, and quiet completions
// would depend on that one edge.
func (q *Queue) collectDetached(k kernel) {
	events := eventsPool.Get().(*[]libaio.Event)
	defer eventsPool.Put(events)
	q.collect(k, *events)
}

var eventsPool = sync.Pool{New: func() any {
	events := make([]libaio.Event, groupEvents)
	return &events
}}

// stopCollecting ends collecting and returns true. It returns false, and the caller must go on
// collecting, if quiet requests are in the kernel.
//
// A submitter counts a quiet request and then looks at q.collecting. Here the order is the
// reverse, so one of the two sees the other. If another goroutine begins to collect meanwhile,
// it takes over the quiet requests.
func (q *Queue) stopCollecting() bool {
	q.collecting.Store(false)
	return q.quiet.Load() == 0 || !q.collecting.CompareAndSwap(false, true)
}

// sweep ends collecting for good if io_getevents(2) is refused, by a seccomp filter that came
// later. The ring can be read without that call, at the latest after a while. Until then no
// quiet completion is signalled, so sweep continues until no quiet request is left.
func (q *Queue) sweep(k kernel, events []libaio.Event) {
	for !q.stopCollecting() {
		n, err := reap(k, events)
		if err == errGone {
			return
		}
		q.deliver(events[:n])
		time.Sleep(time.Millisecond)
	}
}

// drain takes events until there are none. The eventfd counts completions instead of queueing
// them, so one signal may stand for many.
func (q *Queue) drain(k kernel, events []libaio.Event) {
	for {
		n, err := reap(k, events)
		if err != nil {
			return
		}
		q.deliver(events[:n])
		if n < len(events) {
			return
		}
	}
}

// reapTries bounds the attempts of reap, to a second or less. A refused call must not delay
// callers that are done.
const reapTries = 1000

// Errors of reap.
var (
	errGone    = errors.New("the context is gone") // only tests destroy one
	errRefused = errors.New("the ring cannot be read now")
)

// reap takes the events that have arrived. While another goroutine is in io_getevents(2), even
// for a moment, reap makes that call too. A seccomp filter may refuse it (see sweep); reap then
// tries again. It succeeds soon, unless the ring cannot be read without the call.
func reap(k kernel, events []libaio.Event) (n int, err error) {
	for range reapTries {
		n, err := k.reap(events)
		switch err {
		case nil:
			return n, nil
		case syscall.EINVAL:
			return 0, errGone
		}
		time.Sleep(100 * time.Microsecond)
	}
	return 0, errRefused
}

// look takes the events that have arrived. They include that of the request just submitted if
// the cache or memory could answer it.
func (q *Queue) look(k kernel, b *batch) {
	if q.collecting.Load() {
		return // it would be a system call
	}
	n, err := k.reap(b.events[:])
	if err != nil || n == 0 {
		return
	}
	q.deliver(b.events[:n])
}

// deliver wakes the callers of the requests.
func (q *Queue) deliver(events []libaio.Event) {
	if len(events) == 0 {
		return
	}
	now := q.now()
	for i := range events {
		s := q.slots[events[i].Data]
		if now != 0 && s.began != 0 {
			q.latency.add(time.Duration(now - s.began))
		}
		q.clearQuiet(s)
		s.finish(events[i].Res)
		events[i] = libaio.Event{}
	}
	q.inKernel.Add(-int64(len(events)))
	if q.stalled.CompareAndSwap(true, false) {
		go q.resumeFn()
	}
}

// clearQuiet undoes arm: s is no longer in the kernel.
func (q *Queue) clearQuiet(s *slot) {
	s.began = 0
	if s.quiet {
		s.quiet = false
		q.quiet.Add(-1)
	}
}

// finish passes the result to the goroutine in Do, which owns the slot from then on. The last
// request of a group does so for all of them.
func (s *slot) finish(res int64) {
	s.res = res
	if s.group == nil {
		s.done <- struct{}{}
	} else if s.group.left.Add(-1) == 0 {
		s.group.done <- struct{}{}
	}
}

// isDone reports whether the goroutine that owns s has been woken.
func (s *slot) isDone() bool {
	if s.group != nil {
		return s.group.isDone()
	}
	return len(s.done) > 0
}
