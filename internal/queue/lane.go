//go:build linux

package queue

import (
	"sync/atomic"
	"syscall"
	"time"

	"github.com/go-aio/aio/libaio"
)

// A lane is a context for one request at a time, on which the caller waits in
// io_getevents(2) himself: that costs no wake-up through the poller. Nobody else takes
// events from it.
type lane struct {
	open   func() (kernel, error) // newLaneContext, but for tests
	busy   atomic.Bool
	closed bool // guarded by busy, as is the rest
	kernel kernel
	iocb   libaio.IOCB
	iocbs  [1]*libaio.IOCB
	events [1]libaio.Event
}

// do runs one request. It returns false if the lane is taken or the kernel does not
// accept the request here; then nothing has happened.
func (l *lane) do(op Op, fd int, p []byte, off int64) (res int64, ok bool) {
	if !l.busy.CompareAndSwap(false, true) {
		return 0, false
	}
	defer l.busy.Store(false)
	if !l.ready() {
		return 0, false
	}
	prepare(&l.iocb, op, fd, p, off)
	defer l.iocb.Release()
	for {
		n, err := l.kernel.submit(l.iocbs[:])
		switch {
		case n == 1:
			return l.wait(), true
		case err == syscall.EINTR: // as in Queue.push
		default:
			return 0, false // the shared context's submitter knows what to do
		}
	}
}

// ready makes the context on first use. A refusal is for good: the lane is only a
// shorter way.
func (l *lane) ready() bool {
	if l.closed || l.kernel != nil {
		return !l.closed
	}
	k, err := l.open()
	if err != nil {
		l.closed = true
		return false
	}
	l.kernel = k
	l.iocbs[0] = &l.iocb
	return true
}

// wait returns the result of the request. It does not give up: until the event is
// there, the buffer is the kernel's.
func (l *lane) wait() int64 {
	for pause := time.Microsecond; ; pause = min(2*pause, time.Millisecond) {
		n, err := l.kernel.wait(l.events[:])
		if n == 1 {
			return l.events[0].Res
		}
		if err == nil || err == syscall.EINTR {
			continue
		}
		// A seccomp filter forbids io_getevents(2) all of a sudden. The mapped ring can
		// still be read.
		l.closed = true
		if n, _ := l.kernel.reap(l.events[:]); n == 1 {
			return l.events[0].Res
		}
		time.Sleep(pause)
	}
}
