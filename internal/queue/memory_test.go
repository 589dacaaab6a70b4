//go:build linux

package queue

import (
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-aio/aio/internal/aiotest"
)

// These tests cover the memory that the queue keeps alive, releases and allocates.

// A watched records that the collector has freed a buffer.
type watched struct{ freed atomic.Bool }

// startWatched starts a read in a goroutine, into a buffer that only the request refers to.
func (w *watched) startWatched(q *testQueue, fd int, off int64) <-chan outcome {
	done := make(chan outcome, 1)
	go func() {
		p := alignedBlocks(1)
		runtime.AddCleanup(&p[0], func(w *watched) { w.freed.Store(true) }, w)
		n, err := q.Do(req(Read, fd, p, off))
		done <- outcome{n, err}
	}()
	return done
}

// collect runs the collector, and then reuses the memory that it freed.
func collect() {
	runtime.GC()
	for range 100 {
		p := alignedBlocks(1)
		p[0] = 1
	}
	time.Sleep(time.Millisecond) // cleanups run in another goroutine
}

func (w *watched) wantKept(t *testing.T) {
	t.Helper()
	for range 10 {
		collect()
		if w.freed.Load() {
			t.Fatal("a buffer has been freed while the kernel may write to it")
		}
	}
}

func (w *watched) wantReleased(t *testing.T) {
	t.Helper()
	for range 100 {
		if w.freed.Load() {
			return
		}
		collect()
	}
	t.Error("a buffer is kept after its request has returned")
}

func TestBufferIsKeptInFlight(t *testing.T) {
	t.Run("shared", func(t *testing.T) {
		k, q := newFake(t, 8)
		k.hold()
		var w watched
		done := w.startWatched(q, 3, block)
		aiotest.Until(t, "it is in the kernel", func() bool { return k.insideNow() == 1 })
		w.wantKept(t)
		k.complete(block)
		want(t, block, done, block, nil)
		w.wantReleased(t)
	})
	t.Run("pending", func(t *testing.T) {
		_, q, release := blockedFake(t, 8)
		var w watched
		done := w.startWatched(q, 3, block)
		aiotest.Until(t, "it is pending", func() bool { return countPending(q) == 1 })
		w.wantKept(t)
		release()
		want(t, block, done, block, nil)
		w.wantReleased(t)
	})
}

func TestBufferIsReleased(t *testing.T) {
	fd := directFile(t, 4)
	q := realQueue(t, 32)
	var some [20]watched
	for i := range some {
		want(t, block, some[i].startWatched(q, fd, block), block, nil)
	}
	var refused watched
	if got := <-refused.startWatched(q, -1, block); got.err == nil {
		t.Error("a read of no file succeeded")
	}
	for i := range some {
		some[i].wantReleased(t)
	}
	refused.wantReleased(t)
}

// A buffer on the stack would move while the kernel uses it. So the signature of Do must make
// the compiler put it on the heap.
func TestBufferEscapes(t *testing.T) {
	_, q := newFake(t, 8)
	n := testing.AllocsPerRun(100, func() {
		var p [64]byte
		q.Do(req(Read, 3, p[:], 1))
	})
	if n < 1 || n > 1 && !aiotest.Race { // with the race detector a sync.Pool forgets
		t.Errorf("%v allocations for a local buffer, want 1: the buffer", n)
	}
}

func TestNoAllocations(t *testing.T) {
	fd := directFile(t, 4)
	aligned := alignedBlocks(1)
	k, fake := newFake(t, 8)
	k.logging = false
	for name, q := range map[string]*testQueue{"fake": fake, "disk": realQueue(t, 8)} {
		t.Run(name, func(t *testing.T) {
			if aiotest.Race {
				aiotest.NeedsNoRace(t)
			}
			for _, op := range []Op{Read, Datasync} {
				p := aligned
				if op == Datasync {
					p = nil
				}
				if n := testing.AllocsPerRun(100, func() { q.Do(req(op, fd, p, 0)) }); n != 0 {
					t.Errorf("Do(%d) allocates %v times", op, n)
				}
			}
		})
	}
}

// The same with a crowd. Most of it waits for a slot.
func TestNoAllocationsInACrowd(t *testing.T) {
	if aiotest.Race {
		aiotest.NeedsNoRace(t)
	}
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // a collection empties sync.Pool
	for name, mute := range map[string]bool{"looks": true, "reaper": false} {
		t.Run(name, func(t *testing.T) {
			k, q := newFake(t, 16)
			k.logging = false
			k.silence(mute)
			const size, each = 100, 200
			var round, all sync.WaitGroup
			begin := make(chan struct{})
			for range size {
				round.Add(1)
				all.Go(func() {
					for range begin {
						for range each {
							q.Do(req(Read, 3, memory[:1], 1))
							runtime.Gosched()
						}
						round.Done()
					}
				})
			}
			run := func() (mallocs uint64) {
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				for range size {
					begin <- struct{}{}
				}
				round.Wait()
				round.Add(size)
				runtime.ReadMemStats(&after)
				return after.Mallocs - before.Mallocs
			}
			run()
			run()
			// A few allocations are for goroutines that take over a submitter's place.
			if n := run(); n > size*each/10 {
				t.Errorf("%d allocations for %d requests", n, size*each)
			} else {
				t.Logf("%d allocations for %d requests", n, size*each)
			}
			close(begin)
			all.Wait()
		})
	}
}
