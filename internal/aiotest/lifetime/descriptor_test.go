//go:build linux

package lifetime

import (
	"os"
	"runtime"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/internal/aiotest/aiofile"
)

// valid reports whether fd is an open descriptor.
func valid(fd uintptr) bool {
	_, err := unix.FcntlInt(fd, unix.F_GETFD, 0)
	return err == nil
}

// TestRawConn uses the descriptor from Fd and SyscallConn before, during and after Close, also in
// calls that close the File themselves.
func TestRawConn(t *testing.T) {
	aiotest.Guard(t)
	dir := aiotest.Dir(t)
	for _, m := range aiofile.Modes {
		t.Run(m.Name, func(t *testing.T) {
			aiotest.Compare(t, dir, aiofile.Package(t, m.Flag), rawConn)
		})
	}
}

func rawConn(s *aiotest.Side) {
	s.Put("file", aiotest.Pattern(10000, 1))
	f := s.MustOpen("file", os.O_RDWR)
	number := f.Fd()
	s.Note("Fd", valid(number), f.Fd() == number)
	conn, err := f.SyscallConn()
	s.Note("SyscallConn", err)
	s.Note("Control", conn.Control(func(fd uintptr) {
		s.Note("the same", fd == number)
		p := make([]byte, 100)
		n, err := unix.Pread(int(fd), p, 5000)
		s.Note("pread", n, err, p)
		s.Note("Close", f.Close())
		s.Note("the descriptor is open", valid(fd))
		s.Note("Close", f.Close())
		s.Note("Fd", f.Fd() == ^uintptr(0))
		n, err = f.ReadAt(p, 0)
		s.Note("ReadAt", n, err)
		n, err = unix.Pread(int(fd), p, 5000)
		s.Note("pread", n, err, p)
	}))
	s.Note("the descriptor is open", valid(number))
	s.Note("Control", conn.Control(func(uintptr) { s.Note("called") }))
	s.Note("Read", conn.Read(func(uintptr) bool { return true }))
	s.Note("Write", conn.Write(func(uintptr) bool { return true }))
	_, err = f.SyscallConn()
	s.Note("SyscallConn", err)
	s.Note("Fd", f.Fd() == ^uintptr(0))

	// A call on the File within Control, and within Read and Write, which pass the descriptor too.
	f = s.MustOpen("file", os.O_RDWR)
	conn, err = f.SyscallConn()
	s.Note("SyscallConn", err)
	s.Note("Control", conn.Control(func(uintptr) {
		n, err := f.WriteAt(aiotest.Pattern(4096, 2), 4096)
		s.Note("WriteAt", n, err)
		s.Note("Sync", f.Sync())
		s.Note("Truncate", f.Truncate(9000))
	}))
	s.Note("Read", conn.Read(valid))
	s.Note("Write", conn.Write(valid))
	s.State(f)
	s.Note("Close", f.Close())
}

// TestRawConnOfDropped checks that a raw connection keeps the descriptor of a dropped File open, as
// os.File's does.
func TestRawConnOfDropped(t *testing.T) {
	aiotest.Guard(t)
	dir := aiotest.Dir(t)
	for _, m := range aiofile.Modes {
		aiotest.Compare(t, dir, aiofile.Package(t, m.Flag), func(s *aiotest.Side) {
			s.Put("file", aiotest.Pattern(10000, 1))
			conn, err := s.MustOpen("file", os.O_RDWR).SyscallConn()
			s.Note("SyscallConn", err)
			for range 3 {
				runtime.GC()
			}
			s.Note("Control", conn.Control(func(fd uintptr) {
				p := make([]byte, 100)
				n, err := unix.Pread(int(fd), p, 5000)
				s.Note("pread", n, err, p)
			}))
		})
	}
}

// TestClosedOnce closes a File, lets other descriptors take its numbers, and then closes, drops and
// cleans up the File again. The other descriptors must stay open.
func TestClosedOnce(t *testing.T) {
	aiotest.Guard(t)
	name := aiofile.Put(t, aiotest.Dir(t), "file", aiotest.Pattern(10000, 1))
	taken := 0
	for i := range aiotest.Scaled(200) {
		ours := closeAndDrop(t, name, i)
		var fds [8]int // pipes, which pass a byte while they are open
		for k := 0; k < len(fds); k += 2 {
			if err := unix.Pipe2(fds[k:][:2], unix.O_CLOEXEC); err != nil {
				t.Fatal(err)
			}
		}
		for _, fd := range ours {
			if slices.Contains(fds[:], fd) {
				taken++
			}
		}
		if i%10 == 0 {
			runtime.GC()
			runtime.GC()
		}
		for k := 0; k < len(fds); k += 2 {
			p := []byte{byte(i)}
			if _, err := unix.Write(fds[k+1], p); err != nil {
				t.Fatalf("round %d: descriptor %d: %v", i, fds[k+1], err)
			}
			if n, err := unix.Read(fds[k], p); n != 1 || p[0] != byte(i) {
				t.Fatalf("round %d: descriptor %d: %d, %v", i, fds[k], n, err)
			}
			unix.Close(fds[k])
			unix.Close(fds[k+1])
		}
	}
	if taken == 0 {
		t.Error("no pipe had a number of a File: nothing has been tested")
	}
	t.Logf("%d numbers were taken", taken)
}

// closeAndDrop closes a File several times and drops it, with a finalizer and a cleanup of the
// caller's on it. It returns the File's descriptor numbers.
func closeAndDrop(t *testing.T, name string, i int) (ours []int) {
	t.Helper()
	f, err := aio.OpenFile(name, os.O_RDWR|aiofile.Modes[i%2].Flag, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours = numbers(name)
	if len(ours) == 0 {
		t.Error("the File has no descriptor")
	}
	if i%3 == 0 {
		runtime.SetFinalizer(f, func(f *aio.File) { f.Close() })
	}
	if i%3 == 1 {
		runtime.AddCleanup(f, func(int) {}, i)
	}
	if i%5 == 0 {
		if _, err := f.ReadAt(aiotest.Buffer(4096, 0), 0); err != nil {
			t.Error(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	f.Close()
	return ours
}

// TestFinalizer uses a dropped File in the caller's finalizer: it is still open, which os.File does
// not guarantee, and Close closes it.
func TestFinalizer(t *testing.T) {
	aiotest.Guard(t)
	content := aiotest.Pattern(10000, 1)
	name := aiofile.Put(t, aiotest.Dir(t), "file", content)
	results := make(chan error, 1)
	for _, m := range aiofile.Modes {
		dropWithFinalizer(t, name, m.Flag, results)
		var err error
		aiotest.Until(t, "the finalizer runs", func() bool {
			runtime.GC()
			select {
			case err = <-results:
				return true
			default:
				return false
			}
		})
		if err != nil {
			t.Error(err)
		}
		aiotest.Settle(t, "the File is still open", func() bool { return len(numbers(name)) == 0 })
	}
}

func dropWithFinalizer(t *testing.T, name string, flag int, results chan<- error) {
	t.Helper()
	f, err := aio.OpenFile(name, os.O_RDWR|flag, 0)
	if err != nil {
		t.Fatal(err)
	}
	runtime.SetFinalizer(f, func(f *aio.File) {
		_, err := f.ReadAt(aiotest.Buffer(4096, 0), 4096)
		if err == nil {
			err = f.Sync()
		}
		if err == nil {
			err = f.Close()
		}
		results <- err
	})
}
