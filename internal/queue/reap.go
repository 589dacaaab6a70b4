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

// watch is the reaper, a goroutine for the life of the queue.
func (q *Queue) watch(k kernel) {
	events := make([]libaio.Event, 128)
	k.watch(func() {
		q.procs.Store(int32(runtime.GOMAXPROCS(0)))
		q.wakes.Add(1)
		if q.collecting.Load() {
			return // who does will drain the ring too
		}
		q.drain(k, events)
		if q.inKernel.Load() >= collectFrom && !q.noCollect.Load() && q.collecting.CompareAndSwap(false, true) {
			q.collect(k, events)
		}
	})
}

// A wake-up through the poller costs 5 to 10 us of the processor, and without a crowd there is one
// for every two or three requests. So with many in the kernel the reaper waits in
// io_getevents(2) instead, for a quarter of them at a time, and for no longer than a disk
// takes for one. The kernel looks whether there are so many before it wakes anybody (Linux 6.8;
// before, it does so in the thread that it has woken). A fifth to a quarter of the CPU of a read
// is saved, at 32 requests in flight and at 128.
const (
	collectFrom  = 16 // requests in the kernel from which the reaper collects
	collectUntil = 8  // and below which it goes back to the poller
	share        = 4  // it waits for one in so many
	mostAwaited  = 64 // and for no more than so many
	awaitedUntil = 50 * time.Microsecond
)

// collect takes events until there is no crowd any more. Requests that are submitted meanwhile do
// not ring, for that would wake the poller too; they are q.silent. The caller has set
// q.collecting, which one goroutine at a time can.
func (q *Queue) collect(k kernel, events []libaio.Event) {
	for quiet := false; ; {
		// Who has just been woken is about to make the next request. Once is not enough:
		// another P takes the first goroutine that it finds, which is this one.
		runtime.Gosched()
		runtime.Gosched()
		n := q.inKernel.Load()
		if n < collectUntil && q.disperse() {
			break
		}
		least, wait := int(min(max(n/share, 1), mostAwaited)), awaitedUntil
		if quiet {
			least, wait = 1, -1 // the disk hangs; an idle process has no timer
		}
		q.collects.Add(1)
		got, err := k.collect(least, events, wait)
		if err != nil {
			q.noCollect.Store(true)
			q.sweep(k, events)
			break
		}
		quiet = got == 0
		q.deliver(events[:got])
	}
	q.drain(k, events)
}

// takeOver collects in place of the owner of a group who has his. It is a goroutine of its own and not the reaper, who would have to be
// told through the poller: requests that do not ring would depend on that one edge.
func (q *Queue) takeOver(k kernel) {
	events := eventsPool.Get().(*[]libaio.Event)
	defer eventsPool.Put(events)
	q.collect(k, *events)
}

var eventsPool = sync.Pool{New: func() any {
	events := make([]libaio.Event, groupEvents)
	return &events
}}

// disperse ends collecting. It returns false, and does not, if requests are in the kernel
// that do not ring. A submitter counts these and then looks at q.collecting; here it is the other
// way round, so one of both sees the other. If somebody else begins to collect meanwhile, these
// are his.
func (q *Queue) disperse() bool {
	q.collecting.Store(false)
	return q.silent.Load() == 0 || !q.collecting.CompareAndSwap(false, true)
}

// sweep ends collecting for good, where io_getevents(2) is refused: by a seccomp filter that has been
// installed since. The ring can be read without it, if not now then later: until then nothing
// rings, so sweep goes on until no request is left that does not ring.
func (q *Queue) sweep(k kernel, events []libaio.Event) {
	for !q.disperse() {
		n, err := reap(k, events)
		if err == errGone {
			return
		}
		q.deliver(events[:n])
		time.Sleep(time.Millisecond)
	}
}

// drain takes events until there are none: the eventfd counts completions, it does
// not queue them, so one ring of it may stand for many.
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

// reapTries bounds how often reap tries, for a second or less: whose requests are over must not be kept by others'.
const reapTries = 1000

// Errors of reap.
var (
	errGone    = errors.New("the context is gone") // only tests destroy one
	errRefused = errors.New("the ring cannot be read now")
)

// reap takes the events that are there. While another goroutine is in io_getevents(2), if only to
// look, it is such a call too, and may be refused as that one is (see sweep): soon it will not be,
// unless the ring cannot be read without that call.
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

// look takes what is complete already, which for a request that the cache or memory
// could answer includes the one just submitted.
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

// deliver wakes the owners of events.
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
		q.heard(s)
		s.finish(events[i].Res)
		events[i] = libaio.Event{}
	}
	q.inKernel.Add(-int64(len(events)))
	if q.stalled.CompareAndSwap(true, false) {
		go q.comeBack()
	}
}

// heard ends what arm began: s is not in the kernel any more.
func (q *Queue) heard(s *slot) {
	s.began = 0
	if s.silent {
		s.silent = false
		q.silent.Add(-1)
	}
}

// finish hands the result to the goroutine in Do. The slot is its own from then on. Of a group
// the last one does so for all.
func (s *slot) finish(res int64) {
	s.res = res
	if s.group == nil {
		s.done <- struct{}{}
	} else if s.group.left.Add(-1) == 0 {
		s.group.done <- struct{}{}
	}
}

// over reports whether the goroutine that owns s has been woken.
func (s *slot) over() bool {
	if s.group != nil {
		return s.group.over()
	}
	return len(s.done) > 0
}
