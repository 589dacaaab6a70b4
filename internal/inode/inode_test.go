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
	keys := []Key{
		{Dev: 1, Ino: 1},
		{Dev: 1, Ino: 2},
		{Dev: 2, Ino: 1},
		{Dev: 1, Ino: 1, Block: true},
		{},
		{Dev: math.MaxUint64, Ino: math.MaxUint64},
	}
	seen := make(map[*Inode]Key)
	for _, key := range keys {
		n := Open(key)
		if other, ok := seen[n]; ok {
			t.Errorf("%+v and %+v share an Inode", key, other)
		}
		seen[n] = key
		for range 2 {
			if again := Open(key); again != n {
				t.Errorf("%+v has two Inodes at once", key)
			}
		}
	}
	if n := Count(); n != before+len(keys) {
		t.Errorf("%d inodes, want %d", n, before+len(keys))
	}
	for i := range 3 {
		for n, key := range seen {
			if n != Open(key) {
				t.Errorf("%+v has another Inode after %d of 3 Closes", key, i)
			}
			n.Close()
			n.Close()
		}
	}
	if n := Count(); n != before {
		t.Errorf("%d inodes after the last Close, want %d", n, before)
	}
}

// The system may reuse an inode number for another file, which has its own locks.
func TestOpenAfterTheLastCloseIsFresh(t *testing.T) {
	aiotest.Guard(t)
	key := Key{Dev: 9, Ino: 9}
	n := Open(key)
	n.AddDirect()
	n.Close()
	again := Open(key)
	defer again.Close()
	if !again.EnterUntracked() {
		t.Error("the Files of a closed inode still count")
	}
	again.LeaveUntracked()
}

func TestOpenFromManyGoroutines(t *testing.T) {
	aiotest.Guard(t)
	before := Count()
	const numbers = 5
	var mu [numbers]sync.Mutex // held while a goroutine changes the counter of that number
	var counters [numbers]int
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for range 1000 {
				i := rand.N(numbers)
				n := Open(Key{Dev: 7, Ino: uint64(i)})
				// Goroutines that have the inode open at once have the same Inode: the lock
				// excludes.
				n.Lock(Everything(Exclusive))
				if !mu[i].TryLock() {
					t.Error("two goroutines hold the exclusive lock of one inode")
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

func TestUntracked(t *testing.T) {
	n := open(t)
	steps := []struct {
		what      string
		do        func()
		enter     bool // whether EnterUntracked succeeds then
		untracked bool
	}{
		{"initially", func() {}, true, false},
		{"with an untracked write", func() { n.EnterUntracked() }, true, true},
		{"with a direct file and an untracked write", n.AddDirect, false, true},
		{"with two direct files", n.AddDirect, false, true},
		{"after the untracked write", n.LeaveUntracked, false, false},
		{"with one direct file", n.RemoveDirect, false, false},
		{"with no direct file", n.RemoveDirect, true, false},
	}
	for _, s := range steps {
		s.do()
		for range 3 { // a refused call leaves no trace
			ok := n.EnterUntracked()
			if ok != s.enter {
				t.Errorf("%s: EnterUntracked = %v, want %v", s.what, ok, s.enter)
			}
			if ok {
				n.LeaveUntracked()
			}
			if n.Untracked() != s.untracked {
				t.Errorf("%s: Untracked = %v, want %v", s.what, n.Untracked(), s.untracked)
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
		"untracked": func() {
			if n.EnterUntracked() {
				n.LeaveUntracked()
			}
		},
		"open": func() { Open(key).Close() }, // of an inode that is already open
	} {
		if allocs := testing.AllocsPerRun(1000, f); allocs != 0 {
			t.Errorf("%s: %v allocations", name, allocs)
		}
	}
}

// BenchmarkLock measures a pair of Lock and Unlock while active other locks are held that do
// not conflict.
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
				class := [...]string{"direct", "buffered"}[others]
				run := fmt.Sprintf("class=%s/active=%d/others=%s", name, active, class)
				b.Run(run, func(b *testing.B) {
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

// BenchmarkLockParallel measures locks of distinct ranges on every processor.
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

// BenchmarkLockContended measures goroutines that wait for each other.
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

// BenchmarkUntracked measures the cost to a buffered write of a File that is not direct.
func BenchmarkUntracked(b *testing.B) {
	n := open(b)
	for b.Loop() {
		if n.EnterUntracked() {
			n.LeaveUntracked()
		}
	}
}

// Waits counts the calls of Lock that waited, on any inode.
func TestWaits(t *testing.T) {
	aiotest.Guard(t)
	n := Open(Key{Dev: 7, Ino: 7})
	defer n.Close()
	r := Everything(Exclusive)
	before := Waits()
	n.Lock(r)
	if got := Waits() - before; got != 0 {
		t.Errorf("%d waits for a free lock", got)
	}
	done := make(chan struct{})
	go func() {
		n.Lock(r)
		n.Unlock(r)
		close(done)
	}()
	aiotest.Until(t, "the second Lock waits", func() bool { return Waits()-before == 1 })
	n.Unlock(r)
	<-done
	if got := Waits() - before; got != 1 {
		t.Errorf("%d waits, want 1", got)
	}
}
