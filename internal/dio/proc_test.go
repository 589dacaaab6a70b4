//go:build linux

package dio

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Tests of a /proc that leads elsewhere: the program runs in a directory tree of other people's
// making.

// inRoot calls f on a thread whose root directory is root.
func inRoot(t *testing.T, root string, f func()) {
	t.Helper()
	var forbidden error
	onThread(func() {
		if forbidden = unix.Unshare(unix.CLONE_FS); forbidden == nil {
			forbidden = unix.Chroot(root)
		}
		if forbidden == nil {
			f()
		}
	})
	if forbidden != nil {
		t.Skipf("needs root, for chroot(2): run sudo go test ./internal/dio (%v)", forbidden)
	}
}

// falseProc makes a directory tree whose /proc has entries of fd that put makes.
func falseProc(t *testing.T, fd int, put func(name string) error) (root string) {
	t.Helper()
	root = t.TempDir()
	for _, dir := range []string{"proc/self/fd", "proc/thread-self/fd"} {
		dir = filepath.Join(root, dir)
		err := os.MkdirAll(dir, 0o755)
		if err == nil {
			err = put(filepath.Join(dir, strconv.Itoa(fd)))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestNoTwinByAFalseProc(t *testing.T) {
	file := directHere(t)
	fd := int(file.Fd())
	for name, put := range map[string]func(name string) error{
		"link": func(name string) error { return os.Symlink("/victim", name) },
		"file": func(name string) error { return os.WriteFile(name, nil, 0o600) },
		"name": func(name string) error { return os.Link(file.Name(), name) }, // the right file, by chance
		"FIFO": func(name string) error { return unix.Mkfifo(name, 0o600) },   // to open it would block
	} {
		t.Run(name, func(t *testing.T) {
			root := falseProc(t, fd, put)
			if err := os.WriteFile(filepath.Join(root, "victim"), []byte("victim"), 0o600); err != nil {
				t.Fatal(err)
			}
			inRoot(t, root, func() {
				if twin, err := Open(fd); twin != nil || err != errNotProcfs {
					t.Errorf("Open = %+v, %v, want %v", twin, err, errNotProcfs)
				}
				if again, err := OpenPlain(fd); again != -1 || err != errNotProcfs {
					t.Errorf("OpenPlain = %d, %v, want %v", again, err, errNotProcfs)
				}
			})
		})
	}
}

// A procfs may be that of another process, or the entry that of another file.
func TestNoTwinOfAnotherFile(t *testing.T) {
	file, other := directHere(t), directHere(t)
	fd := int(file.Fd())
	for name, stat := range map[string]func(st *unix.Stat_t) error{
		"file": func(st *unix.Stat_t) error { return unix.Fstat(int(other.Fd()), st) },
		"kind": func(st *unix.Stat_t) error { return unix.Stat("/dev/null", st) },
		"device": func(st *unix.Stat_t) error {
			err := unix.Fstat(fd, st)
			st.Dev++
			return err
		},
	} {
		if err := sameFile(fd, stat); err != errAnotherFile {
			t.Errorf("another %s: %v, want %v", name, err, errAnotherFile)
		}
	}
	if err := sameFile(fd, func(st *unix.Stat_t) error { return unix.Fstat(fd, st) }); err != nil {
		t.Errorf("the same file: %v", err)
	}
}

// The procfs in the tree is real, and the directory that of a process whose descriptor of that
// number is a FIFO.
func TestNoTwinByAnotherProcess(t *testing.T) {
	file := directHere(t)
	fd := int(file.Fd())
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "real"), 0o755); err != nil {
		t.Fatal(err)
	}
	fifo := filepath.Join(root, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	pid := holder(t, fd, fifo)
	if err := os.MkdirAll(filepath.Join(root, "proc"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, self := range []string{"self", "thread-self"} {
		if err := os.Symlink(fmt.Sprintf("/real/%d", pid), filepath.Join(root, "proc", self)); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mount("proc", filepath.Join(root, "real"), "proc", 0, ""); err != nil {
		t.Skipf("needs root, to mount: run sudo go test ./internal/dio (%v)", err)
	}
	defer unix.Unmount(filepath.Join(root, "real"), unix.MNT_DETACH)
	inRoot(t, root, func() {
		if twin, err := Open(fd); twin != nil || err != errAnotherFile {
			t.Errorf("Open = %+v, %v, want %v", twin, err, errAnotherFile)
		}
	})
}

// holder starts a process that has a FIFO open as its descriptor fd, and returns its number.
func holder(t *testing.T, fd int, fifo string) int {
	t.Helper()
	file, err := os.OpenFile(fifo, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	files := []*os.File{nil, nil, nil}
	for len(files) <= fd {
		files = append(files, file)
	}
	p, err := os.StartProcess("/proc/self/exe", []string{"holder", "-test.run=^TestHold$"}, &os.ProcAttr{
		Files: files, Env: append(os.Environ(), "DIO_TEST_HOLD=1"),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Kill()
		p.Wait()
	})
	return p.Pid
}

// TestHold is the process that holder starts. It does nothing in the others.
func TestHold(*testing.T) {
	if os.Getenv("DIO_TEST_HOLD") != "" {
		time.Sleep(time.Minute) // or until it is killed
	}
}
