package sched

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
)

// A Semaphore bounds what all devices together have in use at a time: requests, calls or bytes. A
// device uses its Share. It has at most half of what the other devices leave. So a device that
// hangs, with any number of calls, leaves as much as it has to the others, and two that hang leave
// a quarter of all.
type Semaphore struct {
	limit   int64
	waiting atomic.Int64 // calls of Acquire that wait

	mu     sync.Mutex
	shares []*Share // all that there are; mu guards this and what follows
	queued []*Share // those with calls that wait
}

// NewSemaphore returns a Semaphore that grants limit units, at least one, to a single device, and
// twice as many to all.
func NewSemaphore(limit int) *Semaphore {
	s := new(Semaphore)
	s.SetLimit(limit)
	return s
}

// SetLimit changes the limit. It must not be called once units have been acquired.
func (s *Semaphore) SetLimit(limit int) { s.limit = 2 * int64(max(limit, 1)) }

// Limit returns the largest number of units that a device has at a time.
func (s *Semaphore) Limit() int { return int(s.limit / 2) }

// Share returns the Share of a device. If most is not 0, it is a bound of the device's own. Shares
// live as long as the Semaphore.
func (s *Semaphore) Share(most int) *Share {
	share := &Share{sem: s, most: int64(most)}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shares = append(s.shares, share)
	return share
}

// A Share is what one device has of a Semaphore. It is first come, first served: an Acquire for
// many units is not overtaken by one for few. It allocates nothing in steady state. All methods
// may be called concurrently.
//
// A Share takes units from a lease of its own, so that calls on one device write to one word only.
// What it has leased and does not use goes back when another Share needs it.
type Share struct {
	sem  *Semaphore
	most int64

	word    atomic.Int64 // the units in use, plus the lease << leaseShift
	waiting atomic.Int64 // calls of Acquire that wait
	waits   atomic.Int64 // calls that have had to

	// first and last are the calls that wait, in order of arrival; guarded by sem.mu.
	first, last *acquirer
}

const (
	leaseShift = 32
	usedMask   = 1<<leaseShift - 1
)

// An acquirer is an Acquire that waits.
type acquirer struct {
	n          int64
	ready      chan struct{} // capacity 1
	prev, next *acquirer
	listed     bool // it has not been granted its units
}

var acquirers = sync.Pool{New: func() any { return &acquirer{ready: make(chan struct{}, 1)} }}

// Acquire waits until n units are free and takes them. More than the device may have is as many as
// it may, here and in Release.
func (s *Share) Acquire(n int) {
	if s.TryAcquire(n) {
		return
	}
	a := s.wait(n)
	<-a.ready
	acquirers.Put(a)
}

