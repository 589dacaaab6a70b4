// Package aiofile opens files by package aio, the subject of the tests, in the form that
// package aiotest takes.
package aiofile

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/stream"
)

// Modes are the ways to open an aio.File.
var Modes = []struct {
	Name string
	Flag int
}{{"buffered", 0}, {"direct", aio.O_DIRECT}}

// Package is package aio; its OpenFile adds flag. It fails the test if a File opened with O_DIRECT
// is direct where there is no direct I/O, or is not direct where there is.
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
		Direct:    flag&aio.O_DIRECT != 0 && aiotest.Direct,
		NewReader: newReader,
		NewWriter: newWriter,
	}
}

func newReader(f aiotest.File, s aiotest.Stream) io.ReadCloser {
	file := fileOf(f)
	if file == nil {
		return nil
	}
	return stream.NewReader(file, stream.ReaderOptions{Offset: s.Offset, BlockSize: s.BlockSize, Depth: s.Depth})
}

func newWriter(f aiotest.File, s aiotest.Stream) aiotest.StreamWriter {
	file := fileOf(f)
	if file == nil {
		return nil
	}
	return stream.NewWriter(file, stream.WriterOptions{
		Offset: s.Offset, BlockSize: s.BlockSize, Depth: s.Depth, Exclusive: s.Exclusive,
	})
}

// fileOf returns the File that f is, or nil.
func fileOf(f aiotest.File) *aio.File {
	switch f := f.(type) {
	case *aio.File:
		return f
	case *roundabout:
		return f.File
	}
	return nil
}

// Roundabout is Package, but its Files make each positional call and Sync in another form, in turn:
// directly, by an Op, with a context, and as a member of a Batch.
func Roundabout(t testing.TB, flag int) aiotest.Package {
	p := Package(t, flag)
	open, temp, atRoot, byName, create, byNumber := p.OpenFile, p.CreateTemp, p.OpenInRoot, p.Open, p.Create, p.NewFile
	p.OpenFile = func(name string, flag int, perm fs.FileMode) (aiotest.File, error) {
		return roundAbout(open(name, flag, perm))
	}
	p.Open = func(name string) (aiotest.File, error) { return roundAbout(byName(name)) }
	p.Create = func(name string) (aiotest.File, error) { return roundAbout(create(name)) }
	p.CreateTemp = func(dir, pattern string) (aiotest.File, error) { return roundAbout(temp(dir, pattern)) }
	p.OpenInRoot = func(dir, name string) (aiotest.File, error) { return roundAbout(atRoot(dir, name)) }
	p.NewFile = func(fd uintptr, name string) aiotest.File {
		f, _ := roundAbout(byNumber(fd, name), nil)
		return f
	}
	return p
}

type roundabout struct {
	*aio.File
	turn atomic.Uint32
}

// batched makes a call the last member of a Batch. A direct File gets other members too, whose
// results are ignored, so that the members may become a group.
func (f *roundabout) batched(add func(b *aio.Batch) int) (int, error) {
	var b aio.Batch
	for f.Direct() && b.Len() < 2 {
		b.ReadAt(f.File, aio.AlignedBuffer(4096), 0)
	}
	i := add(&b)
	_ = b.Do(context.Background())
	return b.Result(i)
}

func roundAbout(f aiotest.File, err error) (aiotest.File, error) {
	if file, ok := f.(*aio.File); ok {
		return &roundabout{File: file}, err
	}
	return f, err
}

func (f *roundabout) ReadAt(p []byte, off int64) (int, error) {
	switch f.turn.Add(1) % 4 {
	case 0:
		return f.File.ReadAt(p, off)
	case 1:
		return f.StartReadAt(p, off).Wait()
	case 2:
		return f.batched(func(b *aio.Batch) int { return b.ReadAt(f.File, p, off) })
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	return f.ReadAtContext(ctx, p, off)
}

func (f *roundabout) WriteAt(p []byte, off int64) (int, error) {
	switch f.turn.Add(1) % 4 {
	case 0:
		return f.File.WriteAt(p, off)
	case 1:
		return f.StartWriteAt(p, off).Wait()
	case 2:
		return f.batched(func(b *aio.Batch) int { return b.WriteAt(f.File, p, off) })
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	return f.WriteAtContext(ctx, p, off)
}

func (f *roundabout) Sync() error {
	switch f.turn.Add(1) % 4 {
	case 0:
		return f.File.Sync()
	case 1:
		_, err := f.StartSync().Wait()
		return err
	case 2:
		_, err := f.batched(func(b *aio.Batch) int { return b.Sync(f.File) })
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	return f.SyncContext(ctx)
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

// Open opens a file by package aio. The test closes it at its end.
func Open(t testing.TB, name string, flag int) *aio.File {
	t.Helper()
	f, err := aio.OpenFile(name, flag, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// OpenOS opens a file by package os. The test closes it at its end.
func OpenOS(t testing.TB, name string, flag int) *os.File {
	t.Helper()
	f, err := os.OpenFile(name, flag, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// Put creates a file with the given content and returns its name.
func Put(t testing.TB, dir, name string, content []byte) string {
	t.Helper()
	name = filepath.Join(dir, name)
	if err := os.WriteFile(name, content, 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}
