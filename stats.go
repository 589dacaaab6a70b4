package aio

import (
	"time"

	"github.com/go-aio/aio/internal/fd"
	"github.com/go-aio/aio/internal/sched"
)

// Stats is what [ReadStats] returns: what all Files of the process have done since it began.
// Fields are counters, which never go back, unless they are marked as a gauge, the number at
// this moment. Bytes and durations are named as such; all else is a number of requests or
// calls. One File call may make several requests.
//
// As JSON it is an object with the names of the fields; durations are in nanoseconds.
type Stats struct {
	// Submitted is the number of requests that were given to kernel AIO, Completed that of
	// those that have returned from it, refused ones included.
	Submitted, Completed int64
	// InFlight is a gauge: requests in the kernel. Queued is one too: requests that wait to be
	// given to it, for io_submit(2) or for room of their device. That is bounded by Config.Depth,
	// by the device itself (/sys/block/*/queue/nr_requests), and by what other devices use.
	InFlight, Queued int64
	// QueueWaits is the number of requests that had to wait for room of their device.
	QueueWaits int64

	// Overlooked is how often a watchdog found a completion that was not taken, or a request that
	// was not submitted, and repaired that. It looks once a second while requests are under way.
	// It should be 0: please report anything else, with Incident, which describes the first.
	Overlooked int64
	Incident   string

	// Synchronous is the number of direct requests, and of syncs, that were system calls because
	// few were in flight, see [Config], or because the device answers promptly.
	Synchronous int64
	// Busy is the number of those that were system calls because goroutines, or other processes,
	// compute on all processors: a goroutine that kernel AIO wakes would wait for a processor.
	Busy int64
	// PageCache is the number of calls through the page cache: reads and writes of buffered Files,
	// writes of direct ones that are not whole blocks, and what changes a file's size or space.
	// What os copies between two files at once is one, or none.
	PageCache int64
	// RecentReads is the number of reads of direct Files that the page cache answered, because
	// a write had just put there what they want.
	RecentReads int64
	// Threads is a gauge: system calls under way, each of which may hold a thread. Transfers among
	// the Synchronous ones do not count. ThreadsQueued is one too: calls that wait for a thread of
	// their device. That is bounded by Config.Threads and by what other devices use. ThreadWaits
	// is the number of calls that had to wait.
	Threads, ThreadsQueued, ThreadWaits int64

	// Bounced is the number of direct requests that went through a bounce buffer, because
	// offset, length or address did not fit, and BouncedBytes the length of these.
	Bounced, BouncedBytes int64
	// LockWaits is the number of writes, and changes of size or space, that had to wait for
	// another on the same file.
	LockWaits int64

	Fallbacks Fallbacks
	Mechanism Mechanism

	// Unavailable says why the process has no kernel AIO: what the kernel answered, and the
	// limit that is used up, with its value (/proc/sys/fs/aio-max-nr). It is empty if there is,
	// or if no request has needed it yet. Where the reason may pass, the next request that is a
	// second later asks the kernel again.
	Unavailable string

	Latency Latency
}

// Fallbacks counts requests of direct Files that could not go the direct, asynchronous way.
// None of these is an error.
type Fallbacks struct {
	// Unavailable: there was no kernel AIO; see Stats.Unavailable. It was a system call.
	Unavailable int64
	// Extending: a write that extends the file, for which io_submit(2) would block. It was a
	// direct system call.
	Extending int64
	// Unsupported: the kernel refused a direct transfer (EINVAL, EOPNOTSUPP; EIO for a read past the
	// end, on xfs), and the rest of it
	// went through the page cache.
	Unsupported int64
	// NoSpace: a direct write did not fit (ENOSPC, EDQUOT, EFBIG), and what did went through the
	// page cache.
	NoSpace int64
}

// Mechanism is how well the requests of kernel AIO share system calls and wake-ups. Its fields
// follow the implementation: they may change in any version.
type Mechanism struct {
	// Batches is the number of calls of io_submit(2) that took something, Batched that of
	// the requests that they took: Batched/Batches is the mean size of a batch, LargestBatch
	// the largest. Neither counts the call that is under way.
	Batches, Batched, LargestBatch int64
	// ReaperWakes is how often the runtime's poller woke the goroutine that takes completions,
	// Collects how often that waited in io_getevents(2) instead, as it does in a crowd, or the
	// goroutine of a [Batch] in its place.
	ReaperWakes, Collects int64
	// Relieved is how often another goroutine went to io_submit(2) because it blocked for
	// those that were there: each time a thread, and a sign of a device that stalls.
	Relieved int64
}

// Latency is a histogram of the time that requests were in the kernel: from just before
// io_submit(2) until their completion was taken. It is empty until [RecordLatency].
type Latency struct {
	Count int64         // requests
	Sum   time.Duration // of their times
	// Buckets are in ascending order. What is in none of them took longer than the last.
	Buckets []LatencyBucket
}

// A LatencyBucket counts the requests that took less than Below, and no less than that of the
// bucket before.
type LatencyBucket struct {
	Below time.Duration
	Count int64
}

// ReadStats returns what has been counted until now. It may be called at any time and does not
// count as a use of the library. A call takes less than a microsecond and holds up requests for
// some nanoseconds of that; counting costs them nothing that could be measured.
//
// Fields are read one after the other, so they may be a few requests apart.
//
// With package expvar they are at /debug/vars:
//
//	expvar.Publish("aio", expvar.Func(func() any { return aio.ReadStats() }))
//
// Package github.com/go-aio/aio/adapters/prometheus has a collector.
func ReadStats() Stats {
	s, ok := sched.ReadStats()
	if !ok {
		return Stats{}
	}
	q, d := s.Queue, fd.ReadStats()
	return Stats{
		Submitted: q.Submitted, Completed: q.Completed,
		InFlight: q.InFlight, Queued: q.Pending + s.RequestsQueued,
		QueueWaits: s.RequestWaits,
		Overlooked: q.Overlooked, Incident: q.Incident,
		Synchronous: s.Sync,
		Busy:        s.Busy,
		PageCache:   s.PageCache,
		RecentReads: d.RecentReads,
		Threads:     s.Threads, ThreadsQueued: s.ThreadsQueued, ThreadWaits: s.ThreadWaits,
		Bounced: d.Bounced, BouncedBytes: d.BouncedBytes,
		LockWaits: d.LockWaits,
		Fallbacks: Fallbacks{
			Unavailable: s.Unavailable,
			Extending:   s.Extending,
			Unsupported: d.Unsupported,
			NoSpace:     d.NoSpace,
		},
		Mechanism: Mechanism{
			Batches: q.Batches, Batched: q.Batched, LargestBatch: q.LargestBatch,
			ReaperWakes: q.Wakes, Collects: q.Collects, Relieved: q.Relieved,
		},
		Unavailable: q.Unavailable,
		Latency:     latencyOf(q.Latency),
	}
}

// RecordLatency switches the recording of Stats.Latency on or off, for requests that are
// submitted from now on. It is off at first, because it takes about 100 ns of the processor for a
// request of kernel AIO, and less in a crowd, where a batch shares its looks at the clock. It may
// be called at any time and does not count as a use of the library.
func RecordLatency(on bool) { sched.RecordLatency(on) }

func latencyOf(l sched.Latency) Latency {
	out := Latency{Count: l.Count(), Sum: l.Sum}
	if out.Count == 0 {
		return out
	}
	out.Buckets = make([]LatencyBucket, sched.LatencyBounds)
	for i := range out.Buckets {
		out.Buckets[i] = LatencyBucket{Below: sched.LatencyBound(i), Count: l.Counts[i]}
	}
	return out
}
