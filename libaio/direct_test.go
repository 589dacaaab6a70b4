//go:build linux

package libaio

import (
	"os"
	"syscall"
	"testing"
	"unsafe"

	"github.com/go-aio/aio/internal/aiotest"
	"golang.org/x/sys/unix"
)

// O_DIRECT demands alignment, and statx(2) reports how much. Btrfs and tmpfs accept any
// transfer and buffer it; statx(2) reports nothing for them.

func TestDirectVectorNeedsAlignedSegmentsAndSum(t *testing.T) {
	c := newContext(t, 8)
	fd := openShared(t)
	mem, off := alignment(fd)
	p := aligned(4 * block)
	part := func(from, n int) []byte { return p[from : from+n] }
	for _, tt := range []struct {
		name string
		bufs [][]byte
		res  int64
	}{
		{"aligned", [][]byte{part(0, block), part(2*block, block)}, 2 * block},
		{"memory alignment, sum of offset alignment", split(p[:block], mem), block},
		{
			"misaligned address",
			[][]byte{part(0, block), part(block+mem/2, block)},
			-int64(syscall.EINVAL),
		},
		{
			"misaligned length",
			[][]byte{part(0, block-mem/2), part(2*block, block+mem/2)},
			-int64(syscall.EINVAL),
		},
		{"misaligned sum", [][]byte{part(0, block), part(block, off/2)}, -int64(syscall.EINVAL)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cb := new(IOCB)
			cb.PrepPreadv(fd, tt.bufs, 0)
			if res := do(t, c, cb); res != tt.res {
				t.Fatalf("Res = %d, want %d", res, tt.res)
			}
			if tt.res > 0 {
				at := int64(0)
				for _, p := range tt.bufs {
					check(t, p, at)
					at += int64(len(p))
				}
			}
		})
	}
}

// split cuts p into pieces of n bytes.
func split(p []byte, n int) (pieces [][]byte) {
	for ; len(p) > 0; p = p[n:] {
		pieces = append(pieces, p[:n:n])
	}
	return pieces
}

// A direct read to misaligned memory is refused, unless the whole request lies within one
// page. In that case the device takes it.
func TestMisalignedDirectReadWithinOnePage(t *testing.T) {
	c := newContext(t, 8)
	fd := openShared(t)
	mem, off := alignment(fd)
	if off >= block || mem < 2 {
		aiotest.Needs(t, "sectors smaller than a block",
			"TMPDIR=DIR go test ./libaio, with a DIR on such a disk")
	}
	p := aligned(2 * block)
	for _, tt := range []struct {
		name string
		p    []byte
		res  int64
	}{
		{"within", p[mem/2:][:off], int64(off)},
		{"across", p[block-mem/2:][:off], -int64(syscall.EINVAL)},
	} {
		cb := new(IOCB)
		cb.PrepPread(fd, tt.p, 0)
		res := do(t, c, cb)
		if res != tt.res {
			t.Errorf("%s a page: Res = %d, want %d", tt.name, res, tt.res)
		}
		if res > 0 {
			check(t, tt.p, 0)
		}
	}
}

// A successful read of no data therefore proves nothing about alignment.
func TestDirectMisalignedReadOfNoDataSucceeds(t *testing.T) {
	c := newContext(t, 8)
	name := newFile(t, block)
	if err := os.Truncate(name, 3*block); err != nil {
		t.Fatal(err)
	}
	fd := open(t, name, unix.O_RDWR|unix.O_DIRECT)
	empty := open(t, newFile(t, 0), unix.O_RDONLY|unix.O_DIRECT)
	p := make([]byte, 2*block)
	p = p[(-int(uintptr(unsafe.Pointer(&p[0])))&7)+1:] // no alignment at all
	for _, tt := range []struct {
		name   string
		fd     int
		off, n int64
		res    int64
	}{
		{"hole", fd, block + 3, 1001, 1001},
		{"at the end", fd, 3 * block, 1001, 0},
		{"past the end", fd, 3*block + 5, 1001, 0},
		{"empty file", empty, 0, 1001, 0},
		{"data", fd, 3, 1001, -int64(syscall.EINVAL)},
	} {
		cb := new(IOCB)
		cb.PrepPread(tt.fd, p[:tt.n], tt.off)
		if res := do(t, c, cb); res != tt.res {
			t.Errorf("%s: Res = %d, want %d", tt.name, res, tt.res)
		}
	}
}

func TestDirectReadAtTheEnd(t *testing.T) {
	c := newContext(t, 8)
	name := newFile(t, 304)
	fd := open(t, name, unix.O_RDONLY|unix.O_DIRECT)
	p := aligned(block)
	for i := range p {
		p[i] = 0xee
	}
	cb := new(IOCB)
	cb.PrepPread(fd, p, 0)
	if res := do(t, c, cb); res != 304 {
		t.Fatalf("Res = %d, want 304", res)
	}
	check(t, p[:304], 0)
	if onExt4(t, name) { // xfs does the same
		for i, b := range p[304:] {
			if b != 0 {
				t.Fatalf("byte %d after the end is %#x, want 0", i, b)
			}
		}
	}
	for _, off := range []int64{block, 1 << 30} {
		cb.PrepPread(fd, p, off)
		if res := do(t, c, cb); res != 0 {
			t.Errorf("at %d: Res = %d, want 0", off, res)
		}
	}
}

func TestDirectAppendNeedsAnAlignedSize(t *testing.T) {
	c := newContext(t, 8)
	for size, res := range map[int]int64{block: block, 304: -int64(syscall.EINVAL)} {
		name := newFile(t, size)
		fd := open(t, name, unix.O_WRONLY|unix.O_APPEND|unix.O_DIRECT)
		cb := new(IOCB)
		cb.PrepPwrite(fd, aligned(block), 0) // at the end, regardless of the offset
		if got := do(t, c, cb); got != res {
			t.Errorf("after %d bytes: Res = %d, want %d", size, got, res)
		}
		if st, err := os.Stat(name); err != nil || st.Size() != int64(size)+max(0, res) {
			t.Errorf("after %d bytes: the size is %d (%v)", size, st.Size(), err)
		}
	}
}

// The request pins the file. Ftruncate(2) waits for direct requests, so they still see the
// whole file. A pwrite(2) through the page cache would not wait.
func TestReadsInFlightWhenTheFileGoes(t *testing.T) {
	const size, n = 256 << 10, 16
	for name, leave := range map[string]func(fd int, name string) error{
		"close":     func(fd int, _ string) error { return unix.Close(fd) },
		"unlink":    func(_ int, name string) error { return unix.Unlink(name) },
		"ftruncate": func(_ int, name string) error { return unix.Truncate(name, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			c := newContext(t, n)
			file := newFile(t, n*size)
			fd, err := unix.Open(file, unix.O_RDONLY|unix.O_DIRECT|unix.O_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			var bufs [n][]byte
			var iocbs []*IOCB
			for i := range bufs {
				bufs[i] = aligned(size)
				cb := new(IOCB)
				cb.PrepPread(fd, bufs[i], int64(i)*size)
				iocbs = append(iocbs, cb)
			}
			submit(t, c, iocbs...)
			if err := leave(fd, file); err != nil {
				t.Error(err)
			}
			for _, e := range take(t, c, n) {
				if e.Res != size {
					t.Errorf("Res = %d, want %d", e.Res, size)
				}
			}
			for i, p := range bufs {
				check(t, p, int64(i)*size)
			}
			if name != "close" {
				unix.Close(fd)
			}
		})
	}
}
