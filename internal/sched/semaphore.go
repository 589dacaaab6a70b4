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
	waiting []*acquirer // in order of arrival
}

// An acquirer is an Acquire that waits.
type acquirer struct {
	n     int64
	ready chan struct{} // capacity 1
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
	return s.state.Load() >> 1, len(s.waiting)
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
	s.waiting = append(s.waiting, a)
	s.state.Or(1)
	s.grant() // units may have become free before the state was odd
	return a
}

// leave takes a back. It returns false if a has its units.
func (s *Semaphore) leave(a *acquirer) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.waiting {
		if s.waiting[i] == a {
			s.waiting = append(s.waiting[:i], s.waiting[i+1:]...)
			s.grant() // those behind may need less
			return true
		}
	}
	return false
}

// grant gives units to those that wait, in order, as long as there are enough. mu is held.
func (s *Semaphore) grant() {
	granted := 0
	for _, a := range s.waiting {
		if s.state.Load()>>1+a.n > s.limit {
			break
		}
		s.state.Add(a.n << 1)
		a.ready <- struct{}{}
		granted++
	}
	if granted > 0 {
		n := copy(s.waiting, s.waiting[granted:])
		clear(s.waiting[n:])
		s.waiting = s.waiting[:n]
	}
	if len(s.waiting) == 0 {
		s.state.And(^1)
	}
}
