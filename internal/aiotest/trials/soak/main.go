// Soak reads, writes and syncs in thousands of goroutines through package aio, and some through
// os.File beside it, for a given time, under signals, collections and a changing GOMAXPROCS:
//
//	go -C internal/aiotest/trials run ./soak -for 10m -goroutines 2000 -dir DIR
//
// Each goroutine knows the possible value of every byte. The run ends with exit code 1 if a request
// is older than -limit, if nothing ends for that long, or if a byte is wrong. So it does on an
// error that os.File would not return, and if anything is left behind. A hang also prints the
// stacks of all goroutines.
package main

import (
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/internal/aiotest"
)

// A plan holds the flags.
type plan struct {
	length     time.Duration
	goroutines int
	dir        string
	files      int
	size       int // of a file, in bytes
	limit      time.Duration
	stall      time.Duration
	seed       uint64
}

func main() {
	var p plan
	var mib int
	flag.DurationVar(&p.length, "for", time.Minute, "how long to run")
	flag.IntVar(&p.goroutines, "goroutines", 2000, "number of goroutines")
	flag.StringVar(&p.dir, "dir", "", "directory to run in; a temporary one if empty")
	flag.IntVar(&p.files, "files", 4, "number of files that goroutines share")
	flag.IntVar(&mib, "size", 64, "size of each, in MiB; a goroutine in eight has one of its own, of up to 64 KiB")
	flag.DurationVar(&p.limit, "limit", 30*time.Second, "a request older than this hangs")
	flag.DurationVar(&p.stall, "stall", 20*time.Second, "the run hangs if nothing ends for this long")
	flag.Uint64Var(&p.seed, "seed", uint64(time.Now().UnixNano()), "`seed` of the random numbers")
	flag.Parse()
	p.size = mib << 20
	if err := p.check(); err != nil || flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "soak:", err, flag.Args())
		os.Exit(2)
	}
	if !supervised() {
		os.Exit(supervise())
	}
	os.Exit(run(p))
}

func (p plan) check() error {
	if p.goroutines < 8 || p.files < 1 || p.length <= 0 {
		return fmt.Errorf("at least 8 goroutines, one file and some time are needed")
	}
	if n := p.region(); n < leastRegion {
		return fmt.Errorf("%d bytes for each goroutine, of at least %d: use more or larger files", n, leastRegion)
	}
	return nil
}

// run returns the exit code.
func run(p plan) int {
	dir, err := os.MkdirTemp(p.dir, "soak")
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		return 2
	}
	defer os.RemoveAll(dir)
	s := newSoak(p, dir)
	fmt.Printf("%d goroutines for %v in %s: %d files of %d MiB, %d bytes a goroutine; seed %d\n",
		p.goroutines, p.length, dir, p.files, p.size>>20, p.region(), p.seed)
	if err := s.prepare(); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		return 2
	}
	before := takeCensus(dir)
	err = s.soak()
	if err == nil {
		err = s.verify()
	}
	s.close()
	if found := aio.ReadStats(); err == nil && found.Overlooked > 0 {
		err = fmt.Errorf("the watchdog found %d overlooked requests: %s", found.Overlooked, found.Incident)
	}
	s.report(before, err)
	if err == nil && s.left(before) {
		return 1
	}
	if err != nil {
		return 1
	}
	return 0
}

// soak runs everything until the time is up, or something fails.
func (s *soak) soak() error {
	defer aiotest.Storm()()
	defer s.disturb()()
	watched := s.watch()
	s.started = time.Now()
	for _, w := range s.workers {
		s.running.Go(w.run)
	}
	ended := make(chan struct{})
	go func() {
		s.running.Wait()
		close(ended)
	}()
	select {
	case <-time.After(s.length):
	case <-s.failed:
	}
	s.quit.Store(true)
	s.setWidth(s.goroutines) // waiting workers end, too
	<-ended
	s.took = time.Since(s.started)
	watched()
	return s.failure()
}
