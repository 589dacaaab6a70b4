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

// directHere returns a file whose filesystem has direct I/O.
func directHere(t *testing.T) *os.File {
	t.Helper()
	aiotest.Guard(t)
	file := newFile(t, t.TempDir())
	twin, err := Open(int(file.Fd()))
	if err == unix.EOPNOTSUPP || err == unix.EINVAL {
		aiotest.NeedsDirect(t)
	}
	if err != nil {
		t.Fatal(err)
	}
	twin.Close()
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
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("a child inherits the descriptor: flags %#x, %v", flags, err)
	}
}

// checked are the flags that the tests look at.
const checked = unix.O_ACCMODE | unix.O_SYNC | unix.O_DSYNC | unix.O_NOATIME | unix.O_APPEND | unix.O_DIRECT

func TestTwinFlags(t *testing.T) {
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
				twin, err := Open(fd)
				if err != nil {
					t.Fatal(err)
				}
				defer twin.Close()
				want := (mode|add)&checked&^unix.O_APPEND | unix.O_DIRECT
				if got := getfl(t, twin.Fd) & checked; got != want {
					t.Errorf("the twin has flags %#x, want %#x", got, want)
				}
				wantCloseOnExec(t, twin.Fd)

				again, err := OpenPlain(twin.Fd)
				if err != nil {
					t.Fatal(err)
				}
				defer unix.Close(again)
				if got := getfl(t, again) & checked; got != want&^unix.O_DIRECT {
					t.Errorf("the plain one of it has flags %#x, want %#x", got, want&^unix.O_DIRECT)
				}
				wantCloseOnExec(t, again)

				// The access mode is true, too.
				p := at(0, twin.Write)
				if _, err := Pread(twin.Fd, p, 0); (err == nil) != (mode != unix.O_WRONLY) {
					t.Errorf("a read of the twin: %v", err)
				}
				if _, err := Pwrite(twin.Fd, p, 0); (err == nil) != (mode != unix.O_RDONLY) {
					t.Errorf("a write of the twin: %v", err)
				}
			})
		}
	}
}

