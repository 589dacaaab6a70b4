package main

import (
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"time"
)

// Kinds of operations.
const (
	readAt = iota
	writeAt
	read
	write
	appending
	seek
	stat
	sync_
	datasync
	truncate
	readFrom
	writeTo
	openFile
	closeFile
	refused
	kinds
)

var kindNames = [kinds]string{
	"ReadAt", "WriteAt", "Read", "Write", "append", "Seek", "Stat", "Sync", "Datasync", "Truncate",
	"ReadFrom", "WriteTo", "open", "close", "refused",
}

// A clock holds the operation of a goroutine, and its begin.
type clock struct {
	since atomic.Int64 // Unix nanoseconds; 0: nothing
	kind  atomic.Int32
	mode  atomic.Int32
	_     [40]byte // a cache line each
}

// timed makes an operation that the watchdog can see, and counts it.
func (s *soak) timed(goroutine, kind, mode, bytes int, op func()) {
	if mode == byOS {
		s.os <- struct{}{}
		defer func() { <-s.os }()
	}
	c := &s.clocks[goroutine]
	c.kind.Store(int32(kind))
	c.mode.Store(int32(mode))
	begun := time.Now()
	c.since.Store(begun.UnixNano())
	op()
	c.since.Store(0)
	s.counts[kind][mode].Add(1)
	s.bytes[mode].Add(int64(bytes))
	s.ended.Add(1)
	s.lasted(time.Since(begun), kind, mode)
}

func (s *soak) lasted(d time.Duration, kind, mode int) {
	for {
		longest := s.longest.Load()
		if int64(d) <= longest {
			return
		}
		if s.longest.CompareAndSwap(longest, int64(d)) {
			what := kindNames[kind] + ", " + modeNames[mode]
			s.slowest.Store(&what)
			return
		}
	}
}

// watch runs the watchdog, which also prints the heartbeat, until stop is called.
func (s *soak) watch() (stop func()) {
	quit := make(chan struct{})
	go func() {
		var ended, before int64
		last, beat := time.Now(), time.Now()
		for {
			select {
			case <-quit:
				return
			case <-time.After(500 * time.Millisecond):
			}
			if n := s.ended.Load(); n != ended {
				ended, last = n, time.Now()
			}
			if d := time.Since(last); d > s.stall {
				s.hangs(fmt.Sprintf("no operation has ended for %v", d))
			}
			s.lookForOld()
			if time.Since(beat) >= 10*time.Second {
				fmt.Printf("%4.0f s: %d operations, %d a second, the longest %v; %d threads, %d goroutines, %d MiB\n",
					time.Since(s.started).Seconds(), ended, int(float64(ended-before)/time.Since(beat).Seconds()),
					time.Duration(s.longest.Load()).Round(time.Millisecond), threads(), runtime.NumGoroutine(), resident()>>20)
				before, beat = ended, time.Now()
			}
		}
	}()
	return func() { close(quit) }
}

// lookForOld looks for requests that are too old.
func (s *soak) lookForOld() {
	now := time.Now().UnixNano()
	for i := range s.clocks {
		c := &s.clocks[i]
		since := c.since.Load()
		if since == 0 || now-since < int64(s.limit) {
			continue
		}
		s.hangs(fmt.Sprintf("goroutine %d has been in %s, %s, for %v",
			i, kindNames[c.kind.Load()], modeNames[c.mode.Load()], time.Duration(now-since)))
	}
}

// hangs ends the process with the stacks of all goroutines.
func (s *soak) hangs(what string) {
	text := make([]byte, 64<<20)
	os.Stderr.Write(text[:runtime.Stack(text, true)])
	fmt.Fprintf(os.Stderr, "soak: HANG: %s; %d operations had ended; seed %d\n", what, s.ended.Load(), s.seed)
	os.RemoveAll(s.dir)
	os.Exit(1)
}
