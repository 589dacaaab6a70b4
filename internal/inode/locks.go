package inode

import (
	"math"
	"os"
	"strconv"
	"strings"
	"sync"
)

// A Class is a kind of lock; see the table in the package comment.
type Class uint8

// The classes.
const (
	Direct    Class = iota // a write past the page cache
	Buffered               // a write through the page cache
	Exclusive              // a change of size
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
type locks struct {
	mu      sync.Mutex
	held    []Range
	byClass [3]int // held, by class
	waiting []*waiter
}

type waiter struct {
	want    Range
	granted chan struct{} // capacity 1
}

var waiters = sync.Pool{New: func() any { return &waiter{granted: make(chan struct{}, 1)} }}

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
	l.waiting = append(l.waiting, w)
	l.mu.Unlock()

	<-w.granted
	waiters.Put(w)
}

// Unlock gives back a lock that Lock of an equal Range took.
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
	l.held = append(l.held, r)
	l.byClass[r.Class]++
}

// drop removes one entry equal to r; equal entries stand for each other.
func (l *locks) drop(r Range) {
	for i := range l.held {
		if l.held[i] == r {
			last := len(l.held) - 1
			l.held[i] = l.held[last]
			l.held = l.held[:last]
			l.byClass[r.Class]--
			return
		}
	}
	panic("aio: unlock of a range that is not locked")
}

// blocked reports whether r conflicts with an entry or with one of earlier.
func (l *locks) blocked(r Range, earlier []*waiter) bool {
	if l.mayConflict(r.Class) {
		for i := range l.held {
			if conflict(l.held[i], r) {
				return true
			}
		}
	}
	for _, w := range earlier {
		if conflict(w.want, r) {
			return true
		}
	}
	return false
}

// mayConflict looks at the counts only: buffered writes alone need no scan.
func (l *locks) mayConflict(c Class) bool {
	switch c {
	case Buffered:
		return l.byClass[Direct]+l.byClass[Exclusive] > 0
	default:
		return len(l.held) > 0
	}
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
