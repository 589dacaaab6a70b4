// Matrix runs the tests on every filesystem that matters for direct I/O, each on a loop device of
// its own, and makes the table of docs/filesystems.md. It needs root, and the tools that make the
// filesystems (e2fsprogs, xfsprogs, btrfs-progs). It removes everything it made.
//
//	go -C internal/aiotest/trials run ./matrix -write ../../../docs/filesystems.md
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/internal/aiotest/trials/mdtable"
)

func main() {
	aiotest.InNamespace()
	var r runner
	flag.BoolVar(&r.short, "short", false, "run the tests at the length of go test, not at full length")
	flag.StringVar(&r.only, "only", "", "run on filesystems whose name has this `text`")
	flag.StringVar(&r.suites, "suites", "", "run these `suites` only, separated by commas")
	flag.StringVar(&r.write, "write", "", "put the table into this `file`")
	flag.StringVar(&r.check, "check", "", "fail unless this `file` has the table, but for the numbers of tests")
	flag.Parse()
	if err := r.run(); err != nil {
		fmt.Fprintln(os.Stderr, "matrix:", err)
		os.Exit(1)
	}
}

type runner struct {
	short        bool
	only, suites string
	write, check string
}

func (r runner) run() error {
	if os.Geteuid() != 0 {
		return errors.New("only root may mount filesystems")
	}
	// The directory is not in TMPDIR, because some tests run as other users, which need a path to it.
	dir, err := os.MkdirTemp("/var/tmp", "matrix")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	all := suites(r.suites)
	if err := build(all, dir); err != nil {
		return err
	}
	rows, failed := r.places(all, dir)
	if failed > 0 {
		return fmt.Errorf("failed on %d of %d filesystems", failed, len(rows))
	}
	table := markdown(all, rows)
	fmt.Print("\n", table)
	switch {
	case r.write != "":
		return mdtable.Place{File: r.write, Name: "matrix"}.Write(table)
	case r.check != "":
		return mdtable.Place{File: r.check, Name: "matrix"}.Check(table, numbers)
	}
	return nil
}

// atOnce is the number of filesystems at a time: the tests wait for the disk most of the time.
const atOnce = 3

// places runs all suites on each filesystem, and returns the rows in the order of the list.
func (r runner) places(all []suite, dir string) (rows []row, failed int) {
	list := slices.DeleteFunc(places(), func(at place) bool { return !strings.Contains(at.name, r.only) })
	rows = make([]row, len(list))
	var mu sync.Mutex
	var running sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for i, at := range slices.Backward(list) { // the slowest is the last
		slots <- struct{}{}
		running.Go(func() {
			defer func() { <-slots }()
			row, err := r.place(at, all, filepath.Join(dir, fmt.Sprint(i)))
			mu.Lock()
			defer mu.Unlock()
			if rows[i] = row; err != nil {
				failed++
				fmt.Fprintln(os.Stderr, err) // now, not when all are done
			}
		})
	}
	running.Wait()
	return rows, failed
}

// place runs all suites on one filesystem.
func (r runner) place(at place, all []suite, dir string) (result row, err error) {
	start := time.Now()
	if err := os.Mkdir(dir, 0o755); err != nil {
		return row{}, err
	}
	m, err := at.mount(dir)
	if err != nil {
		return row{}, fmt.Errorf("%s: %w", at.name, err)
	}
	defer func() { err = errors.Join(err, m.unmount()) }()
	result.place = at.name
	if result.facts, err = probe(m.dir); err != nil {
		return result, err
	}
	if result.facts.reads != at.direct {
		err = fmt.Errorf("%s: direct reads: %t", at.name, result.facts.reads)
	}
	for _, s := range all {
		o, failed := s.run(at, m, r.short)
		err = errors.Join(err, failed)
		result.outcomes = append(result.outcomes, o)
	}
	verdict := "passed"
	if err != nil {
		verdict = "FAILED"
	}
	fmt.Printf("%s: %s, in %v; %s\n", at.name, verdict, time.Since(start).Round(time.Second), sum(result.outcomes))
	return result, err
}
