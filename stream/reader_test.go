package stream_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"testing"
	"testing/iotest"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/internal/aiotest/aiofile"
	"github.com/go-aio/aio/stream"
)

// readerShapes are options of Readers with several blocks in files of these sizes.
var readerShapes = []stream.ReaderOptions{
	{},
	{BlockSize: 4096},
	{BlockSize: 4096, Depth: 1},
	{BlockSize: 8192, Depth: 2},
	{BlockSize: 5000, Depth: 3},
	{BlockSize: 1, Depth: 1000},
}

func TestReader(t *testing.T) {
	aiotest.Guard(t)
	goroutines(t)
	dir := aiotest.Dir(t)
	for _, size := range fileSizes {
		content := aiotest.Pattern(size, byte(size))
		name := aiofile.Put(t, dir, "file", content)
		for _, m := range aiofile.Modes {
			f := aiofile.Open(t, name, m.Flag)
			for i, shape := range readerShapes {
				what := fmt.Sprintf("%s, %d bytes, %+v", m.Name, size, shape)
				r := stream.NewReader(f, shape)
				if err := iotest.TestReader(r, content); err != nil {
					t.Errorf("%s: %v", what, err)
				}
				closeStream(t, what, r)
				for _, off := range []int{1, 511, 4096, 4097, size - 1, size, size + 1, size + 5000} {
					if i > 3 || off < 0 {
						continue
					}
					shape.Offset = int64(off)
					r := stream.NewReader(f, shape)
					readFrom(t, fmt.Sprintf("%s at %d", what, off), r, content[min(off, size):])
				}
			}
		}
	}
}

// TestReaderSection reads sections that end before the end of the file, at it, and behind it.
func TestReaderSection(t *testing.T) {
	aiotest.Guard(t)
	goroutines(t)
	const size = 30_000
	content := aiotest.Pattern(size, 1)
	name := aiofile.Put(t, aiotest.Dir(t), "file", content)
	for _, m := range aiofile.Modes {
		f := aiofile.Open(t, name, m.Flag)
		for _, shape := range readerShapes[:5] {
			for _, off := range []int{0, 1, 4095, 4096, 12_345, size - 1, size, size + 5000} {
				for _, n := range []int{1, 511, 4096, 4097, 8192, 20_000, size, math.MaxInt, 0, -1} {
					shape.Offset, shape.Length = int64(off), int64(n)
					stop := size
					if n > 0 {
						stop = min(size-min(off, size), n) + off
					}
					want := content[min(off, size):min(stop, size)]
					r := stream.NewReader(f, shape)
					readFrom(t, fmt.Sprintf("%s, %+v", m.Name, shape), r, want)
				}
			}
		}
	}
}

// TestReaderRequestsSection checks that a Reader of a section requests nothing outside of it.
func TestReaderRequestsSection(t *testing.T) {
	name := aiofile.Put(t, aiotest.Dir(t), "file", aiotest.Pattern(1<<20, 1))
	f := aiofile.Open(t, name, 0)
	for _, shape := range []struct{ off, n, blocks int64 }{
		{65536, 4096, 1}, {65536, 65536, 4}, {65537, 65536, 5}, {65537, 100, 1},
	} {
		o := stream.ReaderOptions{Offset: shape.off, Length: shape.n, BlockSize: 16384, Depth: 8}
		r := stream.NewReader(f, o)
		before := aio.ReadStats().PageCache
		requests := func() int64 { return aio.ReadStats().PageCache - before }
		if _, err := r.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		aiotest.Until(t, "all blocks have been requested", func() bool {
			return requests() == shape.blocks
		})
		if n, err := io.Copy(io.Discard, r); n != shape.n-1 || err != nil {
			t.Errorf("%+v: %d, %v", shape, n, err)
		}
		if n := requests(); n != shape.blocks {
			t.Errorf("%+v: %d requests", shape, n)
		}
		closeStream(t, "the Reader", r)
	}
}

// readFrom reads all bytes of r, by Read and by WriteTo, and compares them with want.
func readFrom(t *testing.T, what string, r *stream.Reader, want []byte) {
	t.Helper()
	half := make([]byte, len(want)/2)
	if _, err := io.ReadFull(r, half); err != nil || !bytes.Equal(half, want[:len(half)]) {
		t.Errorf("%s: the first half differs, or %v", what, err)
	}
	var rest bytes.Buffer
	n, err := r.WriteTo(&rest)
	if err != nil || n != int64(rest.Len()) || !bytes.Equal(rest.Bytes(), want[len(half):]) {
		t.Errorf("%s: WriteTo: %d, %v; want %d, or they differ", what, n, err, len(want)-len(half))
	}
	if n, err := r.Read(make([]byte, 10)); n != 0 || err != io.EOF {
		t.Errorf("%s: at the end: %d, %v", what, n, err)
	}
	closeStream(t, what, r)
}

