// Package subject opens files by package aio, the subject of the tests, in the form that
// package aiotest takes.
package subject

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/internal/aiotest"
)

// Modes are the ways to open an aio.File.
var Modes = []struct {
	Name string
	Flag int
}{{"plain", 0}, {"direct", aio.O_DIRECT}}

// Package is package aio, where OpenFile adds flag. It fails the test if a File opened
// with O_DIRECT is not direct, or is where there is no direct I/O.
func Package(t testing.TB, flag int) aiotest.Package {
	open := func(name string, more int, perm fs.FileMode) (aiotest.File, error) {
		more |= flag
		f, err := aio.OpenFile(name, more, perm)
		if err == nil && more&aio.O_DIRECT != 0 && f.Direct() != wantDirect(f, more) {
			t.Errorf("%s: opened with O_DIRECT, and Direct is %t", name, f.Direct())
		}
		return aiotest.Lift(f, err)
	}
	return aiotest.Package{
		OpenFile: open,
		Open: func(name string) (aiotest.File, error) {
			if flag != 0 {
				return open(name, os.O_RDONLY, 0)
			}
			return aiotest.Lift(aio.Open(name))
		},
		Create: func(name string) (aiotest.File, error) {
			if flag != 0 {
				return open(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o666)
			}
			return aiotest.Lift(aio.Create(name))
		},
		CreateTemp: func(dir, pattern string) (aiotest.File, error) { return aiotest.Lift(aio.CreateTemp(dir, pattern)) },
		OpenInRoot: func(dir, name string) (aiotest.File, error) { return aiotest.Lift(aio.OpenInRoot(dir, name)) },
		NewFile: func(fd uintptr, name string) aiotest.File {
			f, _ := aiotest.Lift(aio.NewFile(fd, name), nil)
			return f
		},
		Direct: flag&aio.O_DIRECT != 0 && aiotest.Direct,
	}
}

// wantDirect reports whether there is direct I/O on f, opened with O_DIRECT.
func wantDirect(f *aio.File, flag int) bool {
	fi, err := f.Stat()
	if err != nil || flag&aiotest.O_PATH != 0 || !fi.Mode().IsRegular() && fi.Mode().Type() != fs.ModeDevice {
		return false
	}
	if !aiotest.DirectOn(f.Fd()) {
		return false
	}
	// It is opened again, which an attribute or the mode may forbid: chattr(1) +a, 0444.
	again, err := os.OpenFile(f.Name(), flag&(os.O_RDONLY|os.O_WRONLY|os.O_RDWR)|aio.O_DIRECT, 0)
	if err == nil {
		again.Close()
	}
	return !errors.Is(err, fs.ErrPermission)
}

// Open opens a file by package aio, to be closed in the end.
func Open(t testing.TB, name string, flag int) *aio.File {
	t.Helper()
	f, err := aio.OpenFile(name, flag, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// OpenOS opens a file by package os, to be closed in the end.
func OpenOS(t testing.TB, name string, flag int) *os.File {
	t.Helper()
	f, err := os.OpenFile(name, flag, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// Put makes a file and returns its name.
func Put(t testing.TB, dir, name string, content []byte) string {
	t.Helper()
	name = filepath.Join(dir, name)
	if err := os.WriteFile(name, content, 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}