// O_TRUNC and O_EXCL in the flags of the caller were for the first time.
func TestTwinLeavesTheFileAlone(t *testing.T) {
	name := directHere(t).Name() + " new"
	fd, err := unix.Open(name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_TRUNC, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if _, err := unix.Write(fd, []byte("here")); err != nil {
		t.Fatal(err)
	}
	twin, err := Open(fd)
	if err != nil {
		t.Fatal(err)
	}
	defer twin.Close()
	if n, err := twin.Size(); n != 4 || err != nil {
		t.Errorf("Size = %d, %v, want 4", n, err)
	}
	// It is an open file description of its own, with an offset of its own.
	if off, err := unix.Seek(twin.Fd, 0, unix.SEEK_CUR); off != 0 || err != nil {
		t.Errorf("the twin's offset is %d, %v, want 0", off, err)
	}
	if _, err := unix.Seek(twin.Fd, 100, unix.SEEK_SET); err != nil {
		t.Error(err)
	}
	if off, err := unix.Seek(fd, 0, unix.SEEK_CUR); off != 4 || err != nil {
		t.Errorf("the offset of the first is %d, %v, want 4", off, err)
	}
}

// A descriptor that has O_APPEND and O_DIRECT keeps O_APPEND in its plain one only.
func TestOpenPlainKeepsAppend(t *testing.T) {
	name := directHere(t).Name()
	fd, err := unix.Open(name, unix.O_RDWR|unix.O_APPEND|unix.O_DIRECT, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	again, err := OpenPlain(fd)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(again)
	if got, want := getfl(t, again)&checked, unix.O_RDWR|unix.O_APPEND; got != want {
		t.Errorf("the plain one has flags %#x, want %#x", got, want)
	}
}

func TestTwinOfAFileWithoutAName(t *testing.T) {
	file := directHere(t)
	nameless, err := unix.Open(filepath.Dir(file.Name()), unix.O_RDWR|unix.O_TMPFILE|unix.O_CLOEXEC, 0o600)
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
	// Another file of that name is not meant.
	if err := os.WriteFile(file.Name(), []byte("another"), 0o600); err != nil {
		t.Fatal(err)
	}
	for what, fd := range map[string]int{"O_TMPFILE": nameless, "unlinked": unlinked} {
		text := at(0, 8192)
		if _, err := Pwrite(fd, text, 0); err != nil {
			t.Fatal(err)
		}
		twin, err := Open(fd)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		p := at(0, 8192)
		if n, err := Pread(twin.Fd, p, 0); n != 8192 || err != nil || !bytes.Equal(p, text) {
			t.Errorf("%s: a direct read returned %d, %v, or other bytes", what, n, err)
		}
		twin.Close()
		unix.Close(fd)
	}
}

func TestNoTwin(t *testing.T) {
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
		twin, err := Open(c.fd)
		ok := false
		for _, want := range c.errs {
			ok = ok || err == want
		}
		if twin != nil || !ok {
			t.Errorf("%s: Open = %+v, %v, want %v", c.what, twin, err, c.errs)
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

func TestNoDescriptorForATwin(t *testing.T) {
	file := directHere(t)
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	spare, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0) // the lowest number that is free
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(spare)
	tight := old
	tight.Cur = uint64(spare)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &tight); err != nil {
		t.Fatal(err)
	}
	twin, err := Open(int(file.Fd()))
	plain, err2 := OpenPlain(int(file.Fd()))
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	if twin != nil || err != unix.EMFILE {
		t.Errorf("Open = %+v, %v, want EMFILE", twin, err)
	}
	if err2 != unix.EMFILE {
		t.Errorf("OpenPlain = %d, %v, want EMFILE", plain, err2)
	}
}

// onThread runs f on a thread that then ends, with what f has done to it.
func onThread(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for good
		f()
	}()
	<-done
}

func TestNoTwinWithoutProc(t *testing.T) {
	file := directHere(t)
	empty := t.TempDir()
	fd := int(file.Fd())
	var twin *Twin
	var err, forbidden error
	onThread(func() {
		if forbidden = unix.Unshare(unix.CLONE_FS); forbidden == nil {
			forbidden = unix.Chroot(empty)
		}
		if forbidden == nil {
			twin, err = Open(fd)
		}
	})
	if forbidden != nil {
		aiotest.Needs(t, "root, to chroot: "+forbidden.Error(), aiotest.Whole)
	}
	if twin != nil || err != unix.ENOENT {
		t.Errorf("Open = %+v, %v, want ENOENT", twin, err)
	}
}

// The creator of a file has the access that he asked for, whatever its mode; a second time
// the mode decides.
func TestNoTwinOfAFileThatMayNotBeOpenedAgain(t *testing.T) {
	// By a descriptor of the directory: the way to it may not be open to everybody.
	dir, err := os.Open(filepath.Dir(directHere(t).Name()))
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	create := func() {
		fd, err := unix.Openat(int(dir.Fd()), "mine", unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o444)
		if err != nil {
			t.Error(err)
			return
		}
		defer unix.Close(fd)
		if twin, err := Open(fd); twin != nil || err != unix.EACCES {
			t.Errorf("Open = %+v, %v, want EACCES", twin, err)
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
		if err := unix.Setfsuid(65534); err != nil { // drops the capabilities that go with files
			t.Error(err)
			return
		}
		create()
	})
}

// TestOpenKeepsLocks looks whether the process's fcntl(2) locks of a file outlive the
// attempt to open it direct: any close(2) of the file would end them.
func TestOpenKeepsLocks(t *testing.T) {
	for _, f := range []aiotest.Filesystem{aiotest.Tmpfs, aiotest.Ext4} {
		t.Run(f.Name, func(t *testing.T) {
			file := newFileIn(t, f)
			fd := int(file.Fd())
			lock := unix.Flock_t{Type: unix.F_WRLCK, Start: 10, Len: 10}
			if err := unix.FcntlFlock(uintptr(fd), unix.F_SETLK, &lock); err != nil {
				t.Fatal(err)
			}
			if twin, err := Open(fd); err == nil {
				defer twin.Close()
			} else if f.Kind != "tmpfs" {
				t.Error(err)
			}
			other := unix.Flock_t{Type: unix.F_WRLCK, Start: 10, Len: 10}
			if err := unix.FcntlFlock(uintptr(fd), unix.F_OFD_GETLK, &other); err != nil || other.Type != unix.F_WRLCK {
				t.Errorf("there is no lock any more: %+v, %v", other, err)
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
	twin, err := Adopt(fd)
	if err != nil {
		t.Fatal(err)
	}
	if twin.Fd != fd {
		t.Errorf("the twin has descriptor %d, want %d", twin.Fd, fd)
	}
	if other := newTwin(t, directHere(t)); other.Limits != twin.Limits {
		t.Errorf("adopted, the limits are %+v; opened, %+v", twin.Limits, other.Limits)
	}
	if err := twin.Close(); err != nil {
		t.Error(err)
	}
	if err := unix.Close(fd); err != unix.EBADF {
		t.Errorf("close after Close: %v, want EBADF", err)
	}
}

// What is not taken over is not ours to close.
func TestAdoptThatFails(t *testing.T) {
	file := newFile(t, aiotest.TmpfsDir(t))
	fd, err := unix.Open(file.Name(), unix.O_RDWR|unix.O_DIRECT|unix.O_CLOEXEC, 0)
	if err == unix.EINVAL {
		aiotest.Needs(t, "O_DIRECT on tmpfs, of Linux 6.6", aiotest.Whole)
	}
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if twin, err := Adopt(fd); twin != nil || err != unix.EOPNOTSUPP {
			t.Errorf("Adopt = %+v, %v, want EOPNOTSUPP", twin, err)
		}
		if n, err := unix.Write(fd, []byte("x")); n != 1 || err != nil {
			t.Fatalf("a write after Adopt: %d, %v", n, err)
		}
	}
	if err := unix.Close(fd); err != nil {
		t.Error(err)
	}
	if twin, err := Adopt(-1); twin != nil || err != unix.EBADF {
		t.Errorf("Adopt(-1) = %+v, %v, want EBADF", twin, err)
	}
}
