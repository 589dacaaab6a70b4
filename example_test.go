package aio_test

import (
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"sync"

	"github.com/go-aio/aio"
)

// Many goroutines read one file at random, past the page cache. None of them holds a
// thread while it waits, and neither the offset nor the buffer needs to be aligned.
func ExampleOpenFile() {
	name := temporary("0123456789")
	defer os.RemoveAll(filepath.Dir(name))

	f, err := aio.OpenFile(name, os.O_RDONLY|aio.O_DIRECT, 0)
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()

	digits := make([]byte, 10)
	var wg sync.WaitGroup
	for i := range digits {
		wg.Go(func() {
			if _, err := f.ReadAt(digits[i:i+1], int64(9-i)); err != nil {
				log.Fatal(err)
			}
		})
	}
	wg.Wait()
	fmt.Printf("%s\n", digits)
	// Output: 9876543210
}

// A program that has an *os.File today keeps all of its code but the opening.
func ExampleFile() {
	name := temporary("")
	defer os.RemoveAll(filepath.Dir(name))

	f, err := aio.Create(name) // was os.Create
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()

	if _, err := f.WriteString("some text\n"); err != nil {
		log.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		log.Fatal(err)
	}
	if _, err := f.Seek(5, io.SeekStart); err != nil {
		log.Fatal(err)
	}
	if _, err := io.Copy(os.Stdout, f); err != nil {
		log.Fatal(err)
	}
	// Output: text
}

// An aligned buffer of whole blocks goes to the disk as it is: nothing is copied.
func ExampleAlignedBuffer() {
	name := temporary("")
	defer os.RemoveAll(filepath.Dir(name))

	f, err := aio.OpenFile(name, os.O_RDWR|aio.O_DIRECT, 0)
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()

	page := aio.AlignedBuffer(4096)
	copy(page, "a page")
	if _, err := f.WriteAt(page, 8192); err != nil {
		log.Fatal(err)
	}
	fi, err := f.Stat()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(fi.Size())
	// Output: 12288
}

// temporary makes a file, in a directory of its own.
func temporary(content string) (name string) {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	name = filepath.Join(dir, "file")
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		log.Fatal(err)
	}
	return name
}
