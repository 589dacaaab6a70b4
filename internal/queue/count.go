//go:build linux

package queue

import (
	"fmt"
	"math/bits"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// counts are counters that a Lane keeps for Stats only. Its mu guards them: a goroutine that holds
// it anyway pays a nanosecond for one. An atomic counter would cost the more, the more processors
// write to it.
type counts struct {
	submitted int64 // requests that became pending
	batches   int64
	batched   int64
	largest   int64
	relieved  int64
}

// add adds the counts that b kept outside of mu, and clears them.
func (c *counts) add(b *batch) {
	c.batches += int64(b.calls)
	c.batched += int64(b.taken)
	c.largest = max(c.largest, int64(b.largest))
	b.calls, b.taken, b.largest = 0, 0, 0
}

// Stats returns the counts of q.
func (q *Queue) Stats() Stats {
	s := Stats{
		Wakes:      q.wakes.Load(),
		Collects:   q.collects.Load(),
		Overlooked: q.dog.overlooked.Load(),
		Latency:    q.latency.read(),
	}
	if why := q.why.Load(); why != nil {
		s.Unavailable = *why
	}
	if incident := q.dog.incident.Load(); incident != nil {
		s.Incident = *incident
	}
	for l := range q.each {
		inKernel, completed := l.inKernel(), l.delivered.Load()+l.refused.Load()
		pending := int64(l.pending.len())
		s.Submitted += l.submitted
		s.Completed += completed
		s.Pending += pending
		// An event may come before submit counts its request, and meanwhile.
		s.InFlight += min(max(inKernel, 0), l.submitted-completed-pending)
		s.Batches += l.batches
		s.Batched += l.batched
		s.LargestBatch = max(s.LargestBatch, l.largest)
		s.Relieved += l.relieved
	}
	return s
}

// RecordLatency sets whether q.latency is filled, initially not. Two readings of the clock
// would be a fifth of the cost of a request here. In a crowd a batch shares them
// (BenchmarkDoTimed).
func (q *Queue) RecordLatency(on bool) { q.timed.Store(on) }

var epoch = time.Now()

// now returns the time in nanoseconds while latency is recorded, and 0 otherwise.
func (q *Queue) now() int64 {
	if !q.timed.Load() {
		return 0
	}
	return int64(time.Since(epoch))
}

// clock records the time in slots that are about to be submitted.
func (q *Queue) clock(slots []*slot) {
	now := q.now()
	if now == 0 {
		return
	}
	for _, s := range slots {
		s.began = now
	}
}

// A histogram is a Latency for concurrent use.
type histogram struct {
	counts [LatencyBounds + 1]atomic.Int64
	sum    atomic.Int64
}

func (h *histogram) add(d time.Duration) {
	d = max(d, 0)
	h.counts[min(bits.Len64(uint64(d/time.Microsecond)), LatencyBounds)].Add(1)
	h.sum.Add(int64(d))
}

func (h *histogram) read() (l Latency) {
	for i := range h.counts {
		l.Counts[i] = h.counts[i].Load()
	}
	l.Sum = time.Duration(h.sum.Load())
	return l
}

// refusedWith records why the kernel refused to set up a context or to take any request.
func (q *Queue) refusedWith(err error) {
	why := reason(err)
	q.why.Store(&why)
}

// reason describes err, an error of making a context. It names a limit with its value.
func reason(err error) string {
	switch err {
	case syscall.EAGAIN: // io_setup(2); see setup
		return fmt.Sprintf("io_setup: %v: /proc/sys/fs/aio-nr is %s, /proc/sys/fs/aio-max-nr is %s",
			err, limit("aio-nr"), limit("aio-max-nr"))
	case syscall.ENOSYS, syscall.EPERM, syscall.EACCES:
		return fmt.Sprintf("%v: a seccomp filter forbids it, or the kernel has no CONFIG_AIO", err)
	case syscall.EMFILE:
		return fmt.Sprintf("eventfd2: %v: RLIMIT_NOFILE", err)
	case syscall.ENFILE:
		return fmt.Sprintf("eventfd2: %v: /proc/sys/fs/file-max is %s", err, limit("file-max"))
	}
	return err.Error()
}

// limit returns the content of the file /proc/sys/fs/name.
func limit(name string) string {
	text, err := os.ReadFile("/proc/sys/fs/" + name)
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(text))
}
