//go:build linux

package queue

import (
	"runtime"
	"syscall"
	"time"

	"github.com/go-aio/aio/libaio"
)

// batchSize bounds a call of io_submit(2), so that one request that is slow to submit does not hold
// up a crowd.
const batchSize = 16

// A batch is what a submitter works with.
type batch struct {
	slots  []*slot
	iocbs  []*libaio.IOCB // of slots
	events [4 * batchSize]libaio.Event

	calls, taken, largest int // of io_submit(2), see counts.add
}

// takeBatch returns a batch for a submitter. mu is held.
func (l *Lane) takeBatch() *batch {
	last := len(l.spares) - 1
	if last < 0 {
		return &batch{
			slots: make([]*slot, 0, batchSize),
			iocbs: make([]*libaio.IOCB, 0, batchSize),
		}
	}
	b := l.spares[last]
	l.spares = l.spares[:last]
	return b
}

// keep takes back b. mu is held.
func (l *Lane) keep(b *batch) {
	if len(l.spares) < int(l.q.procs.Load()) {
		l.spares = append(l.spares, b)
	}
}

// submit gives pending requests to the kernel until there are none. own is the caller's request
// among them, or nil. On entry mu is held and the caller is counted in submitting; on return
// neither is so.
func (l *Lane) submit(own *slot) {
	l.gather()
	b := l.takeBatch()
	for l.pending.len() > 0 {
		if own != nil && (own.isDone() || own.group != nil && own.group.given) {
			// The caller's own request is done, or all of its group is submitted: the requests of
			// other callers must not keep it here.
			l.keep(b)
			l.watch(l.stuckAfter)
			l.mu.Unlock()
			go l.submitFn()
			return
		}
		b.fill(&l.pending)
		before := l.pushes
		l.unlock()
		all := l.push(b)
		l.q.look(b)
		l.mu.Lock()
		l.add(b)
		others := l.pushes != before
		l.pushes++
		if !all {
			break // a completion or the timer will bring a submitter back
		}
		if others && l.submitting > int(l.q.procs.Load()) {
			break // relieve added a submitter, and it is making progress
		}
	}
	l.keep(b)
	l.submitting--
	l.unlock()
}

// unlock unlocks mu and keeps the invariant of pending requests.
func (l *Lane) unlock() {
	if l.pending.len() > 0 {
		l.watch(l.stuckAfter)
	}
	l.mu.Unlock()
}

// gatherFrom is the number of requests in the kernel from which it pays to gather.
const gatherFrom = 16

// gather lets the goroutines run that have become runnable with the caller, when a burst of
// completions was delivered: most of them are about to make their next request, and one
// io_submit(2) for all, with one notification of the device, takes a fifth less of the processor at
// 128 requests in flight. mu is held, and not while they run.
func (l *Lane) gather() {
	if l.inKernel() < gatherFrom || l.pending.len() >= batchSize {
		return
	}
	l.unlock()
	runtime.Gosched()
	l.mu.Lock()
}

// submitOthers takes over a submitter's place.
func (l *Lane) submitOthers() {
	l.mu.Lock()
	l.submit(nil)
}

// resume brings a submitter back, if there is need and room for one. If there is no room, those
// that have it may be stuck, and relieve looks after them.
func (l *Lane) resume() {
	l.mu.Lock()
	if l.pending.len() == 0 || l.submitting >= int(l.q.procs.Load()) {
		l.unlock()
		return
	}
	l.submitting++
	l.submit(nil)
}

// watch sets relieve, for requests that are pending, if it is not set yet. mu is held.
func (l *Lane) watch(after time.Duration) {
	if l.watched {
		return
	}
	l.watched, l.seen = true, l.pushes
	l.patience = max(l.patience, after)
	l.relief.Reset(l.patience)
}

// maxRelief bounds the submitters that relieve brings in, each of which is a thread.
const maxRelief = 64

