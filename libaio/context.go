//go:build linux

package libaio

import (
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Context is an AIO context of the kernel, an aio_context_t. All of its methods may be called
// concurrently. It lives until [Context.Destroy]. Dropping it does not end it.
type Context struct {
	id uintptr // aio_context_t: the address of the mapped ring

	// mu guards everything below but calls. It is never held across a system call.
	mu        sync.Mutex
	destroyed bool
	ring      *ring // nil if user space cannot read the ring
	inKernel  int   // running calls of io_getevents(2); see reap
	inflight  []submission
	free      []uint32 // unused indices of inflight

	// calls counts the system calls with id that run or are about to be made, and 1 until Destroy.
	calls atomic.Int64
}

// A submission is a request that the kernel may hold. Its index in Context.inflight travels through
// the kernel as aio_data. A pointer there would mean nothing to the garbage collector.
type submission struct {
	cb       *IOCB
	mem      memory
	data     uint64 // IOCB.Data when it was submitted
	callback Callback
	count    int // how often one Submit call named the same IOCB
}

// An Event is the completion of one request, struct io_event.
type Event struct {
	Obj  *IOCB
	Data uint64 // IOCB.Data at the time of the Submit
	Res  int64  // bytes transferred, or a negative errno
	Res2 int64  // 0 in every kernel so far

	callback Callback // the callback of the submission, for Run
}

// live holds every Context, by id, as long as its calls are not 0. The kernel may write to whatever
// such a Context keeps reachable.
var live = struct {
	sync.Mutex
	contexts map[uintptr]*Context
}{contexts: make(map[uintptr]*Context)}

// Setup creates a context for at least maxEvents requests in flight, io_setup(2). A request is in
// flight from io_submit until its event is taken.
//
// Setup returns EINVAL if maxEvents is below 1 or far above the system's limit, and EAGAIN if the
// sum over all contexts of the host would exceed /proc/sys/fs/aio-max-nr. It returns ENOMEM without
// memory, and ENOSYS or EPERM if the kernel or a seccomp filter has no AIO.
func Setup(maxEvents int) (*Context, error) {
	if maxEvents < 0 || maxEvents > math.MaxInt32 {
		return nil, syscall.EINVAL // io_setup takes an unsigned int
	}
	c := new(Context)
	_, _, errno := syscall.Syscall(unix.SYS_IO_SETUP, uintptr(maxEvents),
		uintptr(unsafe.Pointer(&c.id)), 0)
	if errno != 0 {
		return nil, errno
	}
	if !c.enroll() {
		// Keep the address occupied until the next context exists.
		defer func() { _, _, _ = syscall.Syscall(unix.SYS_IO_DESTROY, c.id, 0, 0) }()
		return Setup(maxEvents)
	}
	c.ring = ringOf(&c.id)
	return c, nil
}

// enroll makes c live. It returns false if its id was that of a destroyed Context, and a call with
// that may not have reached the kernel yet.
func (c *Context) enroll() bool {
	live.Lock()
	defer live.Unlock()
	if live.contexts[c.id] != nil {
		return false
	}
	c.calls.Store(1)
	live.contexts[c.id] = c
	return true
}

// enter counts a system call with c.id, or reports false if c is destroyed. The caller holds c.mu.
// Destroy does not wait for the call: the kernel refuses it, as no new Context has the id.
func (c *Context) enter() bool {
	if c.destroyed {
		return false
	}
	c.calls.Add(1)
	return true
}

// leave ends a call that enter counted. It does not need c.mu.
func (c *Context) leave() {
	if c.calls.Add(-1) == 0 {
		live.Lock()
		delete(live.contexts, c.id)
		live.Unlock()
	}
}

// Destroy ends the context, io_destroy(2). It waits for the reads and writes in flight, cancels
// polls, and drops their events. It takes tens of milliseconds even if the context is idle. A
// GetEvents that is waiting returns EINVAL, as does every later use of the context.
func (c *Context) Destroy() error {
	c.mu.Lock()
	destroyed := c.destroyed
	c.destroyed, c.ring = true, nil // the kernel unmaps the ring
	c.mu.Unlock()
	if destroyed {
		return syscall.EINVAL
	}
	c.leave()
	_, _, errno := syscall.Syscall(unix.SYS_IO_DESTROY, c.id, 0, 0)
	runtime.KeepAlive(c) // only now is the kernel done with the buffers
	return errnoErr(errno)
}

// Submit passes requests to the kernel, io_submit(2), and returns the number that the kernel took,
// in order. If that is less than len(iocbs), the kernel refused the request at that index and did
// not look at those after it. The caller learns the reason by submitting the rest again. Submit
// returns an error only if the kernel refused the first request:
//
//	EAGAIN      no free slot in the context, or no kernel memory
//	EBADF       a bad descriptor, or one not open for this
//	EFAULT      a nil IOCB
//	EINVAL      a destroyed context, a bad offset, opcode, flag or eventfd; a directory
//	EOPNOTSUPP  an unknown RWF_ flag
//
// Errors of the transfer itself, such as that of a misaligned direct read, come in the event.
// Submit blocks while the kernel does: for anything but direct I/O, as long as the transfer lasts.
func (c *Context) Submit(iocbs ...*IOCB) (int, error) {
	if !c.hold(iocbs) {
		return 0, syscall.EINVAL
	}
	n, _, errno := syscall.Syscall(unix.SYS_IO_SUBMIT, c.id, uintptr(len(iocbs)),
		uintptr(unsafe.Pointer(unsafe.SliceData(iocbs))))
	c.leave()
	taken := max(int(n), 0) // n is -1 with an error
	if taken < len(iocbs) {
		c.drop(iocbs[taken:])
	}
	runtime.KeepAlive(iocbs)
	return taken, errnoErr(errno)
}

// rounds numbers the calls of Submit across all contexts: an IOCB may move from one to another.
var rounds atomic.Uint64

// hold makes iocbs and their memory reachable from c before the kernel can see them, and gives each
// its index. It calls enter and reports its result.
func (c *Context) hold(iocbs []*IOCB) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.enter() {
		return false
	}
	round := rounds.Add(1)
	for _, cb := range iocbs {
		switch {
		case cb == nil: // the kernel returns EFAULT for it
		case cb.round == round:
			// The IOCB occurs twice in one call: the kernel reads one aio_data for both.
			c.inflight[cb.raw.data].count++
		default:
			cb.round = round
			cb.raw.data = uint64(c.place())
			c.inflight[cb.raw.data] = submission{
				cb: cb, mem: cb.mem, data: cb.Data, callback: cb.callback, count: 1,
			}
		}
	}
	return true
}

