package aio_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/internal/aiotest/subject"
)

// What a directory alone does not show of the contract: other processes, and filesystems
// of which little is left.

// withoutDirect is package aio, opening with O_DIRECT what cannot be direct.
func withoutDirect(t *testing.T) aiotest.Package {
	p := subject.Package(t, aio.O_DIRECT)
	p.OpenFile = func(name string, flag int, perm fs.FileMode) (aiotest.File, error) {
		f, err := aio.OpenFile(name, flag|aio.O_DIRECT, perm)
		if f.Direct() {
			t.Errorf("%s: Direct is true", name)
		}
		return aiotest.Lift(f, err)
	}
	return p
}

// TestNotRoot runs the contract as a user who may do little: the creator of a file of
// mode 0444 has it open for writing, and cannot open it again.
func TestNotRoot(t *testing.T) {
	aiotest.Guard(t)
	if !aiotest.InChild() {
		aiotest.RunAsNobody(t, aiotest.Dir(t), "^(TestNotRoot|TestContract)$")
		return
	}
	if os.Geteuid() == 0 {
		t.Fatal("we are root")
	}
	dir := aiotest.Dir(t)
	for _, flag := range []int{os.O_RDWR, os.O_WRONLY, os.O_RDWR | os.O_APPEND, os.O_RDWR | os.O_SYNC} {
		for _, perm := range []fs.FileMode{0o444, 0} {
			aiotest.Compare(t, dir, withoutDirect(t), func(s *aiotest.Side) {
				f, err := s.OpenFile(s.Path("file"), flag|os.O_CREATE|os.O_EXCL, perm)
				s.Opened("OpenFile", f, err)
				again, err := s.OpenFile(s.Path("file"), flag, 0)
				s.Opened("OpenFile again", again, err)
				transfers(s, f)
				aiotest.Every(s, f)
			})
		}
	}
}

// TestWithoutProc runs the contract where there is no /proc, by which Files get their
// direct descriptor.
func TestWithoutProc(t *testing.T) {
	aiotest.Guard(t)
	if !aiotest.InChild() {
		aiotest.RunWithoutProc(t, aiotest.Dir(t), "^(TestWithoutProc|TestContract)$")
		return
	}
	dir := aiotest.Dir(t)
	aiotest.Compare(t, dir, withoutDirect(t), func(s *aiotest.Side) {
		f, err := s.OpenFile(s.Path("file"), os.O_RDWR|os.O_CREATE, 0o644)
		s.Opened("OpenFile", f, err)
		transfers(s, f)
		aiotest.Every(s, f)
	})
	// A direct descriptor has no plain one beside it here: it is as in an os.File.
	aiotest.Compare(t, dir, withoutDirect(t), func(s *aiotest.Side) {
		name := s.Put("file", aiotest.Pattern(8192, 1))
		f := s.NewFile(aiotest.OpenFd(s, name, os.O_RDWR|aio.O_DIRECT), name)
		s.Opened("NewFile", f, nil)
		transfers(s, f)
		aiotest.Every(s, f)
	})
}

