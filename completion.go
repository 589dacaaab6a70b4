package aio

import (
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

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

// do runs one request on the direct twin: by the kernel's queue or, where that is no
// better, or there is none, or it would block in io_submit(2), as a plain system call. Offset,
// length and address are aligned. It returns a bare syscall.Errno.
func (f *File) do(op queue.Op, p []byte, off int64) (int, error) {
	e, pace := shared(), f.h.pace(op)
	if !pace.prompt() {
		if e.queue.TryPlain(op) {
			defer e.queue.Leave()
			return f.doTimed(op, pace, p, off)
		}
		if op == queue.Pread || f.h.written.cover(off, off+int64(len(p))) {
			n, err := e.queue.Do(op, f.h.twin.Fd, p, off)
			if err != queue.ErrUnavailable {
				return n, err
			}
		}
	}
	e.threads.acquire()
	if op == queue.Pwrite && !pace.prompt() && f.h.allocated(off, off+int64(len(p))) {
		e.threads.release()
		n, err := e.queue.Do(op, f.h.twin.Fd, p, off)
		if err != queue.ErrUnavailable {
			return n, err
		}
		e.threads.acquire()
	}
	defer e.threads.release()
	return f.doTimed(op, pace, p, off)
}

// doTimed makes the plain system call.
func (f *File) doTimed(op queue.Op, pace *pace, p []byte, off int64) (n int, err error) {
	begin := time.Now()
	if op == queue.Pread {
		n, err = dio.Pread(f.h.twin.Fd, p, off)
	} else {
		n, err = dio.Pwrite(f.h.twin.Fd, p, off)
	}
	pace.note(time.Since(begin))
	return n, err
}

// allocated reports whether all of [lo, hi) is in blocks that have been written. A write
// that needs others would block in io_submit(2): for the journal and the allocator, and on
// ext4 where it extends the file until it is on the disk (52 of its 53 us).
func (h *handle) allocated(lo, hi int64) bool {
	if size, err := h.twin.Size(); err == nil && hi > size {
		return false
	}
	hole, err := h.twin.Hole(lo)
	if err != nil || hole < hi {
		return false
	}
	h.written.add(lo, hole)
	return true
}

// spans are a few parts of a file. They are a hint, which may be out of date: somebody may
// have made a hole since.
type spans struct {
	next  atomic.Uint32
	parts [4]atomic.Uint64 // first and end in units of spanUnit, 32 bits each; 0 is none
}

// spanUnit is in bytes. Direct writes are of whole ones.
const spanUnit = 4096

func (s *spans) cover(lo, hi int64) bool {
	for i := range s.parts {
		first, end := unpack(s.parts[i].Load())
		if lo >= first && hi <= end {
			return true
		}
	}
	return false
}

// add joins [lo, hi) to a part that it touches, or puts it in the place of another.
func (s *spans) add(lo, hi int64) {
	for i := range s.parts {
		old := s.parts[i].Load()
		first, end := unpack(old)
		if end > 0 && lo <= end && hi >= first {
			s.parts[i].CompareAndSwap(old, pack(min(lo, first), max(hi, end)))
			return
		}
	}
	s.parts[s.next.Add(1)%uint32(len(s.parts))].Store(pack(lo, hi))
}

func (s *spans) forget() {
	for i := range s.parts {
		s.parts[i].Store(0)
	}
}

// pack rounds to units, so that the part is no larger than [lo, hi), and cuts it at 16 TiB.
func pack(lo, hi int64) uint64 {
	first, end := (lo+spanUnit-1)/spanUnit, min(hi/spanUnit, math.MaxUint32)
	if first >= end {
		return 0
	}
	return uint64(first)<<32 | uint64(end)
}

func unpack(part uint64) (lo, hi int64) {
	return int64(part>>32) * spanUnit, int64(part&math.MaxUint32) * spanUnit
}

// A pace is whether system calls of one kind on a file are prompt of late. Such a call keeps
// its P, and its thread, so nothing is cheaper: of a RAM disk, or a disk's own cache.
type pace struct{ score atomic.Int32 }

const (
	// promptCall is the time within which the runtime does not take the P from a thread
	// in a system call (runtime.retake).
	promptCall = 20 * time.Microsecond
	// settledPace is the distance of either state from the other: so many prompt calls
	// make a file prompt, and an eighth as many that are not put an end to that.
	settledPace = 32
)

func (h *handle) pace(op queue.Op) *pace {
	if op == queue.Pread {
		return &h.reads
	}
	return &h.writes
}

func (p *pace) prompt() bool { return p.score.Load() > settledPace }

// note takes a call into account. What a race of two makes of the score is of no account.
func (p *pace) note(took time.Duration) {
	old := p.score.Load()
	score := old + 1
	if took > promptCall {
		score = old - 8
	}
	switch crossed := (old > settledPace) != (score > settledPace); {
	case crossed && score > old:
		score = 2 * settledPace
	case crossed:
		score = 0
	}
	if score = min(max(score, 0), 2*settledPace); score != old {
		p.score.Store(score)
	}
}

// sync makes the file durable, by an fsync iocb on the plain descriptor: always the same
// one, because the kernel reports a write-back error once per descriptor. When little else
// is in flight it is the system call itself (140 against 185 us).
func (f *File) sync(op queue.Op, plain func(*File) error) error {
	if f == nil || f.h == nil {
		return f.os().Sync()
	}
	e := shared()
	if e.queue.TryPlain(op) {
		defer e.queue.Leave()
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
	run  func(fd uintptr) // c.do
	kind callKind
	op   queue.Op // of a callRequest
	dev  uint64   // of a callWriteUncached
	p    []byte
	off  int64

	n   int
	err error
}

type callKind uint8

const (
	callRequest       callKind = iota // a sync by the kernel's queue
	callDatasync                      // fdatasync(2)
	callReadCached                    // dio.PreadCached
	callWriteUncached                 // dio.PwriteUncached
)

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
	c.p = nil
	calls.Put(c)
	return n, err
}

func (c *call) do(fd uintptr) {
	switch c.kind {
	case callDatasync:
		c.err = dio.Fdatasync(int(fd))
	case callReadCached:
		c.n = dio.PreadCached(int(fd), c.p, c.off)
		c.err = nil
	case callWriteUncached:
		c.n, c.err = dio.PwriteUncached(int(fd), c.dev, c.p, c.off)
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
