//go:build linux

package queue

import (
	"runtime"
	"syscall"
	"time"

	"github.com/go-aio/aio/libaio"
)

// batchSize bounds a call of io_submit(2), so that one request that is slow to submit
// does not hold up a crowd.
const batchSize = 16

// A batch is what a submitter works with.
type batch struct {
	slots  []*slot
	iocbs  []*libaio.IOCB // of slots
	events [4 * batchSize]libaio.Event

	calls, taken, largest int // of io_submit(2), see counts.add
}

// submit gives pending requests to the kernel until there are none. own is the caller's request
// among them, or nil. On entry q.mu is held and the caller is counted in q.submitting; on return
// neither is so.
func (q *Queue) submit(k kernel, own *slot) {
	q.gather()
	b := q.batch()
	for q.pending.len() > 0 {
		if own != nil && (own.isDone() || own.group != nil && own.group.given) {
			// The caller's own request is done, or all of its group is submitted: the requests of
			// other callers must not keep it here.
			q.spare(b)
			q.mu.Unlock()
			go q.submitFn()
			return
		}
		q.fill(b)
		before := q.pushes
		q.mu.Unlock()
		q.push(k, b)
		q.look(k, b)
		q.mu.Lock()
		q.counts.add(b)
		others := q.pushes != before
		q.pushes++
		if others && q.submitting > int(q.procs.Load()) {
			q.watchSubmitters(k) // relieve added a submitter, and it is making progress
			break
		}
		if q.stalled.Load() && q.inKernel.Load() > 0 {
			break // a completion will bring a submitter back, or a submitter that has counted a request
		}
	}
	q.spare(b)
	q.submitting--
	q.mu.Unlock()
}

// gatherFrom is the number of requests in the kernel from which it pays to gather.
const gatherFrom = 16

// gather lets the goroutines run that have become runnable with the caller, when a burst of
// completions was delivered: most of them are about to make their next request, and one
// io_submit(2) for all, with one notification of the device, takes a fifth less of the
// processor at 128 requests in flight. q.mu is held, and not while they run.
func (q *Queue) gather() {
	if q.inKernel.Load() < gatherFrom || q.pending.len() >= batchSize {
		return
	}
	q.mu.Unlock()
	runtime.Gosched()
	q.mu.Lock()
}

// submitOthers takes over a submitter's place.
func (q *Queue) submitOthers(k kernel) {
	q.mu.Lock()
	q.submit(k, nil)
}

// resume brings a submitter back, if there is need and room for one. If there is no room, those
// that have it may be stuck, and relieve looks after them.
func (q *Queue) resume(k kernel) {
	q.mu.Lock()
	if q.pending.len() == 0 {
		q.mu.Unlock()
		return
	}
	if q.submitting >= int(q.procs.Load()) {
		q.watchSubmitters(k)
		q.mu.Unlock()
		return
	}
	q.submitting++
	q.submit(k, nil)
}

// watchSubmitters sets relieve, for requests that are pending. q.mu is held.
func (q *Queue) watchSubmitters(k kernel) {
	if q.watched {
		return
	}
	q.watched, q.seen = true, q.pushes
	q.patience = max(q.patience, q.stuckAfter)
	if q.relief == nil {
		q.relief = time.AfterFunc(q.patience, func() { q.relieve(k) })
		return
	}
	q.relief.Reset(q.patience)
}

// maxRelief bounds the submitters that relieve brings in, each of which is a thread.
const maxRelief = 64

// relieve brings in a submitter beyond the others if none of them has got anywhere since it
// was set: io_submit(2) blocks where it should not, for a page that must be
// written first, say, and a disk that hangs. Other disks need not wait for that. Where there is
// room it brings one in at once: what is pending then was left so by stall, and the completion
// that it waits for may be that of a request which is stuck in io_submit(2).
func (q *Queue) relieve(k kernel) {
	q.mu.Lock()
	q.watched = false
	if q.pending.len() == 0 {
		q.mu.Unlock()
		return
	}
	if q.submitting < int(q.procs.Load()) {
		q.submitting++
		q.submit(k, nil)
		return
	}
	// A disk whose queue is full for a moment, or that stalls for half a second, as some do,
	// is worth a few threads only.
	stuck := q.pushes == q.seen
	if stuck {
		q.patience = min(2*q.patience, 4*q.stuckAfter)
	} else {
		q.patience = q.stuckAfter
	}
	q.watchSubmitters(k)
	if !stuck || q.submitting >= int(q.procs.Load())+maxRelief {
		q.mu.Unlock()
		return
	}
	q.submitting++
	q.counts.relieved++
	q.submit(k, nil)
}

