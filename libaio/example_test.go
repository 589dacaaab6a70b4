//go:build linux

package libaio_test

import (
	"fmt"
	"log"
	"os"
	"path/filepath"
	"syscall"

	"github.com/go-aio/aio/libaio"
	"golang.org/x/sys/unix"
)

// Four blocks of a file are read at once. The file is opened with O_DIRECT: otherwise
// Submit would wait for the disk itself.
func Example() {
	f, done := exampleFile()
	defer done()

	c, err := libaio.Setup(4)
	if err != nil {
		log.Fatal(err) // EAGAIN: see /proc/sys/fs/aio-max-nr
	}
	defer c.Destroy()

	// Direct I/O asks for memory, offsets and lengths that are aligned; a mapping
	// begins at a page.
	const block = 4096
	memory, err := unix.Mmap(-1, 0, 4*block, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		log.Fatal(err)
	}
	defer unix.Munmap(memory)

	iocbs := make([]*libaio.IOCB, 4)
	for i := range iocbs {
		iocbs[i] = new(libaio.IOCB)
		iocbs[i].PrepPread(int(f.Fd()), memory[i*block:(i+1)*block], int64(i)*block)
		iocbs[i].Data = uint64(i)
	}
	// Fewer than all, and no error, is an answer, too: iocbs[n] has been refused, and
	// those behind it have not been looked at.
	for submitted := 0; submitted < len(iocbs); {
		n, err := c.Submit(iocbs[submitted:]...)
		if err != nil {
			log.Fatal(err)
		}
		submitted += n
	}

	// The events come in the order in which the reads complete.
	var text [4]string
	events := make([]libaio.Event, 4)
	for left := len(iocbs); left > 0; {
		n, err := c.GetEvents(1, events, -1)
		if err != nil {
			log.Fatal(err)
		}
		for _, e := range events[:n] {
			if e.Res < 0 {
				log.Fatal(syscall.Errno(-e.Res))
			}
			text[e.Data] = fmt.Sprintf("%d bytes, %q...", e.Res, memory[e.Data*block:][:8])
		}
		left -= n
	}
	for i, s := range text {
		fmt.Printf("block %d: %s\n", i, s)
	}
	// Output:
	// block 0: 4096 bytes, "00000000"...
	// block 1: 4096 bytes, "11111111"...
	// block 2: 4096 bytes, "22222222"...
	// block 3: 100 bytes, "33333333"...
}

// An eventfd lets a goroutine wait for events in the runtime's poller, which takes no
// thread. It counts completions: one read may stand for many.
func ExampleIOCB_SetEventfd() {
	f, done := exampleFile()
	defer done()

	c, err := libaio.Setup(16)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Destroy()
	fd, err := libaio.Eventfd()
	if err != nil {
		log.Fatal(err)
	}
	wake := os.NewFile(uintptr(fd), "eventfd")
	defer wake.Close()

	called := 0
	for range 10 {
		cb := new(libaio.IOCB)
		cb.PrepFsync(int(f.Fd()))
		cb.SetEventfd(fd)
		cb.SetCallback(func(_ *libaio.Context, _ *libaio.IOCB, res, _ int64) {
			if res < 0 {
				log.Fatal(syscall.Errno(-res))
			}
			called++
		})
		if _, err := c.Submit(cb); err != nil {
			log.Fatal(err)
		}
	}
	for called < 10 {
		var count [8]byte
		if _, err := wake.Read(count[:]); err != nil {
			log.Fatal(err)
		}
		if _, err := c.Run(); err != nil { // takes all that are there, not one
			log.Fatal(err)
		}
	}
	fmt.Println(called, "syncs done")
	// Output: 10 syncs done
}

// exampleFile opens a file of four blocks, the last of 100 bytes.
func exampleFile() (f *os.File, done func()) {
	dir, err := os.MkdirTemp("", "libaio-example-")
	if err != nil {
		log.Fatal(err)
	}
	name := filepath.Join(dir, "file")
	var data []byte
	for i := range 3*4096 + 100 {
		data = append(data, '0'+byte(i/4096))
	}
	if err := os.WriteFile(name, data, 0o600); err != nil {
		log.Fatal(err)
	}
	f, err = os.OpenFile(name, os.O_RDWR|syscall.O_DIRECT, 0)
	if err != nil { // a filesystem that has no direct I/O
		f, err = os.OpenFile(name, os.O_RDWR, 0)
	}
	if err != nil {
		log.Fatal(err)
	}
	return f, func() {
		f.Close()
		os.RemoveAll(dir)
	}
}
