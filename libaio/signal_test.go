//go:build linux

package libaio

import (
	"fmt"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/go-aio/aio/internal/aiotest"

	"golang.org/x/sys/unix"
)

// A signal ends io_getevents with the events so far, or with EINTR, although the runtime's
// handlers have SA_RESTART.
func TestSignalEndsIOGetEvents(t *testing.T) {
	for _, there := range []int{0, 1} {
		t.Run(fmt.Sprintf("%d there", there), func(t *testing.T) {
			c := newContext(t, 4)
			cb := newInstant(t)
			for range there {
				submit(t, c, cb)
			}
			var n int
			var errno syscall.Errno
			th := onThread(func() {
				var raw [3]ioEvent
				n, errno = rawGetEvents(c.id, 2, 3, unsafe.Pointer(&raw), nil)
			})
			th.awaitBlocked(unix.SYS_IO_GETEVENTS)
			th.interrupt(t)
			<-th.done
			if there == 0 && errno != syscall.EINTR || there != 0 && (errno != 0 || n != there) {
				t.Errorf("io_getevents = %d, %v", n, errno)
			}
			if err := c.Destroy(); err != nil { // c does not know that these events are gone
				t.Error(err)
			}
		})
	}
}

// Every wait therefore loops until it has all the events it asked for.
func TestGetEventsGoesOnAfterASignal(t *testing.T) {
	aiotest.NeedsTime(t)
	bothWays(t, func(t *testing.T, setup func(int) *Context) {
		for _, there := range []int{0, 1} {
			t.Run(fmt.Sprintf("%d there", there), func(t *testing.T) {
				for _, timeout := range []time.Duration{-1, time.Hour} {
					c := setup(4)
					cb := newInstant(t)
					for range there {
						submit(t, c, cb)
					}
					p := newPending(t)
					submit(t, c, p.IOCB)
					var n int
					var err error
					th := onThread(func() {
						var events [4]Event
						n, err = c.GetEvents(there+1, events[:], timeout)
					})
					for range 50 {
						th.awaitBlocked(unix.SYS_IO_GETEVENTS)
						th.interrupt(t)
					}
					p.fire()
					<-th.done
					if n != there+1 || err != nil {
						t.Errorf("GetEvents = %d, %v, want %d", n, err, there+1)
					}
				}
			})
		}
	})
}

// A signal does not restart the timeout.
func TestTimeoutEndsUnderSignals(t *testing.T) {
	aiotest.NeedsTime(t)
	const timeout = 50 * time.Millisecond
	bothWays(t, func(t *testing.T, setup func(int) *Context) {
		c := setup(4)
		storm(t)
		for name, wait := range map[string]func() (int, error){
			"GetEvents": func() (int, error) { return c.GetEvents(1, make([]Event, 1), timeout) },
			"QueueWait": func() (int, error) { return c.QueueWait(timeout) },
		} {
			done := make(chan struct{})
			start := time.Now()
			go func() {
				defer close(done)
				if n, err := wait(); n != 0 || err != nil {
					t.Errorf("%s = %d, %v", name, n, err)
				}
			}()
			<-done
			if d := time.Since(start); d < timeout {
				t.Errorf("%s: a timeout of %v ended after %v", name, timeout, d)
			}
		}
	})
}

// fillSet turns an empty set into one of all signals.
func fillSet(set *unix.Sigset_t) {
	for i := range set.Val {
		set.Val[i] = ^set.Val[i]
	}
}

func TestPGetEventsReportsEINTR(t *testing.T) {
	bothWays(t, func(t *testing.T, setup func(int) *Context) {
		for _, there := range []int{0, 1} {
			c := setup(4)
			cb := newInstant(t)
			for range there {
				submit(t, c, cb)
			}
			var n int
			var err error
			th := onThread(func() {
				var events [3]Event
				n, err = c.PGetEvents(2, events[:], -1, nil)
			})
			th.awaitBlocked(unix.SYS_IO_PGETEVENTS)
			th.interrupt(t)
			<-th.done
			if there == 0 && err != syscall.EINTR || there != 0 && err != nil || n != there {
				t.Errorf("PGetEvents = %d, %v with %d there", n, err, there)
			}
		}
	})
}

// The mask applies to the wait. A blocked signal does not end the wait and is delivered
// afterwards. The thread has its own mask again when PGetEvents has returned.
func TestPGetEventsMask(t *testing.T) {
	bothWays(t, func(t *testing.T, setup func(int) *Context) {
		c := setup(4)
		p := newPending(t)
		submit(t, c, p.IOCB)
		var all, before, after unix.Sigset_t
		fillSet(&all)
		var n int
		var err error
		th := onThread(func() {
			_ = unix.PthreadSigmask(unix.SIG_SETMASK, nil, &before)
			var e [1]Event
			n, err = c.PGetEvents(1, e[:], -1, &all)
			_ = unix.PthreadSigmask(unix.SIG_SETMASK, nil, &after)
		})
		for range 20 {
			th.awaitBlocked(unix.SYS_IO_PGETEVENTS)
			th.interrupt(t)
		}
		time.Sleep(5 * time.Millisecond)
		if th.isDone() {
			t.Errorf("a blocked signal ended the wait: %d, %v", n, err)
		}
		p.fire()
		<-th.done
		if n != 1 || err != nil {
			t.Errorf("PGetEvents = %d, %v, want 1", n, err)
		}
		if before != after {
			t.Errorf("the mask was %v before and is %v after", before, after)
		}
	})
}

func TestPGetEventsTimeout(t *testing.T) {
	bothWays(t, func(t *testing.T, setup func(int) *Context) {
		c := setup(4)
		var all unix.Sigset_t
		fillSet(&all) // otherwise Go's own signals end the wait
		events := make([]Event, 2)
		for _, timeout := range []time.Duration{0, 20 * time.Millisecond} {
			for there := range 2 {
				if there == 1 {
					submit(t, c, newInstant(t))
				}
				start := time.Now()
				if n, err := c.PGetEvents(2, events, timeout, &all); n != there || err != nil {
					t.Errorf("PGetEvents for %v = %d, %v, want %d", timeout, n, err, there)
				}
				if d := time.Since(start); d < timeout {
					t.Errorf("a timeout of %v ended after %v", timeout, d)
				}
			}
		}
		submit(t, c, newInstant(t), newInstant(t))
		if n, err := c.PGetEvents(2, events, -1, nil); n != 2 || err != nil {
			t.Errorf("PGetEvents = %d, %v, want 2", n, err)
		}
	})
}
