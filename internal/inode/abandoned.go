package inode

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"
)

// Abandoned holds the writes of a file that lost their caller: a context ended the call, and the
// write may still be under way. A later write of the same bytes waits for them, as an old write
// could undo it. The lock table does not ensure that order: it admits two buffered writes at once,
// and an abandoned write may not have started.
//
// The zero value is empty. All methods may be called concurrently.
type Abandoned struct {
	count atomic.Int32 // length of list
	mu    sync.Mutex
	list  []*Pending
}

// A Pending is a write whose caller may abandon it.
type Pending struct {
	of     *Abandoned
	seq    uint64
	lo, hi int64
	done   chan struct{}
}

var lastSeq atomic.Uint64

// New registers a write of [lo, hi), ordered after every Pending registered before it.
func (l *Abandoned) New(lo, hi int64) *Pending {
	return &Pending{of: l, seq: lastSeq.Add(1), lo: lo, hi: hi, done: make(chan struct{})}
}

// Abandon records that no caller waits for w any more. The caller of w calls it before it returns.
func (w *Pending) Abandon() {
	l := w.of
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, w)
	l.count.Add(1)
}

// Done ends what Abandon began, when w is complete.
func (w *Pending) Done() {
	l := w.of
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.Index(l.list, w)
	l.list = slices.Delete(l.list, i, i+1)
	l.count.Add(-1)
	close(w.done)
}

// Wait waits for the abandoned writes that are ordered before w, which may itself be abandoned.
func (w *Pending) Wait() {
	if !w.of.None() {
		w.of.wait(w.lo, w.hi, w.seq)
	}
}

// None reports whether no write is abandoned.
func (l *Abandoned) None() bool { return l.count.Load() == 0 }

// Wait waits until all abandoned writes of bytes in [lo, hi) are complete. The caller holds no lock
// and no semaphore that these writes might need.
func (l *Abandoned) Wait(lo, hi int64) {
	if !l.None() {
		l.wait(lo, hi, math.MaxUint64)
	}
}

func (l *Abandoned) wait(lo, hi int64, before uint64) {
	for w := l.find(lo, hi, before); w != nil; w = l.find(lo, hi, before) {
		<-w.done
	}
}

func (l *Abandoned) find(lo, hi int64, before uint64) *Pending {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, w := range l.list {
		if w.seq < before && w.lo < hi && lo < w.hi {
			return w
		}
	}
	return nil
}
