//go:build linux

package queue

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/go-aio/aio/libaio"
)

// A kernel is the part of an AIO context that the queue needs. Tests use one of their own, to
// fail, delay and reorder.
type kernel interface {
	// Submit calls io_submit(2). It returns the number taken, and an errno only if the first
	// was refused.
	Submit(iocbs ...*libaio.IOCB) (int, error)
	// reap takes the events that have arrived, without waiting.
	reap(events []libaio.Event) (int, error)
	// collect waits for at minEvents minEvents events or until the timeout has passed, and takes
	// the events that have arrived. A negative timeout never passes.
	collect(minEvents int, events []libaio.Event, timeout time.Duration) (int, error)
	// watch calls fn each time after events may have come, until the kernel is closed.
	watch(fn func())
	// waiting reports whether an event has arrived. It takes none.
	waiting() bool
	// state describes the kernel for a report of the watchdog.
	state() string
	// ring makes watch call fn.
	ring()
	// arm makes the completion of cb a signalled one, which watch notices.
	arm(cb *libaio.IOCB)
	close()
}

// A context is the real kernel.
type context struct {
	*libaio.Context
	eventfd int
	file    *os.File        // of eventfd, registered with the runtime's poller
	poll    syscall.RawConn // of file
}

// newContext creates the shared context. Its signalled completions write to an eventfd.
func newContext(depth int) (kernel, error) {
	fd, err := libaio.Eventfd()
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), "eventfd")
	poll, err := file.SyscallConn()
	if err == nil {
		// Only a file in the poller has deadlines.
		err = file.SetDeadline(time.Time{})
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	c, err := setup(depth)
	if err != nil {
		file.Close()
		return nil, err
	}
	return &context{Context: c, eventfd: fd, file: file, poll: poll}, nil
}

// minDepth is the smallest depth that setup tries. Below it, synchronous calls are faster.
const minDepth = 32

var ioSetup = libaio.Setup // replaced by tests

// setup creates a context. It halves the number of events while the host's limit or memory
// has no room for it.
func setup(depth int) (*libaio.Context, error) {
	for {
		c, err := ioSetup(depth)
		if err == nil {
			return c, probe(c)
		}
		if err != syscall.EAGAIN && err != syscall.ENOMEM || depth/2 < minDepth {
			return nil, err
		}
		depth /= 2
	}
}

// probe checks that c may be used: a seccomp filter may allow one call and refuse another.
func probe(c *libaio.Context) error {
	_, err := c.Submit()
	if err == nil {
		_, err = c.GetEvents(0, nil, 0)
	}
	if err != nil {
		c.Destroy()
	}
	return err
}

func (c *context) reap(events []libaio.Event) (int, error) { return c.GetEvents(0, events, 0) }

func (c *context) collect(
	minEvents int, events []libaio.Event, timeout time.Duration,
) (int, error) {
	return c.GetEvents(minEvents, events, timeout)
}

// waiting asks the kernel, not the mapped ring.
func (c *context) waiting() bool {
	n, err := c.QueueWait(0)
	return err == nil && n > 0
}

// state reports whether the descriptor is still an eventfd, and its count
// (proc_pid_fdinfo(5)).
func (c *context) state() string {
	fd := strconv.Itoa(c.eventfd)
	link, err := os.Readlink("/proc/self/fd/" + fd)
	info, err2 := os.ReadFile("/proc/self/fdinfo/" + fd)
	return fmt.Sprintf("; descriptor %s: %s, %q, %v", fd, link, info, errors.Join(err, err2))
}

// watch sleeps in the poller. The eventfd is registered edge-triggered and is never read.
// Every completion is an edge, and the runtime remembers an edge that comes while fn runs
// (internal/poll.FD.RawRead).
func (c *context) watch(fn func()) {
	c.poll.Read(func(uintptr) bool {
		fn()
		return false
	})
}

// one is a count of 1 as an eventfd takes it, eventfd(2), in native byte order.
var one = binary.NativeEndian.AppendUint64(nil, 1)

func (c *context) ring() {
	_, _ = c.file.Write(one) // an error means closed, and then no watch runs
}

func (c *context) arm(cb *libaio.IOCB) { cb.SetEventfd(c.eventfd) }

func (c *context) close() {
	c.file.Close()
	c.Destroy()
}
