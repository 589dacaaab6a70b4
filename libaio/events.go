//go:build linux

package libaio

import (
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ringOf returns the ring mapped at the address *id, or nil if this package cannot read it.
// The kernel announces another layout by the magic number and the incompatible features.
func ringOf(id *uintptr) *ring {
	// The address is the kernel's mapping, not Go memory. vet and checkptr accept the read of
	// a pointer, but not the conversion of the integer.
	r := *(**ring)(unsafe.Pointer(id))
	if r.magic != ringMagic || r.incompat != 0 ||
		uintptr(r.headerLength) != unsafe.Sizeof(ring{}) || r.nr == 0 {
		return nil
	}
	return r
}

// event returns the i-th event of the ring.
func (r *ring) event(i uint32) *ioEvent {
	offset := unsafe.Sizeof(ring{}) + uintptr(i)*unsafe.Sizeof(ioEvent{})
	return (*ioEvent)(unsafe.Add(unsafe.Pointer(r), offset))
}

// reap takes events from the mapped ring, without a system call. The caller holds c.mu.
//
// The kernel moves head under a lock that user space does not have. So reap must not run
// during an io_getevents: the caller has checked that c.inKernel is 0.
func (c *Context) reap(events []Event) int {
	r := c.ring
	// The kernel stores tail after the event that it makes visible. The store of head returns
	// the slot to the kernel. Go's atomics order both.
	head, tail := atomic.LoadUint32(&r.head), atomic.LoadUint32(&r.tail)
	n := 0
	for n < len(events) && head != tail {
		events[n] = c.take(r.event(head))
		n++
		if head++; head == r.nr {
			head = 0
		}
	}
	if n > 0 {
		atomic.StoreUint32(&r.head, head)
	}
	return n
}

// GetEvents takes events, io_getevents(2). It waits until it has minEvents of them or the
// timeout has passed, and returns their number, at most len(events). A negative timeout never
// passes; with 0, GetEvents does not wait. GetEvents does not report EINTR: it continues to
// wait.
//
// It returns EINVAL if minEvents is negative or above len(events). It also returns EINVAL if
// the context is destroyed, unless GetEvents has taken events by then.
func (c *Context) GetEvents(minEvents int, events []Event, timeout time.Duration) (int, error) {
	if minEvents < 0 || minEvents > len(events) {
		return 0, syscall.EINVAL
	}
	n, wait, err := c.tryReap(minEvents, events, timeout)
	if !wait {
		return n, err
	}
	deadline := deadlineOf(timeout)
	for {
		m, errno := c.wait(minEvents-n, events[n:], timeout, nil)
		n += m
		switch {
		case errno == 0 && (n >= minEvents || timeout >= 0 && !time.Now().Before(deadline)):
			return n, nil
		case errno == 0 || errno == syscall.EINTR:
			// A signal ends the wait with the events so far, even under SA_RESTART. Go's own
			// SIGURG and SIGPROF do it all the time.
		case n > 0:
			return n, nil
		default:
			return 0, errno
		}
		if timeout >= 0 {
			timeout = max(0, time.Until(deadline))
		}
	}
}

// PGetEvents is GetEvents with the thread's signal mask set to sigmask during the wait,
// io_pgetevents(2) (Linux 4.18). Unlike GetEvents it returns EINTR if a signal ends the wait
// before it has taken an event.
func (c *Context) PGetEvents(
	minEvents int, events []Event, timeout time.Duration, sigmask *unix.Sigset_t,
) (int, error) {
	if minEvents < 0 || minEvents > len(events) {
		return 0, syscall.EINVAL
	}
	n, wait, err := c.tryReap(minEvents, events, timeout)
	if !wait {
		return n, err
	}
	set := aioSigset{sigmask: sigmask, size: sigsetSize}
	m, errno := c.wait(minEvents-n, events[n:], timeout, &set)
	if n += m; n > 0 {
		return n, nil
	}
	return 0, errnoErr(errno)
}

// aioSigset is struct __aio_sigset of fs/aio.c.
type aioSigset struct {
	sigmask *unix.Sigset_t
	size    uintptr
}

// tryReap takes the events in the mapped ring. It sets wait if they are too few and the
// caller must ask the kernel.
func (c *Context) tryReap(
	minEvents int, events []Event, timeout time.Duration,
) (n int, wait bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.destroyed {
		return 0, false, syscall.EINVAL
	}
	if c.ring != nil && c.inKernel == 0 {
		n = c.reap(events)
		if n >= minEvents || timeout == 0 {
			return n, false, nil
		}
	}
	return n, true, nil
}

// wait calls io_getevents(2), or io_pgetevents(2) if set is not nil.
func (c *Context) wait(
	minEvents int, events []Event, timeout time.Duration, set *aioSigset,
) (int, syscall.Errno) {
	buf := kernelEvents.Get().(*[]ioEvent)
	defer kernelEvents.Put(buf)
	if cap(*buf) < len(events) {
		*buf = make([]ioEvent, len(events))
	}
	raw := (*buf)[:len(events)]
	p := unsafe.Pointer(unsafe.SliceData(raw))
	n, errno := c.getevents(minEvents, len(raw), p, timespecOf(timeout), set)
	if errno != 0 {
		return 0, errno
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range n {
		events[i] = c.take(&raw[i])
	}
	return n, 0
}

// getevents makes the system call. No goroutine may take from the ring in user space
// meanwhile. Any number of these calls may run at once.
func (c *Context) getevents(
	minEvents, nr int, events unsafe.Pointer, ts *unix.Timespec, set *aioSigset,
) (int, syscall.Errno) {
	c.mu.Lock()
	if !c.enter() {
		c.mu.Unlock()
		return 0, syscall.EINVAL
	}
	c.inKernel++
	c.mu.Unlock()

	var n uintptr
	var errno syscall.Errno
	if set != nil {
		n, _, errno = syscall.Syscall6(unix.SYS_IO_PGETEVENTS, c.id, uintptr(minEvents), uintptr(nr),
			uintptr(events), uintptr(unsafe.Pointer(ts)), uintptr(unsafe.Pointer(set)))
	} else {
		n, _, errno = syscall.Syscall6(unix.SYS_IO_GETEVENTS, c.id, uintptr(minEvents), uintptr(nr),
			uintptr(events), uintptr(unsafe.Pointer(ts)), 0)
	}

	c.leave()
	c.mu.Lock()
	c.inKernel--
	c.mu.Unlock()
	return int(n), errno
}

// kernelEvents holds the arrays that io_getevents(2) writes to.
var kernelEvents = sync.Pool{New: func() any { return new([]ioEvent) }}

// Run takes the events that have arrived and calls the callback of each that has one,
// io_queue_run(3). It does not wait. It returns the number of events. A callback may submit
// requests; if they complete at once, Run takes their events too.
func (c *Context) Run() (int, error) {
	for n := 0; ; n++ {
		var e [1]Event
		m, err := c.GetEvents(0, e[:], 0)
		if err != nil || m == 0 {
			return n, err
		}
		if fn := e[0].callback; fn != nil {
			fn(c, e[0].Obj, e[0].Res, e[0].Res2)
		}
	}
}

// QueueWait waits until an event has arrived or the timeout has passed, io_queue_wait(3). It
// returns 1 or 0, and takes no event: [Context.Run] does. A negative timeout never passes.
func (c *Context) QueueWait(timeout time.Duration) (int, error) {
	deadline := deadlineOf(timeout)
	for {
		// Ask for one event without memory to store it: the kernel waits for the event, fails
		// to copy it and leaves it in the ring.
		n, errno := c.getevents(1, 1, nil, timespecOf(timeout), nil)
		switch errno {
		case syscall.EFAULT:
			return 1, nil
		case 0:
			if n > 0 || timeout >= 0 && !time.Now().Before(deadline) {
				return n, nil
			}
		case syscall.EINTR: // as in GetEvents
		default:
			return 0, errno
		}
		if timeout >= 0 {
			timeout = max(0, time.Until(deadline))
		}
	}
}

// maxWait bounds a timeout, so that its seconds fit a 32-bit time_t, 68 years.
const maxWait = (1<<31 - 1) * time.Second

// timespecOf returns the timespec of timeout, or nil for a negative one. The kernel treats a
// negative timespec as infinite, too, but does not promise to.
func timespecOf(timeout time.Duration) *unix.Timespec {
	if timeout < 0 {
		return nil
	}
	ts := unix.NsecToTimespec(int64(min(timeout, maxWait)))
	return &ts
}

func deadlineOf(timeout time.Duration) time.Time {
	if timeout < 0 {
		return time.Time{}
	}
	return time.Now().Add(timeout)
}
