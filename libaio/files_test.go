//go:build linux

package libaio

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"unsafe"

	"github.com/go-aio/aio/internal/aiotest"
	"golang.org/x/sys/unix"
)

// block is a multiple of every alignment that a filesystem may demand.
const block = 4096

// fill writes the pattern of a file at byte offset off to p. Each 8 bytes encode their own
// offset, so that bytes from another place are noticed.
func fill(p []byte, off int64) {
	for i := 0; i+8 <= len(p); i += 8 {
		binary.LittleEndian.PutUint64(p[i:], uint64(off+int64(i))*0x9e3779b97f4a7c15)
	}
}

// check fails the test if p is not the pattern at byte offset off.
func check(t testing.TB, p []byte, off int64) {
	t.Helper()
	if i := differs(p, off); i >= 0 {
		t.Fatalf("byte %d of %d, at offset %d of the file, is not the file's", i, len(p), off+int64(i))
	}
}

func differs(p []byte, off int64) int {
	for i := 0; i+8 <= len(p); i += 8 {
		if binary.LittleEndian.Uint64(p[i:]) != uint64(off+int64(i))*0x9e3779b97f4a7c15 {
			return i
		}
	}
	return -1
}

// aligned returns n bytes of the heap that begin at a multiple of block.
func aligned(n int) []byte {
	p := make([]byte, n+block)
	i := -int(uintptr(unsafe.Pointer(unsafe.SliceData(p)))) & (block - 1)
	return p[i : i+n : i+n]
}

// pages returns n bytes outside of the heap, with access prot.
func pages(t testing.TB, n, prot int) []byte {
	t.Helper()
	p, err := unix.Mmap(-1, 0, n, prot, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		t.Fatalf("mmap: %v", err)
	}
	t.Cleanup(func() { _ = unix.Munmap(p) })
	return p
}

// directBase returns a directory for files that do direct I/O and report it by statx(2): ""
// for the temporary directory, "." for the working directory, "-" if neither has such files.
var directBase = sync.OnceValue(func() string {
	best := "-"
	for _, base := range []string{"", "."} {
		dir, err := os.MkdirTemp(base, "testdir-")
		if err != nil {
			continue
		}
		defer os.RemoveAll(dir)
		switch {
		case !hasDirect(dir):
		case !onOverlay(dir):
			return base
		case best == "-":
			best = base
		}
	}
	return best
})

// onOverlay reports whether name is on overlayfs. The pages of its files belong to the layer
// below.
func onOverlay(name string) bool {
	var st unix.Statfs_t
	return unix.Statfs(name, &st) == nil && uint32(st.Type) == unix.OVERLAYFS_SUPER_MAGIC
}

// needsPages skips a test of the page cache if name is on overlayfs.
func needsPages(t testing.TB, name string) {
	t.Helper()
	if onOverlay(name) {
		aiotest.Needs(t, "a filesystem with its own pages",
			"TMPDIR=DIR go test ./libaio, with a DIR on ext4 or xfs")
	}
}

