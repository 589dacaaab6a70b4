package aio_test

import (
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/internal/aiotest/subject"
)

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

// sameError reports whether both have the same errno or value at the root. The call by which a
// File is found closed is another.
func sameError(a, b error) bool {
	for {
		inner := errors.Unwrap(a)
		if inner == nil {
			break
		}
		a = inner
	}
	return a != nil && (errors.Is(b, a) || strings.HasSuffix(b.Error(), a.Error()))
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
		t.Skip("the race detector allocates")
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
			least := math.Inf(1)
			for range 5 {
				least = min(least, testing.AllocsPerRun(5, func() {
					if err := call(); err != nil {
						t.Error(err)
					}
				}))
			}
			if least > 0 {
				t.Errorf("%s: %s: %v allocations", m.Name, what, least)
			}
		}
		if err := errors.Join(r.Close(), w.Close(), x.Close()); err != nil {
			t.Error(err)
		}
	}
}

// TestStreamsRefused runs the tests of Readers and Writers without kernel AIO, and with room
// for one request.
func TestStreamsRefused(t *testing.T) {
	subject.Refused(t, "^TestStream(Reader|Writer|WriterConcurrent|WriterGrowsInOrder|WriterResumed)$")
	subject.Cramped(t, "^TestStream(Reader|Writer|WriterConcurrent|WriterGrowsInOrder|WriterResumed)$")
}
