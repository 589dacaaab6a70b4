// Package aioprometheus has a collector of the statistics of package aio, [aio.Stats], for
// github.com/prometheus/client_golang:
//
//	import aioprometheus "github.com/go-aio/aio/adapters/prometheus"
//
//	prometheus.MustRegister(aioprometheus.NewCollector())
//
// The package is not named prometheus, as its directory is, because a program imports it together
// with client_golang's package of that name.
package aioprometheus

import (
	"github.com/go-aio/aio"
	"github.com/prometheus/client_golang/prometheus"
)

// NewCollector returns a collector of [aio.ReadStats]. It keeps nothing, so there may be any
// number, in as many registries. The histogram aio_request_duration_seconds is empty
// until [aio.RecordLatency].
func NewCollector() prometheus.Collector { return collector{read: aio.ReadStats} }

type collector struct{ read func() aio.Stats }

// A metric is one number of aio.Stats.
type metric struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(s *aio.Stats) int64
}

func counter(name, help string, value func(s *aio.Stats) int64) metric {
	return metric{prometheus.NewDesc("aio_"+name, help, nil, nil), prometheus.CounterValue, value}
}

func gauge(name, help string, value func(s *aio.Stats) int64) metric {
	return metric{prometheus.NewDesc("aio_"+name, help, nil, nil), prometheus.GaugeValue, value}
}

func fallback(reason string, value func(s *aio.Stats) int64) metric {
	desc := prometheus.NewDesc("aio_fallbacks_total",
		"Direct requests that were not asynchronous, by reason.",
		nil, prometheus.Labels{"reason": reason})
	return metric{desc, prometheus.CounterValue, value}
}

var metrics = []metric{
	counter("submitted_requests_total", "Requests given to kernel AIO.", func(s *aio.Stats) int64 { return s.Submitted }),
	counter("completed_requests_total", "Requests that have returned from kernel AIO.", func(s *aio.Stats) int64 { return s.Completed }),
	gauge("in_flight_requests", "Requests in the kernel.", func(s *aio.Stats) int64 { return s.InFlight }),
	gauge("queued_requests", "Pending requests, which kernel AIO does not have yet.", func(s *aio.Stats) int64 { return s.Queued }),
	counter("queue_waits_total", "Requests that had to wait for a place or for the device.", func(s *aio.Stats) int64 { return s.QueueWaits }),
	counter("batches_total", "Calls of io_submit.", func(s *aio.Stats) int64 { return s.Mechanism.Batches }),
	counter("batched_requests_total", "Requests that calls of io_submit took.", func(s *aio.Stats) int64 { return s.Mechanism.Batched }),
	gauge("largest_batch_requests", "Most requests that a call of io_submit took.", func(s *aio.Stats) int64 { return s.Mechanism.LargestBatch }),
	counter("reaper_wakes_total", "Times that the poller woke the reaper.", func(s *aio.Stats) int64 { return s.Mechanism.ReaperWakes }),
	counter("collects_total", "Times that the reaper waited in io_getevents.", func(s *aio.Stats) int64 { return s.Mechanism.Collects }),
	counter("relieved_total", "Times that a submitter was added because io_submit blocked.", func(s *aio.Stats) int64 { return s.Mechanism.Relieved }),
	counter("overlooked_total", "Requests that the watchdog found overlooked; anything but 0 is a bug of aio.", func(s *aio.Stats) int64 { return s.Overlooked }),
	counter("synchronous_requests_total", "Direct requests and syncs that were system calls because few were in flight.", func(s *aio.Stats) int64 { return s.Synchronous }),
	counter("busy_requests_total", "Direct requests and syncs that were system calls because all processors were busy.", func(s *aio.Stats) int64 { return s.Busy }),
	counter("page_cache_calls_total", "Calls through the page cache.", func(s *aio.Stats) int64 { return s.PageCache }),
	counter("recent_reads_total", "Reads of direct files that the page cache answered.", func(s *aio.Stats) int64 { return s.RecentReads }),
	gauge("threads", "System calls in flight on bounded threads, without the synchronous ones.", func(s *aio.Stats) int64 { return s.Threads }),
	gauge("threads_queued", "System calls that wait for a thread.", func(s *aio.Stats) int64 { return s.ThreadsQueued }),
	counter("thread_waits_total", "System calls that had to wait for a thread.", func(s *aio.Stats) int64 { return s.ThreadWaits }),
	counter("bounced_requests_total", "Direct requests that went through a bounce buffer.", func(s *aio.Stats) int64 { return s.Bounced }),
	counter("bounced_bytes_total", "Bytes of these.", func(s *aio.Stats) int64 { return s.BouncedBytes }),
	counter("lock_waits_total", "Writes that had to wait for another on the same file.", func(s *aio.Stats) int64 { return s.LockWaits }),
	fallback("unavailable", func(s *aio.Stats) int64 { return s.Fallbacks.Unavailable }),
	fallback("extending", func(s *aio.Stats) int64 { return s.Fallbacks.Extending }),
	fallback("unsupported", func(s *aio.Stats) int64 { return s.Fallbacks.Unsupported }),
	fallback("no_space", func(s *aio.Stats) int64 { return s.Fallbacks.NoSpace }),
	gauge("kernel_unavailable", "1 if the process has no kernel AIO; aio.Stats.Unavailable says why.", unavailable),
}

func unavailable(s *aio.Stats) int64 {
	if s.Unavailable == "" {
		return 0
	}
	return 1
}

var latency = prometheus.NewDesc("aio_request_duration_seconds",
	"Time that requests of kernel AIO were in the kernel, while aio.RecordLatency is on.", nil, nil)

// Describe sends the descriptions of all metrics.
func (c collector) Describe(to chan<- *prometheus.Desc) {
	for _, m := range metrics {
		to <- m.desc
	}
	to <- latency
}

// Collect sends the current values.
func (c collector) Collect(to chan<- prometheus.Metric) {
	s := c.read()
	for _, m := range metrics {
		to <- prometheus.MustNewConstMetric(m.desc, m.kind, float64(m.value(&s)))
	}
	upTo, sum := make(map[float64]uint64, len(s.Latency.Buckets)), uint64(0)
	for _, b := range s.Latency.Buckets {
		sum += uint64(b.Count)
		upTo[b.Below.Seconds()] = sum
	}
	to <- prometheus.MustNewConstHistogram(latency, uint64(s.Latency.Count), s.Latency.Sum.Seconds(), upTo)
}