// place returns a free index of c.inflight.
func (c *Context) place() uint32 {
	if n := len(c.free); n > 0 {
		i := c.free[n-1]
		c.free = c.free[:n-1]
		return i
	}
	c.inflight = append(c.inflight, submission{})
	return uint32(len(c.inflight) - 1)
}

// drop releases the requests that the kernel did not take.
func (c *Context) drop(iocbs []*IOCB) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, cb := range iocbs {
		if cb != nil {
			c.release(cb.raw.data)
		}
	}
}

// release ends one use of index i and returns the submission that was there.
func (c *Context) release(i uint64) submission {
	s := c.inflight[i]
	if s.count > 1 {
		c.inflight[i].count--
		return s
	}
	c.inflight[i] = submission{}
	c.free = append(c.free, uint32(i))
	return s
}

// take converts an event of the kernel and releases the memory of its request.
func (c *Context) take(e *ioEvent) Event {
	s := c.release(e.data)
	return Event{Obj: s.cb, Data: s.data, Res: e.res, Res2: e.res2, callback: s.callback}
}

// Cancel tries to cancel a request in flight, io_cancel(2). Kernels since 4.19 cancel polls only:
// they return EINPROGRESS and deliver the event through the ring, with Res 0; the returned Event is
// then empty. Cancel returns EINVAL for a read or write, for a request that is not in flight, and
// for a second attempt. So the buffer of a read belongs to the kernel until its event arrives.
func (c *Context) Cancel(cb *IOCB) (Event, error) {
	c.mu.Lock()
	entered := c.enter()
	c.mu.Unlock()
	if !entered { // another context may have its address by now
		return Event{}, syscall.EINVAL
	}
	var result ioEvent
	_, _, errno := syscall.Syscall(unix.SYS_IO_CANCEL, c.id, uintptr(unsafe.Pointer(cb)),
		uintptr(unsafe.Pointer(&result)))
	c.leave()
	if errno != 0 {
		return Event{}, errno
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.take(&result), nil
}

// Poll prepares cb as PrepPoll does, sets its callback and submits it, io_poll(3).
func (c *Context) Poll(cb *IOCB, fn Callback, fd int, events int16) error {
	cb.PrepPoll(fd, events)
	return c.start(cb, fn)
}

// Fsync prepares cb as PrepFsync does, sets its callback and submits it, io_fsync(3).
func (c *Context) Fsync(cb *IOCB, fn Callback, fd int) error {
	cb.PrepFsync(fd)
	return c.start(cb, fn)
}

// Fdsync prepares cb as PrepFdsync does, sets its callback and submits it, io_fdsync(3).
func (c *Context) Fdsync(cb *IOCB, fn Callback, fd int) error {
	cb.PrepFdsync(fd)
	return c.start(cb, fn)
}

func (c *Context) start(cb *IOCB, fn Callback) error {
	cb.callback = fn
	_, err := c.Submit(cb)
	return err
}

func errnoErr(errno syscall.Errno) error {
	if errno != 0 {
		return errno
	}
	return nil
}
