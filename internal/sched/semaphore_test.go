package sched

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-aio/aio/internal/aiotest"
)

// check fails the test unless s has so many units in use and so many calls that wait.
func check(t *testing.T, s *Share, used, waiting int64) {
	t.Helper()
	if u, w := s.Load(); u != used || w != waiting {
		t.Errorf("%d in use, %d wait; want %d, %d", u, w, used, waiting)
	}
}

// acquire calls Acquire(n) and returns a channel that is closed when it has returned.
func acquire(t *testing.T, s *Share, n int) <-chan struct{} {
	t.Helper()
	_, before := s.Load()
	done := make(chan struct{})
	go func() {
		s.Acquire(n)
		close(done)
	}()
	aiotest.Until(t, "it waits or has its units", func() bool {
		_, waiting := s.Load()
		return waiting > before || closed(done)
	})
	return done
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestSemaphoreIsFirstComeFirstServed(t *testing.T) {
	aiotest.Guard(t)
	s := NewSemaphore(4).Share(0)
	s.Acquire(3)
	many := acquire(t, s, 2)
	few := acquire(t, s, 1)
	check(t, s, 3, 2)
	if s.TryAcquire(1) {
		t.Error("TryAcquire overtook two calls that wait")
	}
	if closed(many) || closed(few) {
		t.Fatal("granted without room, or out of turn")
	}
	s.Release(3)
	<-many
	<-few
	check(t, s, 3, 0)
	s.Release(2)
	s.Release(1)
	check(t, s, 0, 0)
	if n := s.Waits(); n != 2 {
		t.Errorf("%d have waited, want 2", n)
	}
}

// What is more than all is all.
func TestSemaphoreOfMoreThanTheLimit(t *testing.T) {
	aiotest.Guard(t)
	s := NewSemaphore(4).Share(0)
	s.Acquire(100)
	check(t, s, 4, 0)
	all := acquire(t, s, 5)
	check(t, s, 4, 1)
	s.Release(100)
	<-all
	s.Release(5)
	check(t, s, 0, 0)
}

func TestSemaphoreContext(t *testing.T) {
	aiotest.Guard(t)
	s := NewSemaphore(2).Share(0)
	ctx, cancel := context.WithCancel(t.Context())
	if !s.AcquireContext(ctx, 1) {
		t.Fatal("no unit of two")
	}
	left := make(chan bool)
	go func() { left <- s.AcquireContext(ctx, 2) }()
	aiotest.Until(t, "it waits", func() bool { _, n := s.Load(); return n == 1 })
	behind := acquire(t, s, 1)
	check(t, s, 1, 2)
	cancel()
	if <-left {
		t.Error("acquired after its context ended")
	}
	<-behind // has had to wait for the other only
	check(t, s, 2, 0)
	s.Release(1)
	if s.AcquireContext(ctx, 1) {
		t.Error("acquired with a context that had ended")
	}
	check(t, s, 1, 0)
}

// Many goroutines never have more than the limit, and all of them come through, contexts that end
// included.
func TestSemaphoreStress(t *testing.T) {
	aiotest.Guard(t)
	for _, limit := range []int{1, 3, 64} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			s := NewSemaphore(limit).Share(0)
			var used atomic.Int64
			var users sync.WaitGroup
			for range 32 {
				users.Go(func() {
					for range aiotest.Scaled(2000) {
						n := 1 + rand.IntN(limit)
						switch rand.IntN(3) {
						case 0:
							s.Acquire(n)
						case 1:
							if !s.TryAcquire(n) {
								continue
							}
						default:
							ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.IntN(50))*time.Microsecond)
							ok := s.AcquireContext(ctx, n)
							cancel()
							if !ok {
								continue
							}
						}
						if got := used.Add(int64(n)); got > int64(limit) {
							t.Errorf("%d in use of %d", got, limit)
						}
						used.Add(int64(-n))
						s.Release(n)
					}
				})
			}
			users.Wait()
			check(t, s, 0, 0)
		})
	}
}

// A device that has all that it may have leaves half to another, and these two a quarter to a third.
// None of them waits for the others.
func TestShares(t *testing.T) {
	aiotest.Guard(t)
	const limit = 64
	s := NewSemaphore(limit)
	taken := func(d *Share) (n int) {
		for d.TryAcquire(1) {
			n++
		}
		return n
	}
	var hung []*Share
	for i, want := range []int{limit, limit / 2, limit / 4, limit / 8} {
		d := s.Share(0)
		hung = append(hung, d)
		if got := taken(d); got != want {
			t.Errorf("device %d gets %d units, want %d", i, got, want)
		}
	}
	waits := acquire(t, hung[0], 1)
	good := s.Share(2)
	if got := taken(good); got != 2 {
		t.Errorf("a device with a bound of 2 gets %d units", got)
	}
	next := acquire(t, good, 1)
	good.Release(1)
	<-next
	if closed(waits) {
		t.Error("a device has more than half of what the others leave")
	}
	check(t, hung[0], limit, 1)
	hung[0].Release(limit / 2)
	<-waits
	check(t, hung[0], limit/2+1, 0)
}

