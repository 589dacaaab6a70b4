//go:build linux

package libaio

import (
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/go-aio/aio/internal/aiotest"
	"golang.org/x/sys/unix"
)

func TestRingIsMappedAtTheContext(t *testing.T) {
	c := newContext(t, 4)
	r := c.ring
	if uintptr(unsafe.Pointer(r)) != c.id {
		t.Errorf("the ring is at %p, the context is %#x", r, c.id)
	}
	if r.magic != 0xa10a10a1 || r.incompat != 0 || r.headerLength != 32 || r.nr < 4 {
		t.Errorf("the ring is %+v", *r)
	}
	if r.head != r.tail {
		t.Errorf("a new ring has head %d and tail %d", r.head, r.tail)
	}
	cb := newInstant(t)
	submit(t, c, cb, cb, cb)
	if n := r.tail - r.head; n != 3 {
		t.Errorf("the ring has %d events, want 3", n)
	}
	head := r.head
	take(t, c, 2)
	if n := r.head - head; n != 2 {
		t.Errorf("head moved by %d, want 2", n)
	}
	// An event that the kernel takes moves the same head.
	var e ioEvent
	if n, errno := rawGetEvents(c.id, 1, 1, unsafe.Pointer(&e), nil); n != 1 || errno != 0 {
		t.Fatalf("io_getevents = %d, %v", n, errno)
	}
	if n := r.head - head; n != 3 {
		t.Errorf("head moved by %d, want 3", n)
	}
	if uintptr(e.obj) != uintptr(unsafe.Pointer(cb)) || e.data != cb.raw.data {
		t.Errorf("the event is %+v, want obj %p and data %d", e, cb, cb.raw.data)
	}
	c.mu.Lock()
	c.take(&e)
	c.mu.Unlock()
}

// A ring with another layout is left to the kernel.
func TestRingOfAnotherLayoutIsNotRead(t *testing.T) {
	aiotest.Guard(t)
	good := ring{nr: 128, magic: ringMagic, compat: 1, headerLength: 32}
	for name, tt := range map[string]struct {
		change func(*ring)
		read   bool
	}{
		"good":                  {func(*ring) {}, true},
		"compatible feature":    {func(r *ring) { r.compat = 3 }, true},
		"magic":                 {func(r *ring) { r.magic++ }, false},
		"incompatible features": {func(r *ring) { r.incompat = 1 }, false},
		"longer header":         {func(r *ring) { r.headerLength = 64 }, false},
		"no events":             {func(r *ring) { r.nr = 0 }, false},
	} {
		r := good
		tt.change(&r)
		id := uintptr(unsafe.Pointer(&r))
		if got := ringOf(&id); (got != nil) != tt.read {
			t.Errorf("%s: ringOf = %v, want a ring: %t", name, got, tt.read)
		}
		runtime.KeepAlive(&r)
	}
}

// Taking an event that has arrived costs no system call and no allocation.
func TestTakingFromTheRingMakesNoSystemCall(t *testing.T) {
	c := newContext(t, 4)
	var e [1]Event
	// every wait goes to the kernel and returns
	for name, wait := range map[string]func() (int, error){
		"GetEvents":  func() (int, error) { return c.GetEvents(1, e[:], 1) },
		"PGetEvents": func() (int, error) { return c.PGetEvents(1, e[:], 1, nil) },
		"QueueWait":  func() (int, error) { return c.QueueWait(1) },
	} {
		if n, err := wait(); n != 0 || err != nil && err != syscall.EINTR {
			t.Errorf("%s = %d, %v", name, n, err)
		}
	}
	submit(t, c, newInstant(t))
	n, wait, err := c.tryReap(1, e[:], -1)
	if n != 1 || wait || err != nil || e[0].Obj == nil {
		t.Errorf("tryReap = %d, %t, %v", n, wait, err)
	}
}

