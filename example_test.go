package aio_test

import (
	"context"
	"encoding/json"
	"errors"
	"expvar"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/go-aio/aio"
)

// Many goroutines read one file at random, past the page cache. None of them holds a
// thread while it waits, and neither the offset nor the buffer needs to be aligned.
func ExampleOpenFile() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	name := filepath.Join(dir, "file")
	if err := os.WriteFile(name, []byte("0123456789"), 0o644); err != nil {
		log.Fatal(err)
	}

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

// A program with an *os.File changes only the call that opens the file.
func ExampleFile() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	name := filepath.Join(dir, "file")

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

// A record with parts in several places is read and written at once.
func ExampleFile_ReadvAt() {
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

	// Blocks of AlignedBuffer go to the disk as they are, in one request.
	head, body := aio.AlignedBuffer(4096), aio.AlignedBuffer(8192)
	copy(head, "head")
	copy(body, "body")
	if _, err := f.WritevAt([][]byte{head, body}, 0); err != nil {
		log.Fatal(err)
	}
	// Others go through a bounce buffer.
	a, b := make([]byte, 4), make([]byte, 4096)
	n, err := f.ReadvAt([][]byte{a, b[:4092], b[4092:4096]}, 0)
	fmt.Printf("%d %v %s %s\n", n, err, a, b[4092:4096])
	// Output: 4100 <nil> head body
}

// Allocate reserves space. Writes of a direct File to that space do not extend the file, so they
// are asynchronous.
func ExampleFile_Allocate() {
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

	err = f.Allocate(0, 1<<20)
	if errors.Is(err, errors.ErrUnsupported) {
		err = f.Truncate(1 << 20) // filesystems without fallocate(2): the size only
	}
	if err != nil {
		log.Fatal(err)
	}
	if _, err := f.WriteAt(aio.AlignedBuffer(4096), 65536); err != nil {
		log.Fatal(err)
	}
	fi, err := f.Stat()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(fi.Size())
	// Output: 1048576
}

// One goroutine writes pages and makes them durable, at once. The Sync begins when all pages are
// written, and only if no write failed.
func ExampleBatch() {
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

	var b aio.Batch // may be used again, after Reset
	for i := range int64(8) {
		page := aio.AlignedBuffer(4096)
		copy(page, fmt.Sprintf("page %d", i))
		b.WriteAt(f, page, i*4096)
	}
	b.Barrier()
	b.Sync(f)
	if err := b.Do(context.Background()); err != nil {
		log.Fatal(err)
	}

	b.Reset()
	text := make([]byte, 6)
	read := b.ReadAt(f, text, 5*4096)
	beyond := b.ReadAt(f, make([]byte, 6), 1<<20)
	first := b.Do(context.Background())
	n, err := b.Result(read)
	fmt.Printf("%d %v %s\n", n, err, text)
	n, err = b.Result(beyond)
	fmt.Println(n, err, first)
	// Output:
	// 6 <nil> page 5
	// 0 EOF EOF
}

// PunchHole returns space within a file to the filesystem.
func ExampleFile_PunchHole() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	name := filepath.Join(dir, "file")
	if err := os.WriteFile(name, []byte("0123456789"), 0o644); err != nil {
		log.Fatal(err)
	}

	f, err := aio.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()

	err = f.PunchHole(2, 3)
	if errors.Is(err, errors.ErrUnsupported) {
		_, err = f.WriteAt(make([]byte, 3), 2) // filesystems without fallocate(2): zeros only
	}
	if err != nil {
		log.Fatal(err)
	}
	p := make([]byte, 10)
	if _, err := f.ReadAt(p, 0); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%q\n", p)
	// Output: "01\x00\x00\x0056789"
}

// A read that takes too long is abandoned. The caller then owns the buffer again, whatever the disk
// does.
func ExampleFile_ReadAtContext() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	name := filepath.Join(dir, "file")
	if err := os.WriteFile(name, []byte("0123456789"), 0o644); err != nil {
		log.Fatal(err)
	}

	f, err := aio.OpenFile(name, os.O_RDONLY|aio.O_DIRECT, 0)
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	p := make([]byte, 4)
	n, err := f.ReadAtContext(ctx, p, 3)
	if errors.Is(err, context.DeadlineExceeded) {
		log.Fatal("the disk hangs")
	}
	fmt.Printf("%d %v %s\n", n, err, p)
	// Output: 4 <nil> 3456
}

// Two reads are in flight while the goroutine does something else.
func ExampleFile_StartReadAt() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	name := filepath.Join(dir, "file")
	if err := os.WriteFile(name, []byte("0123456789"), 0o644); err != nil {
		log.Fatal(err)
	}

	f, err := aio.OpenFile(name, os.O_RDONLY|aio.O_DIRECT, 0)
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()

	a, b := make([]byte, 5), make([]byte, 5)
	first, second := f.StartReadAt(a, 0), f.StartReadAt(b, 5)
	select {
	case <-first.Done():
	case <-second.Done():
	}
	if _, err := first.Wait(); err != nil {
		log.Fatal(err)
	}
	if _, err := second.Wait(); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s %s\n", a, b)
	// Output: 01234 56789
}

// The counters are published with the program's other variables, at /debug/vars.
func ExampleReadStats() {
	if expvar.Get("aio") == nil { // a name may be published once
		expvar.Publish("aio", expvar.Func(func() any { return aio.ReadStats() }))
	}
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	name := filepath.Join(dir, "file")
	if err := os.WriteFile(name, []byte("0123456789"), 0o644); err != nil {
		log.Fatal(err)
	}

	f, err := aio.Open(name)
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()

	before := aio.ReadStats()
	if _, err := f.ReadAt(make([]byte, 5), 0); err != nil {
		log.Fatal(err)
	}
	var after aio.Stats
	if err := json.Unmarshal([]byte(expvar.Get("aio").String()), &after); err != nil {
		log.Fatal(err)
	}
	fmt.Println(after.PageCache - before.PageCache)
	// Output: 1
}
