package aio

import (
	"errors"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/go-aio/aio/internal/dio"
	"github.com/go-aio/aio/internal/queue"
)

// An engine is what all Files of the process share: the queue of the kernel's context,
// the bound on plain system calls and the bounce buffers.
type engine struct {
	queue   *queue.Queue
	threads *threads
	bounce  *pool
}

var (
	current     atomic.Pointer[engine]
	configuring sync.Mutex
	configured  bool // guarded by configuring
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
	return &engine{queue: queue.New(c.Depth), threads: newThreads(c.Threads), bounce: newPool()}
}

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

// do runs one request on the direct twin: by the kernel's queue or, where there is none
// or it would block in io_submit(2), as a plain system call. Offset, length and address
// are aligned. It returns a bare syscall.Errno.
func (f *File) do(op queue.Op, p []byte, off int64) (int, error) {
	e, fd := shared(), f.h.twin.Fd
	if op == queue.Pwrite && e.queue.TryPlain() {
		defer e.queue.Leave()
		return dio.Pwrite(fd, p, off)
	}
	if op == queue.Pread || f.h.keepsSize(off+int64(len(p))) {
		n, err := e.queue.Do(op, fd, p, off)
		if err != queue.ErrUnavailable {
			return n, err
		}
	}
	e.threads.acquire()
	defer e.threads.release()
	if op == queue.Pread {
		return dio.Pread(fd, p, off)
	}
	return dio.Pwrite(fd, p, off)
}

// keepsSize reports whether a write up to byte end may go to io_submit(2): one that
// extends the file would block there on ext4 (52 of its 53 us).
func (h *handle) keepsSize(end int64) bool {
	if h.twin.Grows || end <= h.seen.Load() {
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
	e := shared()
	if e.queue.TryPlain() {
		defer e.queue.Leave()
		return f.syncPlain(e, plain)
	}
	c := calls.Get().(*call)
	c.op = op
	_, err := c.on(f.conn)
	switch err {
	case nil:
		return nil
	case queue.ErrUnavailable, errClosed, syscall.EINVAL:
		// EINVAL: before Linux 4.18, or a file that cannot be synced, and plain says so.
		return f.syncPlain(e, plain)
	}
	return f.wrapErr("sync", err)
}

func (f *File) syncPlain(e *engine, plain func(*File) error) error {
	e.threads.acquire()
	defer e.threads.release()
	return plain(f)
}

// A call is one request or system call on the plain descriptor, made inside of
// RawConn.Control, so that os does not close it meanwhile. Calls are pooled, because a
// closure for each would be an allocation.
type call struct {
	run func(fd uintptr) // c.do
	op  queue.Op
	dev uint64
	p   []byte // of an uncached write; nil for a sync
	off int64

	datasync bool // fdatasync(2) itself, not op

	n   int
	err error
}

var calls = sync.Pool{New: func() any {
	c := new(call)
	c.run = c.do
	return c
}}

// errClosed says that Control did not run the call, for which there is one reason.
var errClosed = errors.New("the File is closed")

// on runs c and gives it back to the pool.
func (c *call) on(conn syscall.RawConn) (int, error) {
	c.n, c.err = 0, errClosed
	conn.Control(c.run)
	n, err := c.n, c.err
	c.p, c.datasync = nil, false
	calls.Put(c)
	return n, err
}

func (c *call) do(fd uintptr) {
	switch {
	case c.p != nil:
		c.n, c.err = dio.PwriteUncached(int(fd), c.dev, c.p, c.off)
	case c.datasync:
		c.err = dio.Fdatasync(int(fd))
	default:
		c.n, c.err = shared().queue.Do(c.op, int(fd), nil, 0)
	}
}

// threads bounds the plain system calls under way, each of which holds a thread once it
// has waited 20 us. Others wait their turn, first come first served.
type threads struct {
	limit int64
	calls atomic.Int64  // under way, and waiting
	turn  chan struct{} // one place handed from a call that ends to one that waits
}

func newThreads(limit int) *threads {
	// No more than limit places can be on their way at a time, so a send never waits.
	return &threads{limit: int64(limit), turn: make(chan struct{}, limit)}
}

func (t *threads) acquire() {
	if t.calls.Add(1) > t.limit {
		<-t.turn
	}
}

func (t *threads) release() {
	if t.calls.Add(-1) >= t.limit {
		t.turn <- struct{}{}
	}
}
