package sched

import (
	"context"
	"sync"
	"sync/atomic"
)

// A Semaphore bounds what is in use at a time: calls, buffers or bytes, in units that its user
// chooses. It is first come, first served: an Acquire for many units is not overtaken by one for
// few. It allocates nothing in steady state. All methods may be called concurrently.
type Semaphore struct {
	limit int64

	// state is twice the number of units in use, plus 1 while an Acquire waits. While it is odd,
	// units are given out under mu only; so what grant reads can become less meanwhile, not more.
	state atomic.Int64
	waits atomic.Int64

	mu      sync.Mutex
	first   *acquirer // those that wait, in order of arrival; mu is held, as for the next two
	last    *acquirer
	waiting int
}

// An acquirer is an Acquire that waits.
type acquirer struct {
	n          int64
	ready      chan struct{} // capacity 1
	prev, next *acquirer
	listed     bool // it has not been granted its units
}

var acquirers = sync.Pool{New: func() any { return &acquirer{ready: make(chan struct{}, 1)} }}

// NewSemaphore returns a Semaphore of limit units, at least one.
func NewSemaphore(limit int) *Semaphore { return &Semaphore{limit: int64(max(limit, 1))} }

// Limit returns the largest number of units in use at a time.
func (s *Semaphore) Limit() int { return int(s.limit) }

// Acquire waits until n units are free and takes them. More than the limit is the limit, here and
// in Release.
func (s *Semaphore) Acquire(n int) {
	if s.TryAcquire(n) {
		return
	}
	a := s.wait(n)
	<-a.ready
	acquirers.Put(a)
}

// AcquireContext is Acquire for as long as ctx lasts. It returns false, and takes nothing, if ctx
// ends first.
func (s *Semaphore) AcquireContext(ctx context.Context, n int) bool {
	if ctx.Err() != nil {
		return false
	}
	if s.TryAcquire(n) {
		return true
	}
	a := s.wait(n)
	select {
	case <-a.ready:
	case <-ctx.Done():
		if s.leave(a) {
			acquirers.Put(a)
			return false
		}
		<-a.ready // it came at the same time
	}
	acquirers.Put(a)
	return true
}

// TryAcquire is Acquire where that does not wait, and returns false where it would.
func (s *Semaphore) TryAcquire(n int) bool {
	units := s.units(n)
	for {
		state := s.state.Load()
		if state&1 != 0 || state>>1+units > s.limit {
			return false
		}
		if s.state.CompareAndSwap(state, state+units<<1) {
			return true
		}
	}
}

// Release gives back n units that were acquired together.
func (s *Semaphore) Release(n int) {
	if s.state.Add(-s.units(n)<<1)&1 == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.grant()
}

// Load returns the number of units in use and the number of calls that wait.
func (s *Semaphore) Load() (used int64, waiting int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state.Load() >> 1, s.waiting
}

// Waits returns the number of calls that have had to wait.
func (s *Semaphore) Waits() int64 { return s.waits.Load() }

func (s *Semaphore) units(n int) int64 { return min(int64(n), s.limit) }

// wait joins those that wait. It may have been granted its units at once.
func (s *Semaphore) wait(n int) *acquirer {
	a := acquirers.Get().(*acquirer)
	a.n = s.units(n)
	s.waits.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.push(a)
	s.state.Or(1)
	s.grant() // units may have become free before the state was odd
	return a
}

// leave takes a back. It returns false if a has its units.
func (s *Semaphore) leave(a *acquirer) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !a.listed {
		return false
	}
	s.remove(a)
	s.grant() // those behind may need less
	return true
}

// grant gives units to those that wait, in order, as long as there are enough. mu is held.
func (s *Semaphore) grant() {
	for a := s.first; a != nil && s.state.Load()>>1+a.n <= s.limit; a = s.first {
		s.state.Add(a.n << 1)
		s.remove(a)
		a.ready <- struct{}{} // it may be another call's from here on
	}
	if s.first == nil {
		s.state.And(^1)
	}
}

// push makes a the last of those that wait. mu is held.
func (s *Semaphore) push(a *acquirer) {
	a.prev, a.next, a.listed = s.last, nil, true
	if s.last == nil {
		s.first = a
	} else {
		s.last.next = a
	}
	s.last = a
	s.waiting++
}

// remove takes a out of those that wait. mu is held.
func (s *Semaphore) remove(a *acquirer) {
	if a.prev == nil {
		s.first = a.next
	} else {
		a.prev.next = a.next
	}
	if a.next == nil {
		s.last = a.prev
	} else {
		a.next.prev = a.prev
	}
	a.prev, a.next, a.listed = nil, nil, false
	s.waiting--
}
