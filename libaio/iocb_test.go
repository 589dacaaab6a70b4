//go:build linux

package libaio

import (
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestDataReturnsAsItWasAtSubmit(t *testing.T) {
	bothWays(t, func(t *testing.T, setup func(int) *Context) {
		c := setup(8)
		p := newPending(t)
		for i := range 4 {
			p.Data = 1<<63 + uint64(i)
			submit(t, c, p.IOCB)
		}
		p.Data = 99
		p.fire()
		var got []uint64
		for _, e := range take(t, c, 4) {
			got = append(got, e.Data-1<<63)
		}
		slices.Sort(got)
		if !slices.Equal(got, []uint64{0, 1, 2, 3}) {
			t.Errorf("Data = 2^63 + %d, want 0 to 3", got)
		}
		if p.Data != 99 {
			t.Errorf("IOCB.Data = %d, want the value the caller set", p.Data)
		}
	})
}

// A Prep method resets all but Data: flags, eventfd, priority, memory.
func TestPrepResetsAllButData(t *testing.T) {
	fd, buf := 3, make([]byte, 8)
	for name, prep := range map[string]func(*IOCB){
		"PrepPread":   func(cb *IOCB) { cb.PrepPread(fd, buf, 1) },
		"PrepPwrite":  func(cb *IOCB) { cb.PrepPwrite(fd, buf, 1) },
		"PrepPreadv":  func(cb *IOCB) { cb.PrepPreadv(fd, nil, 1) },
		"PrepPwritev": func(cb *IOCB) { cb.PrepPwritev(fd, nil, 1) },
		"PrepPoll":    func(cb *IOCB) { cb.PrepPoll(fd, 1) },
		"PrepFsync":   func(cb *IOCB) { cb.PrepFsync(fd) },
		"PrepFdsync":  func(cb *IOCB) { cb.PrepFdsync(fd) },
	} {
		var fresh, used IOCB
		used.PrepPwritev(9, [][]byte{buf, buf}, 1<<40)
		used.SetFlags(unix.RWF_DSYNC)
		used.SetEventfd(7)
		used.SetPriority(4)
		used.SetCallback(func(*Context, *IOCB, int64, int64) {})
		used.Data = 5
		used.raw.data, used.raw.key = 6, 7
		prep(&fresh)
		prep(&used)
		if used.raw != fresh.raw {
			t.Errorf("%s: %+v, want %+v", name, used.raw, fresh.raw)
		}
		if used.callback != nil || len(used.mem.iovs) != 0 || len(used.mem.buf) != len(fresh.mem.buf) {
			t.Errorf("%s keeps the callback or the memory of the earlier request", name)
		}
		if used.Data != 5 {
			t.Errorf("%s changes Data", name)
		}
	}
}

func TestTransfers(t *testing.T) {
	c := newContext(t, 8)
	fd := open(t, newFile(t, 4*block), unix.O_RDWR|unix.O_DIRECT)
	whole := aligned(4 * block)
	fill(whole, 1<<40)
	cb := new(IOCB)
	cb.PrepPwrite(fd, whole[:block], 0)
	if res := do(t, c, cb); res != block {
		t.Errorf("Pwrite: Res = %d", res)
	}
	cb.PrepPwritev(fd, [][]byte{whole[block : 2*block], whole[2*block:]}, block)
	if res := do(t, c, cb); res != 3*block {
		t.Errorf("Pwritev: Res = %d", res)
	}
	got := aligned(4 * block)
	cb.PrepPread(fd, got[:3*block], 0)
	if res := do(t, c, cb); res != 3*block {
		t.Errorf("Pread: Res = %d", res)
	}
	check(t, got[:3*block], 1<<40)
	clear(got)
	cb.PrepPreadv(fd, [][]byte{got[3*block:], got[:block], got[block : 2*block]}, block)
	if res := do(t, c, cb); res != 3*block {
		t.Errorf("Preadv: Res = %d", res)
	}
	check(t, got[3*block:], 1<<40+block)
	check(t, got[:2*block], 1<<40+2*block)
}

// The slice of slices belongs to the caller again when PrepPreadv returns.
func TestVectorIsCopied(t *testing.T) {
	c := newContext(t, 8)
	fd := openShared(t)
	right, wrong := aligned(block), aligned(block)
	bufs := [][]byte{right}
	cb := new(IOCB)
	cb.PrepPreadv(fd, bufs, 0)
	bufs[0] = wrong
	if res := do(t, c, cb); res != block {
		t.Fatalf("Res = %d", res)
	}
	check(t, right, 0)
	if differs(wrong, 0) < 0 {
		t.Error("the read went to a buffer put into the slice later")
	}
}

func TestSameIOCBTwiceInOneSubmit(t *testing.T) {
	bothWays(t, func(t *testing.T, setup func(int) *Context) {
		c := setup(16)
		fd := openShared(t)
		p := aligned(block)
		twice, between := new(IOCB), newPending(t)
		twice.PrepPread(fd, p, 0)
		twice.Data = 3
		submit(t, c, twice, between.IOCB, twice)
		if n := held(t, c); n != 3 {
			t.Errorf("%d submissions are held, want 3", n)
		}
		between.fire()
		count := 0
		for _, e := range take(t, c, 3) {
			if e.Obj == twice && e.Data == 3 && e.Res == block {
				count++
			}
		}
		if count != 2 {
			t.Errorf("%d events belong to the IOCB, want 2", count)
		}
		check(t, p, 0)

		// The second one comes after a request that the kernel refuses.
		if n, err := c.Submit(twice, nil, twice); n != 1 || err != nil {
			t.Fatalf("Submit(cb, nil, cb) = %d, %v, want 1", n, err)
		}
		if n := held(t, c); n != 1 {
			t.Errorf("%d submissions are held, want 1", n)
		}
		take(t, c, 1)
		noEvent(t, c)
	})
}

// Each submission keeps the IOCB's state at the time of the Submit, regardless of later Prep
// calls.
func TestIOCBPreparedAgainInFlight(t *testing.T) {
	bothWays(t, func(t *testing.T, setup func(int) *Context) {
		const n, size = 16, 256 << 10
		c := setup(n)
		fd := openShared(t)
		cb := new(IOCB)
		var bufs [n][]byte
		for i := range bufs {
			bufs[i] = aligned(size)
			if i%2 == 0 {
				cb.PrepPread(fd, bufs[i], int64(i)*size)
			} else {
				cb.PrepPreadv(fd, split(bufs[i], size/4), int64(i)*size)
			}
			cb.Data = uint64(i)
			submit(t, c, cb)
		}
		var seen [n]int
		for _, e := range take(t, c, n) {
			if e.Obj != cb || e.Res != size {
				t.Errorf("event %+v", e)
			}
			seen[e.Data]++
			check(t, bufs[e.Data], int64(e.Data)*size)
		}
		for i, n := range seen {
			if n != 1 {
				t.Errorf("event %d came %d times", i, n)
			}
		}
	})
}

// The state of an IOCB in one context means nothing in another.
func TestIOCBMovesToAnotherContext(t *testing.T) {
	a, b := newContext(t, 8), newContext(t, 8)
	cb := newInstant(t)
	do(t, a, cb)
	do(t, b, cb) // the first of b, as it was the first of a
	do(t, a, newInstant(t))

	// The IOCB is in flight in b, and submitted the same number of times to both.
	p := newPending(t)
	p.Data = 1
	submit(t, b, p.IOCB)
	p.Data = 2
	submit(t, a, p.IOCB)
	p.Data = 3
	submit(t, b, p.IOCB)
	p.fire()
	if e := take(t, a, 1)[0]; e.Data != 2 {
		t.Errorf("Data = %d, want 2", e.Data)
	}
	if got := take(t, b, 2); got[0].Data+got[1].Data != 1+3 {
		t.Errorf("Data = %d and %d, want 1 and 3", got[0].Data, got[1].Data)
	}
}

func TestRunCallsBack(t *testing.T) {
	bothWays(t, func(t *testing.T, setup func(int) *Context) {
		c := setup(8)
		if n, err := c.Run(); n != 0 || err != nil {
			t.Errorf("Run of none = %d, %v", n, err)
		}
		fd := open(t, newFile(t, 304), unix.O_RDONLY)
		var got []string
		note := func(name string) Callback {
			return func(ctx *Context, cb *IOCB, res, res2 int64) {
				got = append(got, fmt.Sprintf("%s %t %d %d %d", name, ctx == c, cb.Data, res, res2))
			}
		}
		read, poll := new(IOCB), new(IOCB)
		read.Data, poll.Data = 1, 2
		read.PrepPread(fd, make([]byte, block), 0)
		read.SetCallback(note("read"))
		submit(t, c, read, newInstant(t)) // one has no callback
		if err := c.Poll(poll, note("poll"), fd, unix.POLLIN); err != nil {
			t.Fatal(err)
		}
		if n, err := c.Run(); n != 3 || err != nil {
			t.Errorf("Run = %d, %v, want 3", n, err)
		}
		if want := []string{"read true 1 304 0", "poll true 2 1 0"}; !slices.Equal(got, want) {
			t.Errorf("the callbacks were %q, want %q", got, want)
		}
	})
}

// Run also takes the events of those requests if they complete at once.
func TestCallbackSubmitsMore(t *testing.T) {
	bothWays(t, func(t *testing.T, setup func(int) *Context) {
		c := setup(8)
		cb := newInstant(t)
		left := 100
		cb.SetCallback(func(c *Context, cb *IOCB, _, _ int64) {
			if left--; left > 0 {
				submit(t, c, cb)
			}
		})
		submit(t, c, cb)
		if n, err := c.Run(); n != 100 || err != nil || left != 0 {
			t.Errorf("Run = %d, %v with %d left, want 100", n, err, left)
		}
	})
}

// In C the callback travels in aio_data, so it belongs to the submission.
func TestCallbackBelongsToTheSubmission(t *testing.T) {
	bothWays(t, func(t *testing.T, setup func(int) *Context) {
		c := setup(8)
		p := newPending(t)
		var got []int
		for i := range 3 {
			p.SetCallback(func(*Context, *IOCB, int64, int64) { got = append(got, i) })
			submit(t, c, p.IOCB)
		}
		p.PrepFsync(-1)
		p.fire()
		for len(got) < 3 {
			if n, err := c.QueueWait(time.Second); n != 1 || err != nil {
				t.Fatalf("QueueWait = %d, %v with %v called", n, err, got)
			}
			if _, err := c.Run(); err != nil {
				t.Fatal(err)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, []int{0, 1, 2}) {
			t.Errorf("the callbacks of %v were called, want each once", got)
		}
	})
}

func TestCallbackDestroysTheContext(t *testing.T) {
	c := newContext(t, 4)
	cb := newInstant(t)
	cb.SetCallback(func(c *Context, _ *IOCB, _, _ int64) {
		if err := c.Destroy(); err != nil {
			t.Error(err)
		}
	})
	submit(t, c, cb, newInstant(t))
	if n, err := c.Run(); n != 1 || err != syscall.EINVAL {
		t.Errorf("Run = %d, %v, want 1 and EINVAL", n, err)
	}
}

func TestQueueWaitTakesNothing(t *testing.T) {
	bothWays(t, func(t *testing.T, setup func(int) *Context) {
		c := setup(4)
		for _, timeout := range []time.Duration{0, 5 * time.Millisecond} {
			if n, err := c.QueueWait(timeout); n != 0 || err != nil {
				t.Errorf("QueueWait for %v = %d, %v, want 0", timeout, n, err)
			}
		}
		p := newPending(t)
		called := 0
		count := func(*Context, *IOCB, int64, int64) { called++ }
		if err := c.Poll(p.IOCB, count, int(p.raw.fd), unix.POLLIN); err != nil {
			t.Fatal(err)
		}
		var n int
		var err error
		th := onThread(func() { n, err = c.QueueWait(-1) })
		for range 5 {
			th.awaitBlocked(unix.SYS_IO_GETEVENTS)
			th.interrupt(t)
		}
		p.fire()
		<-th.done
		if n != 1 || err != nil {
			t.Errorf("QueueWait = %d, %v, want 1", n, err)
		}
		submit(t, c, newInstant(t))
		for _, timeout := range []time.Duration{0, time.Hour, -1} {
			if n, err := c.QueueWait(timeout); n != 1 || err != nil {
				t.Errorf("QueueWait for %v of two = %d, %v, want 1", timeout, n, err)
			}
		}
		if n, err := c.Run(); n != 2 || err != nil || called != 1 {
			t.Errorf("Run = %d, %v with %d called, want 2 and 1", n, err, called)
		}
	})
}

func TestPollFsyncFdsync(t *testing.T) {
	c := newContext(t, 4)
	fd := open(t, newFile(t, block), unix.O_RDWR)
	var got []int64
	fn := func(_ *Context, _ *IOCB, res, _ int64) { got = append(got, res) }
	for name, start := range map[string]func(cb *IOCB, fd int) error{
		"Poll":   func(cb *IOCB, fd int) error { return c.Poll(cb, fn, fd, unix.POLLIN) },
		"Fsync":  func(cb *IOCB, fd int) error { return c.Fsync(cb, fn, fd) },
		"Fdsync": func(cb *IOCB, fd int) error { return c.Fdsync(cb, fn, fd) },
	} {
		got = nil
		if err := start(new(IOCB), -1); err != syscall.EBADF {
			t.Errorf("%s of descriptor -1: %v, want EBADF", name, err)
		}
		if err := start(new(IOCB), fd); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if n, err := c.QueueWait(-1); n != 1 || err != nil {
			t.Errorf("%s: QueueWait = %d, %v", name, n, err)
		}
		want := int64(0)
		if name == "Poll" {
			want = unix.POLLIN
		}
		if n, err := c.Run(); n != 1 || err != nil || len(got) != 1 || got[0] != want {
			t.Errorf("%s: Run = %d, %v, the callback got %v", name, n, err, got)
		}
	}
}
