package faults

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/internal/aiotest"
)

// small is an ext4 that a test can fill.
var small = func() aiotest.Filesystem {
	fs := aiotest.Ext4
	fs.Name, fs.Size = "ext4 of 16 MiB", 16*mib
	return fs
}()

// TestNoSpace writes to full filesystems.
func TestNoSpace(t *testing.T) {
	aiotest.NeedsMounts(t)
	for _, fs := range []aiotest.Filesystem{small, aiotest.XFS, aiotest.Btrfs, aiotest.BtrfsNoCow, aiotest.Tmpfs} {
		if only := os.Getenv(filesystemEnv); only != "" && only != fs.Name && fs.Name != small.Name {
			continue
		}
		t.Run(fs.Name, func(t *testing.T) {
			for _, flag := range []int{0, aio.O_DIRECT} {
				for _, unit := range []int{4096, 1000} {
					if flag == 0 && unit == 4096 {
						continue // it uses the page cache in either case
					}
					t.Run(fmt.Sprintf("direct=%t/unit=%d", flag != 0, unit), func(t *testing.T) {
						aiotest.Guard(t)
						target{name: fs.Name, fs: fs}.compare(t, osBuffered, subjectOn(t, flag, fs), func(s *stage) { fillUp(s, unit) })
					})
				}
			}
		})
	}
}

// subjectOn is subject where Files may be buffered.
func subjectOn(t *testing.T, flag int, fs aiotest.Filesystem) aiotest.Package {
	if fs.Name == aiotest.Tmpfs.Name { // has direct I/O, and does not report its alignment
		return aiotest.Package{OpenFile: func(name string, more int, perm os.FileMode) (aiotest.File, error) {
			return aiotest.Lift(aio.OpenFile(name, more|flag, perm))
		}}
	}
	return subject(t, flag)
}

// fillUp fills a filesystem with the File under test, or around it.
func fillUp(s *stage, unit int) {
	holes := s.Path("mnt/holes")
	must(os.WriteFile(holes, content(1, 0, 8192), 0o600))
	must(os.Truncate(holes, 64<<20)) // writes beyond it have no blocks
	f, err := s.OpenFile(s.Path("mnt/file"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		s.Fatal(err)
	}
	defer f.Close()
	h, err := s.OpenFile(holes, os.O_RDWR, 0)
	if err != nil {
		s.Fatal(err)
	}
	defer h.Close()
	p := aiotest.Buffer(unit*16, 0)
	copy(p, content(2, 0, len(p)))
	if n, err := f.WriteAt(p, 0); n != len(p) || err != nil {
		s.Fatal(n, err)
	}
	if err := f.Sync(); err != nil {
		s.Fatal(err)
	}
	fillRest(s.Side)
	attempt(s, "extending", f, unit, int64(len(p)))
	attempt(s, "in a hole", h, unit, int64(32<<20/unit*unit))
	n, err := f.WriteAt(p, 0)
	if !errors.Is(err, syscall.ENOSPC) { // copy on write may have no room
		s.Note("overwriting", n, err)
	}
	must(os.Remove(s.Path("mnt/rest")))
	unix.Sync()
	n, err = f.WriteAt(p, int64(len(p)))
	s.Note("extending, with space again", n, err)
	n, err = h.WriteAt(p, int64(32<<20/unit*unit))
	s.Note("in the hole, with space again", n, err, f.Sync(), h.Sync())
	got := make([]byte, 3*len(p))
	n, err = f.ReadAt(got, 0)
	fi, _ := f.Stat()
	s.Note("ReadAt", n, err, got[:n], fi.Size())
}

// fillRest uses up all remaining space.
func fillRest(s *aiotest.Side) {
	rest, err := os.Create(s.Path("mnt/rest"))
	if err != nil {
		s.Fatal(err)
	}
	defer rest.Close()
	for n, at := int64(64*mib), int64(0); n >= 4096; { // blocks without writing their bytes
		err := unix.Fallocate(int(rest.Fd()), 0, at, n)
		if err != nil {
			n /= 2
			continue
		}
		at += n
	}
	unix.Sync()
	for i := range 64 { // space that an allocation keeps back
		small, err := os.Create(filepath.Join(s.Path("mnt"), fmt.Sprintf("rest%d", i)))
		if err != nil {
			return
		}
		_, err = small.Write(make([]byte, 4096))
		if err == nil {
			err = small.Sync()
		}
		small.Close()
		if err != nil {
			return
		}
	}
}

// attempt writes where there is no space: the counted bytes are there, and nothing else.
func attempt(s *stage, what string, f aiotest.File, unit int, off int64) {
	before, _ := f.Stat()
	p := aiotest.Buffer(unit*512, 0)
	copy(p, content(3, 0, len(p)))
	n, err := f.WriteAt(p, off)
	s.Note(what+": WriteAt", errors.Is(err, syscall.ENOSPC))
	if !errors.Is(err, syscall.ENOSPC) {
		s.Errorf("%s: WriteAt: %d, %v", what, n, err)
	}
	s.count.Add(1)
	after, _ := f.Stat()
	if after.Size() > before.Size() && off+int64(n) > after.Size() {
		s.Errorf("%s: WriteAt %d bytes at %d, and the size is %d", what, n, off, after.Size())
	}
	got := make([]byte, len(p))
	k, _ := f.ReadAt(got, off)
	written := 0
	for written < k && got[written] == p[written] {
		written++
	}
	for i, b := range got[written:k] {
		if b != 0 {
			s.Errorf("%s: byte %d after WriteAt = %d is %d", what, i+written, n, b)
			break
		}
	}
	if written < n {
		s.Errorf("%s: WriteAt = %d, and %d bytes are there", what, n, written)
	}
	s.Note(what+": as much as fits", after.Size(), n, err, got[:k])
}
