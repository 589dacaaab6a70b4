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

// ringOf returns the ring mapped at the address *id, or nil if it is not one that
// we can read: magic and incompatible features are the kernel's way to say so.
func ringOf(id *uintptr) *ring {
	// The address is the kernel's mapping, not Go memory; reading it as a pointer,
	// rather than converting it, is what vet and checkptr can follow.
	r := *(**ring)(unsafe.Pointer(id))
	if r.magic != ringMagic || r.incompat != 0 || uintptr(r.headerLength) != unsafe.Sizeof(ring{}) || r.nr == 0 {
		return nil
	}
	return r
}

// event returns the i-th event of the ring.
func (r *ring) event(i uint32) *ioEvent {
	return (*ioEvent)(unsafe.Add(unsafe.Pointer(r), unsafe.Sizeof(ring{})+uintptr(i)*unsafe.Sizeof(ioEvent{})))
}

// reap takes events from the mapped ring, without a system call. c.mu is held.
//
// The kernel moves head under a lock that user space does not have, so this must not
// run while io_getevents does: the caller sees to it that c.inKernel is 0.
func (c *Context) reap(events []Event) int {
	r := c.ring
	// The tail is stored by the kernel after the event it makes visible, and head
	// gives the place back to it: Go's atomics order both.
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

// GetEvents takes events, io_getevents(2): it waits until there are min, or the
// timeout is over, and returns their number, at most len(events). A negative timeout
// means none; 0 does not wait. EINTR is not reported: the wait goes on.
//
// It returns EINVAL if min is negative or above len(events), or the context is
// destroyed, unless some events have been taken by then.
func (c *Context) GetEvents(min int, events []Event, timeout time.Duration) (int, error) {
	if min < 0 || min > len(events) {
		return 0, syscall.EINVAL
	}
	n, wait, err := c.tryReap(min, events, timeout)
	if !wait {
		return n, err
	}
	deadline := deadlineOf(timeout)
	for {
		m, errno := c.wait(min-n, events[n:], timeout, nil)
		n += m
		switch {
		case errno == 0 && (n >= min || timeout >= 0 && !time.Now().Before(deadline)):
			return n, nil
		case errno == 0 || errno == syscall.EINTR:
			// A signal ends the wait with what was there so far, even under
			// SA_RESTART; Go's own SIGURG and SIGPROF do it all the time.
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

// PGetEvents is GetEvents with the thread's signal mask set to sigmask for the time
// of the wait, io_pgetevents(2) (Linux 4.18). Unlike GetEvents it returns EINTR when a
// signal ends the wait and no event has been taken.
func (c *Context) PGetEvents(min int, events []Event, timeout time.Duration, sigmask *unix.Sigset_t) (int, error) {
	if min < 0 || min > len(events) {
		return 0, syscall.EINVAL
	}
	n, wait, err := c.tryReap(min, events, timeout)
	if !wait {
		return n, err
	}
	set := aioSigset{sigmask: sigmask, size: sigsetSize}
	m, errno := c.wait(min-n, events[n:], timeout, &set)
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

// tryReap takes what the mapped ring holds. It reports in wait that this is not
// enough and the kernel has to be asked.
func (c *Context) tryReap(min int, events []Event, timeout time.Duration) (n int, wait bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.destroyed {
		return 0, false, syscall.EINVAL
	}
	if c.ring != nil && c.inKernel == 0 {
		n = c.reap(events)
		if n >= min || timeout == 0 {
			return n, false, nil
		}
	}
	return n, true, nil
}

// wait is one call of io_getevents(2), or of io_pgetevents(2) if set is not nil.
func (c *Context) wait(min int, events []Event, timeout time.Duration, set *aioSigset) (int, syscall.Errno) {
	buf := kernelEvents.Get().(*[]ioEvent)
	defer kernelEvents.Put(buf)
	if cap(*buf) < len(events) {
		*buf = make([]ioEvent, len(events))
	}
	raw := (*buf)[:len(events)]
	n, errno := c.getevents(min, len(raw), unsafe.Pointer(unsafe.SliceData(raw)), timespecOf(timeout), set)
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

// getevents is the system call. Nothing may take from the ring in user space while it
// runs; any number of these may run at once.
func (c *Context) getevents(min, nr int, events unsafe.Pointer, ts *unix.Timespec, set *aioSigset) (int, syscall.Errno) {
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
		n, _, errno = syscall.Syscall6(unix.SYS_IO_PGETEVENTS, c.id, uintptr(min), uintptr(nr),
			uintptr(events), uintptr(unsafe.Pointer(ts)), uintptr(unsafe.Pointer(set)))
	} else {
		n, _, errno = syscall.Syscall6(unix.SYS_IO_GETEVENTS, c.id, uintptr(min), uintptr(nr),
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

// Run takes the events that are there and calls the callback of each, if it has one,
// io_queue_run(3). It does not wait. It returns the number of events; a callback may
// submit requests, and if they complete at once Run takes their events too.
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

// QueueWait waits until there is an event to take or the timeout is over,
// io_queue_wait(3), and returns the number of events that it saw, 0 or 1. It takes
// none; [Context.Run] does. A negative timeout means none.
func (c *Context) QueueWait(timeout time.Duration) (int, error) {
	deadline := deadlineOf(timeout)
	for {
		// One event wanted, and no memory to store it at: the kernel waits for the
		// event, fails to copy it and leaves it in the ring.
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

// maxWait bounds a timeout so that its seconds fit a 32-bit time_t, 68 years.
const maxWait = (1<<31 - 1) * time.Second

// timespecOf returns nil, no timeout, for a negative timeout: the kernel takes a
// negative timespec for one that never ends, but nothing promises so.
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
