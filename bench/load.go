//go:build linux

package main

import (
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/go-aio/aio"
)

// A load is goroutines that compute: they make no calls, allocate nothing and never yield.
type load struct {
	goroutines []spinner
	stopped    atomic.Bool
	running    sync.WaitGroup
}

// A spinner counts the steps of one goroutine. Its size keeps two counters off one cache line.
type spinner struct {
	steps atomic.Int64
	_     [56]byte
}

// stepsAtOnce takes about 10 µs, so that a short round has many of them.
const stepsAtOnce = 10_000

// startLoad starts n goroutines that compute until stop.
func startLoad(n int) *load {
	l := &load{goroutines: make([]spinner, n)}
	for i := range l.goroutines {
		l.running.Go(func() { l.compute(&l.goroutines[i].steps) })
	}
	return l
}

func (l *load) compute(steps *atomic.Int64) {
	for x := uint64(1); !l.stopped.Load(); steps.Add(stepsAtOnce) {
		for range stepsAtOnce {
			x = x*6364136223846793005 + 1442695040888963407
		}
		runtime.KeepAlive(x)
	}
}

// work returns the number of steps that all goroutines have made.
func (l *load) work() int64 {
	var n int64
	for i := range l.goroutines {
		n += l.goroutines[i].steps.Load()
	}
	return n
}

func (l *load) stop() {
	l.stopped.Store(true)
	l.running.Wait()
}

// busyShare returns the share of the direct requests and syncs from before to after that were
// system calls because processors were busy.
func busyShare(before, after aio.Stats) float64 {
	busy := after.Busy - before.Busy
	all := busy + after.Submitted - before.Submitted + after.Synchronous - before.Synchronous
	if all == 0 {
		return 0
	}
	return float64(busy) / float64(all)
}