// batch returns an empty batch. q.mu is held.
func (q *Queue) batch() *batch {
	if n := len(q.batches); n > 0 {
		b := q.batches[n-1]
		q.batches = q.batches[:n-1]
		return b
	}
	return &batch{slots: make([]*slot, 0, batchSize), iocbs: make([]*libaio.IOCB, 0, batchSize)}
}

// spare keeps b for the next submitter. q.mu is held.
func (q *Queue) spare(b *batch) { q.batches = append(q.batches, b) }

// fill moves pending requests to b. q.mu is held.
func (q *Queue) fill(b *batch) {
	b.slots, b.iocbs = b.slots[:0], b.iocbs[:0]
	for q.pending.len() > 0 && b.takes(*q.pending.at(0)) {
		s, _ := q.pending.pop()
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

// push submits b. What the kernel does not take is refused, alone, or left pending.
func (q *Queue) push(k kernel, b *batch) {
	slots, iocbs := b.slots, b.iocbs
	// Counted before they are there, so that the count is never too low; see stall.
	q.inKernel.Add(int64(len(slots)))
	q.arm(k, slots)
	q.clock(slots)
	for len(slots) > 0 {
		n, err := k.Submit(iocbs...)
		slots, iocbs = slots[n:], iocbs[n:]
		if n > 0 {
			b.calls, b.taken, b.largest = b.calls+1, b.taken+n, max(b.largest, n)
			continue // a short submit: the next call tells why
		}
		switch err {
		case syscall.EINTR:
			// io_submit(2) does not document it; nothing was taken.
		case syscall.EAGAIN, nil:
			// No free place in the context, or no memory for the request.
			if q.stall(k, slots) {
				return
			}
			slots, iocbs = q.refuse(slots, iocbs, unavailable)
		case syscall.ENOSYS, syscall.EPERM, syscall.EACCES:
			// A seccomp filter has been installed since; that does not pass.
			q.retryAt.Store(never)
			q.refusedWith(err)
			for len(slots) > 0 {
				slots, iocbs = q.refuse(slots, iocbs, unavailable)
			}
		case syscall.EINVAL, syscall.EOPNOTSUPP, syscall.EBADF, syscall.EFAULT:
			// EINVAL: offset and length beyond the largest file, or an opcode that this
			// kernel lacks (fsync before Linux 4.18). EOPNOTSUPP: the file's driver has
			// no asynchronous call. EBADF: not open for this. EFAULT: cannot happen.
			slots, iocbs = q.refuse(slots, iocbs, -int64(err.(syscall.Errno)))
		default:
			// What else the kernel has against the first, the rest may not share.
			slots, iocbs = q.refuse(slots, iocbs, refusal(err))
		}
	}
}

// arm makes the completion of each ring, unless the reaper waits for it elsewhere.
func (q *Queue) arm(k kernel, slots []*slot) {
	if slots[0].group != nil && q.markQuiet(slots) {
		return
	}
	if q.collecting.Load() {
		n := int64(len(slots))
		q.quiet.Add(n)
		if q.collecting.Load() {
			for _, s := range slots {
				s.quiet = true
			}
			return
		}
		q.quiet.Add(-n) // see stopCollecting
	}
	for _, s := range slots {
		k.arm(&s.iocb)
	}
}

func refusal(err error) int64 {
	if errno, ok := err.(syscall.Errno); ok {
		return -int64(errno)
	}
	return unavailable
}

// refuse ends the first request with res and returns the others.
func (q *Queue) refuse(slots []*slot, iocbs []*libaio.IOCB, res int64) ([]*slot, []*libaio.IOCB) {
	q.inKernel.Add(-1)
	q.clearQuiet(slots[0])
	slots[0].finish(res)
	return slots[1:], iocbs[1:]
}

// stall leaves slots pending until a completion makes room. It returns false if none
// can come, because nothing is in the kernel. What is counted as in the kernel includes the
// requests of submitters that are in io_submit(2), of which one may be stuck: so relieve is set.
//
// deliver lowers q.inKernel and then looks at q.stalled; here it is the other way round, so one of
// the two sees the other. A submitter that has counted
// requests which the kernel then refuses lowers q.inKernel too, here or in refuse, and
// the last one finds zero, here or in submit.
func (q *Queue) stall(k kernel, slots []*slot) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stalled.Store(true)
	if q.inKernel.Add(-int64(len(slots))) == 0 {
		q.stalled.Store(false)
		q.inKernel.Add(int64(len(slots)))
		return false
	}
	for i := len(slots) - 1; i >= 0; i-- {
		q.clearQuiet(slots[i])
		q.pending.unpop(slots[i])
	}
	q.watchSubmitters(k)
	return true
}
