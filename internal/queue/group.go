//go:build linux

package queue

import (
	"sync/atomic"

	"github.com/go-aio/aio/libaio"
)

// A Group is a set of requests of one Lane that are submitted together and awaited together, as in
// lio_listio(3). The owner of the group gets one wakeup when the last request is done. The owner
// calls:
//
//	g.Add(r)     // of each
//	l.Run(g)
//	g.Result(i)  // of each
//	g.Free()
//
// The owner waits for completions in io_getevents(2), in place of the reaper, unless another
// goroutine already collects. That saves a wakeup through the poller and one of the owner. It also
// saves all but one or two of the calls of io_getevents(2).
//
// The zero value is ready. A Group is for one goroutine at a time.
//
// # Invariant
//
// The completions of a group are quiet, and left > 0 implies that its owner is about to submit or
// to collect, or has the token, or relies on the goroutine that has it. The owner does not take the
// token before it has submitted: io_submit(2) may block, and no other goroutine would collect.
type Group struct {
	// Done, if not nil, is called as soon as request i is done, counted from 0 in the order of
	// Add, by the goroutine that takes its completion. It must not block.
	Done func(i int)

	slots  []*slot
	left   atomic.Int64  // requests that are not done, and 1 for the owner until it only waits
	done   chan struct{} // capacity 1
	given  bool          // the last request is on its way to the kernel; guarded by Lane.mu
	quiet  bool          // completions are
	relies bool          // the owner relies on the goroutine that has the token
	events []libaio.Event
}

// groupFirst bounds the first call of io_submit(2) for a group. The kernel holds the requests of a
// call back until it has all of them, or 32 (struct blk_plug). If one goroutine runs one group
// after the other, the device is idle meanwhile. With groupFirst, groups of 32 reads are a tenth
// faster than in one call, and use no more of the processor.
const groupFirst = 4

// Add adds r, a request of one buffer as for Lane.Do.
func (g *Group) Add(r Request) {
	s := slots.Get().(*slot)
	s.group, s.index = g, len(g.slots)
	s.prepare(&r)
	g.slots = append(g.slots, s)
}

// Run submits the requests and waits until all are done. As for Lane.Do, the caller bounds their
// number.
func (l *Lane) Run(g *Group) {
	n := len(g.slots)
	if n == 0 {
		return
	}
	if l.q.ready() == nil {
		g.refuse()
		return
	}
	if g.done == nil {
		g.done, g.events = make(chan struct{}, 1), make([]libaio.Event, maxEvents)
	}
	l.active.Add(1) // a group occupies one thread in the kernel at most; see TrySync
	l.q.watchBusy()
	g.quiet, g.relies = !l.q.collector.refused.Load(), false
	g.left.Store(int64(n) + 1)
	l.mu.Lock()
	g.given = false
	for _, s := range g.slots {
		s.lane = l
		l.pending.push(s)
	}
	if l.enter(n) {
		l.submit(g.last())
	}
	l.q.await(g)
	l.active.Add(-1)
}

// refuse ends all requests, which the kernel cannot take.
func (g *Group) refuse() {
	for i, s := range g.slots {
		s.res = unavailable
		if g.Done != nil {
			g.Done(i)
		}
	}
}

// await waits until g, which has been submitted, is done.
func (q *Queue) await(g *Group) {
	c := &q.collector
	collects := g.quiet && c.take()
	for g.quiet && !collects && !g.relies {
		if g.relies = c.rely(1); !g.relies {
			collects = c.take()
		}
	}
	if collects {
		q.collect(g.events, g)
	}
	q.leave(g)
	<-g.done
}

// leave ends one of g.left.
func (q *Queue) leave(g *Group) {
	if g.left.Add(-1) > 0 {
		return
	}
	if g.relies {
		q.collector.unrely(1)
	}
	g.done <- struct{}{}
}

// Result returns the results of request i, counted from 0 in the order of Add, as Lane.Do does.
func (g *Group) Result(i int) (int, error) { return g.slots[i].result() }

// Free forgets the requests and lets go of their buffers. The memory for them is kept.
func (g *Group) Free() {
	for _, s := range g.slots {
		s.free()
	}
	clear(g.slots)
	g.slots = g.slots[:0]
}

func (g *Group) last() *slot { return g.slots[len(g.slots)-1] }

// unfinished returns the number of requests that are not done, and 0 for a nil Group.
func (g *Group) unfinished() int64 {
	if g == nil {
		return 0
	}
	return g.left.Load() - 1
}

// isDone reports whether all requests are done.
func (g *Group) isDone() bool { return g.left.Load() <= 1 }
