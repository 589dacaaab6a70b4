//go:build linux

package queue

import (
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/go-aio/aio/libaio"
)

// A Queue is a context of the kernel and what waits for it. All methods may be called
// concurrently.
type Queue struct {
	depth int
	open  func(depth int) (kernel, error) // newContext, but for tests

	// kernel is set by the first request; while it is nil and the clock has not
	// reached retryAt, requests are refused.
	kernel   atomic.Pointer[kernel]
	starting sync.Mutex
	retryAt  atomic.Int64           // Unix nanoseconds; math.MaxInt64: never
	why      atomic.Pointer[string] // of that: the reason, for Stats
	timed    atomic.Bool            // latency is recorded

	active     atomic.Int64 // requests in Do, groups, and system calls that TrySync has let go
	inKernel   atomic.Int64 // given to the shared context and not yet delivered
	stalled    atomic.Bool  // pending requests wait for a completion; see stall
	collecting atomic.Bool  // the reaper, a Group's owner or collectDetached collects
	quiet      atomic.Int64 // requests in the kernel, or on their way, that do not ring
	noCollect  atomic.Bool  // io_getevents(2) is refused
	procs      atomic.Int32 // GOMAXPROCS, looked up now and then
	wakes      atomic.Int64 // of the reaper
	collects   atomic.Int64 // calls of io_getevents(2) by it

	// submitFn, resumeFn and collectFn are submitOthers, resume and collectDetached on the kernel: a
	// go statement with arguments would allocate.
	submitFn, resumeFn, collectFn func()

	stuckAfter time.Duration // see relieve

	// mu guards what follows. It is never held across a system call, nor with
	// another lock.
	mu         sync.Mutex
	slots      []*slot // by index, made as they are needed; len is depth
	made       int
	free       []*slot
	starved    fifo[chan *slot] // requests without a slot
	pending    fifo[*slot]      // requests with a slot, not yet given to the kernel
	submitting int              // goroutines in submit, at most procs but for relieve
	pushes     uint64           // batches that have been submitted
	relief     *time.Timer      // runs relieve; nil until it is needed
	watched    bool             // it is set
	patience   time.Duration    // for how long
	seen       uint64           // pushes, when it was set
	batches    []*batch         // spare ones
	counts     counts
	incident   string // the first that the watchdog has found
	dog        watchdog

	busy    busyState
	latency histogram // of requests, while timed
}

// A slot is a request on its way. It is a heap object that holds the caller's buffer
// by a real pointer, in the control block, until its event has been taken.
type slot struct {
	iocb  libaio.IOCB // iocb.Data is the slot's index
	res   int64       // as in libaio.Event, or unavailable
	quiet bool        // does not ring; see collect
	began int64       // when it was given to the kernel, see now
	done  chan struct{}
	group *Group // whose done it is instead; nil for a request of its own
}

// unavailable as a result says that the kernel did not take the request.
const unavailable = math.MinInt64

// New returns a queue for depth requests in the kernel at a time. It asks nothing of
// the kernel yet.
func New(depth int) *Queue { return newQueue(depth, openContext) }

var openContext = newContext // but for tests

func newQueue(depth int, open func(int) (kernel, error)) *Queue {
	return &Queue{
		depth: depth, open: open, stuckAfter: 30 * time.Millisecond,
		dog: watchdog{every: patrolEvery}, busy: busyState{gosched: runtime.Gosched},
	}
}

// Do runs one request and waits for it. Offset, lengths and addresses are aligned as direct I/O on
// its descriptor wants it, and there are at most [MaxBuffers] buffers. Do returns the bytes
// transferred, which may be fewer than those of the buffers, or a bare syscall.Errno; a count of 0
// from a Read is the end of the file. ErrUnavailable means that the request must be made in
// another way. Several buffers take an array of their addresses, the only allocation.
//
// Beyond depth requests callers wait, first come first served.
func (q *Queue) Do(r Request) (int, error) {
	k := q.ready()
	if k == nil {
		return 0, ErrUnavailable
	}
	q.active.Add(1)
	q.mu.Lock()
	s := q.slot()
	if s == nil {
		s = q.starve()
	}
	if p, one := r.Bufs.First(); one {
		prepare(&s.iocb, r, p)
	} else {
		q.mu.Unlock() // while it makes an array
		prepareVec(&s.iocb, r)
		q.mu.Lock()
	}
	if q.enqueue(k, s) {
		q.submit(k, s)
	}
	<-s.done
	res := s.res
	q.release(s)
	q.active.Add(-1)
	return result(res)
}

// TrySync reports whether fewer than limit requests are in flight, so that the caller had
// better make a system call. Then it counts that as a request, and Leave ends it.
func (q *Queue) TrySync(limit int) bool {
	if q.active.Add(1) <= int64(limit) {
		return true
	}
	q.active.Add(-1)
	return false
}

// Leave ends what a successful TrySync began.
func (q *Queue) Leave() { q.active.Add(-1) }

