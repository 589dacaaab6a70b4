package aio_test

import (
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"sync"

	"github.com/go-aio/aio"
)

const (
	pageBytes = 4096
	pageCount = 64
)

// Example writes the pages of a file, makes them durable, and reads them in many goroutines. None
// of these holds a thread while it waits for the disk.
func Example() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	// Only O_DIRECT makes it asynchronous. Without it, aio.File is like os.File.
	name := filepath.Join(dir, "pages")
	f, err := aio.OpenFile(name, os.O_RDWR|os.O_CREATE|aio.O_DIRECT, 0o644)
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()

	if err := writePages(f); err != nil {
		log.Fatal(err)
	}
	if err := checkPages(f); err != nil {
		log.Fatal(err)
	}
	fmt.Println(pageCount, "pages")
	// Output: 64 pages
}

// writePages fills all pages. It sets the size of the file first: a write that extends a file holds
// a thread.
func writePages(f *aio.File) error {
	if err := f.Truncate(pageCount * pageBytes); err != nil {
		return err
	}
	err := eachPage(func(number int) error {
		page := aio.AlignedBuffer(pageBytes) // goes to the disk without a copy
		copy(page, fmt.Sprintf("page %d", number))
		_, err := f.WriteAt(page, int64(number)*pageBytes)
		return err
	})
	return errors.Join(err, f.Sync())
}

// checkPages reads the beginning of each page. Neither the offset nor the buffer need be aligned.
func checkPages(f *aio.File) error {
	return eachPage(func(number int) error {
		want := fmt.Sprintf("page %d", number)
		got := make([]byte, len(want))
		if _, err := f.ReadAt(got, int64(number)*pageBytes); err != nil {
			return err
		}
		if string(got) != want {
			return fmt.Errorf("%q, want %q", got, want)
		}
		return nil
	})
}

// eachPage calls do for every page, in a goroutine of its own.
func eachPage(do func(number int) error) error {
	errs := make([]error, pageCount)
	var wg sync.WaitGroup
	for number := range errs {
		wg.Go(func() { errs[number] = do(number) })
	}
	wg.Wait()
	return errors.Join(errs...)
}