// directDir returns a directory for files that do direct I/O.
func directDir(t testing.TB) string {
	t.Helper()
	switch directBase() {
	case "":
		return t.TempDir()
	case "-":
		aiotest.NeedsDirect(t)
	}
	dir, err := os.MkdirTemp(".", "testdir-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func hasDirect(dir string) bool {
	name := filepath.Join(dir, "probe")
	defer os.Remove(name)
	fd, err := unix.Open(name, unix.O_RDWR|unix.O_CREAT|unix.O_DIRECT|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	mem, _ := alignment(fd)
	return mem != 0
}

// alignment returns the alignment that statx(2) reports for direct transfers: that of the
// address, and that of offset and length. Both are 0 if statx(2) reports none (before Linux
// 6.1, btrfs, tmpfs).
func alignment(fd int) (mem, off int) {
	var st unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_DIOALIGN, &st); err != nil {
		return 0, 0
	}
	return int(st.Dio_mem_align), int(st.Dio_offset_align)
}

// open opens a file until the end of the test.
func open(t testing.TB, name string, flags int) int {
	t.Helper()
	fd, err := unix.Open(name, flags|unix.O_CLOEXEC, 0o600)
	if err != nil {
		t.Fatalf("open %s: %v", name, err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// newFile makes a file of n bytes of the pattern on a filesystem with direct I/O.
func newFile(t testing.TB, n int) (name string) {
	t.Helper()
	name = filepath.Join(directDir(t), "file")
	if err := writeFile(name, n); err != nil {
		t.Fatal(err)
	}
	return name
}

func writeFile(name string, n int) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	p := make([]byte, n)
	fill(p, 0)
	if _, err := f.Write(p); err != nil {
		return err
	}
	return f.Sync()
}

// sharedSize is the size of a file that many tests read and no test writes.
const sharedSize = 32 << 20

var shared struct {
	sync.Once
	dir, name string
	err       error
}

// openShared opens the shared file for direct reads.
func openShared(t testing.TB) int {
	t.Helper()
	if directBase() == "-" {
		aiotest.NeedsDirect(t)
	}
	shared.Do(func() {
		if shared.dir, shared.err = os.MkdirTemp(directBase(), "testdir-"); shared.err == nil {
			shared.name = filepath.Join(shared.dir, "file")
			shared.err = writeFile(shared.name, sharedSize)
		}
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return open(t, shared.name, unix.O_RDONLY|unix.O_DIRECT)
}

func removeSharedFile() {
	if shared.dir != "" {
		os.RemoveAll(shared.dir)
	}
}

// detachedMount mounts a filesystem that no path leads to, with options in pairs. It returns
// the root directory, open until the end of the test.
func detachedMount(t testing.TB, fstype string, options ...string) (root int) {
	t.Helper()
	config, err := unix.Fsopen(fstype, unix.FSOPEN_CLOEXEC)
	if err == unix.EPERM || err == unix.ENOSYS || err == unix.ENODEV {
		aiotest.Needs(t, fmt.Sprintf("fsopen(2) of %s, which returns %v", fstype, err), aiotest.Whole)
	}
	if err != nil {
		t.Fatalf("fsopen %s: %v", fstype, err)
	}
	defer unix.Close(config)
	for i := 0; i < len(options); i += 2 {
		if err := unix.FsconfigSetString(config, options[i], options[i+1]); err != nil {
			t.Fatalf("fsconfig %s=%s: %v", options[i], options[i+1], err)
		}
	}
	if err := unix.FsconfigCreate(config); err != nil {
		t.Fatalf("fsconfig: %v", err)
	}
	root, err = unix.Fsmount(config, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		t.Fatalf("fsmount: %v", err)
	}
	t.Cleanup(func() { unix.Close(root) })
	return root
}

// pipe returns a pipe that the end of the test closes.
func pipe(t testing.TB) (r, w int) {
	t.Helper()
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		t.Fatalf("pipe: %v", err)
	}
	t.Cleanup(func() {
		unix.Close(p[0])
		unix.Close(p[1])
	})
	return p[0], p[1]
}

// closeEnd closes an end of a pipe. The descriptor stays in use, for /dev/null, so that the
// end of the test does not close an unrelated file.
func closeEnd(t testing.TB, fd int) {
	t.Helper()
	null := open(t, "/dev/null", unix.O_RDWR)
	if err := unix.Dup3(null, fd, unix.O_CLOEXEC); err != nil {
		t.Fatalf("dup3: %v", err)
	}
}

// A pending is a request that stays in flight until fire is called: a poll of a pipe.
type pending struct {
	*IOCB
	t testing.TB
	w int
}

func newPending(t testing.TB) pending {
	r, w := pipe(t)
	cb := new(IOCB)
	cb.PrepPoll(r, unix.POLLIN)
	return pending{cb, t, w}
}

func (p pending) fire() {
	if _, err := unix.Write(p.w, []byte{1}); err != nil {
		p.t.Errorf("write to a pipe: %v", err)
	}
}

// reset makes p pending again.
func (p pending) reset() {
	var b [1]byte
	if _, err := unix.Read(int(p.raw.fd), b[:]); err != nil {
		p.t.Errorf("read from a pipe: %v", err)
	}
}

// newInstant returns a request that has completed when Submit returns: a poll of a regular
// file.
func newInstant(t testing.TB) *IOCB {
	t.Helper()
	fd := open(t, "/proc/self/exe", unix.O_RDONLY)
	cb := new(IOCB)
	cb.PrepPoll(fd, unix.POLLIN)
	return cb
}

// newEventfd returns a non-blocking eventfd.
func newEventfd(t testing.TB) int {
	t.Helper()
	fd, err := Eventfd()
	if err != nil {
		t.Fatalf("eventfd: %v", err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// eventfdCount reads an eventfd and returns the sum added since the last read.
func eventfdCount(t testing.TB, fd int) uint64 {
	t.Helper()
	var p [8]byte
	switch _, err := unix.Read(fd, p[:]); err {
	case nil:
		return binary.NativeEndian.Uint64(p[:])
	case unix.EAGAIN:
		return 0
	default:
		t.Fatalf("read an eventfd: %v", err)
		return 0
	}
}

// awaitReadable waits until fd is readable.
func awaitReadable(t testing.TB, fd int) {
	t.Helper()
	for {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if n, err := unix.Poll(fds, -1); n == 1 {
			return
		} else if err != nil && err != unix.EINTR {
			t.Fatalf("poll: %v", err)
		}
	}
}
