package inode

import (
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// A Class is a kind of lock; see the table in the package comment.
type Class uint8

// The classes.
const (
	Direct    Class = iota // a write past the page cache
	Buffered               // a write through the page cache
	Exclusive              // a change of size, or of the space of bytes that are there
)

// A Range is a lock on the bytes [Lo, Hi). For Exclusive, and for a Buffered write
// whose place only the kernel knows, it is Everything.
type Range struct {
	Class  Class
	Lo, Hi int64
}

// Everything returns the range of all bytes in class c.
func Everything(c Class) Range { return Range{Class: c, Lo: 0, Hi: math.MaxInt64} }

// locks is the lock table: a mutex, the entries held and a queue of those that wait.
// A waiter also yields to conflicting waiters before it, so no class starves.
//
// But for Exclusive no two entries conflict without sharing a folio. So an entry within
// one is compared only with those of its bucket of folios, and with the wide ones.
type locks struct {
	mu      sync.Mutex
	narrow  *[buckets][]Range // entries within one folio; nil until there is one
	wide    []Range           // the others, and all Exclusive ones
	byClass [3]int            // entries, by class
	waiting []*waiter
}

const buckets = 64

type waiter struct {
	want    Range
	granted chan struct{} // capacity 1
}

var waiters = sync.Pool{New: func() any { return &waiter{granted: make(chan struct{}, 1)} }}

// waits counts, for all inodes, the entries that had to wait. Each parks a goroutine, so one
// counter will do.
var waits atomic.Int64

// Waits returns how many calls of Lock have had to wait.
func Waits() int64 { return waits.Load() }

// Lock waits until r conflicts with nothing held. While it is held, nothing but I/O
// may be awaited, and no second lock taken: that is why there can be no deadlock.
func (n *Inode) Lock(r Range) {
	l := &n.locks
	l.mu.Lock()
	if !l.blocked(r, l.waiting) {
		l.hold(r)
		l.mu.Unlock()
		return
	}
	w := waiters.Get().(*waiter)
	w.want = r
	waits.Add(1)
	l.waiting = append(l.waiting, w)
	l.mu.Unlock()

	<-w.granted
	waiters.Put(w)
}

// TryLock takes r as Lock does, but returns false where that would wait. Who holds locks may
// call it: what does not wait is in no deadlock.
func (n *Inode) TryLock(r Range) bool {
	l := &n.locks
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.blocked(r, l.waiting) {
		return false
	}
	l.hold(r)
	return true
}

// Unlock gives back a lock that Lock, or TryLock, of an equal Range took.
func (n *Inode) Unlock(r Range) {
	l := &n.locks
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop(r)
	l.grant()
}

// grant wakes every waiter, in order, that neither an entry nor an earlier waiter
// still blocks. l.mu is held.
func (l *locks) grant() {
	if len(l.waiting) == 0 {
		return
	}
	still := l.waiting[:0]
	for _, w := range l.waiting {
		if l.blocked(w.want, still) {
			still = append(still, w)
			continue
		}
		l.hold(w.want)
		w.granted <- struct{}{}
	}
	clear(l.waiting[len(still):])
	l.waiting = still
}

func (l *locks) hold(r Range) {
	l.byClass[r.Class]++
	list := l.list(r)
	*list = append(*list, r)
}

// drop removes one entry equal to r; equal entries stand for each other.
func (l *locks) drop(r Range) {
	list := l.list(r)
	i := slices.Index(*list, r)
	if i < 0 {
		panic("aio: unlock of a range that is not locked")
	}
	last := len(*list) - 1
	(*list)[i] = (*list)[last]
	*list = (*list)[:last]
	l.byClass[r.Class]--
}

// list returns the entries among which r belongs.
func (l *locks) list(r Range) *[]Range {
	folio := r.Lo / folioSize()
	if r.Class == Exclusive || (r.Hi-1)/folioSize() != folio {
		return &l.wide
	}
	if l.narrow == nil {
		l.narrow = new([buckets][]Range)
	}
	return &l.narrow[folio%buckets]
}

// blocked reports whether r conflicts with an entry or with one of earlier.
func (l *locks) blocked(r Range, earlier []*waiter) bool {
	if l.mayConflict(r.Class) && l.conflicts(r) {
		return true
	}
	for _, w := range earlier {
		if conflict(w.want, r) {
			return true
		}
	}
	return false
}

// conflicts reports whether r conflicts with an entry.
func (l *locks) conflicts(r Range) bool {
	if anyConflict(l.wide, r) {
		return true
	}
	if list := l.list(r); list != &l.wide {
		return anyConflict(*list, r)
	}
	if l.narrow == nil {
		return false
	}
	for i := range l.narrow {
		if anyConflict(l.narrow[i], r) {
			return true
		}
	}
	return false
}

func anyConflict(held []Range, r Range) bool {
	for i := range held {
		if conflict(held[i], r) {
			return true
		}
	}
	return false
}

// mayConflict looks at the counts only: buffered writes alone need no scan.
func (l *locks) mayConflict(c Class) bool {
	others := l.byClass[Direct] + l.byClass[Exclusive]
	if c != Buffered {
		others += l.byClass[Buffered]
	}
	return others > 0
}

func conflict(a, b Range) bool {
	switch {
	case a.Class == Exclusive || b.Class == Exclusive:
		return true
	case a.Class == Buffered && b.Class == Buffered:
		return false
	case a.Class == Direct && b.Class == Direct:
		return a.Lo < b.Hi && b.Lo < a.Hi
	default:
		g := folioSize()
		return a.Lo/g <= (b.Hi-1)/g && b.Lo/g <= (a.Hi-1)/g
	}
}

// folioSize is the size in bytes of the largest folio that the page cache may use:
// that of a page table's middle level, and never less than 2 MiB.
var folioSize = sync.OnceValue(func() int64 {
	const least = 2 << 20
	text, err := os.ReadFile("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size")
	if err != nil {
		return least
	}
	size, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return least
	}
	return max(size, least)
})
