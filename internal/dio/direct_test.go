//go:build linux

package dio

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/go-aio/aio/internal/aiotest"
	"golang.org/x/sys/unix"
)

// directHere returns a file in TMPDIR, if that filesystem has direct I/O.
func directHere(t *testing.T) *os.File {
	t.Helper()
	aiotest.Guard(t)
	file := newFile(t, t.TempDir())
	direct, err := Open(int(file.Fd()))
	if err == unix.EOPNOTSUPP || err == unix.EINVAL {
		aiotest.NeedsDirect(t)
	}
	if err != nil {
		t.Fatal(err)
	}
	direct.Close()
	return file
}

func getfl(t *testing.T, fd int) int {
	t.Helper()
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		t.Fatal(err)
	}
	return flags
}

func wantCloseOnExec(t *testing.T, fd int) {
	t.Helper()
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	if err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("a child inherits the descriptor: flags %#x, %v", flags, err)
	}
}

// checked are the flags that the tests compare.
const checked = unix.O_ACCMODE | unix.O_SYNC | unix.O_DSYNC | unix.O_NOATIME |
	unix.O_APPEND | unix.O_DIRECT

func TestDirectFlags(t *testing.T) {
	name := directHere(t).Name()
	for _, mode := range []int{unix.O_RDONLY, unix.O_WRONLY, unix.O_RDWR} {
		for _, add := range []int{
			0, unix.O_SYNC, unix.O_DSYNC, unix.O_NOATIME, unix.O_APPEND, unix.O_NONBLOCK,
			unix.O_SYNC | unix.O_NOATIME | unix.O_APPEND, unix.O_CREAT,
		} {
			t.Run(fmt.Sprintf("%#x", mode|add), func(t *testing.T) {
				fd, err := unix.Open(name, mode|add, 0o600)
				if err != nil {
					t.Fatal(err)
				}
				defer unix.Close(fd)
				direct, err := Open(fd)
				if err != nil {
					t.Fatal(err)
				}
				defer direct.Close()
				want := (mode|add)&checked&^unix.O_APPEND | unix.O_DIRECT
				if got := getfl(t, direct.Fd) & checked; got != want {
					t.Errorf("the direct descriptor has flags %#x, want %#x", got, want)
				}
				wantCloseOnExec(t, direct.Fd)

				again, err := OpenBuffered(direct.Fd)
				if err != nil {
					t.Fatal(err)
				}
				defer unix.Close(again)
				if got := getfl(t, again) & checked; got != want&^unix.O_DIRECT {
					t.Errorf("the buffered descriptor has flags %#x, want %#x", got, want&^unix.O_DIRECT)
				}
				wantCloseOnExec(t, again)

				// The access mode is effective, too.
				p := at(0, direct.Write)
				if _, err := Pread(direct.Fd, p, 0); (err == nil) != (mode != unix.O_WRONLY) {
					t.Errorf("a direct read: %v", err)
				}
				if _, err := Pwrite(direct.Fd, p, 0); (err == nil) != (mode != unix.O_RDONLY) {
					t.Errorf("a direct write: %v", err)
				}
			})
		}
	}
}

