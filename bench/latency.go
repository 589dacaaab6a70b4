//go:build linux

package main

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Latencies are kept in nanoseconds, from a microsecond to a hundred seconds, to three digits.
const (
	shortestLatency = time.Microsecond
	longestLatency  = 100 * time.Second
	latencyDigits   = 3
)

// A latency is a histogram, about 150 KB. Rounds are merged before percentiles are taken: the
// 99.9th of ten rounds is not the middle one of ten 99.9ths.
type latency struct {
	*hdrhistogram.Histogram
}

func newLatency() latency {
	return latency{hdrhistogram.New(int64(shortestLatency), int64(longestLatency), latencyDigits)}
}

// record counts n operations of nanoseconds each. Longer ones count as the histogram's maximum.
func (l latency) record(nanoseconds, n int64) {
	// The only error is a value out of range.
	_ = l.RecordValues(min(max(nanoseconds, 0), int64(longestLatency)), n)
}

// percentiles are the reported ones, in microseconds.
type percentiles struct {
	P50  float64 `json:"p50_us"`
	P99  float64 `json:"p99_us"`
	P999 float64 `json:"p99_9_us"`
	Max  float64 `json:"max_us"`
}

// percentiles returns nil for an empty histogram, whose latency is not known.
func (l latency) percentiles() *percentiles {
	if l.Histogram == nil || l.TotalCount() == 0 {
		return nil
	}
	at := l.ValueAtPercentiles([]float64{50, 99, 99.9})
	us := func(ns int64) float64 { return float64(ns) / float64(time.Microsecond) }
	return &percentiles{P50: us(at[50]), P99: us(at[99]), P999: us(at[99.9]), Max: us(l.Max())}
}
