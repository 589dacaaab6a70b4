//go:build linux

package dio

import (
	"os"
	"testing"

	"github.com/go-aio/aio/internal/aiotest"
	"golang.org/x/sys/unix"
)

const size = aiotest.LimitsSize

// newFileIn returns a file of size bytes in a new filesystem.
func newFileIn(t *testing.T, f aiotest.Filesystem) *os.File {
	t.Helper()
	dir, _ := f.NewDir(t)
	return newFile(t, dir)
}

func newFile(t *testing.T, dir string) *os.File { return aiotest.NewFile(t, dir) }

func deviceOf(sector int) func(t *testing.T) *os.File {
	return func(t *testing.T) *os.File { return aiotest.NewDevice(t, sector) }
}

func at(skip, n int) []byte { return aiotest.Memory(skip, n) }

// TestLimitsHere checks the limits in the filesystem of TMPDIR.
// internal/aiotest/trials/filesystems checks those of filesystems that it creates.
func TestLimitsHere(t *testing.T) {
	aiotest.Guard(t)
	file := newFile(t, t.TempDir())
	direct, err := Open(int(file.Fd()))
	if err == unix.EOPNOTSUPP || err == unix.EINVAL {
		aiotest.NeedsDirect(t)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer direct.Close()
	aiotest.Limits{
		Fd: direct.Fd, Mem: direct.Mem, Read: direct.Read, Write: direct.Write, Writes: direct.Writes,
		Lax:   direct.Read == direct.Mem && direct.Mem == 4096, // btrfs
		Pread: Pread, Pwrite: Pwrite,
	}.Check(t, file)
}

func TestNoLimitsOnTmpfs(t *testing.T) {
	file := newFile(t, aiotest.TmpfsDir(t))
	files := aiotest.OpenFiles()
	if direct, err := Open(int(file.Fd())); err != unix.EOPNOTSUPP {
		t.Errorf("Open = %+v, %v, want EOPNOTSUPP", direct, err)
	}
	wantFiles(t, files)
}

func openDirect(t *testing.T, file *os.File) *Direct {
	t.Helper()
	direct, err := Open(int(file.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { direct.Close() })
	return direct
}

func TestUnsupportedLimitsAreRefused(t *testing.T) {
	good := Limits{Mem: 512, Read: 512, Write: 4096}
	if err := good.check(); err != nil {
		t.Errorf("%+v: %v", good, err)
	}
	for _, change := range []func(l *Limits){
		func(l *Limits) { l.Mem = 0 },
		func(l *Limits) { l.Mem = 768 },
		func(l *Limits) { l.Mem = 8192 }, // buffers are aligned to a page at most
		func(l *Limits) { l.Read = 0 },
		func(l *Limits) { l.Read = -512 },
		func(l *Limits) { l.Read = 3 << 10 },
		func(l *Limits) { l.Read = 128 << 10 },
		func(l *Limits) { l.Write = 0 },
		func(l *Limits) { l.Write = 5000 },
	} {
		l := good
		change(&l)
		if err := l.check(); err != unix.EOPNOTSUPP {
			t.Errorf("%+v: %v, want EOPNOTSUPP", l, err)
		}
	}
	for _, l := range []Limits{
		{Mem: 1, Read: 1, Write: 4096},
		{Mem: 4096, Read: 64 << 10, Write: 1 << 20},
	} {
		if err := l.check(); err != nil {
			t.Errorf("%+v: %v", l, err)
		}
	}
}
