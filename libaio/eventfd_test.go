//go:build linux

package libaio

import (
	"testing"
	"time"

	"github.com/go-aio/aio/internal/aiotest"
	"golang.org/x/sys/unix"
)

func TestEventfdIsNonBlockingAndNotInherited(t *testing.T) {
	aiotest.Guard(t)
	fd := newEventfd(t)
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil || flags&unix.O_NONBLOCK == 0 {
		t.Errorf("F_GETFL = %#x, %v, want O_NONBLOCK", flags, err)
	}
	flags, err = unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	if err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("F_GETFD = %#x, %v, want FD_CLOEXEC", flags, err)
	}
}

// A refused request adds nothing: see TestSubmitStopsAtTheFirstRefused.
func TestEventfdCountsCompletions(t *testing.T) {
	c := newContext(t, 16)
	efd := newEventfd(t)
	with, without := newInstant(t), newInstant(t)
	with.SetEventfd(efd)
	p := newPending(t)
	p.SetEventfd(efd)
	// The eventfd coalesces: one read of it returns the number of events since the last one.
	for _, n := range []int{1, 2, 7} {
		for range n {
			submit(t, c, with, without)
		}
		submit(t, c, p.IOCB)
		if got := eventfdCount(t, efd); got != uint64(n) {
			t.Errorf("the eventfd counts %d, want %d", got, n)
		}
		if got := eventfdCount(t, efd); got != 0 {
			t.Errorf("the eventfd counts %d the second time, want 0", got)
		}
		take(t, c, 2*n)
		p.fire()
		awaitReadable(t, efd)
		if got := eventfdCount(t, efd); got != 1 {
			t.Errorf("the eventfd counts %d for the poll, want 1", got)
		}
		take(t, c, 1)
		p.reset()
	}
}

func TestEventfdIsSignalledAfterTheEventIsInTheRing(t *testing.T) {
	bothWays(t, func(t *testing.T, setup func(int) *Context) {
		c := setup(4)
		fd := openShared(t)
		efd := newEventfd(t)
		cb := new(IOCB)
		cb.PrepPread(fd, aligned(block), 0)
		cb.SetEventfd(efd)
		for i := range 300 {
			submit(t, c, cb)
			awaitReadable(t, efd)
			var e [1]Event
			if n, err := c.GetEvents(0, e[:], 0); n != 1 || err != nil {
				t.Fatalf("round %d: the eventfd is readable, GetEvents = %d, %v", i, n, err)
			}
			eventfdCount(t, efd)
		}
	})
}

// The test drains as a reaper does: one wakeup may stand for many events.
func TestDrainingUntilEmptyMissesNothing(t *testing.T) {
	bothWays(t, func(t *testing.T, setup func(int) *Context) {
		const depth, total = 32, 2000
		c := setup(depth)
		fd := openShared(t)
		efd := newEventfd(t)
		next := 0
		start := func(cb *IOCB) {
			if next == total {
				return
			}
			cb.PrepPread(fd, cb.mem.buf, int64(next)%(sharedSize/block)*block)
			cb.SetEventfd(efd)
			cb.Data = uint64(next)
			next++
			submit(t, c, cb)
		}
		for range depth {
			cb := new(IOCB)
			cb.mem.buf = aligned(block)
			start(cb)
		}
		seen := make([]bool, total)
		for done := 0; done < total; {
			awaitReadable(t, efd)
			eventfdCount(t, efd)
			var events [8]Event
			for {
				n, err := c.GetEvents(0, events[:], 0)
				if err != nil {
					t.Fatal(err)
				}
				if n == 0 {
					break
				}
				for _, e := range events[:n] {
					if e.Res != block || seen[e.Data] {
						t.Fatalf("event %+v, seen before: %t", e, seen[e.Data])
					}
					seen[e.Data] = true
					check(t, e.Obj.mem.buf, int64(e.Data)%(sharedSize/block)*block)
					start(e.Obj)
				}
				done += n
			}
		}
	})
}

func TestPollIsOneShot(t *testing.T) {
	c := newContext(t, 4)
	p := newPending(t)
	submit(t, c, p.IOCB)
	noEvent(t, c)
	p.fire()
	// The wakeup of a pending poll may bring more than the poll asked for: POLLRDNORM here.
	if e := take(t, c, 1)[0]; e.Res&unix.POLLIN == 0 {
		t.Errorf("Res = %#x, want POLLIN", e.Res)
	}
	p.fire()
	time.Sleep(5 * time.Millisecond)
	noEvent(t, c)
	if res := do(t, c, p.IOCB); res != unix.POLLIN { // the pipe is still readable
		t.Errorf("Res of the second = %#x, want POLLIN", res)
	}
}

func TestPollAnswers(t *testing.T) {
	c := newContext(t, 4)
	file := open(t, newFile(t, 0), unix.O_RDWR)
	_, room := pipe(t)
	noWriter, w := pipe(t)
	closeEnd(t, w)
	r, noReader := pipe(t)
	closeEnd(t, r)
	for _, tt := range []struct {
		name   string
		fd     int
		events int16
		res    int64
	}{
		{"regular file", file, unix.POLLIN | unix.POLLOUT, unix.POLLIN | unix.POLLOUT},
		{"regular file, POLLIN", file, unix.POLLIN, unix.POLLIN},
		{"pipe with room", room, unix.POLLIN | unix.POLLOUT, unix.POLLOUT},
		{"pipe without a writer", noWriter, 0, unix.POLLHUP},
		{"pipe without a writer, POLLIN", noWriter, unix.POLLIN, unix.POLLHUP},
		{"pipe without a reader", noReader, 0, unix.POLLERR},
	} {
		cb := new(IOCB)
		cb.PrepPoll(tt.fd, tt.events)
		if res := do(t, c, cb); res != tt.res {
			t.Errorf("%s: Res = %#x, want %#x", tt.name, res, tt.res)
		}
	}
}

func TestPollHangsUpUnasked(t *testing.T) {
	c := newContext(t, 4)
	r, w := pipe(t)
	cb := new(IOCB)
	cb.PrepPoll(r, 0)
	submit(t, c, cb)
	noEvent(t, c)
	closeEnd(t, w)
	if e := take(t, c, 1)[0]; e.Res != unix.POLLHUP {
		t.Errorf("Res = %#x, want POLLHUP", e.Res)
	}
}

// The events fill 16 bits, without a sign.
func TestPollTakesAllBits(t *testing.T) {
	c := newContext(t, 4)
	file := open(t, newFile(t, 0), unix.O_RDWR)
	cb := new(IOCB)
	cb.PrepPoll(file, -1)
	if res := do(t, c, cb); res&(unix.POLLIN|unix.POLLOUT) != unix.POLLIN|unix.POLLOUT {
		t.Errorf("Res = %#x, want POLLIN and POLLOUT", res)
	}
}
