//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"
)

// samplePeriod is a compromise: a sample costs about 6 us, and a thread of Go stays for good.
const samplePeriod = 5 * time.Millisecond

// A threadSampler watches the number of threads of another process. It runs in the parent, whose
// CPU time and scheduler are not measured, and serves fio as well.
type threadSampler struct {
	mu   sync.Mutex
	peak int
	stop chan struct{}
	done chan struct{}
}

func sampleThreads(pid int) *threadSampler {
	s := &threadSampler{stop: make(chan struct{}), done: make(chan struct{})}
	go s.run(fmt.Sprintf("/proc/%d/status", pid))
	return s
}

func (s *threadSampler) run(path string) {
	defer close(s.done)
	f, err := os.Open(path)
	if err != nil {
		return
	}
	defer f.Close()
	buf := make([]byte, 4096)
	tick := time.NewTicker(samplePeriod)
	defer tick.Stop()
	for {
		n, _ := f.ReadAt(buf, 0) // nothing, once the process has ended
		s.see(parseThreads(buf[:n]))
		select {
		case <-s.stop:
			return
		case <-tick.C:
		}
	}
}

// see adds a sample from another source.
func (s *threadSampler) see(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.peak = max(s.peak, n)
}

// end stops sampling and returns the maximum.
func (s *threadSampler) end() int {
	close(s.stop)
	<-s.done
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.peak
}

// ownThreads returns the number of threads of this process now.
func ownThreads() int {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	return parseThreads(status)
}

// parseThreads finds the Threads line of proc_pid_status(5); 0 if there is none.
func parseThreads(status []byte) int {
	_, rest, found := bytes.Cut(status, []byte("\nThreads:"))
	if !found {
		return 0
	}
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	n, err := strconv.Atoi(string(bytes.TrimSpace(line)))
	if err != nil {
		return 0
	}
	return n
}