// TestDescriptorLimit opens a File where it may have one descriptor, none, or two but
// the queue none.
func TestDescriptorLimit(t *testing.T) {
	aiotest.Guard(t)
	if !aiotest.InChild() {
		aiotest.RunChild(t, "^TestDescriptorLimit$", "nothing")
		return
	}
	dir := aiotest.Dir(t)
	for _, m := range subject.Modes {
		aiotest.Compare(t, dir, subject.Package(t, m.Flag), func(s *aiotest.Side) {
			name := s.Put("file", aiotest.Pattern(10000, 1))
			release := aiotest.LeaveDescriptors(s, 0)
			s.Defer(release)
			f, err := s.OpenFile(name, os.O_RDWR, 0)
			s.Opened("OpenFile", f, err)
			f, err = s.OpenFile(s.Path("new"), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
			s.Opened("OpenFile of a new file", f, err)
			f, err = s.Open(name)
			s.Opened("Open", f, err)
			f, err = s.CreateTemp(s.Dir, "temp")
			s.Note("CreateTemp", f == nil, errors.Is(err, fs.ErrNotExist), errors.Unwrap(err))
			f, err = s.OpenInRoot(s.Dir, "file")
			s.Opened("OpenInRoot", f, err)
		})
	}
	aiotest.Compare(t, dir, withoutDirect(t), func(s *aiotest.Side) {
		name := s.Put("file", aiotest.Pattern(10000, 1))
		release := aiotest.LeaveDescriptors(s, 1)
		s.Defer(release)
		f, err := s.OpenFile(name, os.O_RDWR, 0)
		s.Opened("OpenFile", f, err)
		transfers(s, f)
		aiotest.Every(s, f)
	})
	aiotest.Compare(t, dir, subject.Package(t, aio.O_DIRECT), func(s *aiotest.Side) {
		name := s.Put("file", aiotest.Pattern(10000, 1))
		f := s.MustOpen("file", os.O_RDWR)
		release := aiotest.LeaveDescriptors(s, 0)
		s.Defer(release)
		transfers(s, f)
		for range 3 { // so many at once that they would go through the queue
			together(s, "ReadAt", func() (int, error) { return f.ReadAt(aiotest.Buffer(4096, 0), 4096) })
			together(s, "WriteAt", func() (int, error) { return f.WriteAt(aiotest.Buffer(4096, 0), 4096) })
			together(s, "Sync", func() (int, error) { return 0, f.Sync() })
		}
		aiotest.Every(s, f)
		s.Note("name", name)
	})
}

// transfers reads and writes some, without opening anything.
func transfers(s *aiotest.Side, f aiotest.File) {
	for _, n := range []int{4096, 100, 8192, 70000} {
		p, what := aiotest.Buffer(n, 0), fmt.Sprintf(" %d bytes", n)
		copy(p, aiotest.Pattern(n, byte(n)))
		k, err := f.WriteAt(p, 4096)
		s.Note("WriteAt"+what, k, err)
		k, err = f.Write(p)
		s.Note("Write"+what, k, err)
		k, err = f.ReadAt(p, 8192)
		s.Note("ReadAt"+what, k, err, p[:k])
		k, err = f.Read(p)
		s.Note("Read"+what, k, err, p[:k])
		copied, err := f.ReadFrom(strings.NewReader("some text"))
		s.Note("ReadFrom", copied, err)
		at, err := f.Seek(-1000, io.SeekCurrent)
		s.Note("Seek", at, err)
		copied, err = f.WriteTo(io.Discard)
		s.Note("WriteTo", copied, err)
		s.Note("Sync", f.Sync(), aiotest.Offset(f.Fd()))
		fi, err := f.Stat()
		s.Note("Stat", fi.Size(), err)
	}
}

// together makes a call many times at once.
func together(s *aiotest.Side, what string, call func() (int, error)) {
	type outcome struct {
		n   int
		err error
	}
	outcomes := make(chan outcome)
	const calls = 64
	for range calls {
		go func() {
			n, err := call()
			outcomes <- outcome{n, err}
		}()
	}
	for range calls {
		o := <-outcomes
		s.Note(what, o.n, o.err)
	}
}

// TestReadOnlyFilesystem is for filesystems that are mounted read-only.
func TestReadOnlyFilesystem(t *testing.T) { onSmall(t, aiotest.ReadOnly) }

// TestFullFilesystem is for filesystems where nothing is left.
func TestFullFilesystem(t *testing.T) { onSmall(t, aiotest.Full) }

// TestAlmostFullFilesystem is for filesystems where less is left than is written.
func TestAlmostFullFilesystem(t *testing.T) { onSmall(t, aiotest.AlmostFull) }

func onSmall(t *testing.T, do func(f aiotest.Filesystem) func(s *aiotest.Side)) {
	for _, f := range aiotest.Small {
		for _, m := range subject.Modes {
			t.Run(f.Name+"/"+m.Name, func(t *testing.T) {
				aiotest.Guard(t)
				aiotest.Compare(t, t.TempDir(), subject.Package(t, m.Flag), do(f))
			})
		}
	}
}

// TestHugeTransfers is for lengths that the kernel, or os, does not take at once.
func TestHugeTransfers(t *testing.T) {
	switch {
	case testing.Short() || aiotest.Race:
		t.Skip("it takes its time")
	case aiotest.Chosen():
		t.Skip("the filesystem may be small")
	case math.MaxInt == math.MaxInt32:
		t.Skip("no memory has room for it")
	}
	pageMore, byteMore := aiotest.HugeLengths()
	p := aiotest.Buffer(int(pageMore), 0) // of pages that nobody has touched
	dir := aiotest.Dir(t)
	t.Run("read/a page more", func(t *testing.T) {
		aiotest.Guard(t)
		aiotest.Compare(t, dir, subject.Package(t, aio.O_DIRECT), aiotest.HugeReads(p))
	})
	t.Run("read/a byte more", func(t *testing.T) {
		aiotest.Guard(t)
		aiotest.Compare(t, dir, subject.Package(t, aio.O_DIRECT), aiotest.HugeReads(p[:byteMore]))
	})
	t.Run("read/tmpfs", func(t *testing.T) {
		aiotest.Guard(t)
		aiotest.Compare(t, aiotest.TmpfsDir(t), subject.Package(t, 0), aiotest.HugeReads(p[:byteMore]))
	})
	t.Run("write/direct", func(t *testing.T) {
		aiotest.Guard(t)
		aiotest.Compare(t, dir, subject.Package(t, aio.O_DIRECT), aiotest.HugeWrites(p))
	})
	t.Run("write/tmpfs", func(t *testing.T) {
		aiotest.Guard(t)
		aiotest.Compare(t, aiotest.TmpfsDir(t), subject.Package(t, 0), aiotest.HugeWrites(p))
	})
}
