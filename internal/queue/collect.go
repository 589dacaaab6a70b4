//go:build linux

package queue

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/go-aio/aio/libaio"
)

// A collector is the right to collect completions in io_getevents(2), which one goroutine at a time
// has, and the number of those that rely on it. Both are in one word, so that the right is not
// given up while any does.
//
// A completion either raises the eventfd, which wakes the reaper, or is quiet: it is then for the
// goroutine that has the token. That is the reaper in a crowd, the owner of a Group, or
// collectDetached.
//
// # Invariants
//
//   - At any time: quiet > 0 implies that a goroutine has the token.
//   - The token is taken by take, and given up by release, which succeeds only with quiet == 0.
//     It passes from one goroutine to another by a go statement only.
//   - A goroutine that has given it up looks at the ring once more. A completion that raised the
//     eventfd while it had the token may have woken the reaper in vain.
type collector struct {
	word      atomic.Int64 // 1 while a goroutine has the token, plus 2 for each that relies on it
	refused   atomic.Bool  // io_getevents(2) is refused
	collectFn func()       // collectDetached; a go statement with arguments would allocate
}

const (
	token = 1
	quiet = 2
)

// held reports whether a goroutine has the token.
func (c *collector) held() bool { return c.word.Load() != 0 }

// take takes the token. It returns false if another goroutine has it.
func (c *collector) take() bool { return c.word.CompareAndSwap(0, token) }

// release gives the token up. It returns false, and the caller must go on collecting, while
// anything relies on it.
func (c *collector) release() bool { return c.word.CompareAndSwap(token, 0) }

// rely counts n more that rely on the goroutine that has the token. It returns false if none has.
func (c *collector) rely(n int) bool {
	for {
		w := c.word.Load()
		if w == 0 {
			return false
		}
		if c.word.CompareAndSwap(w, w+int64(n)*quiet) {
			return true
		}
	}
}

// unrely ends what a successful rely began.
func (c *collector) unrely(n int) { c.word.Add(-int64(n) * quiet) }

// arm makes the completion of each request quiet if a goroutine collects. Otherwise it raises the
// eventfd. The owner of a group looks after its completions: they are all quiet.
func (q *Queue) arm(slots []*slot) {
	if g := slots[0].group; g != nil && g.quiet {
		return
	}
	relies := q.collector.rely(len(slots))
	for _, s := range slots {
		if s.quiet = relies; !relies {
			q.kernel.arm(&s.iocb)
		}
	}
}

// clearQuiet undoes arm: s is no longer in the kernel.
func (q *Queue) clearQuiet(s *slot) {
	s.began = 0
	if s.quiet {
		s.quiet = false
		q.collector.unrely(1)
	}
}

// reapLoop is the reaper, a goroutine that runs until the context is closed.
func (q *Queue) reapLoop() {
	events := make([]libaio.Event, maxEvents)
	q.kernel.watch(func() {
		q.procs.Store(int32(runtime.GOMAXPROCS(0)))
		q.wakes.Add(1)
		if q.collector.held() {
			return // the goroutine that collects will drain the ring, too
		}
		q.drain(events)
		crowd := q.moving() >= collectFrom
		if crowd && !q.collector.refused.Load() && q.collector.take() {
			q.collect(events, nil)
		}
	})
}

// A wakeup through the poller costs 5 to 10 us of the processor. Without a crowd there is one for
// every two or three requests. With many requests in the kernel the reaper therefore collects: it
// waits in io_getevents(2) instead. It waits for a quarter of the requests at a time, and no longer
// than a disk takes for one. The kernel checks the number before it wakes a thread (Linux 6.8;
// earlier kernels check it in the woken thread). Collecting saves a fifth to a quarter of the CPU
// of a read, at 32 requests in flight and at 128.
const (
	maxEvents      = 128 // that are taken at once
	collectFrom    = 16  // requests in the kernel from which the reaper collects
	collectUntil   = 8   // below this number it returns to the poller
	collectShare   = 4   // it waits for 1/collectShare of the requests
	maxCollect     = 64  // and for no more events than this
	collectTimeout = 50 * time.Microsecond
	// groupTimeout bounds one wait of a group's owner for all of its group. Meanwhile requests of
	// other callers may complete that were submitted while the group was alone in the kernel.
	groupTimeout = 300 * time.Microsecond
)