// Open does not repeat the caller's O_TRUNC and O_EXCL.
func TestOpenLeavesTheFileAlone(t *testing.T) {
	name := directHere(t).Name() + " new"
	fd, err := unix.Open(name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_TRUNC, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if _, err := unix.Write(fd, []byte("here")); err != nil {
		t.Fatal(err)
	}
	direct, err := Open(fd)
	if err != nil {
		t.Fatal(err)
	}
	defer direct.Close()
	if n, err := direct.Size(); n != 4 || err != nil {
		t.Errorf("Size = %d, %v, want 4", n, err)
	}
	// The direct descriptor has an open file description, and thus an offset, of its own.
	if off, err := unix.Seek(direct.Fd, 0, unix.SEEK_CUR); off != 0 || err != nil {
		t.Errorf("the offset of the direct descriptor is %d, %v, want 0", off, err)
	}
	if _, err := unix.Seek(direct.Fd, 100, unix.SEEK_SET); err != nil {
		t.Error(err)
	}
	if off, err := unix.Seek(fd, 0, unix.SEEK_CUR); off != 4 || err != nil {
		t.Errorf("the offset of the first descriptor is %d, %v, want 4", off, err)
	}
}

// Of a descriptor with O_APPEND and O_DIRECT, the buffered one keeps O_APPEND.
func TestOpenBufferedKeepsAppend(t *testing.T) {
	name := directHere(t).Name()
	fd, err := unix.Open(name, unix.O_RDWR|unix.O_APPEND|unix.O_DIRECT, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	again, err := OpenBuffered(fd)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(again)
	if got, want := getfl(t, again)&checked, unix.O_RDWR|unix.O_APPEND; got != want {
		t.Errorf("the buffered descriptor has flags %#x, want %#x", got, want)
	}
}

func TestOpenFileWithoutName(t *testing.T) {
	file := directHere(t)
	dir := filepath.Dir(file.Name())
	nameless, err := unix.Open(dir, unix.O_RDWR|unix.O_TMPFILE|unix.O_CLOEXEC, 0o600)
	if err != nil {
		t.Fatalf("O_TMPFILE: %v", err)
	}
	unlinked, err := unix.Open(file.Name(), unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(file.Name()); err != nil {
		t.Fatal(err)
	}
	// A later file of that name is another one.
	if err := os.WriteFile(file.Name(), []byte("another"), 0o600); err != nil {
		t.Fatal(err)
	}
	for what, fd := range map[string]int{"O_TMPFILE": nameless, "unlinked": unlinked} {
		text := at(0, 8192)
		if _, err := Pwrite(fd, text, 0); err != nil {
			t.Fatal(err)
		}
		direct, err := Open(fd)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		p := at(0, 8192)
		if n, err := Pread(direct.Fd, p, 0); n != 8192 || err != nil || !bytes.Equal(p, text) {
			t.Errorf("%s: a direct read returned %d, %v, or other bytes", what, n, err)
		}
		direct.Close()
		unix.Close(fd)
	}
}

func TestOpenRefuses(t *testing.T) {
	directHere(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	open := func(name string, flags int) int {
		fd, err := unix.Open(name, flags|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		return fd
	}
	memory, err := unix.MemfdCreate("memory", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(memory)
	socket := newSocket(t)
	pathOnly := open(directHere(t).Name(), unix.O_PATH)

	for _, c := range []struct {
		what string
		fd   int
		errs []error
	}{
		{"no descriptor", -1, []error{unix.EBADF}},
		{"a pipe to read from", int(r.Fd()), []error{unix.EOPNOTSUPP}},
		{"a pipe to write to", int(w.Fd()), []error{unix.EOPNOTSUPP}},
		{"a directory", open(t.TempDir(), unix.O_DIRECTORY), []error{unix.EOPNOTSUPP}},
		{"/dev/null", open("/dev/null", unix.O_RDONLY), []error{unix.EOPNOTSUPP}},
		{"a file of /proc", open("/proc/self/status", unix.O_RDONLY), []error{unix.EOPNOTSUPP}},
		{"a memfd", memory, []error{unix.EOPNOTSUPP}},
		{"a socket", socket, []error{unix.EOPNOTSUPP}},
		{"O_PATH", pathOnly, []error{unix.EBADF}},
	} {
		files := aiotest.OpenFiles()
		direct, err := Open(c.fd)
		ok := false
		for _, want := range c.errs {
			ok = ok || err == want
		}
		if direct != nil || !ok {
			t.Errorf("%s: Open = %+v, %v, want %v", c.what, direct, err, c.errs)
		}
		wantFiles(t, files)
	}
}

func newSocket(t *testing.T) (fd int) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		unix.Close(pair[0])
		unix.Close(pair[1])
	})
	return pair[0]
}

func TestOpenWithoutFreeDescriptor(t *testing.T) {
	file := directHere(t)
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	spare, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0) // the lowest free number
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(spare)
	tight := old
	tight.Cur = uint64(spare)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &tight); err != nil {
		t.Fatal(err)
	}
	direct, err := Open(int(file.Fd()))
	buffered, err2 := OpenBuffered(int(file.Fd()))
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	if direct != nil || err != unix.EMFILE {
		t.Errorf("Open = %+v, %v, want EMFILE", direct, err)
	}
	if err2 != unix.EMFILE {
		t.Errorf("OpenBuffered = %d, %v, want EMFILE", buffered, err2)
	}
}

// onThread runs f on a thread that ends afterwards, together with the changes of f to it.
func onThread(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for good
		f()
	}()
	<-done
}

func TestOpenWithoutProc(t *testing.T) {
	file := directHere(t)
	empty := t.TempDir()
	fd := int(file.Fd())
	var direct *Direct
	var err, denied error
	onThread(func() {
		if denied = unix.Unshare(unix.CLONE_FS); denied == nil {
			denied = unix.Chroot(empty)
		}
		if denied == nil {
			direct, err = Open(fd)
		}
	})
	if denied != nil {
		aiotest.Needs(t, "root, to chroot: "+denied.Error(), aiotest.Whole)
	}
	if direct != nil || err != unix.ENOENT {
		t.Errorf("Open = %+v, %v, want ENOENT", direct, err)
	}
}

