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
func Everything(c Class) Range { return Range{Class: c, Hi: math.MaxInt64} }

// locks is the lock table. A waiter also yields to conflicting waiters before it, so no class
// starves.
//
// Two entries that do not share a folio conflict only if one is Exclusive. So an entry within one
// folio is compared with the entries of its bucket and with the wide ones only.
type locks struct {
	mu      sync.Mutex
	narrow  [][]Range // entries within one folio, in buckets; nil until the first
	wide    []Range   // all other entries, and the Exclusive ones
	byClass [3]int    // number of entries by class
	waiting []*waiter
}

const buckets = 64

type waiter struct {
	want    Range
	granted chan struct{} // capacity 1
}

var waiters = sync.Pool{New: func() any { return &waiter{granted: make(chan struct{}, 1)} }}

// lockWaits counts the calls that waited, over all inodes. Each parks a goroutine, so one shared
// counter costs little.
var lockWaits atomic.Int64

// Waits returns the number of calls of Lock that waited.
func Waits() int64 { return lockWaits.Load() }

// Lock waits until r conflicts with no held lock. While the caller holds r, it may wait for I/O
// only, and must not take a second lock. So no deadlock is possible.
func (n *Inode) Lock(r Range) {
	l := &n.locks
	l.mu.Lock()
	if l.try(r, l.waiting) {
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

// TryLock is Lock, but returns false instead of waiting. So a caller that holds locks may call it.
func (n *Inode) TryLock(r Range) bool {
	l := &n.locks
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.try(r, l.waiting)
}

// Unlock releases one lock of Range r that Lock or TryLock took.
func (n *Inode) Unlock(r Range) {
	l := &n.locks
	l.mu.Lock()
	defer l.mu.Unlock()
	list := l.list(r)
	i := slices.Index(*list, r) // equal entries are interchangeable
	if i < 0 {
		panic("aio: unlock of a range that is not locked")
	}
	last := len(*list) - 1
	(*list)[i] = (*list)[last]
	*list = (*list)[:last]
	l.byClass[r.Class]--
	if len(l.waiting) > 0 {
		l.grant(r)
	}
}

// grant wakes, in order, every waiter that no entry and no earlier waiter blocks, now that r is
// released. A waiter that does not conflict with r is blocked by something else, as before. The
// caller may be the goroutine that delivers the completions of all devices.
func (l *locks) grant(r Range) {
	blocked := l.waiting[:0]
	for _, w := range l.waiting {
		if conflict(w.want, r) && l.try(w.want, blocked) {
			w.granted <- struct{}{}
		} else {
			blocked = append(blocked, w)
		}
	}
	clear(l.waiting[len(blocked):])
	l.waiting = blocked
}

// try makes r an entry, unless it conflicts with an entry or with a waiter in earlier.
func (l *locks) try(r Range, earlier []*waiter) bool {
	list := l.list(r)
	if l.conflicts(r, list) {
		return false
	}
	for _, w := range earlier {
		if conflict(w.want, r) {
			return false
		}
	}
	*list = append(*list, r)
	l.byClass[r.Class]++
	return true
}

// list returns the list of entries that r belongs to.
func (l *locks) list(r Range) *[]Range {
	folio := r.Lo / folioSize()
	if r.Class == Exclusive || (r.Hi-1)/folioSize() != folio {
		return &l.wide
	}
	if l.narrow == nil {
		l.narrow = make([][]Range, buckets)
	}
	return &l.narrow[folio%buckets]
}

// conflicts reports whether r, which belongs to list, conflicts with an entry.
func (l *locks) conflicts(r Range, list *[]Range) bool {
	others := l.byClass[Direct] + l.byClass[Exclusive]
	if r.Class != Buffered {
		others += l.byClass[Buffered]
	}
	switch {
	case others == 0: // buffered writes alone need no scan
		return false
	case anyConflict(l.wide, r):
		return true
	case list != &l.wide:
		return anyConflict(*list, r)
	}
	return slices.ContainsFunc(l.narrow, func(list []Range) bool { return anyConflict(list, r) })
}

func anyConflict(held []Range, r Range) bool {
	for i := range held {
		if conflict(held[i], r) {
			return true
		}
	}
	return false
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

// folioSize returns the size in bytes of the largest folio that the page cache may use: that of a
// page table's middle level, and at least 2 MiB.
var folioSize = sync.OnceValue(func() int64 {
	text, _ := os.ReadFile("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size")
	size, _ := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64) // 0 if it is no number
	return max(size, 2<<20)
})
