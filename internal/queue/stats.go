package queue

import "time"

// Stats is what a queue has counted. Counters never go back; gauges are marked.
type Stats struct {
	Submitted int64 // requests that got a slot
	Completed int64 // of these, requests that gave it back
	InFlight  int64 // gauge: requests in the kernel
	Pending   int64 // gauge: requests that have a slot and are not in a submitter's hands
	Starved   int64 // gauge: requests that wait for a slot
	SlotWaits int64 // requests that had to wait for a slot

	Batches      int64 // calls of io_submit(2) that took something
	Batched      int64 // requests that they took
	LargestBatch int64
	Wakes        int64 // of the reaper by the poller
	Collects     int64 // calls of io_getevents(2) by the reaper, see collect
	Relieved     int64 // submitters that relieve has brought in
	Overlooked   int64 // times that the watchdog found something forgotten

	// Incident describes the first of these.
	Incident string

	// Unavailable says why there is no kernel AIO; it is empty if there is, or if nobody
	// has asked.
	Unavailable string

	Latency Latency
}

// A Latency is a histogram of the time from just before io_submit(2) until the event has
// been taken from the ring.
type Latency struct {
	Counts [LatencyBounds + 1]int64 // Counts[i]: less than LatencyBound(i), and not in those before; the last: the rest
	Sum    time.Duration
}

// LatencyBounds is the number of buckets that have an upper bound.
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
