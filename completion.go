package aio

import (
	"context"
	"errors"
	"runtime"
	"runtime/trace"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/go-aio/aio/internal/dio"
	"github.com/go-aio/aio/internal/queue"
	"github.com/go-aio/aio/internal/sched"
)

// An engine is what all Files of the process share: the queue of the kernel's context,
// the bound on plain system calls and the bounce buffers.
type engine struct {
	queue     *queue.Queue
	fewReads  int // see few
	fewWrites int
	threads   *threads
	bounce    *pool
	counts    *counts // not in here, where what every call reads is
}

var (
	current     atomic.Pointer[engine]
	configuring sync.Mutex
	configured  bool // guarded by configuring, as is the next

	recordLatency bool
)

var errConfigured = errors.New("aio: Configure called twice, or after the first use")

func configure(c Config) error {
	configuring.Lock()
	defer configuring.Unlock()
	if configured || current.Load() != nil {
		return errConfigured
	}
	configured = true
	current.Store(newEngine(c))
	return nil
}

func newEngine(c Config) *engine {
	if c.Depth == 0 {
		c.Depth = queue.DefaultDepth
	}
	if c.Threads == 0 {
		c.Threads = 256
	}
	e := &engine{queue: queue.New(c.Depth), threads: newThreads(c.Threads), bounce: newPool(), counts: new(counts)}
	e.queue.RecordLatency(recordLatency)
	switch procs := runtime.GOMAXPROCS(0); {
	case c.Synchronous == 0:
		e.fewReads, e.fewWrites = min(procs, mostFew), min(2*procs, mostFew)
	case c.Synchronous > 0:
		e.fewReads, e.fewWrites = c.Synchronous, c.Synchronous
	}
	return e
}

// mostFew bounds what is few by default: each is a thread.
const mostFew = 8

// shared returns the engine of the process, made on first use. To make it asks nothing
// of the kernel.
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

// do runs one request on the direct twin: by the kernel's queue, unless there is none, it
// would block in io_submit(2), or so few are in flight that a plain system call does
// better. Its buffer is p, or its buffers are bufs if they are not nil. Offset, length and
// address are aligned. It returns a bare syscall.Errno.
func (f *File) do(op queue.Op, p []byte, bufs [][]byte, off int64) (int, error) {
	e, h := shared(), f.h
	few := e.few(op)
	if e.queue.TryPlain(h.device.few(few)) {
		n, err := h.device.transfer(op, h.twin.Fd, p, bufs, off)
		e.queue.Leave()
		e.counts.synchronous.add()
		return n, err
	}
	if e.busy(few) && e.queue.Enter() {
		defer e.queue.Leave()
		e.counts.synchronous.add()
		e.threads.Acquire(1)
		defer e.threads.release()
		return transfer(op, h.twin.Fd, p, bufs, off)
	}
	if op == queue.Pread || h.keepsSize(off+int64(len(p)+total(bufs))) {
		n, err := h.device.do(e.queue, op, h.twin.Fd, p, bufs, off)
		if err != queue.ErrUnavailable {
			return n, err
		}
		e.counts.unavailable.Add(1)
	} else {
		e.counts.extending.Add(1)
	}
	e.threads.Acquire(1)
	defer e.threads.release()
	return transfer(op, h.twin.Fd, p, bufs, off)
}

// transfer makes a plain system call on the twin.
func transfer(op queue.Op, fd int, p []byte, bufs [][]byte, off int64) (int, error) {
	switch {
	case op == queue.Pread && bufs == nil:
		return dio.Pread(fd, p, off)
	case op == queue.Pread:
		return dio.Preadv(fd, bufs, off)
	case bufs == nil:
		return dio.Pwrite(fd, p, off)
	}
	return dio.Pwritev(fd, bufs, off)
}

// few is the number of requests in flight up to which one of this kind does best as a plain
// system call. As long as no more threads wait in the kernel than there are Ps, they keep
// nobody from running; and where the device answers within 20 us (a RAM disk) there never
// are more. Writes and syncs are worth twice as many threads, because the kernel completes
// their iocbs through a worker (iomap's s_dio_done_wq, aio_fsync_work).
func (e *engine) few(op queue.Op) int {
	if op == queue.Pread {
		return e.fewReads
	}
	return e.fewWrites
}

// busy reports whether a request had better be a system call on a thread of the bound, because
// goroutines that compute keep all processors. few is e.few of the request; it is 0 if the
// program wants no such calls.
func (e *engine) busy(few int) bool { return few > 0 && e.queue.Busy() }