// AcquireContext is Acquire for as long as ctx lasts. It returns false, and takes nothing, if ctx
// ends first.
func (s *Share) AcquireContext(ctx context.Context, n int) bool {
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
func (s *Share) TryAcquire(n int) bool {
	if s.waiting.Load() > 0 {
		return false
	}
	units := s.units(n)
	if s.take(units) {
		return true
	}
	s.sem.mu.Lock()
	defer s.sem.mu.Unlock()
	return s.first == nil && s.leaseAndTake(units)
}

// Release gives back n units that were acquired together.
func (s *Share) Release(n int) {
	s.word.Add(-s.units(n))
	if s.sem.waiting.Load() == 0 {
		return
	}
	s.sem.mu.Lock()
	defer s.sem.mu.Unlock()
	s.sem.grant()
}

// Load returns the number of units in use and the number of calls that wait.
func (s *Share) Load() (used, waiting int64) { return s.used(), s.waiting.Load() }

// Waits returns the number of calls that have had to wait.
func (s *Share) Waits() int64 { return s.waits.Load() }

// Limit returns the largest number of units in use at a time.
func (s *Share) Limit() int {
	if s.most > 0 {
		return int(min(s.most, s.sem.limit/2))
	}
	return s.sem.Limit()
}

func (s *Share) units(n int) int64 { return min(int64(n), int64(s.Limit())) }

// take takes n units of the lease, if that has them.
func (s *Share) take(n int64) bool {
	for {
		w := s.word.Load()
		if w&usedMask+n > w>>leaseShift {
			return false
		}
		if s.word.CompareAndSwap(w, w+n) {
			return true
		}
	}
}

// leaseAndTake takes n units, of a larger lease if need be. Only if that helps, the others give
// back what they have leased and do not use. sem.mu is held.
func (s *Share) leaseAndTake(n int64) bool {
	if s.take(n) {
		return true
	}
	leased, inUse := s.others()
	if s.enlarge(n, leased) {
		return true
	}
	if used := s.used(); used+n > s.may(n, inUse) {
		return false
	}
	for _, other := range s.sem.shares {
		other.lease(0)
	}
	leased, _ = s.others()
	return s.enlarge(n, leased)
}

// others returns the sum of the other leases, and of the units of these that are in use. sem.mu is
// held.
func (s *Share) others() (leased, used int64) {
	for _, other := range s.sem.shares {
		if other != s {
			w := other.word.Load()
			leased, used = leased+w>>leaseShift, used+w&usedMask
		}
	}
	return leased, used
}

// may returns how many units the device may have for a call of n, while the others have so many.
func (s *Share) may(n, others int64) int64 {
	left := s.sem.limit - others
	most := (left + 1) / 2
	if s.most > 0 {
		most = min(most, s.most)
	}
	if s.used() == 0 {
		most = max(most, n) // it would wait for ever
	}
	return min(most, left)
}

// enlarge takes n units of the largest lease that the device may have while the others have so
// many. sem.mu is held.
func (s *Share) enlarge(n, others int64) bool {
	s.lease(s.may(n, others))
	return s.take(n)
}

func (s *Share) used() int64 { return s.word.Load() & usedMask }

// lease makes the lease n units, or as many as are in use if these are more. sem.mu is held.
func (s *Share) lease(n int64) {
	for {
		w := s.word.Load()
		used := w & usedMask
		if s.word.CompareAndSwap(w, max(n, used)<<leaseShift|used) {
			return
		}
	}
}

// wait joins the calls that wait. It may have been granted its units at once.
func (s *Share) wait(n int) *acquirer {
	a := acquirers.Get().(*acquirer)
	a.n = s.units(n)
	s.waits.Add(1)
	s.sem.mu.Lock()
	defer s.sem.mu.Unlock()
	s.push(a)
	s.sem.grant() // units may have become free before waiting was seen
	return a
}

// leave takes a back. It returns false if a has its units.
func (s *Share) leave(a *acquirer) bool {
	s.sem.mu.Lock()
	defer s.sem.mu.Unlock()
	if !a.listed {
		return false
	}
	s.remove(a)
	s.sem.grant() // the calls behind may need less
	return true
}

// push makes a the last of the calls that wait. sem.mu is held.
func (s *Share) push(a *acquirer) {
	if s.first == nil {
		s.first = a
		s.sem.queued = append(s.sem.queued, s)
	} else {
		s.last.next = a
	}
	a.prev, a.next, a.listed = s.last, nil, true
	s.last = a
	s.waiting.Add(1)
	s.sem.waiting.Add(1)
}

// remove takes a out of the calls that wait. sem.mu is held.
func (s *Share) remove(a *acquirer) {
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
	s.waiting.Add(-1)
	s.sem.waiting.Add(-1)
	if s.first == nil {
		i := slices.Index(s.sem.queued, s)
		s.sem.queued = slices.Delete(s.sem.queued, i, i+1)
	}
}

// grant gives units to the calls that wait, in order for each device and to one device after the
// other, as long as there are enough. mu is held.
func (s *Semaphore) grant() {
	for i, refused := 0, 0; refused < len(s.queued); i++ {
		share := s.queued[i%len(s.queued)]
		a := share.first
		if refused++; share.leaseAndTake(a.n) {
			refused = 0
			share.remove(a)
			a.ready <- struct{}{} // it may be another call's from here on
		}
	}
}
