//go:build linux

package libaio

import (
	"math"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/go-aio/aio/internal/aiotest"

	"golang.org/x/sys/unix"
)

func TestGetEventsRefuses(t *testing.T) {
	bothWays(t, func(t *testing.T, setup func(int) *Context) {
		c := setup(4)
		submit(t, c, newInstant(t))
		events := make([]Event, 2)
		for name, get := range map[string]func(min, nr int) (int, error){
			"GetEvents": func(min, nr int) (int, error) { return c.GetEvents(min, events[:nr], -1) },
			"PGetEvents": func(min, nr int) (int, error) {
				return c.PGetEvents(min, events[:nr], -1, nil)
			},
		} {
			for _, min := range []int{3, -1, math.MinInt, math.MaxInt} {
				if n, err := get(min, 2); n != 0 || err != syscall.EINVAL {
					t.Errorf("%s(%d of 2) = %d, %v, want EINVAL", name, min, n, err)
				}
			}
			if n, err := get(0, 0); n != 0 || err != nil {
				t.Errorf("%s(0 of 0) = %d, %v, want 0", name, n, err)
			}
		}
		take(t, c, 1) // the event is still there
	})
}

// The kernel refuses the same counts.
func TestIOGetEventsRefuses(t *testing.T) {
	c := newContext(t, 4)
	var raw [2]ioEvent
	for _, count := range [][2]int{{3, 2}, {-1, 2}, {0, -1}, {-2, -1}} {
		n, errno := rawGetEvents(c.id, count[0], count[1], unsafe.Pointer(&raw), nil)
		if errno != syscall.EINVAL {
			t.Errorf("io_getevents(%d of %d) = %d, %v, want EINVAL", count[0], count[1], n, errno)
		}
	}
	if n, errno := rawGetEvents(c.id, 0, 0, nil, nil); n != 0 || errno != 0 {
		t.Errorf("io_getevents(0 of 0) = %d, %v, want 0", n, errno)
	}
}

func TestGetEventsTakesInOrderAndAtMostLen(t *testing.T) {
	bothWays(t, func(t *testing.T, setup func(int) *Context) {
		c := setup(8)
		cb := newInstant(t)
		for i := range 5 {
			cb.Data = uint64(i)
			submit(t, c, cb)
		}
		next := uint64(0)
		for _, tt := range []struct{ min, nr, want int }{
			{0, 2, 2}, {1, 1, 1}, {0, 0, 0}, {2, 8, 2}, {0, 8, 0},
		} {
			events := make([]Event, tt.nr)
			n, err := c.GetEvents(tt.min, events, -1)
			if n != tt.want || err != nil {
				t.Fatalf("GetEvents(%d of %d) = %d, %v, want %d", tt.min, tt.nr, n, err, tt.want)
			}
			for _, e := range events[:n] {
				if e.Data != next || e.Obj != cb {
					t.Errorf("event %d, want %d", e.Data, next)
				}
				next++
			}
		}
	})
}

func TestGetEventsTimeout(t *testing.T) {
	bothWays(t, func(t *testing.T, setup func(int) *Context) {
		c := setup(4)
		events := make([]Event, 2)
		get := func(timeout time.Duration, want int) time.Duration {
			t.Helper()
			start := time.Now()
			if n, err := c.GetEvents(2, events, timeout); n != want || err != nil {
				t.Errorf("GetEvents for %v = %d, %v, want %d", timeout, n, err, want)
			}
			return time.Since(start)
		}
		for _, timeout := range []time.Duration{0, 1, 20 * time.Millisecond} {
			if d := get(timeout, 0); d < timeout {
				t.Errorf("a timeout of %v ended after %v", timeout, d)
			}
			submit(t, c, newInstant(t)) // one of the two events that get asks for
			if d := get(timeout, 1); d < timeout {
				t.Errorf("with one event there a timeout of %v ended after %v", timeout, d)
			}
		}
	})
}

// The timeouts include one that no timespec holds.
func TestGetEventsLongAndNegativeTimeout(t *testing.T) {
	bothWays(t, func(t *testing.T, setup func(int) *Context) {
		c := setup(4)
		for _, timeout := range []time.Duration{time.Hour, math.MaxInt64, -1, -time.Hour, math.MinInt64} {
			p := newPending(t)
			submit(t, c, p.IOCB)
			var n int
			var err error
			th := onThread(func() {
				var e [1]Event
				n, err = c.GetEvents(1, e[:], timeout)
			})
			th.awaitBlocked(unix.SYS_IO_GETEVENTS)
			time.Sleep(2 * time.Millisecond)
			if th.isDone() {
				t.Fatalf("a timeout of %v ended at once", timeout)
			}
			p.fire()
			<-th.done
			if n != 1 || err != nil {
				t.Errorf("GetEvents for %v = %d, %v", timeout, n, err)
			}
		}
	})
}

func TestTimespecOf(t *testing.T) {
	for timeout, want := range map[time.Duration]*unix.Timespec{
		math.MinInt64:     nil,
		-1:                nil,
		0:                 {},
		1:                 {Nsec: 1},
		2*time.Second + 3: {Sec: 2, Nsec: 3},
		(1<<31 - 1) * 1e9: {Sec: 1<<31 - 1},
		(1<<31-1)*1e9 + 1: {Sec: 1<<31 - 1}, // the largest time_t of 32-bit systems
		math.MaxInt64:     {Sec: 1<<31 - 1},
	} {
		switch ts := timespecOf(timeout); {
		case ts == nil && want == nil:
		case ts == nil || want == nil || *ts != *want:
			t.Errorf("timespecOf(%d) = %v, want %v", timeout, ts, want)
		}
	}
}

