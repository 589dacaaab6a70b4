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

// The example reads four blocks of a file at once. It opens the file with O_DIRECT: otherwise
// Submit would wait for the disk itself.
func Example() {
	f, done := exampleFile()
	defer done()

	c, err := libaio.Setup(4)
	must(err) // EAGAIN: see /proc/sys/fs/aio-max-nr
	defer c.Destroy()

	// Direct I/O needs aligned memory, offsets and lengths. A mapping begins at a page.
	const block = 4096
	memory, err := unix.Mmap(-1, 0, 4*block, unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_ANON|unix.MAP_PRIVATE)
	must(err)
	defer unix.Munmap(memory)

	iocbs := make([]*libaio.IOCB, 4)
	for i := range iocbs {
		iocbs[i] = new(libaio.IOCB)
		iocbs[i].PrepPread(int(f.Fd()), memory[i*block:(i+1)*block], int64(i)*block)
		iocbs[i].Data = uint64(i)
	}
	// A count below the total, without an error, is no failure. The kernel refused iocbs[n]
	// and did not look at the ones after it.
	for submitted := 0; submitted < len(iocbs); {
		n, err := c.Submit(iocbs[submitted:]...)
		must(err)
		submitted += n
	}

	// The events come in the order in which the reads complete.
	var text [4]string
	events := make([]libaio.Event, 4)
	for left := len(iocbs); left > 0; {
		n, err := c.GetEvents(1, events, -1)
		must(err)
		for _, e := range events[:n] {
			if e.Res < 0 {
				must(syscall.Errno(-e.Res))
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

// A goroutine waits for an eventfd in the runtime's poller, which takes no thread. The
// eventfd counts completions: one read may stand for many.
func ExampleIOCB_SetEventfd() {
	f, done := exampleFile()
	defer done()

	c, err := libaio.Setup(16)
	must(err)
	defer c.Destroy()
	fd, err := libaio.Eventfd()
	must(err)
	wake := os.NewFile(uintptr(fd), "eventfd")
	defer wake.Close()

	called := 0
	for range 10 {
		cb := new(libaio.IOCB)
		cb.PrepFsync(int(f.Fd()))
		cb.SetEventfd(fd)
		cb.SetCallback(func(_ *libaio.Context, _ *libaio.IOCB, res, _ int64) {
			if res < 0 {
				must(syscall.Errno(-res))
			}
			called++
		})
		_, err := c.Submit(cb)
		must(err)
	}
	for called < 10 {
		var count [8]byte
		_, err := wake.Read(count[:])
		must(err)
		_, err = c.Run() // takes all that have arrived, not one
		must(err)
	}
	fmt.Println(called, "syncs done")
	// Output: 10 syncs done
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// exampleFile opens a file of four blocks, the last of 100 bytes.
func exampleFile() (f *os.File, done func()) {
	dir, err := os.MkdirTemp("", "libaio-example-")
	must(err)
	name := filepath.Join(dir, "file")
	var data []byte
	for i := range 3*4096 + 100 {
		data = append(data, '0'+byte(i/4096))
	}
	must(os.WriteFile(name, data, 0o600))
	f, err = os.OpenFile(name, os.O_RDWR|syscall.O_DIRECT, 0)
	if err != nil { // a filesystem without direct I/O
		f, err = os.OpenFile(name, os.O_RDWR, 0)
	}
	must(err)
	return f, func() {
		f.Close()
		os.RemoveAll(dir)
	}
}
