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
	Direct    Class = iota // a direct write
	Buffered               // a write through the page cache
	Exclusive              // a change of size, or of the space of existing bytes
)

// A Range is a lock on the bytes [Lo, Hi). It is Everything for Exclusive, and for a Buffered
// write at an offset that only the kernel knows.
type Range struct {
	Class  Class
	Lo, Hi int64
}

// Everything returns the range of all bytes in class c.
func Everything(c Class) Range { return Range{Class: c, Lo: 0, Hi: math.MaxInt64} }

// locks is the lock table: a mutex, the held entries and a queue of waiters. A waiter also
// yields to conflicting waiters before it, so no class starves.
//
// Two entries that do not share a folio conflict only if one is Exclusive. So an entry within
// one folio is compared with the entries of its bucket and with the wide ones only.
type locks struct {
	mu      sync.Mutex
	narrow  *[buckets][]Range // entries within one folio; nil until the first
	wide    []Range           // all other entries, and the Exclusive ones
	byClass [3]int            // number of entries by class
	waiting []*waiter
}

const buckets = 64

type waiter struct {
	want    Range
	granted chan struct{} // capacity 1
}

var waiters = sync.Pool{New: func() any { return &waiter{granted: make(chan struct{}, 1)} }}

// lockWaits counts the entries that waited, over all inodes. Each wait parks a goroutine, so
// one shared counter costs little.
var lockWaits atomic.Int64

// Waits returns the number of calls of Lock that waited.
func Waits() int64 { return lockWaits.Load() }

// Lock waits until r conflicts with no held lock. While the caller holds r, it may wait for
// I/O only, and must not take a second lock. Therefore no deadlock is possible.
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
	lockWaits.Add(1)
	l.waiting = append(l.waiting, w)
	l.mu.Unlock()

	<-w.granted
	waiters.Put(w)
}

// TryLock locks r as Lock does, but returns false instead of waiting. A caller that holds
// locks may call it: a call that does not wait cannot deadlock.
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

// Unlock releases one lock of Range r that Lock or TryLock took.
func (n *Inode) Unlock(r Range) {
	l := &n.locks
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop(r)
	l.grant(r)
}

// grant wakes, in order, every waiter that no entry and no earlier waiter blocks, now that r is
// released. A waiter that does not conflict with r is blocked by something else, as before. The
// caller holds l.mu, and may be the goroutine that delivers the completions of all devices.
func (l *locks) grant(r Range) {
	if len(l.waiting) == 0 {
		return
	}
	blocked := l.waiting[:0]
	for _, w := range l.waiting {
		if !conflict(w.want, r) || l.blocked(w.want, blocked) {
			blocked = append(blocked, w)
			continue
		}
		l.hold(w.want)
		w.granted <- struct{}{}
	}
	clear(l.waiting[len(blocked):])
	l.waiting = blocked
}

func (l *locks) hold(r Range) {
	l.byClass[r.Class]++
	list := l.list(r)
	*list = append(*list, r)
}

// drop removes one entry equal to r. Equal entries are interchangeable.
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

// list returns the list of entries that r belongs to.
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

// blocked reports whether r conflicts with an entry or with a waiter in earlier.
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

// mayConflict checks the counts only: buffered writes alone need no scan.
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

// folioSize returns the size in bytes of the largest folio that the page cache may use: that
// of a page table's middle level, and at least 2 MiB.
var folioSize = sync.OnceValue(func() int64 {
	const minSize = 2 << 20
	text, err := os.ReadFile("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size")
	if err != nil {
		return minSize
	}
	size, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return minSize
	}
	return max(size, minSize)
})
