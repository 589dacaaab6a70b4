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

// A Context is an AIO context of the kernel, an aio_context_t. All of its methods
// may be called concurrently. It lives until [Context.Destroy]; dropping it does
// not end it.
type Context struct {
	id uintptr // aio_context_t: the address of the mapped ring

	// mu guards everything below. It is never held across a system call.
	mu        sync.Mutex
	destroyed bool
	ring      *ring // nil where it cannot be read in user space
	inKernel  int   // calls of io_getevents(2) now running; see reap
	inflight  []submission
	free      []uint32 // indices of inflight that are not in use

	calls   atomic.Int64 // system calls with id that are about to be made, or running; see enter
	leaving atomic.Bool  // Destroy has met some
}

// A submission is a request that the kernel may hold. Its index in
// Context.inflight travels through the kernel as aio_data, because a pointer that
// is stored there and read back is not a pointer to the collector.
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
	Data uint64 // IOCB.Data as it was when the request was submitted
	Res  int64  // bytes transferred, or a negative errno
	Res2 int64  // 0 in every kernel so far

	callback Callback // that of the submission, for Run
}

// live holds every Context that is not destroyed: what it keeps reachable, the
// kernel may write to.
var live struct {
	sync.Mutex
	contexts map[*Context]struct{}
	leaving  map[uintptr]*Context // destroyed ones that have calls still, by their id
}

// Setup makes a context for at least maxEvents requests in flight, io_setup(2).
// Between io_submit and the taking of its event a request holds a place.
//
// It returns EINVAL for maxEvents below 1 or far above the system's limit, EAGAIN
// if the sum over all contexts of the host would exceed
// /proc/sys/fs/aio-max-nr, ENOMEM, or ENOSYS and EPERM where the kernel or a
// seccomp filter has no AIO.
func Setup(maxEvents int) (*Context, error) {
	if maxEvents < 0 || maxEvents > math.MaxInt32 {
		return nil, syscall.EINVAL // io_setup takes an unsigned int
	}
	c := new(Context)
	_, _, errno := syscall.Syscall(unix.SYS_IO_SETUP, uintptr(maxEvents), uintptr(unsafe.Pointer(&c.id)), 0)
	if errno != 0 {
		return nil, errno
	}
	if isLeaving(c.id) {
		// The address is taken until the next one is made. This one has no requests, and nobody else knows it.
		defer func() { _, _, _ = syscall.Syscall(unix.SYS_IO_DESTROY, c.id, 0, 0) }()
		return Setup(maxEvents)
	}
	c.ring = ringOf(&c.id)

	live.Lock()
	defer live.Unlock()
	if live.contexts == nil {
		live.contexts = make(map[*Context]struct{})
	}
	live.contexts[c] = struct{}{}
	return c, nil
}

func isLeaving(id uintptr) bool {
	live.Lock()
	defer live.Unlock()
	return live.leaving[id] != nil
}

// enter counts a system call with c.id, unless c is destroyed. c.mu is held. Destroy does not wait for those that are about to
// be made: the kernel refuses them, as long as no new Context has the same address, which Setup sees to.
func (c *Context) enter() bool {
	if c.destroyed {
		return false
	}
	c.calls.Add(1)
	return true
}

// leave is enter's counterpart, after the call. c.mu need not be held.
func (c *Context) leave() {
	if c.calls.Add(-1) == 0 && c.leaving.Load() {
		c.gone()
	}
}

// gone lets others have the address of c.
func (c *Context) gone() {
	live.Lock()
	defer live.Unlock()
	if live.leaving[c.id] == c {
		delete(live.leaving, c.id)
	}
}

// Destroy ends the context, io_destroy(2). It waits for the reads and writes in
// flight, cancels polls, and drops their events; it takes tens of milliseconds
// even when there are none. A GetEvents that waits meanwhile returns EINVAL, as
// does every later use of the context.
func (c *Context) Destroy() error {
	c.mu.Lock()
	if c.destroyed {
		c.mu.Unlock()
		return syscall.EINVAL
	}
	c.destroyed = true
	c.ring = nil // the kernel unmaps it
	c.mu.Unlock()

	live.Lock()
	if live.leaving == nil {
		live.leaving = make(map[uintptr]*Context)
	}
	live.leaving[c.id] = c
	live.Unlock()
	c.leaving.Store(true)
	if c.calls.Load() == 0 {
		c.gone()
	}

	_, _, errno := syscall.Syscall(unix.SYS_IO_DESTROY, c.id, 0, 0)

	// Only now is the kernel done with the buffers. c.inflight stays, for a GetEvents
	// that has events in hand.
	live.Lock()
	delete(live.contexts, c)
	live.Unlock()
	return errnoErr(errno)
}