// The creator of a file gets the requested access regardless of the file's mode. The mode
// decides about a second open.
func TestOpenWithoutPermission(t *testing.T) {
	// The test uses a descriptor of the directory, because the user of the test may not search
	// the path to it.
	dir, err := os.Open(filepath.Dir(directHere(t).Name()))
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	create := func() {
		flags := unix.O_RDWR | unix.O_CREAT | unix.O_EXCL | unix.O_CLOEXEC
		fd, err := unix.Openat(int(dir.Fd()), "mine", flags, 0o444)
		if err != nil {
			t.Error(err)
			return
		}
		defer unix.Close(fd)
		if direct, err := Open(fd); direct != nil || err != unix.EACCES {
			t.Errorf("Open = %+v, %v, want EACCES", direct, err)
		}
	}
	if os.Geteuid() != 0 {
		create()
		return
	}
	if err := dir.Chmod(0o777); err != nil {
		t.Fatal(err)
	}
	onThread(func() {
		if err := unix.Setfsuid(65534); err != nil { // drops the file capabilities
			t.Error(err)
			return
		}
		create()
	})
}

// TestOpenKeepsLocks checks that Open preserves the process's fcntl(2) locks of the file. Any
// close(2) of the file would end them.
func TestOpenKeepsLocks(t *testing.T) {
	for _, f := range []aiotest.Filesystem{aiotest.Tmpfs, aiotest.Ext4} {
		t.Run(f.Name, func(t *testing.T) {
			file := newFileIn(t, f)
			fd := int(file.Fd())
			lock := unix.Flock_t{Type: unix.F_WRLCK, Start: 10, Len: 10}
			if err := unix.FcntlFlock(uintptr(fd), unix.F_SETLK, &lock); err != nil {
				t.Fatal(err)
			}
			if direct, err := Open(fd); err == nil {
				defer direct.Close()
			} else if f.Kind != "tmpfs" {
				t.Error(err)
			}
			other := unix.Flock_t{Type: unix.F_WRLCK, Start: 10, Len: 10}
			err := unix.FcntlFlock(uintptr(fd), unix.F_OFD_GETLK, &other)
			if err != nil || other.Type != unix.F_WRLCK {
				t.Errorf("the lock is gone: %+v, %v", other, err)
			}
		})
	}
}

func TestAdopt(t *testing.T) {
	name := directHere(t).Name()
	fd, err := unix.Open(name, unix.O_RDWR|unix.O_DIRECT|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	direct, err := Adopt(fd)
	if err != nil {
		t.Fatal(err)
	}
	if direct.Fd != fd {
		t.Errorf("Adopt returned descriptor %d, want %d", direct.Fd, fd)
	}
	if other := openDirect(t, directHere(t)); other.Limits != direct.Limits {
		t.Errorf("the limits are %+v after Adopt and %+v after Open", direct.Limits, other.Limits)
	}
	if err := direct.Close(); err != nil {
		t.Error(err)
	}
	if err := unix.Close(fd); err != unix.EBADF {
		t.Errorf("close after Close: %v, want EBADF", err)
	}
}

// A failed Adopt leaves the descriptor to the caller.
func TestAdoptFails(t *testing.T) {
	file := newFile(t, aiotest.TmpfsDir(t))
	fd, err := unix.Open(file.Name(), unix.O_RDWR|unix.O_DIRECT|unix.O_CLOEXEC, 0)
	if err == unix.EINVAL {
		aiotest.Needs(t, "O_DIRECT on tmpfs, of Linux 6.6", aiotest.Whole)
	}
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if direct, err := Adopt(fd); direct != nil || err != unix.EOPNOTSUPP {
			t.Errorf("Adopt = %+v, %v, want EOPNOTSUPP", direct, err)
		}
		if n, err := unix.Write(fd, []byte("x")); n != 1 || err != nil {
			t.Fatalf("a write after Adopt: %d, %v", n, err)
		}
	}
	if err := unix.Close(fd); err != nil {
		t.Error(err)
	}
	if direct, err := Adopt(-1); direct != nil || err != unix.EBADF {
		t.Errorf("Adopt(-1) = %+v, %v, want EBADF", direct, err)
	}
}
