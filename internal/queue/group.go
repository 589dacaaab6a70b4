//go:build linux

package queue

import (
	"runtime"
	"sync/atomic"
	"time"

	"github.com/go-aio/aio/libaio"
)

// A Group is a set of requests that are submitted together and awaited together, as in
// lio_listio(3). The owner of the group gets one wakeup when the last request is done. The
// owner calls:
//
//	n := q.Reserve(g, most) // reserves up to most slots
//	g.Add(...)              // up to n times
//	q.Run(g)
//	g.Result(i)             // of each
//	q.Free(g)
//
// The owner waits for completions in io_getevents(2), in place of the reaper, unless another
// goroutine already collects. That saves a wakeup through the poller and one of the owner. It
// also saves all but one or two of the calls of io_getevents(2).
//
// The zero value is ready. A Group is for one goroutine at a time.
type Group struct {
	kernel kernel
	slots  []*slot
	added  int           // number of slots that have a request, from the first
	left   atomic.Int64  // requests that are not done
	done   chan struct{} // capacity 1
	given  bool          // the last request is on its way to the kernel; guarded by Queue.mu

	// ownerCollects is set while the owner is going to collect, so that completions may be
	// quiet.
	ownerCollects atomic.Bool
	events        []libaio.Event
}

const (
	// groupFirst bounds the first call of io_submit(2) for a group. The kernel holds the
	// requests of a call back until it has all of them, or 32 (struct blk_plug). If one
	// goroutine runs one group after the other, the device is idle meanwhile. With groupFirst,
	// groups of 32 reads are a tenth faster than in one call, and use no more of the
	// processor.
	groupFirst = 4
	// groupEvents is the number of completions that the owner takes at once.
	groupEvents = 128
)

// Reserve takes up to most slots and returns their number. It does not wait. It returns 0 if
// other requests wait for a slot, or without kernel AIO. The caller must not wait for
// anything but Run before Free.
func (q *Queue) Reserve(g *Group, most int) int {
	if g.kernel = q.ready(); g.kernel == nil {
		return 0
	}
	q.mu.Lock()
	for len(g.slots) < most {
		s := q.slot()
		if s == nil {
			break
		}
		s.group = g
		g.slots = append(g.slots, s)
	}
	q.mu.Unlock()
	q.active.Add(1) // a group occupies one thread in the kernel at most; see TrySync
	return len(g.slots)
}

// Add makes r, a request of one buffer as for Do, the request of the next slot.
func (g *Group) Add(r Request) {
	p, _ := r.Bufs.First()
	prepare(&g.slots[g.added].iocb, r, p)
	g.added++
}

// Run submits the requests and waits until all are done. It first returns the slots without a
// request.
func (q *Queue) Run(g *Group) {
	q.giveBack(g, g.added)
	if g.added == 0 {
		return
	}
	if g.done == nil {
		g.done, g.events = make(chan struct{}, 1), make([]libaio.Event, groupEvents)
	}
	g.left.Store(int64(g.added))
	g.ownerCollects.Store(!q.noCollect.Load())
	q.mu.Lock()
	g.given = false
	q.counts.submitted += int64(g.added)
	for _, s := range g.slots {
		q.pending.push(s)
	}
	q.guard(g.kernel)
	q.watchBusy()
	if q.submitting >= int(q.procs.Load()) {
		q.watchSubmitters(g.kernel)
		q.mu.Unlock() // a submitter will take them
	} else {
		q.submitting++
		q.submit(g.kernel, g.last())
	}
	q.collectAsOwner(g)
	<-g.done
}

// Result returns the results of request i, counted from 0 in the order of Add, as Do does.
func (g *Group) Result(i int) (int, error) { return result(g.slots[i].res) }

// Free returns all slots. It does nothing if there are none.
func (q *Queue) Free(g *Group) {
	if g.kernel == nil {
		return
	}
	q.giveBack(g, 0)
	g.kernel, g.added = nil, 0
	q.active.Add(-1)
}

// giveBack returns all slots from index first on.
func (q *Queue) giveBack(g *Group, first int) {
	back := g.slots[first:]
	if len(back) == 0 {
		return
	}
	for _, s := range back {
		s.iocb.Release() // drops the buffer
		s.group = nil
	}
	q.mu.Lock()
	q.counts.completed += int64(max(g.added-first, 0))
	for _, s := range back {
		q.pass(s)
	}
	q.mu.Unlock()
	clear(back)
	g.slots = g.slots[:first]
}

func (g *Group) last() *slot { return g.slots[len(g.slots)-1] }

// isDone reports whether all requests are done.
func (g *Group) isDone() bool { return len(g.done) > 0 }

// markQuiet marks the completions of requests of one group quiet, if its owner is going to
// collect. It reports whether it did.
func (q *Queue) markQuiet(slots []*slot) bool {
	n := int64(len(slots))
	q.quiet.Add(n)
	if !slots[0].group.ownerCollects.Load() {
		q.quiet.Add(-n) // see collectAsOwner
		return false
	}
	for _, s := range slots {
		s.quiet = true
	}
	return true
}

// collectAsOwner makes the owner of g collect, unless another goroutine does. A submitter
// counts quiet requests in markQuiet and then looks at ownerCollects. The owner clears
// ownerCollects and then looks whether another goroutine still collects. The collector checks
// the count of quiet requests when it stops, see stopCollecting. So either the submitter sees
// ownerCollects cleared, or a later collector sees the requests.
func (q *Queue) collectAsOwner(g *Group) {
	if g.isDone() || !g.ownerCollects.Load() {
		return
	}
	if !q.collecting.CompareAndSwap(false, true) {
		g.ownerCollects.Store(false)
		if !q.collecting.CompareAndSwap(false, true) {
			return
		}
	}
	q.collectFor(g)
}

const (
	// groupTimeout bounds one wait of the owner for all of its group. Meanwhile requests of
	// other callers may complete that were submitted while the group was alone in the kernel.
	groupTimeout = 300 * time.Microsecond
	// hungTimeout bounds the wait for any one request after a wait without events.
	hungTimeout = 10 * time.Millisecond
)

// collectFor takes events, of all requests, until g is done. The caller has set q.collecting.
func (q *Queue) collectFor(g *Group) {
	for hung := false; !g.isDone(); {
		minEvents, wait := q.collectTarget(g)
		if hung {
			minEvents, wait = 1, hungTimeout // the disk hangs
		}
		q.collects.Add(1)
		got, err := g.kernel.collect(minEvents, g.events, wait)
		if err != nil {
			q.noCollect.Store(true)
			// As in collectAsOwner, for requests that are not in the kernel yet.
			g.ownerCollects.Store(false)
			go q.collectFn()
			return
		}
		hung = got == 0
		q.deliver(g.events[:got])
	}
	if !q.stopCollecting() {
		go q.collectFn()
		return
	}
	q.drain(g.kernel, g.events)
}

// collectTarget returns how many events the owner of g waits for, and how long. These are all
// of its own if no other requests are in the kernel, and those of the reaper otherwise.
func (q *Queue) collectTarget(g *Group) (minEvents int, wait time.Duration) {
	own, all := g.left.Load(), q.inKernel.Load()
	if all <= own {
		return int(min(max(own, 1), groupEvents)), groupTimeout
	}
	runtime.Gosched() // as in collect
	runtime.Gosched()
	return int(min(max(all/collectShare, 1), max(own, 1), maxCollect)), collectTimeout
}