// hungTimeout bounds the wait of a group's owner for any event, after a wait without one of its
// own. If that brings none of its own either, the device may hang. Others rely on the owner
// meanwhile, so it hands the token over.
const (
	hungTimeout = 10 * time.Millisecond
	maxIdle     = 2 // waits in a row
)

// hungWait bounds a wait that follows one without an event: the disk hangs. It is the watchdog's
// time. The wait has an end because those that rely on this goroutine may stop that without a
// completion: deliver unrelies late for a group that is done. This goroutine would keep the token
// and a thread, until the next request of the process is complete.
const hungWait = patrolEvery

// collect takes events, of all requests, until there is no crowd any more, or until g is done if g
// is not nil. The caller has the token, and has it no longer afterwards.
func (q *Queue) collect(events []libaio.Event, g *Group) {
	if g == nil {
		yield() // to those that drain has woken
	}
	idle := 0 // waits in a row without an event, of g if g is not nil
	for most := maxEvents; ; {
		if q.enough(g) && q.collector.release() {
			break
		}
		if g != nil && (g.isDone() || idle == maxIdle) {
			q.handOver(g)
			return
		}
		n, wait := q.target(g)
		switch n = min(n, most); {
		case idle == 0:
		case g != nil:
			n, wait = 1, hungTimeout
		default:
			n, wait = 1, hungWait
		}
		q.collects.Add(1)
		left := g.unfinished()
		got, err := q.kernel.collect(n, events, wait)
		if err != nil {
			q.collector.refused.Store(true)
			if g != nil {
				q.handOver(g)
				return
			}
			q.sweep(events)
			break
		}
		// Requests on a disk that hangs make a crowd, of which no share will come soon.
		if most = maxEvents; got < n {
			most = got + 1
			q.noteHung()
		}
		q.deliver(events[:got])
		own := int64(got)
		if g != nil {
			own = left - g.unfinished()
		}
		if idle++; own > 0 {
			idle = 0
		}
		if g == nil && got > 0 || int64(got) > own {
			yield()
		}
	}
	q.drain(events)
}

// yield lets the goroutines run that have just been woken. They are about to make their next
// request, and a system call of this one would keep the processor from them. One yield is not
// enough: another P takes the first runnable goroutine, which is this one.
func yield() {
	runtime.Gosched()
	runtime.Gosched()
}

// handOver makes a new goroutine collect in place of the owner of g, which relies on it.
func (q *Queue) handOver(g *Group) {
	g.relies = q.collector.rely(1)
	go q.collector.collectFn()
}

// moving returns the number of requests in the kernel on devices that do not hang.
func (q *Queue) moving() int64 { return q.inKernel.Load() - q.hung.Load() }

// hungAfter is how long a device completes nothing until it counts as one that hangs. A crowd that
// includes it keeps the requests of others waiting for collectTimeout each.
const hungAfter = 10 * time.Millisecond

// noteHung counts the requests on devices that have completed none since it looked last. It does
// nothing if that is less than hungAfter ago. The next completion of a device ends its count.
func (q *Queue) noteHung() {
	now, last := int64(sinceEpoch()), q.hungNoted.Load()
	if now-last < int64(hungAfter) || !q.hungNoted.CompareAndSwap(last, now) {
		return
	}
	for l := range q.each {
		delivered := l.delivered.Load()
		if delivered == l.last {
			n := max(l.inKernel(), 0)
			q.hung.Add(n - l.hung.Swap(n))
		}
		l.last = delivered
	}
}

