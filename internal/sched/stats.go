package sched

import (
	"math/rand/v2"
	"sync/atomic"

	"github.com/go-aio/aio/internal/queue"
)

// Stats is what has been counted here and in the kernel's queue.
type Stats struct {
	Queue queue.Stats

	Sync      int64 // requests that were system calls because few were in flight
	Busy      int64 // the same, because processors were busy
	PageCache int64 // calls through the page cache

	Threads, ThreadsQueued, ThreadWaits int64 // gauge, gauge, and calls that had to wait
	RequestsQueued, RequestWaits        int64 // gauge, and requests that had to wait for room

	Unavailable, Extending int64 // requests that could not go to the queue
}

// Latency is package queue's.
type Latency = queue.Latency

// LatencyBounds is the number of buckets of a Latency that have an upper bound.
const LatencyBounds = queue.LatencyBounds

// LatencyBound returns the upper bound of bucket i.
var LatencyBound = queue.LatencyBound

// ReadStats returns what has been counted, and false if there has been no use yet.
func ReadStats() (Stats, bool) {
	if !used.Load() {
		return Stats{}, false
	}
	e := process
	s := Stats{
		Queue: e.queue.Stats(),
		Sync:  e.sync.Load(), Busy: e.busy.Load(), PageCache: e.pageCache.Load(),
		Unavailable: e.unavailable.Load(), Extending: e.extending.Load(),
	}
	devices.Range(func(_, v any) bool {
		d := v.(*Device)
		threads, waiting := d.threads.Load()
		s.Threads += threads
		s.ThreadsQueued += waiting
		s.ThreadWaits += d.threads.Waits()
		_, waiting = d.requests.Load()
		s.RequestsQueued += waiting
		s.RequestWaits += d.requests.Waits()
		return true
	})
	return s, true
}

// A Counter counts what takes a microsecond or less and is done by many at a time. On one cache
// line that all of them write to, a count cost a twentieth of a cached read by 64 goroutines.
type Counter [8]struct {
	n atomic.Int64
	_ [56]byte // to the end of the cache line
}

// Add counts one.
func (c *Counter) Add() { c[rand.Uint32()%uint32(len(c))].n.Add(1) }

// Load returns the count.
func (c *Counter) Load() (n int64) {
	for i := range c {
		n += c[i].n.Load()
	}
	return n
}
