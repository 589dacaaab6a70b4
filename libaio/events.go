//go:build linux

package libaio

import (
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ringOf returns the ring mapped at the address *id, or nil if this package cannot read it. The
// kernel announces another layout by the magic number and the incompatible features.
func ringOf(id *uintptr) *ring {
	// The address is the kernel's mapping, not Go memory. vet and checkptr accept the read of a
	// pointer, but not the conversion of the integer.
	r := *(**ring)(unsafe.Pointer(id))
	if r.magic != ringMagic || r.incompat != 0 ||
		uintptr(r.headerLength) != unsafe.Sizeof(ring{}) || r.nr == 0 {
		return nil
	}
	return r
}

func (r *ring) event(i uint32) *ioEvent {
	offset := unsafe.Sizeof(ring{}) + uintptr(i)*unsafe.Sizeof(ioEvent{})
	return (*ioEvent)(unsafe.Add(unsafe.Pointer(r), offset))
}

// reap takes events from the mapped ring, without a system call. The caller holds c.mu.
//
// The kernel moves head under a lock that user space does not have. So reap must not run during an
// io_getevents: the caller has checked that c.inKernel is 0.
func (c *Context) reap(events []Event) int {
	r := c.ring
	// The kernel stores tail after the event that it makes visible. The store of head returns the
	// slot to the kernel. Go's atomics order both.
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

// GetEvents takes events, io_getevents(2). It waits until it has minEvents of them or the timeout
// has passed, and returns their number, at most len(events). A negative timeout never passes; with
// 0, GetEvents does not wait. A signal does not end the wait (EINTR).
//
// It returns EINVAL if minEvents is negative or above len(events), and if the context is destroyed,
// unless it has taken events by then.
func (c *Context) GetEvents(minEvents int, events []Event, timeout time.Duration) (int, error) {
	n, wait, err := c.tryReap(minEvents, events, timeout)
	if !wait {
		return n, err
	}
	return await(n, minEvents, timeout, func(n int, timeout time.Duration) (int, syscall.Errno) {
		return c.wait(minEvents-n, events[n:], timeout, nil)
	})
}

// await calls wait until it has returned minEvents, beside the first n, or the timeout has passed.
func await(
	n, minEvents int, timeout time.Duration,
	wait func(n int, timeout time.Duration) (int, syscall.Errno),
) (int, error) {
	deadline := time.Now().Add(timeout)
	for {
		m, errno := wait(n, timeout)
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
// io_pgetevents(2) (Linux 4.18). Unlike GetEvents it returns EINTR if a signal ends the wait before
// it has taken an event.
func (c *Context) PGetEvents(
	minEvents int, events []Event, timeout time.Duration, sigmask *unix.Sigset_t,
) (int, error) {
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

// tryReap takes the events in the mapped ring. It sets wait if they are too few and the caller must
// ask the kernel.
func (c *Context) tryReap(
	minEvents int, events []Event, timeout time.Duration,
) (n int, wait bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.destroyed || minEvents < 0 || minEvents > len(events) {
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
	raw := slices.Grow((*buf)[:0], len(events))[:len(events)]
	*buf = raw
	n, errno := c.getevents(minEvents, len(raw), unsafe.SliceData(raw), timeout, set)
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range n {
		events[i] = c.take(&raw[i])
	}
	return n, errno
}

// getevents makes the system call. No goroutine may take from the ring in user space meanwhile. Any
// number of these calls may run at once.
func (c *Context) getevents(
	minEvents, nr int, events *ioEvent, timeout time.Duration, set *aioSigset,
) (int, syscall.Errno) {
	c.mu.Lock()
	if !c.enter() {
		c.mu.Unlock()
		return 0, syscall.EINVAL
	}
	c.inKernel++
	c.mu.Unlock()

	trap := uintptr(unix.SYS_IO_GETEVENTS)
	if set != nil {
		trap = unix.SYS_IO_PGETEVENTS
	}
	n, _, errno := syscall.Syscall6(trap, c.id, uintptr(minEvents), uintptr(nr),
		uintptr(unsafe.Pointer(events)), uintptr(unsafe.Pointer(timespecOf(timeout))),
		uintptr(unsafe.Pointer(set)))

	c.leave()
	c.mu.Lock()
	c.inKernel--
	c.mu.Unlock()
	return max(int(n), 0), errno // n is -1 with an error
}

// kernelEvents holds the arrays that io_getevents(2) writes to.
var kernelEvents = sync.Pool{New: func() any { return new([]ioEvent) }}

// Run takes the events that have arrived and calls the callback of each that has one,
// io_queue_run(3). It does not wait. It returns the number of events. A callback may submit
// requests; Run takes their events too, if they complete at once.
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
	return await(0, 1, timeout, func(_ int, timeout time.Duration) (int, syscall.Errno) {
		// Ask for one event without memory to store it: the kernel waits for the event, fails to
		// copy it and leaves it in the ring.
		n, errno := c.getevents(1, 1, nil, timeout, nil)
		if errno == syscall.EFAULT {
			return 1, 0
		}
		return n, errno
	})
}

// maxWait bounds a timeout, so that its seconds fit a 32-bit time_t, 68 years.
const maxWait = (1<<31 - 1) * time.Second

// timespecOf returns the timespec of timeout, or nil for a negative one: the kernel does not
// promise that a negative timespec is infinite.
func timespecOf(timeout time.Duration) *unix.Timespec {
	if timeout < 0 {
		return nil
	}
	ts := unix.NsecToTimespec(int64(min(timeout, maxWait)))
	return &ts
}
