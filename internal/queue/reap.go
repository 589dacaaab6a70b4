//go:build linux

package queue

import (
	"runtime"

	"github.com/go-aio/aio/libaio"
)

// watch is the reaper, a goroutine for the life of the queue.
func (q *Queue) watch(k kernel) {
	events := make([]libaio.Event, 128)
	k.watch(func() {
		q.procs.Store(int32(runtime.GOMAXPROCS(0)))
		q.drain(k, events)
	})
}

// drain takes events until there are none: the eventfd counts completions, it does
// not queue them, so one ring of it may stand for many.
func (q *Queue) drain(k kernel, events []libaio.Event) {
	for {
		n, err := k.reap(events)
		if err != nil {
			return // the context is gone; only tests do that
		}
		q.deliver(events[:n])
		if n < len(events) {
			return
		}
	}
}

// look takes what is complete already, which for a request that the cache or memory
// could answer includes the one just submitted.
func (q *Queue) look(k kernel, b *batch) {
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
	for i := range events {
		q.slots[events[i].Data].finish(events[i].Res)
		events[i] = libaio.Event{}
	}
	q.inKernel.Add(-int64(len(events)))
	if q.stalled.CompareAndSwap(true, false) {
		go q.comeBack()
	}
}

// finish hands the result to the goroutine in Do. The slot is its own from then on.
func (s *slot) finish(res int64) {
	s.res = res
	s.done <- struct{}{}
}