// TestReaderErrors compares the errors of Readers that cannot read with those of ReadAt.
func TestReaderErrors(t *testing.T) {
	aiotest.Guard(t)
	goroutines(t)
	dir := aiotest.Dir(t)
	name := aiofile.Put(t, dir, "file", aiotest.Pattern(10_000, 1))
	for _, m := range aiofile.Modes {
		for _, off := range []int64{
			-1, math.MinInt64, math.MaxInt64, math.MaxInt64 - 4096, math.MaxInt64 - 1<<20,
		} {
			f, g := aiofile.Open(t, name, m.Flag), aiofile.OpenOS(t, name, os.O_RDONLY)
			r := stream.NewReader(f, stream.ReaderOptions{Offset: off})
			for range 2 {
				n, err := r.Read(make([]byte, 100))
				_, want := g.ReadAt(make([]byte, 100), off)
				if n != 0 || aiotest.Describe(err) != aiotest.Describe(want) {
					t.Errorf("%s, at %d: %d, %v; want %v", m.Name, off, n, err, want)
				}
			}
			closeStream(t, m.Name, r)
		}
		f := aiofile.Open(t, name, m.Flag)
		r := stream.NewReader(f, stream.ReaderOptions{BlockSize: 4096, Depth: 2})
		if n, err := r.Read(make([]byte, 100)); n != 100 || err != nil {
			t.Errorf("%s: %d, %v", m.Name, n, err)
		}
		f.Close()
		if _, err := io.Copy(io.Discard, r); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("%s, of a closed File: %v", m.Name, err)
		}
		closeStream(t, m.Name, r)
		if n, err := r.Read(make([]byte, 100)); n != 0 || err != fs.ErrClosed {
			t.Errorf("%s, Read of a closed Reader: %d, %v", m.Name, n, err)
		}
		if n, err := r.WriteTo(io.Discard); n != 0 || err != fs.ErrClosed {
			t.Errorf("%s, WriteTo of a closed Reader: %d, %v", m.Name, n, err)
		}
	}
	for what, f := range map[string]*aio.File{
		"nil":         nil,
		"zero":        new(aio.File),
		"write-only":  aiofile.Open(t, name, os.O_WRONLY|aio.O_DIRECT),
		"a directory": aiofile.Open(t, dir, os.O_RDONLY),
	} {
		_, want := f.ReadAt(make([]byte, 100), 0)
		r := stream.NewReader(f, stream.ReaderOptions{})
		n, err := r.Read(make([]byte, 100))
		if n != 0 || err == nil || aiotest.Describe(err) != aiotest.Describe(want) {
			t.Errorf("%s: %d, %v; want %v", what, n, err, want)
		}
		closeStream(t, what, r)
	}
}

// A shortWriter writes its first bytes only. Then it returns err.
type shortWriter struct {
	left int
	err  error
}

func (s *shortWriter) Write(p []byte) (int, error) {
	n := min(len(p), s.left)
	s.left -= n
	if n < len(p) {
		return n, s.err
	}
	return n, nil
}

// TestReaderWriteTo checks that a Reader goes on behind the bytes that a failed Writer took.
func TestReaderWriteTo(t *testing.T) {
	aiotest.Guard(t)
	goroutines(t)
	content := aiotest.Pattern(50_000, 1)
	name := aiofile.Put(t, aiotest.Dir(t), "file", content)
	for _, m := range aiofile.Modes {
		for _, failure := range []error{nil, io.ErrClosedPipe} {
			f := aiofile.Open(t, name, m.Flag)
			r := stream.NewReader(f, stream.ReaderOptions{BlockSize: 8192, Depth: 3})
			want := failure
			if want == nil {
				want = io.ErrShortWrite
			}
			if n, err := io.Copy(&shortWriter{20_001, failure}, r); n != 20_001 || err != want {
				t.Errorf("%s: %d, %v; want %v", m.Name, n, err, want)
			}
			readFrom(t, m.Name, r, content[20_001:])
		}
	}
}

// TestReaderOfChangingFile changes the size of a file between the calls of a Reader.
func TestReaderOfChangingFile(t *testing.T) {
	aiotest.Guard(t)
	goroutines(t)
	name := aiofile.Put(t, aiotest.Dir(t), "file", nil)
	for _, m := range aiofile.Modes {
		for _, shape := range readerShapes {
			what := fmt.Sprintf("%s, %+v", m.Name, shape)
			if err := os.Truncate(name, 0); err != nil {
				t.Fatal(err)
			}
			r := stream.NewReader(aiofile.Open(t, name, m.Flag), shape)
			other := aiofile.OpenOS(t, name, os.O_RDWR)
			size := int64(0)
			for i, n := range []int{0, 1, 4095, 1, 4096, 30_000, 100, 5000} {
				more := aiotest.Pattern(n, byte(i))
				if _, err := other.WriteAt(more, size); err != nil {
					t.Fatal(err)
				}
				size += int64(n)
				if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, more) {
					t.Errorf("%s: grown by %d bytes: got %d, %v", what, n, len(got), err)
				}
			}
			if err := other.Truncate(100); err != nil {
				t.Fatal(err)
			}
			if n, err := r.Read(make([]byte, 10)); n != 0 || err != io.EOF {
				t.Errorf("%s: of a file that has shrunk: %d, %v", what, n, err)
			}
			if err := other.Truncate(size + 3); err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, make([]byte, 3)) {
				t.Errorf("%s: grown again: %q, %v", what, got, err)
			}
			closeStream(t, what, r)
		}
	}
}
