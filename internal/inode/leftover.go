package inode

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"
)

// Leftovers are the writes of a file that nobody waits for any more, because a context ended
// their calls, and that may not be over. What is written later to the same bytes has to wait for
// them, or an old write would undo it; the lock table does not see to that, because two buffered
// writes go at the same time there, and because a leftover may not have begun yet.
//
// The zero value has none. All methods may be called concurrently.
type Leftovers struct {
	count atomic.Int32 // of list
	mu    sync.Mutex
	list  []*Leftover
}

// A Leftover is one of them, or a call that may become one.
type Leftover struct {
	of     *Leftovers
	turn   uint64
	lo, hi int64
	over   chan struct{}
}

var turns atomic.Uint64

// New returns one of the bytes [lo, hi), for what is called now.
func (l *Leftovers) New(lo, hi int64) *Leftover {
	return &Leftover{of: l, turn: turns.Add(1), lo: lo, hi: hi, over: make(chan struct{})}
}

// Leave takes note that nobody waits for w any more. It comes before the call returns.
func (w *Leftover) Leave() {
	l := w.of
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, w)
	l.count.Store(int32(len(l.list)))
}

// Over ends what Leave began, when w is over.
func (w *Leftover) Over() {
	l := w.of
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.Index(l.list, w)
	l.list = slices.Delete(l.list, i, i+1)
	l.count.Store(int32(len(l.list)))
	close(w.over)
}

// Wait waits for those that were called before w, which may be left itself by now.
func (w *Leftover) Wait() {
	if w.of.count.Load() != 0 {
		w.of.wait(w.lo, w.hi, w.turn)
	}
}

// None reports whether there are none.
func (l *Leftovers) None() bool { return l.count.Load() == 0 }

// Wait waits until all writes to bytes of [lo, hi) that were left are over. The caller holds no
// lock, and no permit that they might need.
func (l *Leftovers) Wait(lo, hi int64) {
	if l.count.Load() != 0 {
		l.wait(lo, hi, math.MaxUint64)
	}
}

func (l *Leftovers) wait(lo, hi int64, before uint64) {
	for {
		w := l.find(lo, hi, before)
		if w == nil {
			return
		}
		<-w.over
	}
}

func (l *Leftovers) find(lo, hi int64, before uint64) *Leftover {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, w := range l.list {
		if w.turn < before && w.lo < hi && lo < w.hi {
			return w
		}
	}
	return nil
}
