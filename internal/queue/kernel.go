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

// A kernel is what the queue needs of an AIO context. Tests put one of their own in
// its place, to fail, delay and reorder.
type kernel interface {
	// Submit is io_submit(2): the number taken, an errno only if the first was refused.
	Submit(iocbs ...*libaio.IOCB) (int, error)
	// reap takes the events that are there. It does not wait.
	reap(events []libaio.Event) (int, error)
	// collect waits for at least so many events or until the timeout is over, negative for none,
	// and takes what is there.
	collect(least int, events []libaio.Event, timeout time.Duration) (int, error)
	// watch calls fn again and again, each time after events may have come, until the
	// kernel is closed.
	watch(fn func())
	// waiting reports whether there is an event to be taken. It takes none.
	waiting() bool
	// state describes it for a report of the watchdog.
	state() string
	// ring has watch call fn.
	ring()
	// arm makes the completion of cb one that watch notices.
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

// newContext makes the shared context, whose completions ring an eventfd.
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

// leastDepth is where halving the depth ends; with less, plain calls do better.
const leastDepth = 32

var ioSetup = libaio.Setup // but for tests

// setup makes a context, of fewer events than asked for where the host's limit, or
// its memory, has no room for more.
func setup(depth int) (*libaio.Context, error) {
	for {
		c, err := ioSetup(depth)
		if err == nil {
			return c, probe(c)
		}
		if err != syscall.EAGAIN && err != syscall.ENOMEM || depth/2 < leastDepth {
			return nil, err
		}
		depth /= 2
	}
}

// probe checks that c may be used after it could be made: a seccomp filter may allow
// one call and refuse another.
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

func (c *context) collect(least int, events []libaio.Event, timeout time.Duration) (int, error) {
	return c.GetEvents(least, events, timeout)
}

// waiting asks the kernel, not the mapped ring.
func (c *context) waiting() bool {
	n, err := c.QueueWait(0)
	return err == nil && n > 0
}

// state tells whether the eventfd is one still, and its count (proc_pid_fdinfo(5)).
func (c *context) state() string {
	fd := strconv.Itoa(c.eventfd)
	link, err := os.Readlink("/proc/self/fd/" + fd)
	info, err2 := os.ReadFile("/proc/self/fdinfo/" + fd)
	return fmt.Sprintf("; descriptor %s: %s, %q, %v", fd, link, info, errors.Join(err, err2))
}

// watch sleeps in the poller. The eventfd is registered edge-triggered and is never
// read: every completion is an edge, and the runtime remembers one that comes while fn
// runs (internal/poll.FD.RawRead).
func (c *context) watch(fn func()) {
	c.poll.Read(func(uintptr) bool {
		fn()
		return false
	})
}

// one is what an eventfd takes as a count of 1, eventfd(2), in either order of bytes.
var one = binary.NativeEndian.AppendUint64(nil, 1)

func (c *context) ring() {
	_, _ = c.file.Write(one) // no error but that it is closed: then nobody watches
}

func (c *context) arm(cb *libaio.IOCB) { cb.SetEventfd(c.eventfd) }

func (c *context) close() {
	c.file.Close()
	c.Destroy()
}
