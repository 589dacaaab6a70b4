//go:build linux

package queue

import (
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"github.com/go-aio/aio/libaio"
)

// A Queue is the context of the kernel that the process has, and what takes completions from it.
// Requests reach it by a Lane for each device. All methods may be called concurrently.
type Queue struct {
	depth int
	open  func(depth int) (kernel, error) // newContext, but for tests

	// kernel is set by the first request, and never changes. Requests are refused while up is
	// false and the clock has not reached retryAt.
	kernel   kernel
	up       atomic.Bool
	starting sync.Mutex
	retryAt  atomic.Int64           // Unix nanoseconds; math.MaxInt64: never
	why      atomic.Pointer[string] // of that: the reason, for Stats

	collector collector
	inKernel  atomic.Int64 // requests that io_submit(2) took and that have not been delivered
	hung      atomic.Int64 // of these, on devices that have lately not completed any; see noteHung
	hungNoted atomic.Int64 // when noteHung looked last, since epoch
	procs     atomic.Int32 // GOMAXPROCS, looked up now and then
	busy      busyState
	dog       watchdog

	wakes    atomic.Int64 // of the reaper
	collects atomic.Int64 // calls of io_getevents(2) by a goroutine that collects

	timed   atomic.Bool // latency is recorded
	latency histogram

	mu    sync.Mutex
	lanes []*Lane // all that there are; guarded by mu
}

// A slot is a request on its way. It is a heap object that holds the caller's buffer by a real
// pointer, in the control block, until its event has been taken. The event names the slot by the
// address of the control block, which comes first.
type slot struct {
	iocb  libaio.IOCB
	lane  *Lane
	res   int64 // as in libaio.Event, or unavailable
	quiet bool  // counted in collector
	began int64 // when it was given to the kernel, see now
	done  chan struct{}

	group *Group // whose done it is instead; nil for a request of its own
	index int    // in group
}

// slotOf returns the slot whose control block is cb.
func slotOf(cb *libaio.IOCB) *slot { return (*slot)(unsafe.Pointer(cb)) }

// unavailable as a result says that the kernel did not take the request.
const unavailable = math.MinInt64

var slots = sync.Pool{New: func() any { return &slot{done: make(chan struct{}, 1)} }}

// New returns a queue with a context for depth requests in the kernel at a time. It asks nothing of
// the kernel yet.
func New(depth int) *Queue {
	return newQueue(depth, func(depth int) (kernel, error) { return openContext(depth) })
}

var openContext = newContext // but for tests

func newQueue(depth int, open func(int) (kernel, error)) *Queue {
	q := &Queue{depth: depth, open: open}
	q.collector.collectFn = q.collectDetached
	q.dog.every, q.busy.gosched = patrolEvery, runtime.Gosched
	q.busy.used, q.busy.procs = processorTime, q.procs.Load
	q.dog.timer, q.busy.timer = stopped(q.patrol), stopped(q.lookBusy)
	return q
}

// SetDepth changes the number of requests of the context. It must not be called once there has been
// a request.
func (q *Queue) SetDepth(depth int) { q.depth = depth }

// stopped returns a timer that runs fn once it has been reset.
func stopped(fn func()) *time.Timer {
	t := time.AfterFunc(time.Hour, fn)
	t.Stop()
	return t
}

// ready returns the kernel, made on first use, or nil if kernel AIO is unavailable.
func (q *Queue) ready() kernel {
	if q.up.Load() {
		return q.kernel
	}
	return q.start()
}

// retryAfter is how long a queue does without the kernel when that refused it for a reason that may
// pass.
var retryAfter = time.Second

const never = math.MaxInt64

func (q *Queue) start() kernel {
	if q.resting() {
		return nil
	}
	q.starting.Lock()
	defer q.starting.Unlock()
	switch {
	case q.resting():
		return nil
	case q.up.Load():
		return q.kernel
	}
	k, err := q.open(q.depth)
	switch err {
	case nil:
	case syscall.ENOSYS, syscall.EPERM, syscall.EACCES:
		// Not in this kernel, or forbidden by a seccomp filter: neither passes.
		q.forbid(err)
		return nil
	default:
		// EAGAIN: /proc/sys/fs/aio-max-nr is used up. EMFILE, ENFILE: no descriptor for the
		// eventfd. ENOMEM. Others may give back what we lack.
		q.refusedWith(err)
		q.retryAt.Store(time.Now().Add(retryAfter).UnixNano())
		return nil
	}
	q.kernel = k
	q.procs.Store(int32(runtime.GOMAXPROCS(0)))
	q.why.Store(nil)
	q.retryAt.Store(0)
	q.up.Store(true)
	go q.reapLoop()
	return k
}

// resting reports whether the kernel has refused and is not to be asked again yet.
func (q *Queue) resting() bool {
	at := q.retryAt.Load()
	return at != 0 && time.Now().UnixNano() < at
}

// forbid ends the use of kernel AIO for good. err is why.
func (q *Queue) forbid(err error) {
	q.refusedWith(err)
	q.retryAt.Store(never)
	q.up.Store(false)
}

// made returns the number of requests that have ever been made, but for those of TrySync, which
// are few at a time.
func (q *Queue) made() (n int64) {
	for l := range q.each {
		n += l.submitted + l.busyCalls.Load()
	}
	return n
}

// underWay returns the number of requests, and of system calls in their place, that have not
// returned.
func (q *Queue) underWay() (n int64) {
	for l := range q.each {
		n += l.active.Load()
	}
	return n
}

// each yields every Lane, with its mu held.
func (q *Queue) each(yield func(*Lane) bool) {
	q.mu.Lock()
	lanes := q.lanes
	q.mu.Unlock()
	for _, l := range lanes {
		l.mu.Lock()
		ok := yield(l)
		l.mu.Unlock()
		if !ok {
			return
		}
	}
}

// prepare fills the control block of s with r.
func (s *slot) prepare(r *Request) {
	cb := &s.iocb
	p, one := r.Bufs.First()
	if !one {
		list := r.Bufs.List()
		defer list.Free() // cb has an array of its own
		if r.Op == Read {
			cb.PrepPreadv(r.Fd, list.Bufs, r.Off)
		} else {
			cb.PrepPwritev(r.Fd, list.Bufs, r.Off)
		}
		return
	}
	switch r.Op {
	case Read:
		cb.PrepPread(r.Fd, p, r.Off)
	case Write:
		cb.PrepPwrite(r.Fd, p, r.Off)
	case Sync:
		cb.PrepFsync(r.Fd)
	case Datasync:
		cb.PrepFdsync(r.Fd)
	}
}

// finish passes the result to the goroutine that waits for it, which owns the slot from then on.
func (s *slot) finish(res int64) {
	s.res = res
	g := s.group
	if g == nil {
		s.done <- struct{}{}
		return
	}
	if g.Done != nil {
		g.Done(s.index)
	}
	s.lane.q.leave(g)
}

// isDone reports whether the goroutine that owns s has been woken.
func (s *slot) isDone() bool {
	if s.group != nil {
		return s.group.isDone()
	}
	return len(s.done) > 0
}

// result returns what the caller gets.
func (s *slot) result() (int, error) {
	switch {
	case s.res == unavailable:
		return 0, ErrUnavailable
	case s.res < 0:
		return 0, syscall.Errno(-s.res)
	}
	return int(s.res), nil
}

// free lets go of the buffer and gives the slot back.
func (s *slot) free() {
	s.iocb.Release()
	s.group = nil
	slots.Put(s)
}
