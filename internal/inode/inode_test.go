package inode

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/go-aio/aio/internal/aiotest"
)

func TestOpenCounts(t *testing.T) {
	aiotest.Guard(t)
	before := Count()
	keys := []Key{{Dev: 1, Ino: 1}, {Dev: 1, Ino: 2}, {Dev: 2, Ino: 1}, {Dev: 1, Ino: 1, Block: true}, {}, {Dev: math.MaxUint64, Ino: math.MaxUint64}}
	seen := make(map[*Inode]Key)
	for _, key := range keys {
		n := Open(key)
		if other, ok := seen[n]; ok {
			t.Errorf("%+v and %+v are one inode", key, other)
		}
		seen[n] = key
		for range 2 {
			if again := Open(key); again != n {
				t.Errorf("%+v is two inodes at a time", key)
			}
		}
	}
	if n := Count(); n != before+len(keys) {
		t.Errorf("%d inodes, want %d", n, before+len(keys))
	}
	for i := range 3 {
		for n, key := range seen {
			if n != Open(key) {
				t.Errorf("%+v is another inode after %d of 3 Closes", key, i)
			}
			n.Close()
			n.Close()
		}
	}
	if n := Count(); n != before {
		t.Errorf("%d inodes after the last Close, want %d", n, before)
	}
}

// A number may be used again by the system for another file, whose locks are its own.
func TestOpenAfterTheLastCloseIsFresh(t *testing.T) {
	aiotest.Guard(t)
	key := Key{Dev: 9, Ino: 9}
	n := Open(key)
	n.AddDirect()
	n.Close()
	again := Open(key)
	defer again.Close()
	if !again.EnterLoose() {
		t.Error("the Files of an inode that has been closed still count")
	}
	again.LeaveLoose()
}

func TestOpenFromManyGoroutines(t *testing.T) {
	aiotest.Guard(t)
	before := Count()
	const numbers = 5
	var mu [numbers]sync.Mutex // held while the inode of that number is changed
	var counters [numbers]int
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for range 1000 {
				i := rand.N(numbers)
				n := Open(Key{Dev: 7, Ino: uint64(i)})
				// While both have it open they have the same: the lock excludes.
				n.Lock(Everything(Exclusive))
				if !mu[i].TryLock() {
					t.Error("two hold the exclusive lock of one inode")
				} else {
					counters[i]++
					mu[i].Unlock()
				}
				n.Unlock(Everything(Exclusive))
				n.Close()
			}
		})
	}
	all.Wait()
	if n := Count(); n != before {
		t.Errorf("%d inodes at the end, want %d", n, before)
	}
}

func TestLoose(t *testing.T) {
	n := open(t)
	steps := []struct {
		what  string
		do    func()
		enter bool // whether EnterLoose is possible then
		loose bool
	}{
		{"at first", func() {}, true, false},
		{"with a loose write", func() { n.EnterLoose() }, true, true},
		{"with a direct file and a loose write", n.AddDirect, false, true},
		{"with two direct files", n.AddDirect, false, true},
		{"with the loose write over", n.LeaveLoose, false, false},
		{"with one direct file", n.RemoveDirect, false, false},
		{"with no direct file", n.RemoveDirect, true, false},
	}
	for _, s := range steps {
		s.do()
		for range 3 { // what is refused leaves no trace
			ok := n.EnterLoose()
			if ok != s.enter {
				t.Errorf("%s: EnterLoose = %v, want %v", s.what, ok, s.enter)
			}
			if ok {
				n.LeaveLoose()
			}
			if n.Loose() != s.loose {
				t.Errorf("%s: Loose = %v, want %v", s.what, n.Loose(), s.loose)
			}
		}
	}
}

func TestNoAllocations(t *testing.T) {
	n := open(t)
	key := Key{Dev: 1, Ino: 4711}
	for name, f := range map[string]func(){
		"direct":    func() { n.Lock(direct(0, 4096)); n.Unlock(direct(0, 4096)) },
		"buffered":  func() { n.Lock(buffered(0, 1)); n.Unlock(buffered(0, 1)) },
		"exclusive": func() { n.Lock(Everything(Exclusive)); n.Unlock(Everything(Exclusive)) },
		"loose": func() {
			if n.EnterLoose() {
				n.LeaveLoose()
			}
		},
		"open": func() { Open(key).Close() }, // of what is open already
	} {
		if allocs := testing.AllocsPerRun(1000, f); allocs != 0 {
			t.Errorf("%s: %v allocations", name, allocs)
		}
	}
}

// BenchmarkLock measures a pair of Lock and Unlock, with so many other locks held that are
// not in its way.
func BenchmarkLock(b *testing.B) {
	for _, active := range []int{0, 1, 64, 1024} {
		for _, others := range []Class{Direct, Buffered} {
			for name, r := range map[string]Range{
				"direct":   direct(0, 4096),
				"buffered": buffered(0, 100),
			} {
				if active == 0 && others == Buffered {
					continue
				}
				b.Run(fmt.Sprintf("class=%s/active=%d/others=%s", name, active, [...]string{"direct", "buffered"}[others]), func(b *testing.B) {
					n := open(b)
					var held []Range
					for i := range int64(active) {
						held = append(held, Range{others, (i + 1) * folio, (i+1)*folio + 4096})
						n.Lock(held[i])
					}
					b.ReportAllocs()
					for b.Loop() {
						n.Lock(r)
						n.Unlock(r)
					}
					for _, r := range held {
						n.Unlock(r)
					}
				})
			}
		}
	}
}

// BenchmarkLockParallel has every processor lock a range of its own.
func BenchmarkLockParallel(b *testing.B) {
	n := open(b)
	var mu sync.Mutex
	next := int64(0)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		mu.Lock()
		next++
		r := direct(next*4096, next*4096+4096)
		mu.Unlock()
		for pb.Next() {
			n.Lock(r)
			n.Unlock(r)
		}
	})
}

// BenchmarkLockContended has goroutines wait for each other.
func BenchmarkLockContended(b *testing.B) {
	n := open(b)
	b.ReportAllocs()
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			n.Lock(direct(0, 4096))
			n.Unlock(direct(0, 4096))
		}
	})
}

// BenchmarkLoose is what a buffered write of a plain file pays.
func BenchmarkLoose(b *testing.B) {
	n := open(b)
	for b.Loop() {
		if n.EnterLoose() {
			n.LeaveLoose()
		}
	}
}

// Waits counts who had to wait, on whatever inode.
func TestWaits(t *testing.T) {
	aiotest.Guard(t)
	n := Open(Key{Dev: 7, Ino: 7})
	defer n.Close()
	r := Everything(Exclusive)
	before := Waits()
	n.Lock(r)
	if got := Waits() - before; got != 0 {
		t.Errorf("%d waits for a lock that nobody held", got)
	}
	done := make(chan struct{})
	go func() {
		n.Lock(r)
		n.Unlock(r)
		close(done)
	}()
	aiotest.Until(t, "the second waits", func() bool { return Waits()-before == 1 })
	n.Unlock(r)
	<-done
	if got := Waits() - before; got != 1 {
		t.Errorf("%d waits, want 1", got)
	}
}
