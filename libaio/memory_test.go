//go:build linux

package libaio

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"
	"weak"

	"github.com/go-aio/aio/internal/aiotest"
	"golang.org/x/sys/unix"
)

// A request watches the memory of a request without keeping it alive.
type request struct {
	cb   weak.Pointer[IOCB]
	bufs []weak.Pointer[byte]
	iovs weak.Pointer[unix.Iovec]
}

// watch returns a request that watches cb and bufs.
func watch(cb *IOCB, bufs ...[]byte) request {
	w := request{cb: weak.Make(cb), iovs: weak.Make(unsafe.SliceData(cb.mem.iovs))}
	for _, p := range bufs {
		w.bufs = append(w.bufs, weak.Make(unsafe.SliceData(p)))
	}
	return w
}

// wantHeld runs the garbage collector and checks w's buffers and iovecs. If held is set, all
// of them must be reachable; otherwise none may be.
func (w request) wantHeld(t *testing.T, held bool, when string) {
	t.Helper()
	for range 3 {
		runtime.GC()
	}
	for i, p := range w.bufs {
		if (p.Value() != nil) != held {
			t.Errorf("buffer %d is reachable %s: %t, want %t", i, when, !held, held)
		}
	}
	if w.iovs != (weak.Pointer[unix.Iovec]{}) && (w.iovs.Value() != nil) != held {
		t.Errorf("the iovecs are reachable %s: %t, want %t", when, !held, held)
	}
}

// wantAllHeld is wantHeld that also checks the IOCB.
func (w request) wantAllHeld(t *testing.T, held bool, when string) {
	t.Helper()
	w.wantHeld(t, held, when)
	if (w.cb.Value() != nil) != held {
		t.Errorf("the IOCB is reachable %s: %t, want %t", when, !held, held)
	}
}

// dropEvents takes n events and drops them.
//
//go:noinline
func dropEvents(t *testing.T, c *Context, n int) { take(t, c, n) }

func TestMemoryIsHeldUntilItsEventIsTaken(t *testing.T) {
	const size = 4 * block
	fd := open(t, newFile(t, size), unix.O_RDWR|unix.O_DIRECT)
	for name, prep := range map[string]func(*IOCB, []byte, []byte){
		"pread":   func(cb *IOCB, a, _ []byte) { cb.PrepPread(fd, a, 0) },
		"pwrite":  func(cb *IOCB, a, _ []byte) { cb.PrepPwrite(fd, a, 0) },
		"preadv":  func(cb *IOCB, a, b []byte) { cb.PrepPreadv(fd, [][]byte{a, b}, 0) },
		"pwritev": func(cb *IOCB, a, b []byte) { cb.PrepPwritev(fd, [][]byte{a, b}, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			bothWays(t, func(t *testing.T, setup func(int) *Context) {
				c := setup(4)
				w := func() request {
					cb, a, b := new(IOCB), aligned(2*block), aligned(2*block)
					prep(cb, a, b)
					submit(t, c, cb)
					if cb.mem.iovs == nil {
						return watch(cb, a)
					}
					return watch(cb, a, b)
				}()
				w.wantAllHeld(t, true, "in flight")
				if n, err := c.QueueWait(-1); n != 1 || err != nil {
					t.Fatalf("QueueWait = %d, %v", n, err)
				}
				w.wantAllHeld(t, true, "completed")
				dropEvents(t, c, 1)
				w.wantAllHeld(t, false, "when the event has been taken")
			})
		})
	}
}

// Prep and Release drop the IOCB's own references to its memory, not those of a submission.
func TestMemoryOfASubmissionIsNotTheIOCBs(t *testing.T) {
	fd := openShared(t)
	for name, change := range map[string]func(*IOCB){
		"Prep":    func(cb *IOCB) { cb.PrepFsync(fd) },
		"Release": func(cb *IOCB) { cb.Release() },
	} {
		t.Run(name, func(t *testing.T) {
			c := newContext(t, 4)
			cb := new(IOCB)
			w := func() request {
				a, b := aligned(block), aligned(block)
				cb.PrepPreadv(fd, [][]byte{a, b}, 0)
				submit(t, c, cb)
				return watch(cb, a, b)
			}()
			change(cb)
			w.wantHeld(t, true, "in flight")
			dropEvents(t, c, 1)
			w.wantHeld(t, false, "when the event has been taken")
			runtime.KeepAlive(cb)
		})
	}
}

// A released IOCB does not name freed memory when it is submitted again.
func TestReleasedIOCBNamesNoMemory(t *testing.T) {
	c := newContext(t, 4)
	fd := openShared(t)
	cb := new(IOCB)
	for name, prep := range map[string]func(p []byte){
		"pread":  func(p []byte) { cb.PrepPread(fd, p, 0) },
		"preadv": func(p []byte) { cb.PrepPreadv(fd, [][]byte{p}, 0) },
	} {
		prep(aligned(block))
		cb.Release()
		if res := do(t, c, cb); res != 0 {
			t.Errorf("%s: Res = %d after Release, want 0", name, res)
		}
	}
}

func TestMemoryOfARefusedRequestIsNotHeld(t *testing.T) {
	c := newContext(t, 4)
	fd := openShared(t)
	good := newInstant(t)
	for _, behind := range []int{0, 1} {
		w := func() request {
			a, b, tail := aligned(block), aligned(block), new(IOCB)
			tail.PrepPreadv(fd, [][]byte{a, b}, 0)
			list := []*IOCB{good, badf(), tail}[1-behind:]
			if n, _ := c.Submit(list...); n != behind {
				t.Errorf("Submit = %d, want %d", n, behind)
			}
			return watch(tail, a, b)
		}()
		w.wantAllHeld(t, false, "when it has been refused")
		dropEvents(t, c, behind)
	}
}

