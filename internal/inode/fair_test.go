package inode

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// A waiter yields to those before it that it conflicts with, and overtakes the others.
func TestWaitersInTurn(t *testing.T) {
	n := open(t)
	held := direct(0, 4096)
	n.Lock(held)

	first := ask(t, n, buffered(0, 1))              // for the held one
	alongside := ask(t, n, buffered(4096, 4097))    // for the held one, and goes with first
	behind := ask(t, n, direct(8192, 12288))        // for these two
	overtakes := ask(t, n, direct(folio, 2*folio))  // for nobody
	last := ask(t, n, Everything(Exclusive))        // for all
	later := ask(t, n, direct(3*folio, 3*folio+10)) // for last only

	want := func(when string, granted ...*claim) {
		t.Helper()
		for _, c := range []*claim{first, behind, overtakes, alongside, last, later} {
			is := false
			for _, g := range granted {
				is = is || g == c
			}
			if is {
				<-c.granted
			} else if c.isGranted() {
				t.Errorf("%s: %v is granted", when, c.Range)
			}
		}
	}
	want("at first", overtakes)
	n.Unlock(held)
	want("with the first unlocked", overtakes, first, alongside)
	n.Unlock(first.Range)
	want("with one buffered write left", overtakes, first, alongside)
	n.Unlock(alongside.Range)
	want("with no buffered write left", overtakes, first, alongside, behind)
	n.Unlock(overtakes.Range)
	n.Unlock(behind.Range)
	want("with none but the last", overtakes, first, alongside, behind, last)
	n.Unlock(last.Range)
	want("at the end", overtakes, first, alongside, behind, last, later)
	n.Unlock(later.Range)
}

// One unlock may let many go, and each of them once.
func TestOneUnlockGrantsMany(t *testing.T) {
	n := open(t)
	n.Lock(Everything(Exclusive))
	var claims []*claim
	for i := range int64(50) {
		claims = append(claims, ask(t, n, direct(i*4096, i*4096+4096)))
	}
	for _, c := range claims {
		if c.isGranted() {
			t.Fatal("granted beside an exclusive lock")
		}
	}
	n.Unlock(Everything(Exclusive))
	for _, c := range claims {
		<-c.granted
	}
	for _, c := range claims {
		n.Unlock(c.Range)
	}
}

// A stream of one class, whose locks overlap in time so that one is always held, must not
// keep out another class.
func TestNoClassStarves(t *testing.T) {
	streams := map[string]func(i int64) Range{
		"direct":     func(i int64) Range { return direct(i%64*4096, i%64*4096+4096) },
		"buffered":   func(i int64) Range { return buffered(i%64, i%64+1) },
		"everything": func(int64) Range { return Everything(Buffered) },
	}
	for name, stream := range streams {
		for _, other := range []Range{direct(0, 64*4096), buffered(0, 10), Everything(Exclusive)} {
			if other.Class == stream(0).Class {
				continue
			}
			t.Run(fmt.Sprintf("%s/%v", name, other), func(t *testing.T) {
				n := open(t)
				// Two links of a chain are held at any time.
				n.Lock(stream(0))
				waits := ask(t, n, other)
				var chain []*claim
				for i := range int64(20) {
					chain = append(chain, ask(t, n, stream(i+1)))
				}
				for _, c := range chain {
					if c.isGranted() {
						t.Fatalf("%v has overtaken %v", c.Range, other)
					}
				}
				n.Unlock(stream(0))
				<-waits.granted
				n.Unlock(other)
				for _, c := range chain {
					<-c.granted
					n.Unlock(c.Range)
				}
			})
		}
	}
}

// The same without a script: everybody gets to his rounds although others never pause.
func TestNobodyStarvesUnderLoad(t *testing.T) {
	n := open(t)
	const rounds = 200
	var stop atomic.Bool
	var streams, turns sync.WaitGroup
	for i := range int64(8) {
		r := []Range{direct(i*4096, i*4096+4096), buffered(i, i+1)}[i%2]
		streams.Go(func() {
			for !stop.Load() {
				n.Lock(r)
				runtime.Gosched()
				n.Unlock(r)
			}
		})
	}
	for _, r := range []Range{direct(0, folio), Everything(Buffered), Everything(Exclusive)} {
		turns.Go(func() {
			for range rounds {
				n.Lock(r)
				n.Unlock(r)
			}
		})
	}
	turns.Wait()
	stop.Store(true)
	streams.Wait()
}
