package inode

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// A waiter yields to earlier waiters that it conflicts with, and overtakes the others.
func TestWaitersInOrder(t *testing.T) {
	n := open(t)
	held := direct(0, 4096)
	n.Lock(held)

	first := ask(t, n, buffered(0, 1))              // waits for the held one
	alongside := ask(t, n, buffered(4096, 4097))    // waits for the held one, together with first
	behind := ask(t, n, direct(8192, 12288))        // waits for these two
	overtakes := ask(t, n, direct(folio, 2*folio))  // waits for none
	last := ask(t, n, Everything(Exclusive))        // waits for all
	later := ask(t, n, direct(3*folio, 3*folio+10)) // waits for last only

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
	want("initially", overtakes)
	n.Unlock(held)
	want("after the first unlock", overtakes, first, alongside)
	n.Unlock(first.Range)
	want("with one buffered write left", overtakes, first, alongside)
	n.Unlock(alongside.Range)
	want("with no buffered write left", overtakes, first, alongside, behind)
	n.Unlock(overtakes.Range)
	n.Unlock(behind.Range)
	want("with all but the last unlocked", overtakes, first, alongside, behind, last)
	n.Unlock(last.Range)
	want("at the end", overtakes, first, alongside, behind, last, later)
	n.Unlock(later.Range)
}

// One unlock may grant many claims, each of them once.
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

// The locks of a stream of one class overlap in time, so that one is always held. The stream
// must not starve another class.
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

// The same without a script: every goroutine finishes its rounds although the streams never
// pause.
func TestNoStarvationUnderLoad(t *testing.T) {
	n := open(t)
	const rounds = 200
	var stop atomic.Bool
	var streams, others sync.WaitGroup
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
		others.Go(func() {
			for range rounds {
				n.Lock(r)
				n.Unlock(r)
			}
		})
	}
	others.Wait()
	stop.Store(true)
	streams.Wait()
}
