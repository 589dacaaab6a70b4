//go:build linux

package queue

import (
	"runtime"
	"sync/atomic"
	"time"

	"github.com/go-aio/aio/libaio"
)

// A Group is requests that are given to the kernel together and waited for together, as
// lio_listio(3) does: their owner gets one wake-up when the last is done. It goes so:
//
//	n := q.Reserve(g, most) // room for so many
//	g.Add(...)              // up to n times
//	q.Run(g)
//	g.Result(i)             // of each
//	q.Free(g)
//
// Its owner waits for completions himself, in io_getevents(2) and in place of the reaper, unless
// somebody does already: a wake-up through the poller and one of the owner are saved, and of the
// calls of io_getevents(2) all but one or two.
//
// The zero value is ready. It is for one goroutine at a time.
type Group struct {
	kernel kernel
	slots  []*slot
	added  int           // the first so many slots have a request
	left   atomic.Int64  // requests that are not done
	done   chan struct{} // capacity 1
	given  bool          // the last one is on its way to the kernel; guarded by Queue.mu

	// attended is whether the owner is going to wait for completions, so that these need not
	// ring.
	attended atomic.Bool
	events   []libaio.Event
}

const (
	// groupFirst bounds the first call of io_submit(2) for a group. The kernel keeps the requests
	// of a call back until it has all of them, or 32 (struct blk_plug); and where one goroutine
	// makes one group after the other the device has nothing to do meanwhile. So groups of 32 reads
	// are a tenth faster than in one call, and take no more of the processor.
	groupFirst = 4
	// groupEvents is how many completions its owner takes at a time.
	groupEvents = 128
)

// Reserve takes places for up to most requests and returns how many. It does not wait: none is
// free if other requests wait for one, and there is none where there is no kernel AIO. The
// caller must not wait for anything but Run before Free.
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
	q.active.Add(1) // of threads in the kernel it is one at most; see TryPlain
	return len(g.slots)
}

// Add makes the next place a request of one buffer, as that of Do.
func (g *Group) Add(r Request) {
	p, _ := r.Bufs.First()
	prepare(&g.slots[g.added].iocb, r, p)
	g.added++
}

// Run gives the requests to the kernel, and waits until all are done. Places without a request
// are given back first.
func (q *Queue) Run(g *Group) {
	q.giveBack(g, g.added)
	if g.added == 0 {
		return
	}
	if g.done == nil {
		g.done, g.events = make(chan struct{}, 1), make([]libaio.Event, groupEvents)
	}
	g.left.Store(int64(g.added))
	g.attended.Store(!q.noCollect.Load())
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
		q.mu.Unlock() // one of them will take them
	} else {
		q.submitting++
		q.submit(g.kernel, g.last())
	}
	q.attend(g)
	<-g.done
}

// Result returns what Do would return of the request that was added as number i, from 0.
func (g *Group) Result(i int) (int, error) { return result(g.slots[i].res) }

// Free gives all places back. If there were none it does nothing.
func (q *Queue) Free(g *Group) {
	if g.kernel == nil {
		return
	}
	q.giveBack(g, 0)
	g.kernel, g.added = nil, 0
	q.active.Add(-1)
}

// giveBack gives back all places but the first so many.
func (q *Queue) giveBack(g *Group, but int) {
	back := g.slots[but:]
	if len(back) == 0 {
		return
	}
	for _, s := range back {
		s.iocb.Release() // let go of the buffer
		s.group = nil
	}
	q.mu.Lock()
	q.counts.completed += int64(max(g.added-but, 0))
	for _, s := range back {
		q.pass(s)
	}
	q.mu.Unlock()
	clear(back)
	g.slots = g.slots[:but]
}

func (g *Group) last() *slot { return g.slots[len(g.slots)-1] }

// over reports whether all requests are done.
func (g *Group) over() bool { return len(g.done) > 0 }

// hush makes requests of one group silent, if its owner is going to wait for them.
func (q *Queue) hush(slots []*slot) bool {
	n := int64(len(slots))
	q.silent.Add(n)
	if !slots[0].group.attended.Load() {
		q.silent.Add(-n) // see attend
		return false
	}
	for _, s := range slots {
		s.silent = true
	}
	return true
}

// attend has the owner of g wait for completions unless somebody else does. Who does counts silent
// requests when he stops, see disperse; a submitter counts these, in hush, and then looks at
// g.attended. So if that has been taken back, either the submitter sees it, or who collects
// after that sees the requests.
func (q *Queue) attend(g *Group) {
	if g.over() || !g.attended.Load() {
		return
	}
	if !q.collecting.CompareAndSwap(false, true) {
		g.attended.Store(false)
		if !q.collecting.CompareAndSwap(false, true) {
			return
		}
	}
	q.collectFor(g)
}

const (
	// groupAwaited is how long the owner of a group waits at a time for all of it. Others'
	// requests may be done meanwhile, which began when he had the kernel to himself.
	groupAwaited = 300 * time.Microsecond
	// quietAwaited is that when nothing has been done for so long, for any one request.
	quietAwaited = 10 * time.Millisecond
)

// collectFor takes events, of all requests, until g is done. The caller has set q.collecting.
func (q *Queue) collectFor(g *Group) {
	for quiet := false; !g.over(); {
		least, wait := q.patienceFor(g)
		if quiet {
			least, wait = 1, quietAwaited // the disk hangs
		}
		q.collects.Add(1)
		got, err := g.kernel.collect(least, g.events, wait)
		if err != nil {
			q.noCollect.Store(true)
			g.attended.Store(false) // as in attend, for those that are not in the kernel yet
			go q.collector()
			return
		}
		quiet = got == 0
		q.deliver(g.events[:got])
	}
	if !q.disperse() {
		go q.collector()
		return
	}
	q.drain(g.kernel, g.events)
}

// patienceFor returns how many events the owner of g waits for, and for how long: all of its own if
// there are no others, and as the reaper does if there are.
func (q *Queue) patienceFor(g *Group) (least int, wait time.Duration) {
	own, all := g.left.Load(), q.inKernel.Load()
	if all <= own {
		return int(min(max(own, 1), groupEvents)), groupAwaited
	}
	runtime.Gosched() // as in collect
	runtime.Gosched()
	return int(min(max(all/share, 1), max(own, 1), mostAwaited)), awaitedUntil
}