// Two devices that are both in use do not take leases from each other all the time.
func TestSharesOfTwoDevices(t *testing.T) {
	s := NewSemaphore(256)
	a, b := s.Share(0), s.Share(0)
	round := func() {
		a.Acquire(20)
		b.Acquire(20)
		a.Release(20)
		b.Release(20)
	}
	round()
	before := [2]int64{a.word.Load(), b.word.Load()}
	for range 100 {
		round()
	}
	if now := [2]int64{a.word.Load(), b.word.Load()}; now != before {
		t.Errorf("leases changed from %x to %x", before, now)
	}
}

// A device that hangs, and has calls that wait, does not take from another what that has leased.
func TestShareBesideOneThatHangs(t *testing.T) {
	aiotest.Guard(t)
	s := NewSemaphore(64)
	hung, good := s.Share(0), s.Share(0)
	hung.Acquire(64)
	waits := acquire(t, hung, 1)
	good.Acquire(1)
	before := good.word.Load() >> leaseShift
	for range 100 {
		good.Acquire(1)
		good.Release(1)
		if hung.TryAcquire(1) {
			t.Fatal("a call overtook one that waits")
		}
	}
	if now := good.word.Load() >> leaseShift; now != before || now < 2 {
		t.Errorf("the lease of the good device went from %d to %d", before, now)
	}
	hung.Release(64)
	<-waits
}

// A call for more than half of what the others leave gets it only if its device has nothing: it
// would wait for ever.
func TestShareOfMuch(t *testing.T) {
	s := NewSemaphore(64)
	hung, good := s.Share(0), s.Share(0)
	hung.Acquire(64)
	good.Acquire(1)
	if good.TryAcquire(50) {
		t.Error("a device that has a unit gets 50 of 64 that are left")
	}
	if lease := good.word.Load() >> leaseShift; lease > 32 {
		t.Errorf("a lease of %d of 64 that are left", lease)
	}
	good.Release(1)
	if !good.TryAcquire(50) {
		t.Error("a device that has nothing does not get 50 of 64 that are left")
	}
}

// Many goroutines on several devices never have more than a device may, nor all together more than
// twice that, and all of them come through.
func TestSharesStress(t *testing.T) {
	aiotest.Guard(t)
	const limit = 5
	s := NewSemaphore(limit)
	var all atomic.Int64
	var users sync.WaitGroup
	shares := []*Share{s.Share(0), s.Share(0), s.Share(2)}
	for _, d := range shares {
		used := new(atomic.Int64)
		for range 16 {
			users.Go(func() {
				for range aiotest.Scaled(2000) {
					n := 1 + rand.IntN(d.Limit())
					d.Acquire(n)
					if got := used.Add(int64(n)); got > int64(d.Limit()) {
						t.Errorf("a device has %d of %d", got, d.Limit())
					}
					if got := all.Add(int64(n)); got > 2*limit {
						t.Errorf("all have %d of %d", got, 2*limit)
					}
					all.Add(int64(-n))
					used.Add(int64(-n))
					d.Release(n)
				}
			})
		}
	}
	users.Wait()
	for _, d := range shares {
		check(t, d, 0, 0)
	}
	leased := int64(0)
	for _, d := range shares {
		leased += d.word.Load() >> leaseShift
	}
	if leased > s.limit || len(s.queued) != 0 {
		t.Errorf("%d units leased of %d, and %d devices queued at rest", leased, s.limit, len(s.queued))
	}
}

func TestSemaphoreAllocs(t *testing.T) {
	s := NewSemaphore(1).Share(0)
	if n := testing.AllocsPerRun(100, func() {
		s.Acquire(1)
		s.Release(1)
	}); n != 0 {
		t.Errorf("Acquire and Release allocate %v times", n)
	}
}

func BenchmarkSemaphore(b *testing.B) {
	for _, limit := range []int{4, 1 << 20} {
		b.Run(fmt.Sprintf("limit=%d", limit), func(b *testing.B) {
			s := NewSemaphore(limit).Share(0)
			b.SetParallelism(32)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					s.Acquire(1)
					s.Release(1)
				}
			})
		})
	}
}