// relieve brings in a submitter beyond the others if none of them has got anywhere since it was
// set: io_submit(2) blocks where it should not, for a page that must be written first, say, and a
// disk that hangs. The other requests of that disk may not have to wait for that. Where there is
// room it brings one in at once: stall left pending what is so then.
func (l *Lane) relieve() {
	l.mu.Lock()
	l.watched = false
	if l.pending.len() == 0 {
		l.mu.Unlock()
		return
	}
	places := int(l.q.procs.Load())
	if l.submitting >= places {
		// A disk whose queue is full for a moment, or that stalls for half a second, as some do, is
		// worth a few threads only.
		stuck := l.pushes == l.seen
		if stuck {
			l.patience = min(2*l.patience, 4*l.stuckAfter)
		} else {
			l.patience = l.stuckAfter
		}
		l.watch(l.stuckAfter)
		if !stuck || l.submitting >= places+maxRelief {
			l.mu.Unlock()
			return
		}
		l.relieved++
	}
	l.submitting++
	l.submit(nil)
}

// fill moves pending requests to b.
func (b *batch) fill(pending *fifo[*slot]) {
	b.slots, b.iocbs = b.slots[:0], b.iocbs[:0]
	for pending.len() > 0 && b.takes(*pending.at(0)) {
		s, _ := pending.pop()
		if s.group != nil {
			s.group.given = s == s.group.last()
		}
		b.slots = append(b.slots, s)
		b.iocbs = append(b.iocbs, &s.iocb)
	}
}

// takes reports whether s is to go with those in b. A group has calls of its own.
func (b *batch) takes(s *slot) bool {
	switch n := len(b.slots); {
	case n == 0:
		return true
	case s.group != b.slots[0].group:
		return false
	case s.group != nil && b.slots[0] == s.group.slots[0]:
		return n < groupFirst
	default:
		return n < batchSize
	}
}

// push submits b. A request that the kernel does not take is refused, alone, or left pending. push
// returns false if it has left any.
func (l *Lane) push(b *batch) bool {
	slots, iocbs := b.slots, b.iocbs
	l.q.arm(slots)
	l.q.clock(slots)
	again := false
	for len(slots) > 0 {
		n, err := l.q.kernel.Submit(iocbs...)
		slots, iocbs = slots[n:], iocbs[n:]
		if n > 0 {
			l.taken.Add(int64(n))
			l.q.inKernel.Add(int64(n))
			b.calls, b.taken, b.largest = b.calls+1, b.taken+n, max(b.largest, n)
			continue // a short submit: the next call tells why
		}
		refused, res := 1, int64(unavailable)
		switch err {
		case syscall.EINTR:
			// io_submit(2) does not document it; nothing was taken.
			refused = 0
		case syscall.EAGAIN, nil:
			// No free place in the context, or no memory for the request.
			if l.stall(slots) {
				return false
			}
			if !again && l.taken.Load() > 0 {
				// The device has no request in the kernel now. Those that filled the context may have
				// been its own, and have just completed.
				again, refused = true, 0
			}
		case syscall.ENOSYS, syscall.EPERM, syscall.EACCES:
			// A seccomp filter has been installed since; that does not pass.
			l.q.forbid(err)
			refused = len(slots)
		default:
			// EINVAL: offset and length beyond the largest file, or an opcode that this kernel
			// lacks (fsync before Linux 4.18). EOPNOTSUPP: the file's driver has no asynchronous
			// call. EBADF: not open for this. EFAULT: cannot happen. What the kernel has against
			// the first, the rest may not share.
			if errno, ok := err.(syscall.Errno); ok {
				res = -int64(errno)
			}
		}
		l.refused.Add(int64(refused))
		for _, s := range slots[:refused] {
			l.q.clearQuiet(s)
			s.finish(res)
		}
		slots, iocbs = slots[refused:], iocbs[refused:]
	}
	return true
}

// stallFor is how long requests wait after EAGAIN if no completion makes room before.
const stallFor = 2 * time.Millisecond

// stall leaves slots pending until a completion of the device makes room, or the timer tries
// again. It returns false if the kernel has no request of the device: what it lacks room for is
// other devices' then, or it has no memory, and system calls do not need either.
func (l *Lane) stall(slots []*slot) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stalled.Store(true)
	if l.inKernel() <= 0 {
		l.stalled.Store(false)
		return false
	}
	for i := len(slots) - 1; i >= 0; i-- {
		l.q.clearQuiet(slots[i])
		l.pending.unpop(slots[i])
	}
	// The invariant of pending requests, and sooner than for a submitter that may be stuck.
	l.watched, l.seen = true, l.pushes
	l.relief.Reset(stallFor)
	return true
}
