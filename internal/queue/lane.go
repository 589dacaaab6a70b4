//go:build linux

package queue

import (
	"sync"
	"sync/atomic"
	"time"
)

// A Lane is the way of the requests of one device to the kernel. One io_submit(2) carries requests
// of one Lane only: it may block for as long as the device hangs. All methods may be called
// concurrently.
//
// # Invariant
//
// While mu is not held, a pending request implies that the relief timer is set. The timer brings in
// a submitter, whatever has become of the others: one may be stuck in io_submit(2), or the kernel
// may have refused requests for a moment (EAGAIN).
type Lane struct {
	q *Queue

	active    atomic.Int64 // requests in Do, groups, and system calls that TrySync has let go
	taken     atomic.Int64 // requests that io_submit(2) took
	delivered atomic.Int64 // of these, requests whose events have been taken
	refused   atomic.Int64 // requests that io_submit(2) did not take
	hung      atomic.Int64 // requests that count in Queue.hung
	stalled   atomic.Bool  // the kernel has lately answered EAGAIN; see stall
	busyCalls atomic.Int64 // system calls that were made because processors were busy

	// submitFn and resumeFn are submitOthers and resume: a go statement with arguments would
	// allocate.
	submitFn, resumeFn func()

	stuckAfter time.Duration // see relieve

	// mu guards what follows. It is never held across a system call, nor with another lock.
	mu         sync.Mutex
	pending    fifo[*slot] // requests that are in no submitter's batch
	submitting int         // goroutines in submit, at most procs but for relieve
	pushes     uint64      // batches that have been submitted
	spares     []*batch    // that no submitter uses, at most one for each P
	relief     *time.Timer // runs relieve
	watched    bool        // it is set
	patience   time.Duration
	seen       uint64 // pushes, when it was set
	last       int64  // delivered, as of the last noteHung
	counts
}

// Lane returns a new Lane. Lanes are few, and live as long as the process.
func (q *Queue) Lane() *Lane {
	l := &Lane{q: q, stuckAfter: 30 * time.Millisecond}
	l.submitFn, l.resumeFn = l.submitOthers, l.resume
	l.relief = stopped(l.relieve)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.lanes = append(q.lanes, l)
	return l
}

// Do runs one request and waits for it. Offset, lengths and addresses are aligned as direct I/O on
// its descriptor wants it, and there are at most [MaxBuffers] buffers. Do returns the bytes
// transferred, which may be fewer than those of the buffers, or a bare syscall.Errno; a count of 0
// from a Read is the end of the file. ErrUnavailable means that the request must be made in
// another way. Several buffers take an array of their addresses, the only allocation.
//
// The caller bounds the number of requests: of a device, and of all to the depth of the Queue.
func (l *Lane) Do(r Request) (int, error) {
	if l.q.ready() == nil {
		return 0, ErrUnavailable
	}
	l.active.Add(1)
	l.q.watchBusy()
	s := slots.Get().(*slot)
	s.lane = l
	s.prepare(&r)
	l.mu.Lock()
	l.pending.push(s)
	if l.enter(1) {
		l.submit(s)
	}
	<-s.done
	n, err := s.result()
	s.free()
	l.active.Add(-1)
	return n, err
}

// enter counts n requests that have just become pending. It returns true, with mu still held, if
// the caller has a submitter's place and must call submit; otherwise a submitter will take them.
func (l *Lane) enter(n int) bool {
	l.submitted += int64(n)
	l.q.guard()
	if l.submitting >= int(l.q.procs.Load()) {
		l.watch(l.stuckAfter)
		l.mu.Unlock()
		return false
	}
	l.submitting++
	return true
}

// inKernel returns the number of requests in the kernel.
func (l *Lane) inKernel() int64 { return l.taken.Load() - l.delivered.Load() }

// TrySync reports whether fewer than limit requests of the device are in flight, so that the caller
// had better make a system call. Then it counts that as a request, and Leave ends it.
func (l *Lane) TrySync(limit int) bool {
	if l.active.Add(1) <= int64(limit) {
		return true
	}
	l.active.Add(-1)
	return false
}

// Leave ends what a successful TrySync began.
func (l *Lane) Leave() { l.active.Add(-1) }

// TryBusy is TrySync with Busy in place of a limit. LeaveBusy ends what it began.
func (l *Lane) TryBusy() bool {
	if !l.q.Busy() {
		return false
	}
	l.active.Add(1)
	return true
}

// LeaveBusy ends what a successful TryBusy began.
func (l *Lane) LeaveBusy() {
	l.busyCalls.Add(1)
	l.active.Add(-1)
}
