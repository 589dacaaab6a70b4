// Package sched decides which way a [Request] goes: as a system call on the thread of its caller,
// to the kernel's queue (package queue), or as a system call on one of a bounded number of
// threads. It has what all files of the process share, and what those of one device do.
//
// A direct request is a system call while few are in flight, because a thread is cheaper then. It
// is one, too, while processors are busy, because a thread keeps its processor, if one of a bounded
// number of threads is free. Otherwise it is given to the queue, when its device has a place for
// it. What the queue cannot take, and what would block in io_submit(2), is a system call on a
// thread of the bound.
package sched

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/go-aio/aio/internal/dio"
	"github.com/go-aio/aio/internal/queue"
)

// These are package queue's.
type (
	// A Request is one system call's worth of work.
	Request = queue.Request
	// Buffers are the memory of a transfer.
	Buffers = queue.Buffers
	// An Op is what a Request does.
	Op = queue.Op
	// A Group is requests that are given to the kernel together.
	Group = queue.Group
)

// The operations.
const (
	Read     = queue.Read
	Write    = queue.Write
	Sync     = queue.Sync
	Datasync = queue.Datasync
)

// MaxBuffers is the largest number of buffers of a Request.
const MaxBuffers = queue.MaxBuffers

// ErrUnavailable is what a Request returns that the kernel's queue could not take.
var ErrUnavailable = queue.ErrUnavailable

// One returns the Buffers of one buffer.
func One(p []byte) Buffers { return queue.One(p) }

// Many returns the Buffers of several. It is not ok if an int cannot count their bytes.
func Many(bufs [][]byte) (b Buffers, ok bool) { return queue.Many(bufs) }

// A Config has the limits of the process. A field of 0 stands for its default.
type Config struct {
	Depth     int // requests in the kernel at a time
	Threads   int // system calls at a time, each of which may hold a thread
	SyncLimit int // direct requests in flight up to which the next is a system call; negative: none
}

const (
	defaultThreads = 256
	// maxSyncDefault caps the default of SyncLimit, because each such request occupies a thread.
	maxSyncDefault = 8
)

// An engine is what all files of the process share.
type engine struct {
	queue      *queue.Queue
	syncReads  int // SyncLimit, for reads and for the others
	syncWrites int
	threads    *Semaphore

	sync      Counter // direct requests, and syncs, that were system calls because few were in flight
	busy      Counter // the same, because processors were busy
	pageCache Counter // calls through the page cache

	unavailable, extending atomic.Int64 // requests that could not go to the queue
}

var (
	current     atomic.Pointer[engine]
	configuring sync.Mutex
	configured  bool // guarded by configuring, as is the next

	recordLatency bool
)

var errConfigured = errors.New("aio: Configure called twice, or after the first use")

// Configure sets the limits of the process, once, before the first use.
func Configure(c Config) error {
	configuring.Lock()
	defer configuring.Unlock()
	if configured || current.Load() != nil {
		return errConfigured
	}
	configured = true
	current.Store(newEngine(c))
	return nil
}

// RecordLatency switches the recording of latency on or off.
func RecordLatency(on bool) {
	configuring.Lock()
	defer configuring.Unlock()
	recordLatency = on
	if e := current.Load(); e != nil {
		e.queue.RecordLatency(on)
	}
}

func newEngine(c Config) *engine {
	if c.Depth == 0 {
		c.Depth = queue.DefaultDepth
	}
	if c.Threads == 0 {
		c.Threads = defaultThreads
	}
	e := &engine{queue: queue.New(c.Depth), threads: NewSemaphore(c.Threads)}
	e.queue.RecordLatency(recordLatency)
	switch procs := runtime.GOMAXPROCS(0); {
	case c.SyncLimit == 0:
		e.syncReads, e.syncWrites = min(procs, maxSyncDefault), min(2*procs, maxSyncDefault)
	case c.SyncLimit > 0:
		e.syncReads, e.syncWrites = c.SyncLimit, c.SyncLimit
	}
	return e
}

// shared returns the engine of the process, made on first use. To make it asks nothing of the
// kernel.
func shared() *engine {
	if e := current.Load(); e != nil {
		return e
	}
	configuring.Lock()
	defer configuring.Unlock()
	if e := current.Load(); e != nil {
		return e
	}
	e := newEngine(Config{})
	current.Store(e)
	return e
}