// moves ends the count of noteHung: the device of l has completed a request.
func (l *Lane) moves() {
	if l.hung.Load() != 0 {
		l.q.hung.Add(-l.hung.Swap(0))
	}
}

// enough reports whether a goroutine that collects for g, or for a crowd, may stop.
func (q *Queue) enough(g *Group) bool {
	if g != nil {
		return g.isDone()
	}
	return q.moving() < collectUntil
}

// target returns how many events to wait for, and how long. For the owner of a group these are all
// of its own if no other requests are in the kernel.
func (q *Queue) target(g *Group) (n int, wait time.Duration) {
	all := int(q.moving())
	if g != nil {
		own := int(g.left.Load() - 1)
		if all <= own {
			return max(own, 1), groupTimeout
		}
		all = min(all, own*collectShare)
	}
	return min(max(all/collectShare, 1), maxCollect), collectTimeout
}

// collectDetached collects in place of the owner of a group, which is done or on a device that
// hangs. It runs in a new goroutine. The reaper would have to be woken through the poller, and
// quiet completions would depend on that one edge.
func (q *Queue) collectDetached() {
	events := eventsPool.Get().(*[]libaio.Event)
	defer eventsPool.Put(events)
	q.collect(*events, nil)
}

var eventsPool = sync.Pool{New: func() any {
	events := make([]libaio.Event, maxEvents)
	return &events
}}

// sweep ends collecting for good if io_getevents(2) is refused, by a seccomp filter that came
// later. The ring can be read without that call, at the latest after a while. Until then no quiet
// completion is signalled, so sweep continues until no quiet request is left.
func (q *Queue) sweep(events []libaio.Event) {
	for !q.collector.release() {
		n, err := q.reap(events)
		if err == errGone {
			return
		}
		q.deliver(events[:n])
		time.Sleep(time.Millisecond)
	}
}

// drain takes events until there are none. The eventfd counts completions instead of queueing them,
// so one signal may stand for many.
func (q *Queue) drain(events []libaio.Event) {
	for n := len(events); n == len(events); {
		var err error
		if n, err = q.reap(events); err != nil {
			return
		}
		q.deliver(events[:n])
	}
}

// reapTries bounds the attempts of reap, to a second or less. A refused call must not delay callers
// that are done.
const reapTries = 1000

// Errors of reap.
var (
	errGone    = errors.New("the context is gone") // only tests destroy one
	errRefused = errors.New("the ring cannot be read now")
)

// reap takes the events that have arrived. While another goroutine is in io_getevents(2), even for
// a moment, reap makes that call too. A seccomp filter may refuse it (see sweep); reap then tries
// again. It succeeds soon, unless the ring cannot be read without the call.
func (q *Queue) reap(events []libaio.Event) (n int, err error) {
	for range reapTries {
		n, err := q.kernel.reap(events)
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

// look takes the events that have arrived. They include that of the request just submitted if the
// cache or memory could answer it.
func (q *Queue) look(b *batch) {
	if q.collector.held() {
		return // it would be a system call
	}
	if n, err := q.kernel.reap(b.events[:]); err == nil {
		q.deliver(b.events[:n])
	}
}

// deliver wakes the callers of the requests.
func (q *Queue) deliver(events []libaio.Event) {
	if len(events) == 0 {
		return
	}
	now := q.now()
	for i := range events {
		s := slotOf(events[i].Obj)
		l := s.lane
		if now != 0 && s.began != 0 {
			q.latency.add(time.Duration(now - s.began))
		}
		q.clearQuiet(s)
		l.delivered.Add(1)
		l.moves()
		s.finish(events[i].Res)
		if l.stalled.Load() && l.stalled.CompareAndSwap(true, false) {
			go l.resumeFn()
		}
		events[i] = libaio.Event{}
	}
	q.inKernel.Add(-int64(len(events)))
}