// Submit gives requests to the kernel, io_submit(2), and returns the number that it
// took, in order. If that is less than len(iocbs), the kernel refused the request
// at that index and has not looked at those after it; submit the rest again to
// learn why. Only when the first is refused is there an error:
//
//	EAGAIN      no free place in the context, or no kernel memory
//	EBADF       a bad descriptor, or one not open for this
//	EFAULT      a nil IOCB
//	EINVAL      a destroyed context, a bad offset, opcode, flag or eventfd; a directory
//	EOPNOTSUPP  an unknown RWF_ flag
//
// Errors of the transfer itself, a misaligned direct read among them, come in the
// event. Submit blocks while the kernel does, which for anything but direct I/O is
// as long as the transfer lasts.
func (c *Context) Submit(iocbs ...*IOCB) (int, error) {
	if !c.hold(iocbs) {
		return 0, syscall.EINVAL
	}
	n, _, errno := syscall.Syscall(unix.SYS_IO_SUBMIT, c.id, uintptr(len(iocbs)),
		uintptr(unsafe.Pointer(unsafe.SliceData(iocbs))))
	c.leave()
	taken := int(n)
	if errno != 0 {
		taken = 0
	}
	if taken < len(iocbs) {
		c.drop(iocbs[taken:])
	}
	runtime.KeepAlive(iocbs)
	return taken, errnoErr(errno)
}

// rounds numbers the calls of Submit, of all contexts: an IOCB may go from one to
// another.
var rounds atomic.Uint64

// hold makes iocbs and their memory reachable from c, before the kernel can see
// them, and gives each its index. It enters.
func (c *Context) hold(iocbs []*IOCB) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.enter() {
		return false
	}
	round := rounds.Add(1)
	for _, cb := range iocbs {
		switch {
		case cb == nil: // the kernel answers EFAULT when it gets there
		case cb.round == round:
			// Twice in one call: the kernel reads one aio_data for both.
			c.inflight[cb.raw.data].count++
		default:
			cb.round = round
			cb.raw.data = uint64(c.place())
			c.inflight[cb.raw.data] = submission{cb: cb, mem: cb.mem, data: cb.Data, callback: cb.callback, count: 1}
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

// drop lets go of requests that the kernel did not take.
func (c *Context) drop(iocbs []*IOCB) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, cb := range iocbs {
		if cb != nil {
			c.release(cb.raw.data)
		}
	}
}

// release lets go of one use of index i and returns what was there.
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

// take turns an event of the kernel into ours and lets go of its memory.
func (c *Context) take(e *ioEvent) Event {
	s := c.release(e.data)
	return Event{Obj: s.cb, Data: s.data, Res: e.res, Res2: e.res2, callback: s.callback}
}

// Cancel tries to cancel a request in flight, io_cancel(2). Kernels since 4.19
// cancel polls only, answer EINPROGRESS for them and deliver the event, with Res 0,
// through the ring; the returned Event then is empty. For reads and writes, for a
// request that is not in flight and for a second attempt the error is EINVAL. So to
// give up on a read is to leave its buffer to the kernel until the event arrives.
func (c *Context) Cancel(cb *IOCB) (Event, error) {
	c.mu.Lock()
	entered := c.enter()
	c.mu.Unlock()
	if !entered { // its address may be another context's by now
		return Event{}, syscall.EINVAL
	}
	var result ioEvent
	_, _, errno := syscall.Syscall(unix.SYS_IO_CANCEL, c.id, uintptr(unsafe.Pointer(cb)), uintptr(unsafe.Pointer(&result)))
	c.leave()
	if errno != 0 {
		return Event{}, errno
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.take(&result), nil
}

// Poll prepares cb as PrepPoll does, sets its callback and submits it, io_poll(3).
// Errors are those of Submit.
func (c *Context) Poll(cb *IOCB, fn Callback, fd int, events int16) error {
	cb.PrepPoll(fd, events)
	return c.start(cb, fn)
}

// Fsync prepares cb as PrepFsync does, sets its callback and submits it,
// io_fsync(3). Errors are those of Submit.
func (c *Context) Fsync(cb *IOCB, fn Callback, fd int) error {
	cb.PrepFsync(fd)
	return c.start(cb, fn)
}

// Fdsync prepares cb as PrepFdsync does, sets its callback and submits it,
// io_fdsync(3). Errors are those of Submit.
func (c *Context) Fdsync(cb *IOCB, fn Callback, fd int) error {
	cb.PrepFdsync(fd)
	return c.start(cb, fn)
}

func (c *Context) start(cb *IOCB, fn Callback) error {
	cb.SetCallback(fn)
	_, err := c.Submit(cb)
	return err
}

// errnoErr returns nil, not a syscall.Errno of 0, for no error.
func errnoErr(errno syscall.Errno) error {
	if errno != 0 {
		return errno
	}
	return nil
}