// syncLimit returns how many requests may be in flight before the next one goes to kernel AIO. As
// long as no more threads wait in the kernel than there are Ps, they keep no goroutine from
// running. Writes and syncs are worth twice as many threads, because the kernel completes their
// iocbs through a worker (iomap's s_dio_done_wq, aio_fsync_work).
func (e *engine) syncLimit(op Op) int {
	if op == Read {
		return e.syncReads
	}
	return e.syncWrites
}

// Do makes a request on a direct descriptor of d. Offset, lengths and addresses are aligned.
// extends says that the request is a write that extends its file, for which io_submit(2) would
// block. Do returns a bare syscall.Errno.
func (d *Device) Do(r Request, extends bool) (int, error) {
	e := shared()
	limit := e.syncLimit(r.Op)
	if e.queue.TrySync(d.syncLimit(limit)) {
		n, err := d.timed(r)
		e.queue.Leave()
		e.sync.Add()
		return n, err
	}
	switch {
	case limit > 0 && e.tryBusy():
		defer e.leaveBusy()
		return Transfer(r)
	case extends:
		e.extending.Add(1)
	default:
		d.acquire()
		n, err := e.queue.Do(r)
		d.Release()
		if err != queue.ErrUnavailable {
			return n, err
		}
		e.unavailable.Add(1)
	}
	e.threads.Acquire(1)
	defer e.threads.Release(1)
	return Transfer(r)
}

// tryBusy takes a thread if processors are busy and one is free. If none is, the threads may all be
// on a disk that hangs, and kernel AIO needs none.
func (e *engine) tryBusy() bool {
	if !e.queue.TryBusy() {
		return false
	}
	if !e.threads.TryAcquire(1) {
		e.queue.LeaveBusy()
		return false
	}
	e.busy.Add()
	return true
}

// leaveBusy ends what a successful tryBusy began.
func (e *engine) leaveBusy() {
	e.threads.Release(1)
	e.queue.LeaveBusy()
}

// Transfer makes the system call, of at most MaxBuffers buffers, on the thread of its caller.
func Transfer(r Request) (int, error) {
	if p, one := r.Bufs.First(); one {
		if r.Op == Read {
			return dio.Pread(r.Fd, p, r.Off)
		}
		return dio.Pwrite(r.Fd, p, r.Off)
	}
	list := r.Bufs.List()
	defer list.Free()
	if r.Op == Read {
		return dio.Preadv(r.Fd, list.Bufs, r.Off)
	}
	return dio.Pwritev(r.Fd, list.Bufs, r.Off)
}

// A SyncCall is a Sync or Datasync that is a system call.
type SyncCall uint8

// The reasons for a SyncCall.
const (
	NoCall   SyncCall = iota
	FewCalls          // little else is in flight (140 against 185 us)
	BusyCall          // processors are busy; the caller has a thread
)

// EnterSync reports whether a Sync or Datasync is to be a system call. Then Leave ends it.
func EnterSync(op Op) SyncCall {
	e := shared()
	limit := e.syncLimit(op)
	switch {
	case e.queue.TrySync(limit):
		e.sync.Add()
		return FewCalls
	case limit > 0 && e.tryBusy():
		return BusyCall
	}
	return NoCall
}

// Leave ends what EnterSync began.
func (c SyncCall) Leave() {
	switch c {
	case FewCalls:
		shared().queue.Leave()
	case BusyCall:
		shared().leaveBusy()
	}
}

// DoSync gives a Sync or Datasync to the kernel's queue. The error is ErrUnavailable, or EINVAL
// before Linux 4.18 and for a file that cannot be synced, where a system call is to tell.
func DoSync(r Request) error {
	e := shared()
	_, err := e.queue.Do(r)
	if err == queue.ErrUnavailable {
		e.unavailable.Add(1)
	}
	return err
}

// AcquireThread waits for one of the bounded number of threads, for a system call. The caller holds
// its locks by then, and waits for nothing but I/O until it releases the one unit that it has of
// the Semaphore.
func AcquireThread() *Semaphore {
	t := shared().threads
	t.Acquire(1)
	return t
}

// AcquirePageCache is AcquireThread for a call through the page cache.
func AcquirePageCache() *Semaphore {
	e := shared()
	e.pageCache.Add()
	e.threads.Acquire(1)
	return e.threads
}

// Reserve takes places for up to most requests of g and returns how many.
func Reserve(g *Group, most int) int { return shared().queue.Reserve(g, most) }

// Run gives the requests of g to the kernel and waits for all of them.
func Run(g *Group) { shared().queue.Run(g) }

// Free gives back the places of g.
func Free(g *Group) { shared().queue.Free(g) }
