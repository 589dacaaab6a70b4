package stream_test

import (
	"bufio"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/stream"
)

// A Reader has the next blocks of a file in flight while its caller uses this one.
func ExampleNewReader() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	name := filepath.Join(dir, "file")
	if err := os.WriteFile(name, []byte(strings.Repeat("a line\n", 100_000)), 0o644); err != nil {
		log.Fatal(err)
	}

	f, err := aio.OpenFile(name, os.O_RDONLY|aio.O_DIRECT, 0)
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()

	r := stream.NewReader(f, stream.ReaderOptions{BlockSize: 64 << 10, Depth: 8})
	defer r.Close()
	lines := 0
	for scanner := bufio.NewScanner(r); scanner.Scan(); lines++ {
	}
	fmt.Println(lines)
	// Output: 100000
}

// A Writer has the last blocks of a file in flight while its caller fills the next one. The bytes
// of a Write are in the file after Flush or Close, and durable after Sync.
func ExampleNewWriter() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	name := filepath.Join(dir, "file")

	f, err := aio.OpenFile(name, os.O_RDWR|os.O_CREATE|aio.O_DIRECT, 0o644)
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()

	w := stream.NewWriter(f, stream.WriterOptions{})
	for i := range 100_000 {
		fmt.Fprintf(w, "line %d\n", i) // errors are sticky: Sync returns them too
	}
	if err := w.Sync(); err != nil {
		log.Fatal(err)
	}
	if err := w.Close(); err != nil {
		log.Fatal(err)
	}
	fi, err := f.Stat()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(fi.Size())
	// Output: 1088890
}

// A log has one Writer, to which many goroutines append. Syncs that wait at the same time share one
// fdatasync(2).
func ExampleNewWriter_log() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	name := filepath.Join(dir, "file")

	f, err := aio.OpenFile(name, os.O_RDWR|os.O_CREATE|aio.O_DIRECT, 0o644)
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()

	w := stream.NewWriter(f, stream.WriterOptions{Exclusive: true})
	var wg sync.WaitGroup
	for i := range 10 {
		wg.Go(func() {
			if _, err := fmt.Fprintf(w, "record %d\n", i); err != nil {
				log.Fatal(err)
			}
			if err := w.Sync(); err != nil {
				log.Fatal(err)
			}
		})
	}
	wg.Wait()
	if err := w.Close(); err != nil { // removes the zeros at the end
		log.Fatal(err)
	}
	fi, err := f.Stat()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(fi.Size())
	// Output: 90
}
