package inode

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// An occupancy records where the goroutines that hold locks are at work. Each goroutine
// announces itself before it looks for others, so one of two that must not meet sees the
// other.
type occupancy struct {
	direct      [units]atomic.Int32 // direct writes on each unit of bytes
	directIn    [folios]atomic.Int32
	bufferedIn  [folios]atomic.Int32
	anywhere    atomic.Int32 // of any class
	exclusively atomic.Int32
}

const (
	folios   = 8
	perFolio = 16
	units    = folios * perFolio
)

// A work is a lock and the units and folios that it covers.
type work struct {
	Range
	units, folios [2]int64 // from, to
}

func randomWork() work {
	unit := folio / perFolio
	from := rand.Int64N(units)
	to := min(from+1+rand.Int64N(rand.Int64N(24)+1), units)
	w := work{units: [2]int64{from, to}, folios: [2]int64{from / perFolio, (to-1)/perFolio + 1}}
	switch rand.N(20) {
	case 0:
		w.Range, w.folios = Everything(Exclusive), [2]int64{0, folios}
	case 1:
		w.Range, w.folios = Everything(Buffered), [2]int64{0, folios}
	case 2, 3, 4, 5, 6, 7, 8:
		// Any bytes in the first and in the last unit.
		w.Range = buffered(from*unit+rand.Int64N(unit/2), to*unit-rand.Int64N(unit/2))
	default:
		w.Range = direct(from*unit, to*unit)
	}
	return w
}

func (o *occupancy) enter(w work) error {
	active := o.anywhere.Add(1)
	switch w.Class {
	case Exclusive:
		if o.exclusively.Add(1) != 1 || active != 1 {
			return fmt.Errorf("%v meets %d others", w.Range, active-1)
		}
		return nil
	case Direct:
		for u := w.units[0]; u < w.units[1]; u++ {
			if o.direct[u].Add(1) != 1 {
				return fmt.Errorf("%v meets a direct write on unit %d", w.Range, u)
			}
		}
		for f := w.folios[0]; f < w.folios[1]; f++ {
			o.directIn[f].Add(1)
			if o.bufferedIn[f].Load() != 0 {
				return fmt.Errorf("%v meets a buffered write in folio %d", w.Range, f)
			}
		}
	case Buffered:
		for f := w.folios[0]; f < w.folios[1]; f++ {
			o.bufferedIn[f].Add(1)
			if o.directIn[f].Load() != 0 {
				return fmt.Errorf("%v meets a direct write in folio %d", w.Range, f)
			}
		}
	}
	if o.exclusively.Load() != 0 {
		return fmt.Errorf("%v meets an exclusive lock", w.Range)
	}
	return nil
}

func (o *occupancy) leave(w work) {
	switch w.Class {
	case Exclusive:
		o.exclusively.Add(-1)
	case Direct:
		for u := w.units[0]; u < w.units[1]; u++ {
			o.direct[u].Add(-1)
		}
		for f := w.folios[0]; f < w.folios[1]; f++ {
			o.directIn[f].Add(-1)
		}
	case Buffered:
		for f := w.folios[0]; f < w.folios[1]; f++ {
			o.bufferedIn[f].Add(-1)
		}
	}
	o.anywhere.Add(-1)
}

func TestStress(t *testing.T) {
	for _, p := range []int{1, 2, 8} {
		for _, goroutines := range []int{4, 64} {
			t.Run(fmt.Sprintf("procs=%d/goroutines=%d", p, goroutines), func(t *testing.T) {
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(p))
				n := open(t)
				var o occupancy
				var together atomic.Int32
				var all sync.WaitGroup
				for range goroutines {
					all.Go(func() {
						for range 30_000 / goroutines {
							w := randomWork()
							n.Lock(w.Range)
							if err := o.enter(w); err != nil {
								t.Error(err)
							}
							if rand.N(3) == 0 {
								runtime.Gosched()
							}
							together.Store(max(together.Load(), o.anywhere.Load()))
							o.leave(w)
							n.Unlock(w.Range)
						}
					})
				}
				all.Wait()
				if together.Load() < 2 {
					t.Error("no two locks were ever held at once")
				}
			})
		}
	}
}

// One goroutine begins an untracked write and another adds a direct File, at the same moment.
// One of the two has to see the other.
func TestUntrackedAndDirectSeeEachOther(t *testing.T) {
	n := open(t)
	const rounds = 100_000
	var arrivals atomic.Int64 // twice in each round
	meet := func(round int64) {
		arrivals.Add(1)
		for tries := 0; arrivals.Load() < 2*round; tries++ {
			if tries > 100 {
				runtime.Gosched()
			}
		}
		for range rand.N(40) { // varies which goroutine is first
			arrivals.Load()
		}
	}
	entered := make([]bool, rounds)
	var other sync.WaitGroup
	other.Go(func() {
		for i := range int64(rounds) {
			meet(2*i + 1)
			entered[i] = n.EnterUntracked()
			meet(2*i + 2)
			if entered[i] {
				n.LeaveUntracked()
			}
		}
	})
	both := 0
	for i := range int64(rounds) {
		meet(2*i + 1)
		n.AddDirect()
		sure := !n.Untracked()
		meet(2*i + 2)
		if sure && entered[i] {
			both++
		}
		n.RemoveDirect()
	}
	other.Wait()
	if both != 0 {
		t.Errorf("in %d of %d rounds neither saw the other", both, rounds)
	}
}

// A direct writer that has seen no untracked write must not meet one.
func TestStressUntrackedAndDirect(t *testing.T) {
	for _, p := range []int{1, 2, 8} {
		t.Run(fmt.Sprint("procs=", p), func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(p))
			n := open(t)
			var untracked, direct, entered, refused, sure, unsure atomic.Int32
			var all sync.WaitGroup
			for range 4 {
				all.Go(func() { // buffered writers of Files that are not direct
					for range 5000 {
						if !n.EnterUntracked() {
							refused.Add(1)
							runtime.Gosched()
							continue
						}
						entered.Add(1)
						untracked.Add(1)
						if direct.Load() != 0 {
							t.Error("an untracked write meets a direct one")
						}
						if rand.N(4) == 0 {
							runtime.Gosched()
						}
						untracked.Add(-1)
						n.LeaveUntracked()
					}
				})
				all.Go(func() { // direct Files that come and go
					for range 500 {
						n.AddDirect()
						for range 10 {
							if n.Untracked() {
								unsure.Add(1)
								runtime.Gosched()
								continue
							}
							sure.Add(1)
							direct.Add(1)
							if untracked.Load() != 0 {
								t.Error("a direct write meets an untracked one")
							}
							if rand.N(4) == 0 {
								runtime.Gosched()
							}
							direct.Add(-1)
						}
						n.RemoveDirect()
						runtime.Gosched()
					}
				})
			}
			all.Wait()
			t.Logf("%d untracked writes, %d refused; %d direct writes, %d not",
				entered.Load(), refused.Load(), sure.Load(), unsure.Load())
			if n.Untracked() || !n.EnterUntracked() {
				t.Error("a count is off at the end")
			}
			n.LeaveUntracked()
		})
	}
}
