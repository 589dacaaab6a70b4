package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/go-aio/aio/internal/aiotest"
)

// A census counts resources, of which a run must not leave more than it found.
type census struct {
	goroutines, threads, files int
	open                       []string
}

// takeCensus counts. files are descriptors of files below dir.
func takeCensus(dir string) census {
	t := census{goroutines: runtime.NumGoroutine(), threads: threads()}
	t.open = aiotest.Descriptors()
	for _, name := range t.open {
		if strings.HasPrefix(name, dir) {
			t.files++
		}
	}
	return t
}

func threadIDs() []int {
	entries, _ := os.ReadDir("/proc/self/task")
	var ids []int
	for _, e := range entries {
		if id, err := strconv.Atoi(e.Name()); err == nil {
			ids = append(ids, id)
		}
	}
	return ids
}

func threads() int { return len(threadIDs()) }

// resident returns the memory of the process in bytes.
func resident() int {
	text, _ := os.ReadFile("/proc/self/statm")
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.Atoi(fields[1])
	return pages * os.Getpagesize()
}

// left reports whether the run has left something behind, and prints it.
func (s *soak) left(before census) bool {
	var after census
	for range 100 {
		runtime.GC()
		after = takeCensus(s.dir)
		// All files are closed by now. Where there is no direct I/O, the queue's reaper starts with
		// the first crowd of Syncs, and so do the descriptors of the runtime's poller.
		if after.files == 0 && after.goroutines <= before.goroutines+1 && len(after.open) <= len(before.open)-before.files+2 {
			return false
		}
		time.Sleep(10 * time.Millisecond)
	}
	fmt.Printf("LEFT: %d goroutines, before %d; open are %q\n", after.goroutines, before.goroutines, after.open)
	os.Stderr.Write(aiotest.Stacks())
	return true
}

// report prints the numbers.
func (s *soak) report(before census, err error) {
	fmt.Printf("\n%-10s", "operations")
	for _, name := range modeNames {
		fmt.Printf("%12s", name)
	}
	fmt.Println()
	for kind := range kinds {
		fmt.Printf("%-10s", kindNames[kind])
		for mode := range modes {
			fmt.Printf("%12d", s.counts[kind][mode].Load())
		}
		fmt.Println()
	}
	fmt.Printf("%-10s", "MiB")
	for mode := range modes {
		fmt.Printf("%12d", s.bytes[mode].Load()>>20)
	}
	slowest := ""
	if name := s.slowest.Load(); name != nil {
		slowest = *name
	}
	after := takeCensus(s.dir)
	fmt.Printf("\n%d operations in %v; the longest took %v (%s)\n", s.ended.Load(),
		s.took.Round(time.Millisecond), time.Duration(s.longest.Load()).Round(time.Millisecond), slowest)
	fmt.Printf("goroutines %d, %d before; threads %d, %d before; descriptors %d, %d before, of them files %d, %d before\n",
		after.goroutines, before.goroutines, after.threads, before.threads,
		len(after.open), len(before.open), after.files, before.files)
	if err != nil {
		fmt.Printf("FAILED: %v\nseed %d\n", err, s.seed)
		return
	}
	fmt.Println("lost: 0")
}
