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

// A Config has the limits of one device; all together have twice as much. A field of 0 stands for
// its default.
type Config struct {
	Depth     int // requests in the kernel at a time
	Threads   int // system calls at a time, each of which may hold a thread
	SyncLimit int // direct requests in flight up to which the next is a system call; negative: none
}

const (
	defaultThreads = 256
	defaultBounce  = 32 << 20 // bytes of bounce buffers
	defaultCopies  = 64 << 20 // bytes of calls that may be abandoned
	// maxSyncDefault caps the default of SyncLimit, because each such request occupies a thread.
	maxSyncDefault = 8
)

// An engine is what all files of the process share.
type engine struct {
	queue *queue.Queue

	requests *Semaphore // in the kernel's queue
	threads  *Semaphore
	bounce   *Semaphore // bytes of bounce buffers
	copies   *Semaphore // bytes of calls that may be abandoned

	syncReads  int // SyncLimit, for reads and for the others
	syncWrites int

	sync      Counter // direct requests, and syncs, that were system calls because few were in flight
	busy      Counter // the same, because processors were busy
	pageCache Counter // calls through the page cache

	unavailable, extending atomic.Int64 // requests that could not go to the queue
}

// process is that of this process. To make it asks nothing of the kernel.
var process = &engine{
	queue:    queue.New(2 * queue.DefaultDepth),
	requests: NewSemaphore(queue.DefaultDepth),
	threads:  NewSemaphore(defaultThreads),
	bounce:   NewSemaphore(defaultBounce),
	copies:   NewSemaphore(defaultCopies),
}

var (
	configuring sync.Mutex
	configured  bool        // guarded by configuring
	used        atomic.Bool // set under configuring
)

var errConfigured = errors.New("aio: Configure called twice, or after the first use")

// Configure sets the limits of the process, once, before the first use.
func Configure(c Config) error {
	configuring.Lock()
	defer configuring.Unlock()
	if configured || used.Load() {
		return errConfigured
	}
	configured = true
	if c.Depth > 0 {
		process.queue.SetDepth(2 * c.Depth)
		process.requests.SetLimit(c.Depth)
	}
	if c.Threads > 0 {
		process.threads.SetLimit(c.Threads)
	}
	process.syncReads, process.syncWrites = c.SyncLimit, c.SyncLimit
	return nil
}

// use returns process. Its limits do not change any more.
func use() *engine {
	if !used.Load() {
		firstUse()
	}
	return process
}

func firstUse() {
	configuring.Lock()
	defer configuring.Unlock()
	if used.Load() {
		return
	}
	if e, procs := process, runtime.GOMAXPROCS(0); e.syncReads == 0 {
		e.syncReads, e.syncWrites = min(procs, maxSyncDefault), min(2*procs, maxSyncDefault)
	}
	used.Store(true)
}

// RecordLatency switches the recording of latency on or off.
func RecordLatency(on bool) { process.queue.RecordLatency(on) }

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
	e := use()
	limit := e.syncLimit(r.Op)
	if d.lane.TrySync(d.syncLimit(limit)) {
		n, err := d.timed(r)
		d.lane.Leave()
		e.sync.Add()
		return n, err
	}
	switch {
	case limit > 0 && d.tryBusy(e):
		defer d.leaveBusy()
		return Transfer(r)
	case extends:
		e.extending.Add(1)
	default:
		d.requests.Acquire(1)
		n, err := d.lane.Do(r)
		d.requests.Release(1)
		if err != queue.ErrUnavailable {
			return n, err
		}
		e.unavailable.Add(1)
	}
	d.threads.Acquire(1)
	defer d.threads.Release(1)
	return Transfer(r)
}

// tryBusy takes a thread if processors are busy and one is free. If none is, the threads may all be
// on a disk that hangs, and kernel AIO needs none.
func (d *Device) tryBusy(e *engine) bool {
	if !d.lane.TryBusy() {
		return false
	}
	if !d.threads.TryAcquire(1) {
		d.lane.LeaveBusy()
		return false
	}
	e.busy.Add()
	return true
}

// leaveBusy ends what a successful tryBusy began.
func (d *Device) leaveBusy() {
	d.threads.Release(1)
	d.lane.LeaveBusy()
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

// EnterSync reports whether a Sync or Datasync is to be a system call. Then LeaveSync ends it.
func (d *Device) EnterSync(op Op) SyncCall {
	e := use()
	limit := e.syncLimit(op)
	switch {
	case d.lane.TrySync(limit):
		e.sync.Add()
		return FewCalls
	case limit > 0 && d.tryBusy(e):
		return BusyCall
	}
	return NoCall
}

// LeaveSync ends what EnterSync began.
func (d *Device) LeaveSync(c SyncCall) {
	switch c {
	case FewCalls:
		d.lane.Leave()
	case BusyCall:
		d.leaveBusy()
	}
}

// DoSync gives a Sync or Datasync to the kernel's queue. The error is ErrUnavailable, or EINVAL
// before Linux 4.18 and for a file that cannot be synced, where a system call is to tell.
func (d *Device) DoSync(r Request) error {
	e := use()
	d.requests.Acquire(1)
	_, err := d.lane.Do(r)
	d.requests.Release(1)
	if err == queue.ErrUnavailable {
		e.unavailable.Add(1)
	}
	return err
}

// TryReserve takes room in the kernel's queue for a request of a Group. It returns false if there
// is none now. Unreserve gives it back.
func (d *Device) TryReserve() bool {
	use()
	return d.requests.TryAcquire(1)
}

// Unreserve gives back the room of a request of a Group, when that is done.
func (d *Device) Unreserve() { d.requests.Release(1) }

// Run gives the requests of g to the kernel and waits for all of them.
func (d *Device) Run(g *Group) { d.lane.Run(g) }
