// Readers reads a file at random through a direct File, from many goroutines, under strace(1): go
// run ./internal/aiotest/readers -goroutines 64 -reads 10000 FILE.
package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"

	"github.com/go-aio/aio"
)

func main() {
	goroutines := flag.Int("goroutines", 64, "number of goroutines")
	reads := flag.Int64("reads", 10000, "number of reads of 4096 bytes, in all")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: readers [flags] FILE")
		os.Exit(2)
	}
	if err := run(flag.Arg(0), *goroutines, *reads); err != nil {
		fmt.Fprintln(os.Stderr, "readers:", err)
		os.Exit(1)
	}
}

func run(name string, goroutines int, reads int64) error {
	f, err := aio.OpenFile(name, os.O_RDONLY|aio.O_DIRECT, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if !f.Direct() {
		return fmt.Errorf("%s: no direct I/O", name)
	}
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	const block = 4096
	blocks := fi.Size() / block

	var left atomic.Int64
	left.Store(reads)
	var wg sync.WaitGroup
	errs := make(chan error, goroutines)
	for range goroutines {
		wg.Go(func() {
			p := aio.AlignedBuffer(block)
			for left.Add(-1) >= 0 {
				if _, err := f.ReadAt(p, rand.Int64N(blocks)*block); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	return <-errs
}