// Dropping a context does not end it: its requests are still in flight.
func TestDroppedContextHoldsItsMemory(t *testing.T) {
	aiotest.Guard(t)
	fd := openShared(t)
	p := newPending(t)
	pipe := int(p.raw.fd)
	for _, takeFirst := range []bool{true, false} {
		start := func() (weak.Pointer[Context], request) {
			c, err := Setup(4)
			if err != nil {
				t.Fatal(err)
			}
			a, b, cb, poll := aligned(block), aligned(block), new(IOCB), new(IOCB)
			cb.PrepPreadv(fd, [][]byte{a, b}, 0)
			poll.PrepPoll(pipe, unix.POLLIN)
			submit(t, c, cb, poll)
			return weak.Make(c), watch(cb, a, b)
		}
		end := func(ctx weak.Pointer[Context]) {
			c := ctx.Value()
			if c == nil {
				t.Fatal("the context has been collected")
			}
			if takeFirst {
				dropEvents(t, c, 1)
			}
			if err := c.Destroy(); err != nil {
				t.Error(err)
			}
		}
		ctx, w := start()
		w.wantAllHeld(t, true, "in a dropped context")
		end(ctx)
		w.wantAllHeld(t, false, "after Destroy")
		if ctx.Value() != nil {
			t.Error("the destroyed context is reachable")
		}
	}
}

// The callers keep no reference at all, the collector runs all the time, and another
// goroutine reuses the freed memory at once.
func TestReadsUnderACollectorStorm(t *testing.T) {
	const depth, size, total = 64, 16 << 10, 1500
	c := newContext(t, depth)
	fd := openShared(t)

	var stop atomic.Bool
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop.Store(true)
	wg.Go(func() {
		for !stop.Load() {
			runtime.GC()
		}
	})
	wg.Go(func() { // a read to freed memory would show here
		var others [32][]byte
		for i := 0; !stop.Load(); i = (i + 1) % len(others) {
			for j, b := range others[i] {
				if b != 0xaa {
					t.Errorf("byte %d of an unrelated buffer is %#x", j, b)
					return
				}
			}
			others[i] = make([]byte, size+block) // of the same size class
			for j := range others[i] {
				others[i][j] = 0xaa
			}
		}
	})

	var freed [total]atomic.Bool
	start := func(i int) {
		cb, p := new(IOCB), aligned(size)
		off := int64(i) % (sharedSize / size) * size
		if i%2 == 0 {
			cb.PrepPread(fd, p, off)
		} else {
			cb.PrepPreadv(fd, split(p, size/4), off)
		}
		cb.Data = uint64(i)
		runtime.AddCleanup(unsafe.SliceData(p), func(i int) { freed[i].Store(true) }, i)
		submit(t, c, cb)
	}
	next := 0
	for ; next < depth; next++ {
		start(next)
	}
	events := make([]Event, 8)
	for done := 0; done < total; {
		n, err := c.GetEvents(1, events, -1)
		if err != nil {
			t.Fatal(err)
		}
		done += n
		for i, e := range events[:n] {
			if e.Res != size || freed[e.Data].Load() {
				t.Fatalf("read %d: Res = %d, the buffer has been freed: %t",
					e.Data, e.Res, freed[e.Data].Load())
			}
			off := int64(e.Data) % (sharedSize / size) * size
			if e.Data%2 == 0 {
				check(t, e.Obj.mem.buf, off)
			}
			for j := range e.Obj.mem.iovs {
				iov := &e.Obj.mem.iovs[j]
				check(t, unsafe.Slice(iov.Base, iov.Len), off+int64(j)*size/4)
			}
			events[i] = Event{}
			if next < total {
				start(next)
				next++
			}
		}
	}
}

// A buffer and an IOCB that are declared in a frame do not move with the stack.
func TestStackGrowsWhileReadsAreInFlight(t *testing.T) {
	c := newContext(t, 64)
	fd := openShared(t)
	// The disk is busy with these reads before it gets to the one under test.
	const size, n = 1 << 20, 8
	var before []*IOCB
	for i := range n {
		cb := new(IOCB)
		cb.PrepPread(fd, aligned(size), int64(i)*size)
		before = append(before, cb)
	}
	for range 10 {
		done := make(chan struct{})
		go func() { // starts with a small stack
			defer close(done)
			var array [64<<10 + block]byte
			var cb IOCB
			var vector [2][]byte
			p := array[-int(uintptr(unsafe.Pointer(&array)))&(block-1):][:64<<10]
			vector[0], vector[1] = p[:block], p[block:]
			cb.PrepPreadv(fd, vector[:], sharedSize-64<<10)
			submit(t, c, append(before, &cb)...)
			if growStack(2000) == 0 {
				t.Error("the stack has not grown")
			}
			for _, e := range take(t, c, n+1) {
				if e.Res <= 0 {
					t.Errorf("Res = %d", e.Res)
				}
			}
			p = array[-int(uintptr(unsafe.Pointer(&array)))&(block-1):][:64<<10]
			if at := differs(p, sharedSize-64<<10); at >= 0 {
				t.Errorf("byte %d of the array is not the file's", at)
			}
		}()
		<-done
	}
}

// growStack uses a KiB of stack n times.
//
//go:noinline
func growStack(n int) byte {
	var frame [1 << 10]byte
	frame[n%len(frame)] = 1
	if n > 0 {
		frame[0] |= growStack(n - 1)
	}
	return frame[0] | frame[n%len(frame)]
}