// TryBusy is TrySync with Busy in place of a limit. LeaveBusy ends what it began.
func (q *Queue) TryBusy() bool {
	if !q.Busy() {
		return false
	}
	q.active.Add(1)
	return true
}

// LeaveBusy ends what a successful TryBusy began.
func (q *Queue) LeaveBusy() {
	q.busy.calls.Add(1)
	q.active.Add(-1)
}

func result(res int64) (int, error) {
	switch {
	case res == unavailable:
		return 0, ErrUnavailable
	case res < 0:
		return 0, syscall.Errno(-res)
	}
	return int(res), nil
}

// ready returns the kernel, made on first use, or nil if kernel AIO is unavailable.
func (q *Queue) ready() kernel {
	if k := q.kernel.Load(); k != nil && q.retryAt.Load() == 0 {
		return *k
	}
	return q.start()
}

// retryAfter is how long a queue does without the kernel when that refused it for a
// reason that may pass.
var retryAfter = time.Second

func (q *Queue) start() kernel {
	if at := q.retryAt.Load(); at != 0 && time.Now().UnixNano() < at {
		return nil
	}
	q.starting.Lock()
	defer q.starting.Unlock()
	if k := q.kernel.Load(); k != nil {
		if q.retryAt.Load() == never {
			return nil
		}
		return *k
	}
	if at := q.retryAt.Load(); at != 0 && time.Now().UnixNano() < at {
		return nil
	}
	k, err := q.open(q.depth)
	if err != nil {
		q.refusedWith(err)
	}
	switch err {
	case nil:
	case syscall.ENOSYS, syscall.EPERM, syscall.EACCES:
		// Not in this kernel, or forbidden by a seccomp filter: neither passes.
		q.retryAt.Store(never)
		return nil
	default:
		// EAGAIN: /proc/sys/fs/aio-max-nr is used up. EMFILE, ENFILE: no descriptor
		// for the eventfd. ENOMEM. Others may give back what we lack.
		q.retryAt.Store(time.Now().Add(retryAfter).UnixNano())
		return nil
	}
	q.slots = make([]*slot, q.depth)
	q.submitFn, q.resumeFn = func() { q.submitOthers(k) }, func() { q.resume(k) }
	q.collectFn = func() { q.collectDetached(k) }
	q.procs.Store(int32(runtime.GOMAXPROCS(0)))
	q.why.Store(nil)
	q.retryAt.Store(0)
	q.kernel.Store(&k)
	go q.reapLoop(k)
	return k
}

const never = math.MaxInt64

// starve waits for a slot. q.mu is held, and not meanwhile.
func (q *Queue) starve() *slot {
	turn := turns.Get().(chan *slot)
	q.starved.push(turn)
	q.counts.slotWaits++
	q.mu.Unlock()
	s := <-turn
	turns.Put(turn)
	q.mu.Lock()
	return s
}

// enqueue makes the request of s pending. It returns true, with q.mu still held, if the caller has
// a submitter's place and must call submit; otherwise a submitter will take it.
func (q *Queue) enqueue(k kernel, s *slot) bool {
	q.counts.submitted++
	q.pending.push(s)
	q.guard(k)
	q.watchBusy()
	if q.submitting >= int(q.procs.Load()) {
		q.watchSubmitters(k)
		q.mu.Unlock()
		return false
	}
	q.submitting++
	return true
}

// turns holds the channels on which requests wait for a slot.
var turns = sync.Pool{New: func() any { return make(chan *slot, 1) }}

// prepare fills cb with a request whose only buffer is p.
func prepare(cb *libaio.IOCB, r Request, p []byte) {
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

// prepareVec fills cb with a transfer of several buffers.
func prepareVec(cb *libaio.IOCB, r Request) {
	list := r.Bufs.List()
	defer list.Free() // cb has an array of its own
	if r.Op == Read {
		cb.PrepPreadv(r.Fd, list.Bufs, r.Off)
	} else {
		cb.PrepPwritev(r.Fd, list.Bufs, r.Off)
	}
}

// slot returns a free slot, or nil. q.mu is held.
func (q *Queue) slot() *slot {
	if n := len(q.free); n > 0 {
		s := q.free[n-1]
		q.free = q.free[:n-1]
		return s
	}
	if q.made == q.depth {
		return nil
	}
	s := &slot{done: make(chan struct{}, 1)}
	s.iocb.Data = uint64(q.made)
	q.slots[q.made] = s
	q.made++
	return s
}

// release gives a slot to the request that has waited longest, or back.
func (q *Queue) release(s *slot) {
	s.iocb.Release() // let go of the buffer
	q.mu.Lock()
	defer q.mu.Unlock()
	q.counts.completed++
	q.pass(s)
}

// pass is release of a slot without a buffer. q.mu is held.
func (q *Queue) pass(s *slot) {
	if turn, ok := q.starved.pop(); ok {
		turn <- s
		return
	}
	q.free = append(q.free, s)
}
