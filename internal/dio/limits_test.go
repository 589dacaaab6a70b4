//go:build linux

package dio

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"unsafe"

	"github.com/go-aio/aio/internal/aiotest"
	"golang.org/x/sys/unix"
)

// A place is somewhere to open a file, and what is known of direct I/O there.
type place struct {
	name   string
	file   func(t *testing.T) *os.File // of size bytes, all zero
	limits Limits
	// lax is whether misaligned direct I/O is buffered instead of refused.
	lax bool
}

const size = 1 << 20

func fileIn(f aiotest.Filesystem) func(t *testing.T) *os.File {
	return func(t *testing.T) *os.File { return newFileIn(t, f) }
}

// newFileIn returns a file of size bytes in a new filesystem.
func newFileIn(t *testing.T, f aiotest.Filesystem) *os.File {
	t.Helper()
	dir, _ := f.NewDir(t)
	return newFile(t, dir)
}

// newFile returns a file of size bytes in dir.
func newFile(t *testing.T, dir string) *os.File {
	t.Helper()
	file, err := os.Create(filepath.Join(dir, "file"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	if _, err := file.Write(make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	return file
}

func deviceOf(sector int) func(t *testing.T) *os.File {
	return func(t *testing.T) *os.File {
		device, done := aiotest.NewLoopDevice(t, size, sector)
		defer done()
		file, err := os.OpenFile(device, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { file.Close() })
		return file
	}
}

// A loop device asks for memory alignment of 512 bytes whatever its sectors are.
var places = []place{
	{"ext4", fileIn(aiotest.Ext4), Limits{Mem: 512, Read: 512, Write: 4096, Writes: true}, false},
	{"ext4 of 1 KiB blocks", fileIn(aiotest.Ext4Small), Limits{Mem: 512, Read: 512, Write: 4096, Writes: true}, false},
	{"ext4 of 4 KiB sectors", fileIn(aiotest.Ext4Large), Limits{Mem: 512, Read: 4096, Write: 4096, Writes: true}, false},
	{"xfs", fileIn(aiotest.XFS), Limits{Mem: 512, Read: 512, Write: 4096, Writes: true}, false},
	{"xfs of 4 KiB sectors", fileIn(aiotest.XFSLarge), Limits{Mem: 512, Read: 4096, Write: 4096, Writes: true}, false},
	{"btrfs", fileIn(aiotest.Btrfs), Limits{Mem: 4096, Read: 4096, Write: 4096, Resident: true}, true},
	{"btrfs without checksums", fileIn(aiotest.BtrfsNoCow), Limits{Mem: 4096, Read: 4096, Write: 4096, Writes: true, Resident: true}, true},
	{"device", deviceOf(512), Limits{Mem: 512, Read: 512, Write: 4096, Writes: true, Fixed: true}, false},
	{"device of 4 KiB sectors", deviceOf(4096), Limits{Mem: 512, Read: 4096, Write: 4096, Writes: true, Fixed: true}, false},
}

func TestLimits(t *testing.T) {
	for _, p := range places {
		t.Run(p.name, func(t *testing.T) {
			aiotest.Guard(t)
			file := p.file(t)
			twin := newTwin(t, file)
			want := p.limits
			want.Write = max(want.Write, os.Getpagesize())
			if twin.Limits != want {
				t.Errorf("the limits are %+v, want %+v", twin.Limits, want)
			}
			testReads(t, file, twin, p.lax)
			testWrites(t, file, twin, p.lax)
		})
	}
}

// The limits hold wherever the tests run.
func TestLimitsHere(t *testing.T) {
	aiotest.Guard(t)
	file := newFile(t, t.TempDir())
	twin, err := Open(int(file.Fd()))
	if err == unix.EOPNOTSUPP || err == unix.EINVAL {
		t.Skip("the filesystem of TMPDIR has no direct I/O that we know the rules of")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer twin.Close()
	lax := twin.Read == twin.Mem && twin.Mem == 4096 // btrfs
	testReads(t, file, twin, lax)
	testWrites(t, file, twin, lax)
}

func TestNoLimitsOnTmpfs(t *testing.T) {
	file := newFileIn(t, aiotest.Tmpfs)
	files := aiotest.OpenFiles()
	if twin, err := Open(int(file.Fd())); err != unix.EOPNOTSUPP {
		t.Errorf("Open = %+v, %v, want EOPNOTSUPP", twin, err)
	}
	wantFiles(t, files)
}

func newTwin(t *testing.T, file *os.File) *Twin {
	t.Helper()
	twin, err := Open(int(file.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { twin.Close() })
	return twin
}

// at returns n random bytes of memory whose address is skip above a multiple of 64 KiB. It
// has been written to: btrfs reads through the page cache into memory that has not yet a
// page.
func at(skip, n int) []byte {
	const unit = 64 << 10
	p := make([]byte, unit+skip+n)
	skip += -int(uintptr(unsafe.Pointer(unsafe.SliceData(p)))) & (unit - 1)
	p = p[skip : skip+n : skip+n]
	for i := range p {
		p[i] = byte(rand.Uint32())
	}
	return p
}

// refill writes what no test has written before, makes it durable and drops it from the
// page cache.
func refill(t *testing.T, file *os.File) []byte {
	t.Helper()
	text := make([]byte, size)
	for i := range text {
		text[i] = byte(rand.Uint32())
	}
	if _, err := file.WriteAt(text, 0); err != nil {
		t.Fatal(err)
	}
	dropCache(t, file)
	return text
}

func dropCache(t *testing.T, file *os.File) {
	t.Helper()
	fd := int(file.Fd())
	if err := unix.Fsync(fd); err != nil {
		t.Fatal(err)
	}
	// Pages that readahead is still reading are locked, and stay for now.
	aiotest.Until(t, "no page is in the cache", func() bool {
		if err := unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED); err != nil {
			t.Fatal(err)
		}
		return cached(t, file, 0, size) == 0
	})
}

// cached returns the number of pages of a range that are in the page cache.
func cached(t *testing.T, file *os.File, off, n int) uint64 {
	t.Helper()
	return cacheOf(t, file, off, n).Cache
}

func cacheOf(t *testing.T, file *os.File, off, n int) (stat unix.Cachestat_t) {
	t.Helper()
	err := unix.Cachestat(uint(file.Fd()), &unix.CachestatRange{Off: uint64(off), Len: uint64(n)}, &stat, 0)
	if err == unix.ENOSYS {
		t.Skip("cachestat(2) needs Linux 6.5")
	}
	if err != nil {
		t.Fatalf("cachestat: %v", err)
	}
	return stat
}

func testReads(t *testing.T, file *os.File, twin *Twin, lax bool) {
	text := refill(t, file)
	r, m := twin.Read, twin.Mem
	read := func(what string, skip, off, n int) error {
		p := at(skip, n)
		got, err := Pread(twin.Fd, p, int64(off))
		if err != nil {
			return err
		}
		if want := text[off:min(off+n, size)]; got != len(want) || !bytes.Equal(p[:got], want) {
			t.Errorf("%s: a direct read of %d bytes at %d returned %d, or other bytes", what, n, off, got)
		}
		return nil
	}

	for _, off := range []int{0, r, 3 * r, 64<<10 - r, size / 2, size - r} {
		for _, n := range []int{r, 2 * r, 5 * r, 64 << 10} {
			// The address is aligned to m and to no more.
			for _, skip := range []int{0, m, 3 * m, 4096 + m} {
				if err := read("aligned", skip, off, n); err != nil {
					t.Errorf("a direct read of %d bytes at %d to memory at %d: %v", n, off, skip, err)
				}
			}
		}
	}
	if err := read("at the end", 0, size, r); err != nil {
		t.Errorf("a direct read at the end: %v", err)
	}
	if n := cached(t, file, 0, size); n != 0 {
		t.Errorf("aligned reads have brought %d pages into the cache", n)
	}

	for _, half := range []struct{ skip, off, n int }{
		{0, r / 2, r},
		{0, r, r / 2},
		{0, r, r + r/2},
		{0, 5*r - r/2, 4 * r},
		{m / 2, 0, 64 << 10}, // longer than a page: less is let through
	} {
		what := fmt.Sprintf("%d bytes at %d, to memory at %d", half.n, half.off, half.skip)
		switch err := read(what, half.skip, half.off, half.n); {
		case !lax && err != unix.EINVAL:
			t.Errorf("a direct read of %s: %v, want EINVAL", what, err)
		case lax && err != nil:
			t.Errorf("a direct read of %s: %v", what, err)
		case lax && cached(t, file, 0, size) == 0:
			t.Errorf("a read of %s went past the page cache", what)
		}
		if lax {
			dropCache(t, file)
		}
	}
}

func testWrites(t *testing.T, file *os.File, twin *Twin, lax bool) {
	text := refill(t, file)
	w, m := twin.Write, twin.Mem
	write := func(skip, off, n int) error {
		p := at(skip, n)
		got, err := Pwrite(twin.Fd, p, int64(off))
		if err != nil {
			return err
		}
		if got != n {
			t.Errorf("a direct write of %d bytes at %d returned %d", n, off, got)
		}
		copy(text[off:], p)
		return nil
	}
	for _, off := range []int{0, w, 3 * w, size / 2, size - w} {
		for _, n := range []int{w, 2 * w, 64 << 10} {
			if off+n > size {
				continue
			}
			for _, skip := range []int{0, m, 3 * m} {
				if err := write(skip, off, n); err != nil {
					t.Errorf("a direct write of %d bytes at %d from memory at %d: %v", n, off, skip, err)
				}
			}
		}
	}
	if n := cached(t, file, 0, size); twin.Writes && n != 0 {
		t.Errorf("aligned writes have left %d pages in the cache", n)
	}
	if lax {
		// Btrfs drops the pages of what it had to buffer, but it does not let such a write
		// begin that must not wait.
		p := at(0, w)
		_, err := unix.Pwritev2(twin.Fd, [][]byte{p}, 0, unix.RWF_NOWAIT)
		if direct := err != unix.EAGAIN; direct != twin.Writes {
			t.Errorf("an aligned write that must not wait: %v, and Writes is %v", err, twin.Writes)
		}
		if err == nil {
			copy(text, p)
		}
	} else {
		r := twin.Read
		for _, half := range []struct{ skip, off, n int }{{0, r / 2, r}, {0, r, r / 2}, {m / 2, 0, 64 << 10}} {
			if err := write(half.skip, half.off, half.n); err != unix.EINVAL {
				t.Errorf("a direct write of %d bytes at %d from memory at %d: %v, want EINVAL", half.n, half.off, half.skip, err)
			}
		}
	}
	got := make([]byte, size)
	if _, err := file.ReadAt(got, 0); err != nil || !bytes.Equal(got, text) {
		t.Errorf("the file has not what was written: %v", err)
	}
}

func TestOddLimitsAreRefused(t *testing.T) {
	good := Limits{Mem: 512, Read: 512, Write: 4096}
	if err := good.check(); err != nil {
		t.Errorf("%+v: %v", good, err)
	}
	for _, change := range []func(l *Limits){
		func(l *Limits) { l.Mem = 0 },
		func(l *Limits) { l.Mem = 768 },
		func(l *Limits) { l.Mem = 8192 }, // more than a page is not what our buffers have
		func(l *Limits) { l.Read = 0 },
		func(l *Limits) { l.Read = -512 },
		func(l *Limits) { l.Read = 3 << 10 },
		func(l *Limits) { l.Read = 128 << 10 },
		func(l *Limits) { l.Write = 0 },
		func(l *Limits) { l.Write = 5000 },
	} {
		l := good
		change(&l)
		if err := l.check(); err != unix.EOPNOTSUPP {
			t.Errorf("%+v: %v, want EOPNOTSUPP", l, err)
		}
	}
	for _, l := range []Limits{{Mem: 1, Read: 1, Write: 4096}, {Mem: 4096, Read: 64 << 10, Write: 1 << 20}} {
		if err := l.check(); err != nil {
			t.Errorf("%+v: %v", l, err)
		}
	}
}
