package aio_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"runtime"
	"strings"
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

// TestStreamReaderSection has Readers that end before the file, with it, and behind it.
func TestStreamReaderSection(t *testing.T) {
	aiotest.Guard(t)
	goroutines(t)
	const size = 30_000
	content := aiotest.Pattern(size, 1)
	name := subject.Put(t, aiotest.Dir(t), "file", content)
	for _, m := range subject.Modes {
		f := subject.Open(t, name, m.Flag)
		for _, shape := range readerShapes[:5] {
			for _, off := range []int{0, 1, 4095, 4096, 12_345, size - 1, size, size + 5000} {
				for _, n := range []int{1, 511, 4096, 4097, 8192, 20_000, size, math.MaxInt, 0, -1} {
					shape.Offset, shape.Length = int64(off), int64(n)
					stop := size
					if n > 0 {
						stop = min(size-min(off, size), n) + off
					}
					want := content[min(off, size):min(stop, size)]
					readFrom(t, fmt.Sprintf("%s, %+v", m.Name, shape), aio.NewReader(f, shape), want)
				}
			}
		}
	}
}

// TestStreamReaderAsksForSection has a Reader of the middle of a file ask for that and no more.
func TestStreamReaderAsksForSection(t *testing.T) {
	name := subject.Put(t, aiotest.Dir(t), "file", aiotest.Pattern(1<<20, 1))
	f := subject.Open(t, name, 0)
	for _, shape := range []struct{ off, n, blocks int64 }{{65536, 4096, 1}, {65536, 65536, 4}, {65537, 65536, 5}, {65537, 100, 1}} {
		r := aio.NewReader(f, aio.ReaderOptions{Offset: shape.off, Length: shape.n, BlockSize: 16384, Depth: 8})
		before := aio.ReadStats().PageCache
		if _, err := r.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		aiotest.Until(t, "all of them have been asked for", func() bool { return aio.ReadStats().PageCache-before == shape.blocks })
		if n, err := io.Copy(io.Discard, r); n != shape.n-1 || err != nil {
			t.Errorf("%+v: %d, %v", shape, n, err)
		}
		if asked := aio.ReadStats().PageCache - before; asked != shape.blocks {
			t.Errorf("%+v: %d requests", shape, asked)
		}
		closeStream(t, "the Reader", r)
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

// Readers and Writers are compared with an os.File that does the same by ReadAt and WriteAt.

// streamSizes are around the units of disks, pages and the blocks that the tests have.
var streamSizes = []int{0, 1, 511, 512, 513, 4095, 4096, 4097, 8191, 8192, 8193, 32767, 32768, 32769, 100_000}

// goroutines fails the test if it ends with more of them than it began with.
func goroutines(t *testing.T) {
	// The reaper of the queue is for ever.
	f := subject.Open(t, subject.Put(t, aiotest.Dir(t), "first", aiotest.Pattern(4096, 1)), os.O_RDONLY|aio.O_DIRECT)
	if _, err := f.ReadAt(make([]byte, 1), 0); err != nil {
		t.Fatal(err)
	}
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		aiotest.Settle(t, "goroutines are left", func() bool { return runtime.NumGoroutine() <= before+1 }) // the reaper
	})
}

// closeStream closes a Reader or Writer, and sees that it is closed.
func closeStream(t *testing.T, what string, c io.Closer) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Errorf("%s: Close: %v", what, err)
	}
	if err := c.Close(); err != fs.ErrClosed {
		t.Errorf("%s: Close again: %v", what, err)
	}
}

func second[N any](_ N, err error) error { return err }

func contentOf(t *testing.T, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// TestStreamsDropped drops Readers and Writers with requests in flight.
func TestStreamsDropped(t *testing.T) {
	aiotest.Guard(t)
	goroutines(t)
	dir := aiotest.Dir(t)
	name := subject.Put(t, dir, "file", aiotest.Pattern(1<<20, 1))
	for i := range aiotest.Scaled(50) {
		f, err := aio.OpenFile(name, os.O_RDWR|subject.Modes[i%2].Flag, 0)
		if err != nil {
			t.Fatal(err)
		}
		r, w := aio.NewReader(f, aio.ReaderOptions{BlockSize: 65536}), aio.NewWriter(f, aio.WriterOptions{BlockSize: 65536})
		if _, err := r.Read(make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(aiotest.Pattern(300_000, 1)); err != nil {
			t.Fatal(err)
		}
		runtime.GC()
	}
	aiotest.Settle(t, "Files that were dropped are open still", func() bool {
		return !strings.Contains(strings.Join(aiotest.Descriptors(), "\n"), name)
	})
}

// TestStreamAllocs has nothing allocated for a block, once all are there.
func TestStreamAllocs(t *testing.T) {
	aiotest.Guard(t)
	if aiotest.Race {
		aiotest.NeedsNoRace(t)
	}
	name := subject.Put(t, aiotest.Dir(t), "file", aiotest.Pattern(4<<20, 1))
	for _, m := range subject.Modes {
		f := subject.Open(t, name, os.O_RDWR|m.Flag)
		r, w := aio.NewReader(f, aio.ReaderOptions{BlockSize: 16384}), aio.NewWriter(f, aio.WriterOptions{BlockSize: 16384})
		p := make([]byte, 40_000)
		x := aio.NewWriter(f, aio.WriterOptions{BlockSize: 16384, Offset: 5 << 20, Exclusive: true})
		for what, call := range map[string]func() error{
			"exclusive": func() error { return errors.Join(second(x.Write(p[:5000])), x.Sync()) },
			"Read":      func() error { return second(io.ReadFull(r, p)) },
			"Write":     func() error { return second(w.Write(p)) },
			"Sync":      func() error { return errors.Join(second(w.Write(p[:200])), w.Sync()) },
		} {
			for range 10 {
				if err := call(); err != nil { // all blocks are made
					t.Fatal(err)
				}
			}
			atMost(t, 0, m.Name+": "+what, call)
		}
		if err := errors.Join(r.Close(), w.Close(), x.Close()); err != nil {
			t.Error(err)
		}
	}
}

// TestStreamsRefused runs the tests of Readers and Writers without kernel AIO, and with room
// for one request.
func TestStreamsRefused(t *testing.T) {
	aiotest.NeedsTime(t)
	beside(t)
	subject.Refused(t, "^TestStream(Reader|Writer|WriterConcurrent|WriterGrowsInOrder|WriterResumed)$")
	subject.Cramped(t, "^TestStream(Reader|Writer|WriterConcurrent|WriterGrowsInOrder|WriterResumed)$")
}
