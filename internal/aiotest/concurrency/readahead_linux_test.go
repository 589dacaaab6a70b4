package concurrency

import (
	"fmt"
	"io"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/internal/aiotest/aiofile"
)

func init() { children["outsider"] = outsider }

// TestReadahead reads the file in another process through the page cache, with readahead and by
// mmap(2), while direct and buffered writes meet in one large folio. Nothing may be lost, in that
// process's page cache either, and Sync may not fail with EIO.
func TestReadahead(t *testing.T) {
	conditions(t, func(t *testing.T) {
		name := newFolio(t)
		for range 2 {
			outside(t, name)
		}
		testBlocksAndBytes(t, name)
	})
}

// outside starts the other process and waits until it has read the file once.
func outside(t *testing.T, name string) {
	t.Helper()
	cmd := aiotest.Child(t, "^$", "outsider", name)
	out, err := cmd.StdoutPipe()
	aiofile.Must(err)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(aiotest.Follow(cmd.Process.Pid))
	t.Cleanup(func() {
		cmd.Process.Kill()
		io.Copy(io.Discard, out)
		cmd.Wait()
	})
	if _, err := io.ReadFull(out, make([]byte, 1)); err != nil {
		t.Fatal("the other process reads nothing: ", err)
	}
}

// outsider reads until it is killed. A failed read ends it, so the pages of the file must be
// readable at any time.
func outsider(args []string) {
	f, err := os.Open(args[0])
	aiofile.Must(err)
	fi, err := f.Stat()
	aiofile.Must(err)
	fd, size := int(f.Fd()), fi.Size()
	p := make([]byte, 300000)
	for pass := 0; ; pass++ {
		aiofile.Must(unix.Fadvise(fd, 0, 0, []int{unix.FADV_SEQUENTIAL, unix.FADV_NORMAL, unix.FADV_RANDOM}[pass%3]))
		aiofile.Must(unix.Fadvise(fd, 0, size, unix.FADV_WILLNEED))
		for off := int64(0); off < size; off += int64(len(p)) {
			_, err := f.ReadAt(p[:min(int64(len(p)), size-off)], off)
			aiofile.Must(err)
		}
		// Dropping the small folios left by writes makes room for a large one.
		aiofile.Must(unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED))
		touch(fd, int(size))
		if pass == 0 {
			fmt.Print("r")
		}
	}
}

// touch reads a byte of each page through a mapping. A kernel with folios of 2 MiB then reads one
// at once, whatever the size of its readahead.
func touch(fd, size int) (sum int) {
	mapped, err := unix.Mmap(fd, 0, size, unix.PROT_READ, unix.MAP_SHARED)
	aiofile.Must(err)
	defer unix.Munmap(mapped)
	unix.Madvise(mapped, unix.MADV_HUGEPAGE)
	for i := 0; i < size; i += 4096 {
		sum += int(mapped[i])
	}
	return sum
}
