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

// These tests run in a directory tree that another user made: its /proc leads elsewhere.

// inRoot calls f on a thread with root as its root directory.
func inRoot(t *testing.T, root string, f func()) {
	t.Helper()
	var denied error
	onThread(func() {
		if denied = unix.Unshare(unix.CLONE_FS); denied == nil {
			denied = unix.Chroot(root)
		}
		if denied == nil {
			f()
		}
	})
	if denied != nil {
		t.Skipf("needs root, for chroot(2): run sudo go test ./internal/dio (%v)", denied)
	}
}

// falseProc makes a directory tree with a false /proc. put makes the entry of fd there.
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

func TestOpenWithFalseProc(t *testing.T) {
	file := directHere(t)
	fd := int(file.Fd())
	for name, put := range map[string]func(name string) error{
		"link": func(name string) error { return os.Symlink("/victim", name) },
		"file": func(name string) error { return os.WriteFile(name, nil, 0o600) },
		// happens to be the right file
		"name": func(name string) error { return os.Link(file.Name(), name) },
		"FIFO": func(name string) error { return unix.Mkfifo(name, 0o600) }, // opening it would block
	} {
		t.Run(name, func(t *testing.T) {
			root := falseProc(t, fd, put)
			if err := os.WriteFile(filepath.Join(root, "victim"), []byte("victim"), 0o600); err != nil {
				t.Fatal(err)
			}
			inRoot(t, root, func() {
				if direct, err := Open(fd); direct != nil || err != errNotProcfs {
					t.Errorf("Open = %+v, %v, want %v", direct, err, errNotProcfs)
				}
				if again, err := OpenBuffered(fd); again != -1 || err != errNotProcfs {
					t.Errorf("OpenBuffered = %d, %v, want %v", again, err, errNotProcfs)
				}
			})
		})
	}
}

// A procfs may belong to another process, or its entry to another file.
func TestSameFile(t *testing.T) {
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

// The procfs in the tree is real, but its directory belongs to another process. The
// descriptor of the same number is a FIFO there.
func TestOpenWithProcOfAnotherProcess(t *testing.T) {
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
		target := fmt.Sprintf("/real/%d", pid)
		if err := os.Symlink(target, filepath.Join(root, "proc", self)); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mount("proc", filepath.Join(root, "real"), "proc", 0, ""); err != nil {
		t.Skipf("needs root, to mount: run sudo go test ./internal/dio (%v)", err)
	}
	defer unix.Unmount(filepath.Join(root, "real"), unix.MNT_DETACH)
	inRoot(t, root, func() {
		if direct, err := Open(fd); direct != nil || err != errAnotherFile {
			t.Errorf("Open = %+v, %v, want %v", direct, err, errAnotherFile)
		}
	})
}

// holder starts a process that has a FIFO open as its descriptor fd, and returns its pid.
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
	args := []string{"holder", "-test.run=^TestHold$"}
	p, err := os.StartProcess("/proc/self/exe", args, &os.ProcAttr{
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

// TestHold runs in the process that holder starts. In other processes it does nothing.
func TestHold(*testing.T) {
	if os.Getenv("DIO_TEST_HOLD") != "" {
		time.Sleep(time.Minute) // or until killed
	}
}
