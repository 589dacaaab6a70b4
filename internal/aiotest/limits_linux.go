package aiotest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"golang.org/x/sys/unix"
)

// LimitsSize is the size in bytes of the files on which [Limits] are checked.
const LimitsSize = 1 << 20

// NewFile returns a file of LimitsSize zero bytes in dir. The test closes it at its end.
func NewFile(t testing.TB, dir string) *os.File {
	t.Helper()
	file, err := os.Create(filepath.Join(dir, "file"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	if _, err := file.Write(make([]byte, LimitsSize)); err != nil {
		t.Fatal(err)
	}
	return file
}

// NewDevice returns a loop device of LimitsSize bytes. The test closes it at its end.
func NewDevice(t testing.TB, sector int) *os.File {
	t.Helper()
	device, done := NewLoopDevice(t, LimitsSize, sector)
	defer done()
	file, err := os.OpenFile(device, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return file
}

// Limits are the claims about direct I/O on a descriptor that Check verifies.
type Limits struct {
	Fd               int
	Mem, Read, Write int  // alignments of addresses, reads and writes, in bytes
	Writes           bool // writes bypass the page cache
	Lax              bool // misaligned direct I/O is buffered instead of refused

	Pread, Pwrite func(fd int, p []byte, off int64) (int, error)
}

// Check compares the limits with what the kernel does on file, of [NewFile] or [NewDevice].
func (l Limits) Check(t testing.TB, file *os.File) {
	t.Helper()
	l.checkReads(t, file)
	l.checkWrites(t, file)
}

// Memory returns n random bytes at an address that is skip above a multiple of 64 KiB. All of its
// pages are present: btrfs reads through the page cache into memory without pages.
func Memory(skip, n int) []byte {
	const unit = 64 << 10
	p := make([]byte, unit+skip+n)
	skip += -int(reflect.ValueOf(p).Pointer()) & (unit - 1)
	p = p[skip : skip+n : skip+n]
	for i := range p {
		p[i] = byte(rand.Uint32())
	}
	return p
}

// refill writes bytes that no test has written before, makes them durable and drops them from the
// page cache.
func refill(t testing.TB, file *os.File) []byte {
	t.Helper()
	text := make([]byte, LimitsSize)
	for i := range text {
		text[i] = byte(rand.Uint32())
	}
	if _, err := file.WriteAt(text, 0); err != nil {
		t.Fatal(err)
	}
	DropCache(t, file)
	return text
}

// DropCache makes file durable and drops it from the page cache.
func DropCache(t testing.TB, file *os.File) {
	t.Helper()
	fd := int(file.Fd())
	if err := unix.Fsync(fd); err != nil {
		t.Fatal(err)
	}
	// Pages that readahead is still reading are locked, and stay for a while.
	Until(t, "no page is in the cache", func() bool {
		if err := unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED); err != nil {
			t.Fatal(err)
		}
		return cached(t, file) == 0
	})
}

// cached returns the number of pages of file that are in the page cache.
func cached(t testing.TB, file *os.File) uint64 {
	t.Helper()
	return CacheOf(t, file, 0, LimitsSize).Cache
}

// CacheOf returns the result of cachestat(2) for a range of file.
func CacheOf(t testing.TB, file *os.File, off, n int) (stat unix.Cachestat_t) {
	t.Helper()
	err := unix.Cachestat(uint(file.Fd()), &unix.CachestatRange{Off: uint64(off), Len: uint64(n)}, &stat, 0)
	if err == unix.ENOSYS {
		Needs(t, "cachestat(2), of Linux 6.5", Whole)
	}
	if err != nil {
		t.Fatalf("cachestat: %v", err)
	}
	return stat
}

func (l Limits) checkReads(t testing.TB, file *os.File) {
	text := refill(t, file)
	r, m := l.Read, l.Mem
	read := func(what string, skip, off, n int) error {
		p := Memory(skip, n)
		got, err := l.Pread(l.Fd, p, int64(off))
		if err != nil {
			return err
		}
		if want := text[off:min(off+n, LimitsSize)]; got != len(want) || !bytes.Equal(p[:got], want) {
			t.Errorf("%s: a direct read of %d bytes at %d returned %d, or other bytes", what, n, off, got)
		}
		return nil
	}

	for _, off := range []int{0, r, 3 * r, 64<<10 - r, LimitsSize / 2, LimitsSize - r} {
		for _, n := range []int{r, 2 * r, 5 * r, 64 << 10} {
			// The address is aligned to m and no more.
			for _, skip := range []int{0, m, 3 * m, 4096 + m} {
				if err := read("aligned", skip, off, n); err != nil {
					t.Errorf("a direct read of %d bytes at %d to memory at %d: %v", n, off, skip, err)
				}
			}
		}
	}
	if err := read("at the end", 0, LimitsSize, r); err != nil {
		t.Errorf("a direct read at the end: %v", err)
	}
	if n := cached(t, file); n != 0 {
		t.Errorf("aligned reads have brought %d pages into the cache", n)
	}

	for _, half := range []struct{ skip, off, n int }{
		{0, r / 2, r},
		{0, r, r / 2},
		{0, r, r + r/2},
		{0, 5*r - r/2, 4 * r},
		{m / 2, 0, 64 << 10}, // longer than a page: a shorter length passes
	} {
		what := fmt.Sprintf("%d bytes at %d, to memory at %d", half.n, half.off, half.skip)
		switch err := read(what, half.skip, half.off, half.n); {
		case !l.Lax && err != unix.EINVAL:
			t.Errorf("a direct read of %s: %v, want EINVAL", what, err)
		case l.Lax && err != nil:
			t.Errorf("a direct read of %s: %v", what, err)
		case l.Lax && cached(t, file) == 0:
			t.Errorf("a read of %s went past the page cache", what)
		}
		if l.Lax {
			DropCache(t, file)
		}
	}
}

func (l Limits) checkWrites(t testing.TB, file *os.File) {
	text := refill(t, file)
	w, m := l.Write, l.Mem
	write := func(skip, off, n int) error {
		p := Memory(skip, n)
		got, err := l.Pwrite(l.Fd, p, int64(off))
		if err != nil {
			return err
		}
		if got != n {
			t.Errorf("a direct write of %d bytes at %d returned %d", n, off, got)
		}
		copy(text[off:], p)
		return nil
	}
	for _, off := range []int{0, w, 3 * w, LimitsSize / 2, LimitsSize - w} {
		for _, n := range []int{w, 2 * w, 64 << 10} {
			if off+n > LimitsSize {
				continue
			}
			for _, skip := range []int{0, m, 3 * m} {
				if err := write(skip, off, n); err != nil {
					t.Errorf("a direct write of %d bytes at %d from memory at %d: %v", n, off, skip, err)
				}
			}
		}
	}
	if n := cached(t, file); l.Writes && n != 0 {
		t.Errorf("aligned writes have left %d pages in the cache", n)
	}
	if l.Lax {
		// Btrfs drops the pages of a write that it had to buffer. It refuses such a write if the
		// write must not wait.
		p := Memory(0, w)
		_, err := unix.Pwritev2(l.Fd, [][]byte{p}, 0, unix.RWF_NOWAIT)
		if direct := err != unix.EAGAIN; direct != l.Writes {
			t.Errorf("an aligned write that must not wait: %v, and Writes is %v", err, l.Writes)
		}
		if err == nil {
			copy(text, p)
		}
	} else {
		r := l.Read
		for _, half := range []struct{ skip, off, n int }{{0, r / 2, r}, {0, r, r / 2}, {m / 2, 0, 64 << 10}} {
			if err := write(half.skip, half.off, half.n); err != unix.EINVAL {
				t.Errorf("a direct write of %d bytes at %d from memory at %d: %v, want EINVAL", half.n, half.off, half.skip, err)
			}
		}
	}
	got := make([]byte, LimitsSize)
	if _, err := file.ReadAt(got, 0); err != nil || !bytes.Equal(got, text) {
		t.Errorf("the file differs from the written bytes: %v", err)
	}
}
