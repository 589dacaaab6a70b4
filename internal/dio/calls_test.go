//go:build linux

package dio

import (
	"bytes"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/go-aio/aio/internal/aiotest"
	"golang.org/x/sys/unix"
)

func TestStat(t *testing.T) {
	aiotest.Guard(t)
	dir := t.TempDir()
	file := newFile(t, dir)
	second, err := os.Open(file.Name())
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	other, err := os.Create(filepath.Join(dir, "other"))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()

	stat := func(f *os.File) Info {
		t.Helper()
		info, err := Stat(int(f.Fd()))
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	info := stat(file)
	if info.Kind != Regular || info.Dev == 0 || info.Ino == 0 {
		t.Errorf("Stat of a regular file: %+v", info)
	}
	if again := stat(second); again != info {
		t.Errorf("Stat of one file by two descriptors: %+v and %+v", info, again)
	}
	if info2 := stat(other); info2.Dev != info.Dev || info2.Ino == info.Ino {
		t.Errorf("Stat of two files of one directory: %+v and %+v", info, info2)
	}

	for _, name := range []string{dir, os.DevNull, "/proc/self/mem"} {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		info := stat(f)
		// fstat(2) calls it regular
		if want := name == "/proc/self/mem"; (info.Kind == Regular) != want {
			t.Errorf("Stat of %s: %+v", name, info)
		}
		f.Close()
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if info := stat(r); info != (Info{}) {
		t.Errorf("Stat of a pipe: %+v", info)
	}
	if info, err := Stat(-1); err != unix.EBADF || info != (Info{}) {
		t.Errorf("Stat(-1) = %+v, %v, want EBADF", info, err)
	}
}

// A block device is one inode, regardless of the node it is opened by.
func TestStatOfADevice(t *testing.T) {
	aiotest.Guard(t)
	one := deviceOf(512)(t)
	info, err := Stat(int(one.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(one.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	dev := uint64(st.Rdev) //nolint:unconvert // uint32 on 32-bit MIPS
	if want := (Info{Kind: Block, Dev: dev}); info != want {
		t.Errorf("%+v, want %+v", info, want)
	}
	node := filepath.Join(t.TempDir(), "node")
	if err := unix.Mknod(node, unix.S_IFBLK|0o600, int(st.Rdev)); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open(node, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err == unix.EACCES {
		aiotest.Needs(t, "a filesystem mounted without nodev", aiotest.Whole)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if again, err := Stat(fd); again != info || err != nil {
		t.Errorf("Stat by another node: %+v, %v, want %+v", again, err, info)
	}
}

func TestFlags(t *testing.T) {
	aiotest.Guard(t)
	name := newFile(t, t.TempDir()).Name()
	fd, err := unix.Open(name, unix.O_WRONLY|unix.O_APPEND|unix.O_SYNC|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := Flags(fd)&checked, unix.O_WRONLY|unix.O_APPEND|unix.O_SYNC; got != want {
		t.Errorf("Flags = %#x, want %#x", got, want)
	}
	unix.Close(fd)
	if got := Flags(-1); got != 0 {
		t.Errorf("Flags(-1) = %#x, want 0", got)
	}
}

func TestSize(t *testing.T) {
	file := directHere(t)
	direct := openDirect(t, file)
	for _, want := range []int64{size, 0, 1, 4097, 1 << 40} {
		if err := file.Truncate(want); err != nil {
			t.Fatal(err)
		}
		if n, err := direct.Size(); n != want || err != nil {
			t.Errorf("Size = %d, %v, want %d", n, err, want)
		}
	}
	if n, err := (&Direct{Fd: -1}).Size(); n != 0 || err != unix.EBADF {
		t.Errorf("Size of no file = %d, %v, want EBADF", n, err)
	}
	t.Run("device", func(t *testing.T) {
		device := openDirect(t, deviceOf(512)(t))
		if n, err := device.Size(); n != 0 || err != unix.ENOTSUP {
			t.Errorf("Size of a device = %d, %v, want ENOTSUP", n, err)
		}
	})
}

func TestCopyOffset(t *testing.T) {
	file := directHere(t)
	from := int(file.Fd())
	to, err := OpenBuffered(from)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(to)
	for _, want := range []int64{12345, 0, 1 << 40} {
		if _, err := unix.Seek(from, want, unix.SEEK_SET); err != nil {
			t.Fatal(err)
		}
		if err := CopyOffset(to, from); err != nil {
			t.Error(err)
		}
		if off, err := unix.Seek(to, 0, unix.SEEK_CUR); off != want || err != nil {
			t.Errorf("the offset is %d, %v, want %d", off, err, want)
		}
		if off, err := unix.Seek(from, 0, unix.SEEK_CUR); off != want || err != nil {
			t.Errorf("the offset of the first descriptor is %d, %v, want %d", off, err, want)
		}
	}
	if err := CopyOffset(to, -1); err != unix.EBADF {
		t.Errorf("CopyOffset from no file: %v, want EBADF", err)
	}
	if err := CopyOffset(-1, from); err != unix.EBADF {
		t.Errorf("CopyOffset to no file: %v, want EBADF", err)
	}
	if off, err := unix.Seek(to, 0, unix.SEEK_CUR); off != 1<<40 || err != nil {
		t.Errorf("the offset is %d, %v", off, err)
	}
}

func TestTransfers(t *testing.T) {
	file := directHere(t)
	fd := int(file.Fd())
	text := []byte("neither aligned nor long")
	if n, err := Pwrite(fd, text, 777); n != len(text) || err != nil {
		t.Errorf("Pwrite = %d, %v", n, err)
	}
	p := make([]byte, len(text))
	if n, err := Pread(fd, p, 777); n != len(p) || err != nil || !bytes.Equal(p, text) {
		t.Errorf("Pread = %d, %v, %q", n, err, p)
	}
	if n, err := Pread(fd, make([]byte, 100), size-10); n != 10 || err != nil {
		t.Errorf("Pread across the end = %d, %v, want 10", n, err)
	}
	if n, err := Pread(fd, p, size); n != 0 || err != nil {
		t.Errorf("Pread at the end = %d, %v, want 0", n, err)
	}
	bufs := [][]byte{text[:5], nil, text[5:]}
	if n, err := Pwritev(fd, bufs, 888); n != len(text) || err != nil {
		t.Errorf("Pwritev = %d, %v", n, err)
	}
	clear(p)
	n, err := Preadv(fd, [][]byte{p[:1], p[1:]}, 888)
	if n != len(p) || err != nil || !bytes.Equal(p, text) {
		t.Errorf("Preadv = %d, %v, %q", n, err, p)
	}
	if n, err := Preadv(fd, [][]byte{p[:1], p[1:]}, size-10); n != 10 || err != nil {
		t.Errorf("Preadv across the end = %d, %v, want 10", n, err)
	}
	for what, call := range map[string]func(int, [][]byte, int64) (int, error){
		"Preadv": Preadv, "Pwritev": Pwritev,
	} {
		if n, err := call(fd, make([][]byte, 1025), 0); n != 0 || err != unix.EINVAL {
			t.Errorf("%s of 1025 buffers = %d, %v, want 0, EINVAL", what, n, err)
		}
	}
	if err := Fdatasync(fd); err != nil {
		t.Errorf("Fdatasync: %v", err)
	}

	// A count is never negative, and an error is the bare errno.
	for what, call := range map[string]func() (int, error){
		"Pread":          func() (int, error) { return Pread(-1, p, 0) },
		"Pwrite":         func() (int, error) { return Pwrite(-1, p, 0) },
		"PwriteUncached": func() (int, error) { return PwriteUncached(-1, newDevice(), [][]byte{p}, 0) },
		"Preadv":         func() (int, error) { return Preadv(-1, bufs, 0) },
		"Pwritev":        func() (int, error) { return Pwritev(-1, bufs, 0) },
		"Fdatasync":      func() (int, error) { return 0, Fdatasync(-1) },
		"Allocate":       func() (int, error) { return 0, Allocate(-1, 0, 1) },
		"PunchHole":      func() (int, error) { return 0, PunchHole(-1, 0, 1) },
	} {
		if n, err := call(); n != 0 || err != unix.EBADF {
			t.Errorf("%s of no file = %d, %v, want 0, EBADF", what, n, err)
		}
	}
	for what, call := range map[string]func() (int, error){
		"Pread":     func() (int, error) { return Pread(fd, p, -1) },
		"Pwrite":    func() (int, error) { return Pwrite(fd, p, -1) },
		"Preadv":    func() (int, error) { return Preadv(fd, bufs, -1) },
		"Pwritev":   func() (int, error) { return Pwritev(fd, bufs, -1) },
		"Allocate":  func() (int, error) { return 0, Allocate(fd, -1, 1) },
		"PunchHole": func() (int, error) { return 0, PunchHole(fd, 0, 0) },
	} {
		if n, err := call(); n != 0 || err != unix.EINVAL {
			t.Errorf("%s before the beginning = %d, %v, want 0, EINVAL", what, n, err)
		}
	}
}

func TestSpace(t *testing.T) {
	file := newFile(t, t.TempDir())
	fd := int(file.Fd())
	blocks := func() int64 {
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			t.Fatal(err)
		}
		return st.Blocks * 512
	}
	fi, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	end := fi.Size() + 1<<20
	if err := Allocate(fd, 0, end); err == unix.EOPNOTSUPP {
		aiotest.Needs(t, "fallocate(2) in TMPDIR", aiotest.Whole)
	} else if err != nil {
		t.Fatal(err)
	}
	if fi, err = file.Stat(); err != nil || fi.Size() != end || blocks() < end {
		t.Errorf("Allocate up to %d: %d bytes, %d of space, %v", end, fi.Size(), blocks(), err)
	}
	if _, err := Pwrite(fd, []byte("0123456789"), 4090); err != nil {
		t.Fatal(err)
	}
	before := blocks()
	if err := PunchHole(fd, 4096, 1<<20); err != nil {
		t.Fatal(err)
	}
	if fi, err = file.Stat(); err != nil || fi.Size() != end || blocks() > before-1<<20 {
		t.Errorf("PunchHole of 1 MiB: %d bytes, %d of space after %d, %v",
			fi.Size(), blocks(), before, err)
	}
	p := make([]byte, 10)
	if _, err := Pread(fd, p, 4090); err != nil || string(p) != "012345\x00\x00\x00\x00" {
		t.Errorf("the edge of the hole is %q, %v", p, err)
	}
}

var devices atomic.Uint64

// newDevice returns a device number that no device has and no call has used.
func newDevice() uint64 { return 1<<48 + devices.Add(1) }

// TestUncachedWritesAreRefused uses a filesystem without RWF_DONTCACHE.
// internal/aiotest/trials/filesystems tests the others.
func TestUncachedWritesAreRefused(t *testing.T) {
	aiotest.Guard(t)
	file := newFile(t, aiotest.TmpfsDir(t))
	fd, dev := int(file.Fd()), newDevice()
	text := []byte("not to be kept")
	if n, err := PwriteUncached(fd, dev, [][]byte{text}, 0); n != 0 || err != unix.EOPNOTSUPP {
		t.Fatalf("PwriteUncached = %d, %v, want EOPNOTSUPP", n, err)
	}
	// PwriteUncached now knows it without a system call, which would return EBADF.
	if n, err := PwriteUncached(-1, dev, [][]byte{text}, 0); n != 0 || err != unix.EOPNOTSUPP {
		t.Errorf("the second PwriteUncached = %d, %v, want EOPNOTSUPP", n, err)
	}
	// It knows it of that filesystem only.
	if n, err := PwriteUncached(-1, newDevice(), [][]byte{text}, 0); n != 0 || err != unix.EBADF {
		t.Errorf("PwriteUncached on another filesystem = %d, %v, want EBADF", n, err)
	}
	got := make([]byte, len(text))
	if _, err := Pread(fd, got, 0); err != nil || !bytes.Equal(got, make([]byte, len(text))) {
		t.Errorf("a refused write has left %q, %v", got, err)
	}
}

func TestNoAllocations(t *testing.T) {
	file := directHere(t)
	direct := openDirect(t, file)
	fd, dev, p := int(file.Fd()), newDevice(), at(0, 4096)
	bufs := [][]byte{p[:2048], p[2048:]}
	for what, call := range map[string]func(){
		"Pread":          func() { Pread(direct.Fd, p, 0) },
		"Pwrite":         func() { Pwrite(direct.Fd, p, 0) },
		"Preadv":         func() { Preadv(direct.Fd, bufs, 0) },
		"Pwritev":        func() { Pwritev(direct.Fd, bufs, 0) },
		"Allocate":       func() { Allocate(fd, 0, 4096) },
		"PwriteUncached": func() { PwriteUncached(fd, dev, [][]byte{p}, 0) },
		"Size":           func() { direct.Size() },
	} {
		if n := testing.AllocsPerRun(20, call); n != 0 {
			t.Errorf("%s: %v allocations", what, n)
		}
	}
}
