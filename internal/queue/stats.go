package queue

import "time"

// Stats holds the counts of a queue. Counters never decrease; gauges are marked.
type Stats struct {
	Submitted int64 // requests that were made
	Completed int64 // of these, requests that the kernel has completed or refused
	InFlight  int64 // gauge: requests in the kernel
	Pending   int64 // gauge: requests that are in no submitter's batch

	Batches      int64 // calls of io_submit(2) that took a request
	Batched      int64 // requests that these calls took
	LargestBatch int64
	Wakes        int64 // wakeups of the reaper by the poller
	Collects     int64 // calls of io_getevents(2) by the reaper, see collect
	Relieved     int64 // submitters that relieve added
	Overlooked   int64 // times that the watchdog found a forgotten request

	// Incident describes the first time the watchdog found one.
	Incident string

	// Unavailable is the reason why there is no kernel AIO. It is empty if there is, and
	// before the first request.
	Unavailable string

	Latency Latency
}

// A Latency is a histogram of the time from just before io_submit(2) until the event is taken
// from the ring.
type Latency struct {
	// Counts[i] counts times below LatencyBound(i) that are in no earlier bucket; the last
	// counts the rest.
	Counts [LatencyBounds + 1]int64
	Sum    time.Duration
}

// LatencyBounds is the number of buckets with an upper bound.
const LatencyBounds = 26

// LatencyBound returns the bound of bucket i: 2^i microseconds, 34 s for the last.
func LatencyBound(i int) time.Duration { return time.Microsecond << i }

// Count returns the number of requests in l.
func (l *Latency) Count() (n int64) {
	for _, c := range l.Counts {
		n += c
	}
	return n
}
