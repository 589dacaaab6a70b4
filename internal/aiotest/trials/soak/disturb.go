package main

import (
	"io"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"sync"
	"syscall"
	"time"
)

// disturb sends signals to all threads in turn, profiles, and changes GOMAXPROCS, the pace of the
// collector and the number of active workers, until stop is called.
func (s *soak) disturb() (stop func()) {
	quit := make(chan struct{})
	var wg sync.WaitGroup
	every := func(d time.Duration, fn func(i int)) {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-quit:
					return
				case <-time.After(d):
					fn(i)
				}
			}
		})
	}
	procs, percent := runtime.GOMAXPROCS(0), debug.SetGCPercent(100)
	profiling := pprof.StartCPUProfile(io.Discard) == nil
	var tids []int
	every(200*time.Microsecond, func(i int) {
		if i%500 == 0 {
			tids = threadIDs()
		}
		for k := range 16 {
			syscall.Tgkill(syscall.Getpid(), tids[(16*i+k)%len(tids)], []syscall.Signal{syscall.SIGURG, syscall.SIGPROF}[i%2])
		}
	})
	every(time.Second, func(int) { runtime.GOMAXPROCS(1 + rand.IntN(8)) })
	every(700*time.Millisecond, func(int) { debug.SetGCPercent([]int{10, 50, 100, 400}[rand.IntN(4)]) })
	// A quarter of the time few enough workers are active that their requests are sync.
	every(time.Second, func(i int) {
		switch i % 16 {
		case 11:
			s.setWidth(64)
		case 12: // operations in flight take some time to end
			s.setWidth(2)
		case 15:
			s.setWidth(1)
		case 0:
			s.setWidth(s.goroutines)
		}
	})
	return func() {
		close(quit)
		wg.Wait()
		if profiling {
			pprof.StopCPUProfile()
		}
		debug.SetGCPercent(percent)
		runtime.GOMAXPROCS(procs)
	}
}