// GetEvents therefore does not pass a negative timeout on.
func TestIOGetEventsNegativeTimeoutNeverReturns(t *testing.T) {
	aiotest.NeedsTime(t)
	for name, ts := range map[string]unix.Timespec{
		"seconds":     {Sec: -1},
		"nanoseconds": {Nsec: -1},
	} {
		t.Run(name, func(t *testing.T) {
			c := newContext(t, 4)
			c.ring = nil
			var errno syscall.Errno
			th := onThread(func() {
				var e ioEvent
				for errno = syscall.EINTR; errno == syscall.EINTR; {
					_, errno = rawGetEvents(c.id, 1, 1, unsafe.Pointer(&e), &ts)
				}
			})
			th.awaitBlocked(unix.SYS_IO_GETEVENTS)
			time.Sleep(50 * time.Millisecond)
			if th.isDone() {
				t.Errorf("it returned: %v", errno)
			}
			if err := c.Destroy(); err != nil {
				t.Fatal(err)
			}
			<-th.done
			if errno != syscall.EINVAL {
				t.Errorf("after io_destroy: %v, want EINVAL", errno)
			}
		})
	}
}

func TestIOGetEventsZeroTimeoutReturnsAtOnce(t *testing.T) {
	c := newContext(t, 4)
	var e ioEvent
	n, errno := rawGetEvents(c.id, 1, 1, unsafe.Pointer(&e), new(unix.Timespec))
	if n != 0 || errno != 0 {
		t.Errorf("io_getevents with a zero timespec = %d, %v, want 0", n, errno)
	}
}

func TestIOGetEventsToABadPointerConsumesNothing(t *testing.T) {
	c := newContext(t, 4)
	cb := newInstant(t)
	cb.Data = 7
	submit(t, c, cb, cb)
	none := pages(t, os.Getpagesize(), unix.PROT_NONE)
	for _, p := range []unsafe.Pointer{nil, unsafe.Pointer(&none[0])} {
		if n, errno := rawGetEvents(c.id, 1, 2, p, nil); errno != syscall.EFAULT {
			t.Errorf("io_getevents to a bad pointer = %d, %v, want EFAULT", n, errno)
		}
	}
	for _, e := range take(t, c, 2) {
		if e.Data != 7 {
			t.Errorf("Data = %d, want 7", e.Data)
		}
	}
}

// Each waiter gets one event, and none gets two.
func TestFourWaitersGetOneEventEach(t *testing.T) {
	bothWays(t, func(t *testing.T, setup func(int) *Context) {
		c := setup(8)
		var polls [4]pending
		for i := range polls {
			polls[i] = newPending(t)
			polls[i].Data = uint64(i)
			submit(t, c, polls[i].IOCB)
		}
		var waiters [4]*thread
		var got [4]Event
		for i := range waiters {
			waiters[i] = onThread(func() {
				if n, err := c.GetEvents(1, got[i:i+1], -1); n != 1 || err != nil {
					t.Errorf("waiter %d: GetEvents = %d, %v", i, n, err)
				}
			})
		}
		for _, th := range waiters {
			th.awaitBlocked(unix.SYS_IO_GETEVENTS)
		}
		for _, p := range polls {
			p.fire()
		}
		seen := make(map[uint64]bool)
		for i, th := range waiters {
			<-th.done
			seen[got[i].Data] = true
		}
		if len(seen) != 4 {
			t.Errorf("four waiters got the events %v", got)
		}
		noEvent(t, c)
	})
}

// A waiter gets all the events it waits for, including those that came before the call.
func TestGetEventsCollectsUntilMin(t *testing.T) {
	bothWays(t, func(t *testing.T, setup func(int) *Context) {
		c := setup(16)
		instant := newInstant(t)
		for there := range 4 {
			var polls [4]pending
			for i := range polls {
				polls[i] = newPending(t)
				submit(t, c, polls[i].IOCB)
			}
			for range there {
				submit(t, c, instant)
			}
			events := make([]Event, 10)
			var n int
			var err error
			th := onThread(func() { n, err = c.GetEvents(there+4, events, -1) })
			for _, p := range polls {
				th.awaitBlocked(unix.SYS_IO_GETEVENTS)
				p.fire()
			}
			<-th.done
			if n != there+4 || err != nil {
				t.Fatalf("GetEvents = %d, %v, want %d", n, err, there+4)
			}
			seen := make(map[*IOCB]int)
			for _, e := range events[:n] {
				seen[e.Obj]++
			}
			if len(seen) != min(there, 1)+4 || seen[instant] != there {
				t.Errorf("the events of %d requests: %v", there+4, seen)
			}
		}
	})
}

// Several waiters for many events share the arrivals, and each gets enough.
func TestManyWaitersForManyEvents(t *testing.T) {
	bothWays(t, func(t *testing.T, setup func(int) *Context) {
		const waiters, each = 8, 50
		c := setup(waiters * each)
		cb := newInstant(t)
		var mu sync.Mutex
		seen := make(map[uint64]int)
		var wg sync.WaitGroup
		for range waiters {
			wg.Go(func() {
				var events [each]Event
				n, err := c.GetEvents(each, events[:], -1)
				if n != each || err != nil {
					t.Errorf("GetEvents = %d, %v", n, err)
				}
				mu.Lock()
				defer mu.Unlock()
				for _, e := range events[:n] {
					seen[e.Data]++
				}
			})
		}
		for i := range waiters * each {
			cb.Data = uint64(i)
			submit(t, c, cb)
		}
		wg.Wait()
		if len(seen) != waiters*each {
			t.Errorf("%d different events of %d", len(seen), waiters*each)
		}
		for i, n := range seen {
			if n != 1 {
				t.Errorf("event %d came %d times", i, n)
			}
		}
	})
}
