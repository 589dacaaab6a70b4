package aio_test

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
	"github.com/go-aio/aio/internal/aiotest/subject"
)

// readerShapes are Readers whose blocks end in such files.
var readerShapes = []aio.ReaderOptions{
	{}, {BlockSize: 4096}, {BlockSize: 4096, Depth: 1}, {BlockSize: 8192, Depth: 2}, {BlockSize: 5000, Depth: 3}, {BlockSize: 1, Depth: 1000},
}

func TestStreamReader(t *testing.T) {
	aiotest.Guard(t)
	goroutines(t)
	dir := aiotest.Dir(t)
	for _, size := range streamSizes {
		content := aiotest.Pattern(size, byte(size))
		name := subject.Put(t, dir, "file", content)
		for _, m := range subject.Modes {
			f := subject.Open(t, name, m.Flag)
			for i, shape := range readerShapes {
				what := fmt.Sprintf("%s, %d bytes, %+v", m.Name, size, shape)
				r := aio.NewReader(f, shape)
				if err := iotest.TestReader(r, content); err != nil {
					t.Errorf("%s: %v", what, err)
				}
				closeStream(t, what, r)
				for _, off := range []int{1, 511, 4096, 4097, size - 1, size, size + 1, size + 5000} {
					if i > 3 || off < 0 {
						continue
					}
					shape.Offset = int64(off)
					readFrom(t, fmt.Sprintf("%s at %d", what, off), aio.NewReader(f, shape), content[min(off, size):])
				}
			}
		}
	}
}

// readFrom compares what r reads, by Read and by WriteTo, with want.
func readFrom(t *testing.T, what string, r *aio.Reader, want []byte) {
	t.Helper()
	half := make([]byte, len(want)/2)
	if _, err := io.ReadFull(r, half); err != nil || !bytes.Equal(half, want[:len(half)]) {
		t.Errorf("%s: the first half: %v, or other bytes", what, err)
	}
	var rest bytes.Buffer
	n, err := r.WriteTo(&rest)
	if err != nil || n != int64(rest.Len()) || !bytes.Equal(rest.Bytes(), want[len(half):]) {
		t.Errorf("%s: WriteTo: %d, %v; want %d bytes, or these are others", what, n, err, len(want)-len(half))
	}
	if n, err := r.Read(make([]byte, 10)); n != 0 || err != io.EOF {
		t.Errorf("%s: at the end: %d, %v", what, n, err)
	}
	closeStream(t, what, r)
}

// TestStreamReaderErrors has Readers of what has no bytes to read.
func TestStreamReaderErrors(t *testing.T) {
	aiotest.Guard(t)
	goroutines(t)
	dir := aiotest.Dir(t)
	name := subject.Put(t, dir, "file", aiotest.Pattern(10_000, 1))
	for _, m := range subject.Modes {
		for _, off := range []int64{-1, math.MinInt64, math.MaxInt64, math.MaxInt64 - 4096, math.MaxInt64 - 1<<20} {
			f, g := subject.Open(t, name, m.Flag), subject.OpenOS(t, name, os.O_RDONLY)
			r := aio.NewReader(f, aio.ReaderOptions{Offset: off})
			for range 2 {
				n, err := r.Read(make([]byte, 100))
				_, want := g.ReadAt(make([]byte, 100), off)
				if n != 0 || aiotest.Describe(err) != aiotest.Describe(want) {
					t.Errorf("%s, at %d: %d, %v; want %v", m.Name, off, n, err, want)
				}
			}
			closeStream(t, m.Name, r)
		}
		f := subject.Open(t, name, m.Flag)
		r := aio.NewReader(f, aio.ReaderOptions{BlockSize: 4096, Depth: 2})
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
	for what, f := range map[string]*aio.File{"nil": nil, "zero": new(aio.File), "write-only": subject.Open(t, name, os.O_WRONLY|aio.O_DIRECT), "a directory": subject.Open(t, dir, os.O_RDONLY)} {
		_, want := f.ReadAt(make([]byte, 100), 0)
		r := aio.NewReader(f, aio.ReaderOptions{})
		n, err := r.Read(make([]byte, 100))
		if n != 0 || err == nil || aiotest.Describe(err) != aiotest.Describe(want) {
			t.Errorf("%s: %d, %v; want %v", what, n, err, want)
		}
		closeStream(t, what, r)
	}
}

// A shortWriter takes the first bytes only.
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

// TestStreamWriteTo has the other side fail: the Reader goes on where that stopped.
func TestStreamWriteTo(t *testing.T) {
	aiotest.Guard(t)
	goroutines(t)
	content := aiotest.Pattern(50_000, 1)
	name := subject.Put(t, aiotest.Dir(t), "file", content)
	for _, m := range subject.Modes {
		for _, failure := range []error{nil, io.ErrClosedPipe} {
			r := aio.NewReader(subject.Open(t, name, m.Flag), aio.ReaderOptions{BlockSize: 8192, Depth: 3})
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

// TestStreamReaderOfChangingFile has a file grow and shrink under a Reader.
func TestStreamReaderOfChangingFile(t *testing.T) {
	aiotest.Guard(t)
	goroutines(t)
	name := subject.Put(t, aiotest.Dir(t), "file", nil)
	for _, m := range subject.Modes {
		for _, shape := range readerShapes {
			what := fmt.Sprintf("%s, %+v", m.Name, shape)
			if err := os.Truncate(name, 0); err != nil {
				t.Fatal(err)
			}
			r, other := aio.NewReader(subject.Open(t, name, m.Flag), shape), subject.OpenOS(t, name, os.O_RDWR)
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
