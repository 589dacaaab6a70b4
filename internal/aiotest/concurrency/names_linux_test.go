package concurrency

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/internal/aiotest/aiofile"
	"github.com/go-aio/aio/internal/inode"
)

// names are the ways to give a file several names. Each creates the file and returns its names.
var names = []struct {
	name string
	give func(t *testing.T, dir string) []string
}{
	{"hard links", hardLinks},
	{"two mounts", twoMounts},
	{"O_TMPFILE and linkat", linkedLater},
}

func hardLinks(t *testing.T, dir string) []string {
	name := aiofile.Put(t, dir, "file", nil)
	again := filepath.Join(dir, "link")
	if err := os.Link(name, again); err != nil {
		t.Fatal(err)
	}
	return []string{name, again}
}

func twoMounts(t *testing.T, dir string) []string {
	aiotest.NeedsMounts(t)
	there := t.TempDir()
	if err := unix.Mount(dir, there, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(os.NewSyscallError("mount", err))
	}
	t.Cleanup(func() {
		if err := aiotest.Unmount(there); err != nil {
			t.Error(err)
		}
	})
	return []string{aiofile.Put(t, dir, "file", nil), filepath.Join(there, "file")}
}

// linkedLater names a file twice after it was opened without a name.
func linkedLater(t *testing.T, dir string) (list []string) {
	f := aiofile.Open(t, dir, os.O_RDWR|aiotest.O_TMPFILE|aio.O_DIRECT)
	for _, name := range []string{"file", "again"} {
		list = append(list, filepath.Join(dir, name))
		fd := fmt.Sprintf("/proc/self/fd/%d", f.Fd())
		err := unix.Linkat(unix.AT_FDCWD, fd, unix.AT_FDCWD, list[len(list)-1], unix.AT_SYMLINK_FOLLOW)
		if err == unix.EXDEV || err == unix.ENOENT {
			t.Log("FUSE cannot link such a file: its names are hard links instead")
			f.Close()
			return hardLinks(t, dir)
		}
		if err != nil {
			t.Fatal(os.NewSyscallError("linkat", err))
		}
	}
	return list
}

// TestNames runs the writers on several names of one file. They must treat it as one file, or they
// would not wait for one another.
func TestNames(t *testing.T) {
	for i, n := range names {
		if aiotest.Brief() && i > 0 {
			continue
		}
		t.Run(n.name, func(t *testing.T) {
			aiotest.Guard(t)
			list := n.give(t, aiotest.Dir(t))
			before := inode.Count() // 1 if the file is open already
			for _, name := range list {
				aiofile.Open(t, name, os.O_RDWR|aio.O_DIRECT)
			}
			if count := inode.Count(); count > max(1, before) {
				t.Errorf("%q: %d inodes are open, and %d were before", list, count, before)
			}
			aiofile.Must(os.WriteFile(list[0], content()[:common.end()], 0))
			testStripes(t, 0, list...)
			testBlocksAndBytes(t, list...)
			for _, o := range overlaps()[8:14] {
				testOverlap(t, o, []way{byBuffered, byDirect}, list...)
			}
		})
	}
}

// TestRenamedOver renames another file over one that is being written. Files that are open go on
// writing to the old inode; Files opened by the name write to the new one.
func TestRenamedOver(t *testing.T) {
	aiotest.Guard(t)
	dir := aiotest.Dir(t)
	l := blocksAndBytes
	fresh := func(name string) string { return aiofile.Put(t, dir, name, make([]byte, l.size())) }
	name := fresh("file")
	for round := range aiotest.Scaled(10) {
		old := []aiotest.File{byBuffered.open(t, name, os.O_RDWR), byDirect.open(t, name, os.O_RDWR)}
		var writers sync.WaitGroup
		write := func(files []aiotest.File, round int) {
			for w, p := range l.buffers() {
				writers.Go(func() {
					if err := l.write(files[w%2], w, round, p); err != nil {
						t.Error(err)
					}
				})
			}
		}
		write(old, round)
		if err := os.Rename(fresh("other"), name); err != nil {
			t.Fatal(err)
		}
		files := []aiotest.File{byDirect.open(t, name, os.O_RDWR), byBuffered.open(t, name, os.O_RDWR)}
		write(files, round+100)
		writers.Wait()
		got := aiotest.Buffer(l.size(), 0)
		for i := range 2 {
			l.check(t, old[i], got, round)
			l.check(t, files[i], got, round+100)
		}
		closeAll(append(old, files...))
	}
}
