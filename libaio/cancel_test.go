//go:build linux

package libaio

import (
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/go-aio/aio/internal/aiotest"
)

// A canceled read or write leaves its buffer to the kernel until the event arrives.
func TestCancelOfReadsAndWritesInFlightIsEINVAL(t *testing.T) {
	aiotest.NeedsTime(t)
	const size, n = 1 << 20, 16
	c := newContext(t, 2*n)
	fd := openShared(t)
	own := open(t, newFile(t, size), unix.O_WRONLY|unix.O_DIRECT)
	var bufs [n][]byte
	var iocbs []*IOCB
	for i := range bufs {
		bufs[i] = aligned(size)
		cb := new(IOCB)
		cb.PrepPread(fd, bufs[i], int64(i)*size)
		iocbs = append(iocbs, cb)
	}
	written := aligned(size)
	for range n {
		cb := new(IOCB)
		cb.PrepPwrite(own, written, 0)
		iocbs = append(iocbs, cb)
	}
	submit(t, c, iocbs...)
	for _, cb := range iocbs {
		if e, err := c.Cancel(cb); e.Obj != nil || err != syscall.EINVAL {
			t.Errorf("Cancel = %v, %v, want EINVAL", e, err)
		}
	}
	if h := held(t, c); h != 2*n {
		t.Errorf("%d submissions are held after Cancel, want %d", h, 2*n)
	}
	for _, e := range take(t, c, 2*n) {
		if e.Res != size {
			t.Errorf("Res = %d, want %d", e.Res, size)
		}
	}
	for i, p := range bufs {
		check(t, p, int64(i)*size)
	}
}

func TestCancelOfAPendingPoll(t *testing.T) {
	bothWays(t, func(t *testing.T, setup func(int) *Context) {
		c := setup(4)
		p := newPending(t)
		p.Data = 5
		submit(t, c, p.IOCB)
		if e, err := c.Cancel(p.IOCB); e.Obj != nil || err != syscall.EINPROGRESS {
			t.Fatalf("Cancel = %v, %v, want EINPROGRESS", e, err)
		}
		if _, err := c.Cancel(p.IOCB); err != syscall.EINVAL {
			t.Errorf("the second Cancel: %v, want EINVAL", err)
		}
		if e := take(t, c, 1)[0]; e.Obj != p.IOCB || e.Data != 5 || e.Res != 0 {
			t.Errorf("the event is %+v, want Res 0", e)
		}
		if _, err := c.Cancel(p.IOCB); err != syscall.EINVAL {
			t.Errorf("Cancel after the event: %v, want EINVAL", err)
		}
		noEvent(t, c)
	})
}

func TestCancelOfNoRequest(t *testing.T) {
	c := newContext(t, 4)
	if _, err := c.Cancel(nil); err != syscall.EFAULT {
		t.Errorf("Cancel of nil: %v, want EFAULT", err)
	}
	cb := newInstant(t)
	if _, err := c.Cancel(cb); err != syscall.EINVAL {
		t.Errorf("Cancel before Submit: %v, want EINVAL", err)
	}
	submit(t, c, cb)
	if _, err := c.Cancel(cb); err != syscall.EINVAL {
		t.Errorf("Cancel of a completed poll: %v, want EINVAL", err)
	}
	take(t, c, 1)

	var result ioEvent // io_cancel looks up the context, too
	_, _, errno := syscall.Syscall(unix.SYS_IO_CANCEL, c.id+8, uintptr(unsafe.Pointer(cb)),
		uintptr(unsafe.Pointer(&result)))
	if errno != syscall.EINVAL {
		t.Errorf("io_cancel with an id of no context: %v, want EINVAL", errno)
	}
}

// Cancel ends one of several submissions of the same IOCB, and only one.
func TestCancelOfOneOfTwo(t *testing.T) {
	c := newContext(t, 4)
	p, other := newPending(t), newPending(t)
	submit(t, c, p.IOCB, other.IOCB, p.IOCB)
	for range 2 {
		if _, err := c.Cancel(p.IOCB); err != syscall.EINPROGRESS {
			t.Fatalf("Cancel: %v, want EINPROGRESS", err)
		}
		if e := take(t, c, 1)[0]; e.Obj != p.IOCB || e.Res != 0 {
			t.Errorf("the event is %+v", e)
		}
	}
	noEvent(t, c)
	other.fire()
	if e := take(t, c, 1)[0]; e.Obj != other.IOCB || e.Res&unix.POLLIN == 0 {
		t.Errorf("the event is %+v", e)
	}
}