func TestSteadyStateAllocatesNothing(t *testing.T) {
	if aiotest.Race {
		aiotest.NeedsNoRace(t)
	}
	bothWays(t, func(t *testing.T, setup func(int) *Context) {
		c := setup(8)
		cb := newInstant(t)
		list := []*IOCB{cb, cb}
		events := make([]Event, 4)
		for name, get := range map[string]func() (int, error){
			"no timeout": func() (int, error) { return c.GetEvents(2, events, -1) },
			"timeout":    func() (int, error) { return c.GetEvents(2, events, 1e9) },
		} {
			if n := testing.AllocsPerRun(100, func() {
				if n, err := c.Submit(list...); n != 2 || err != nil {
					t.Errorf("Submit = %d, %v", n, err)
				}
				if n, err := get(); n != 2 || err != nil {
					t.Errorf("GetEvents = %d, %v", n, err)
				}
			}); n != 0 {
				t.Errorf("%s: %v allocations a round", name, n)
			}
		}
	})
}

func TestRingWrapsAround(t *testing.T) {
	aiotest.NeedsTime(t)
	bothWays(t, func(t *testing.T, setup func(int) *Context) {
		c := setup(1)
		nr := int(ringOf(&c.id).nr)
		rounds := 2000
		if aiotest.Race {
			rounds = 100
		}
		// Batches of all sizes up to the capacity straddle the end of the ring at every place.
		const most = 64
		events := make([]Event, most)
		list := make([]*IOCB, most)
		for i := range list {
			list[i] = newInstant(t)
		}
		next := uint64(0)
		for batch := 1; next < uint64(rounds*nr); batch = batch%most + 1 {
			for i, cb := range list[:batch] {
				cb.Data = next + uint64(i)
			}
			submit(t, c, list[:batch]...)
			for got := 0; got < batch; {
				n, err := c.GetEvents(1, events[:batch/2+1], -1)
				if err != nil {
					t.Fatal(err)
				}
				for i, e := range events[:n] {
					if e.Data != next || e.Obj != list[got+i] || e.Res != unix.POLLIN {
						t.Fatalf("event %+v, want number %d", e, next)
					}
					next++
				}
				got += n
			}
		}
		noEvent(t, c)
		if n := len(c.inflight); n > most {
			t.Errorf("%d indices have been used for %d requests at a time", n, most)
		}
	})
}

// Two reapers wait in the kernel and three poll, while requests go on. The kernel moves head
// under a lock that user space does not have.
func TestRingIsNotReadWhileAReaperWaitsInTheKernel(t *testing.T) {
	aiotest.NeedsTime(t)
	const depth, total = 48, 60000
	c := newContext(t, depth)
	var seen [total]atomic.Uint32
	var taken atomic.Int64
	var wg sync.WaitGroup
	reap := func(minEvents int) {
		events := make([]Event, 4)
		for {
			n, err := c.GetEvents(minEvents, events, -1)
			if err == syscall.EINVAL { // destroyed: all events have been taken
				return
			}
			if err != nil {
				t.Error(err)
				return
			}
			for _, e := range events[:n] {
				if e.Obj == nil {
					t.Error("an event that belongs to no request")
					return
				}
				seen[e.Data].Add(1)
			}
			taken.Add(int64(n))
			if n == 0 {
				runtime.Gosched()
			}
		}
	}
	for _, minEvents := range []int{1, 1, 0, 0, 0} {
		wg.Go(func() { reap(minEvents) })
	}
	cb := newInstant(t)
	submitted := 0
	for start := time.Now(); submitted < total && time.Since(start) < time.Second && !t.Failed(); {
		cb.Data = uint64(submitted)
		switch n, err := c.Submit(cb); {
		case n == 1:
			submitted++
		case err == syscall.EAGAIN:
			runtime.Gosched()
		default:
			t.Fatalf("Submit = %d, %v", n, err)
		}
	}
	for taken.Load() < int64(submitted) && !t.Failed() {
		runtime.Gosched()
	}
	if !t.Failed() {
		checkIdle(t, c)
	}
	if err := c.Destroy(); err != nil {
		t.Error(err)
	}
	wg.Wait()
	for i := range submitted {
		if n := seen[i].Load(); n != 1 && !t.Failed() {
			t.Errorf("event %d has been taken %d times", i, n)
		}
	}
}