// keepsSize reports whether a write up to byte end may go to io_submit(2). One that extends
// the file blocks there: on ext4 until it is on the disk (2.9 ms for a batch of 16), on xfs
// for the inode's lock. One into a hole takes a little longer than others, and is worth it:
// it is 3 to 6 times as fast on ext4 as a system call of its own, and a little faster on xfs.
func (h *handle) keepsSize(end int64) bool {
	if h.twin.Fixed || end <= h.seen.Load() {
		return true
	}
	size, err := h.twin.Size()
	if err != nil {
		return false
	}
	h.seen.Store(size)
	return end <= size
}

// sync makes the file durable, by an fsync iocb on the plain descriptor: always the same
// one, because the kernel reports a write-back error once per descriptor. When little else
// is in flight it is the system call itself (140 against 185 us).
func (f *File) sync(op queue.Op, plain func(*File) error) error {
	if f == nil || f.h == nil {
		return f.os().Sync()
	}
	if err := f.h.takeSyncErr(); err != nil {
		return err
	}
	if trace.IsEnabled() {
		defer trace.StartRegion(context.Background(), "aio.Sync").End()
	}
	e := shared()
	few := e.few(op)
	if e.queue.TryPlain(few) || e.busy(few) && e.queue.Enter() {
		defer e.queue.Leave()
		e.counts.synchronous.add()
		return f.syncPlain(e, plain)
	}
	c := calls.Get().(*call)
	c.kind, c.op = callRequest, op
	_, err := c.on(f.conn)
	switch err {
	case nil:
		return nil
	case queue.ErrUnavailable, errClosed, syscall.EINVAL:
		// EINVAL: before Linux 4.18, or a file that cannot be synced, and plain says so.
		if err == queue.ErrUnavailable {
			e.counts.unavailable.Add(1)
		}
		return f.syncPlain(e, plain)
	}
	return f.wrapErr("sync", err)
}

func (f *File) syncPlain(e *engine, plain func(*File) error) error {
	e.threads.Acquire(1)
	defer e.threads.release()
	return plain(f)
}

// A call is one request or system call on the plain descriptor, made inside of
// RawConn.Control, so that os does not close it meanwhile. Calls are pooled, because a
// closure for each would be an allocation.
type call struct {
	run  func(fd uintptr) // c.do
	kind callKind
	op   queue.Op // of a callRequest
	dev  uint64   // of the file; this and what follows are for the others
	bufs [][]byte
	one  [1][]byte // memory of bufs, if there is one
	off  int64
	size int64 // of a callAllocate or callPunchHole

	n   int
	err error
}

type callKind uint8

const (
	callRequest       callKind = iota // a sync by the kernel's queue
	callDatasync                      // fdatasync(2)
	callReadCached                    // dio.PreadCached
	callWriteUncached                 // dio.PwriteUncached
	callReadv                         // preadv(2)
	callWritev                        // pwritev(2)
	callAllocate                      // dio.Allocate
	callPunchHole                     // dio.PunchHole
)

var calls = sync.Pool{New: func() any {
	c := new(call)
	c.run = c.do
	return c
}}

// errClosed says that Control did not run the call, for which there is one reason.
var errClosed = errors.New("the File is closed")

// with makes p the buffer of c.
func (c *call) with(p []byte) {
	c.one[0] = p
	c.bufs = c.one[:]
}

// on runs c and gives it back to the pool.
func (c *call) on(conn syscall.RawConn) (int, error) {
	c.n, c.err = 0, errClosed
	conn.Control(c.run)
	n, err := c.n, c.err
	c.bufs, c.one[0] = nil, nil
	calls.Put(c)
	return n, err
}

func (c *call) do(fd uintptr) {
	switch c.kind {
	case callDatasync:
		c.err = dio.Fdatasync(int(fd))
	case callReadCached:
		c.n = dio.PreadCached(int(fd), c.dev, c.bufs, c.off)
		c.err = nil
	case callWriteUncached:
		c.n, c.err = dio.PwriteUncached(int(fd), c.dev, c.bufs, c.off)
	case callReadv:
		c.n, c.err = dio.Preadv(int(fd), c.bufs, c.off)
	case callWritev:
		c.n, c.err = dio.Pwritev(int(fd), c.bufs, c.off)
	case callAllocate:
		c.err = dio.Allocate(int(fd), c.off, c.size)
	case callPunchHole:
		c.err = dio.PunchHole(int(fd), c.off, c.size)
	default:
		c.n, c.err = shared().queue.Do(c.op, int(fd), nil, 0)
	}
}

// threads bound the plain system calls under way. Of these each holds a thread once it has waited
// 20 us.
type threads struct {
	*sched.Semaphore
	pageCache tally // calls through the page cache
}

func newThreads(limit int) *threads { return &threads{Semaphore: sched.NewSemaphore(limit)} }

// acquire is for a call through the page cache; what goes past it acquires the Semaphore.
func (t *threads) acquire() {
	t.pageCache.add()
	t.Acquire(1)
}

func (t *threads) release() { t.Release(1) }
