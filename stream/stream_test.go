package stream_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/internal/aiotest/aiofile"
	"github.com/go-aio/aio/stream"
)

// The oracle of these tests is an os.File that makes the same calls by ReadAt and WriteAt.

func TestMain(m *testing.M) { aiofile.Main(m, nil) }

// fileSizes are near the sizes of sectors, pages and the blocks of the tests.
var fileSizes = []int{
	0, 1, 511, 512, 513, 4095, 4096, 4097, 8191, 8192, 8193, 32767, 32768, 32769, 100_000,
}

// goroutines fails the test if it ends with more goroutines than it began with.
func goroutines(t *testing.T) {
	// The first request starts the reaper, which never ends.
	name := aiofile.Put(t, aiotest.Dir(t), "first", aiotest.Pattern(4096, 1))
	f := aiofile.Open(t, name, os.O_RDONLY|aio.O_DIRECT)
	if _, err := f.ReadAt(make([]byte, 1), 0); err != nil {
		t.Fatal(err)
	}
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		aiotest.Settle(t, "goroutines are left", func() bool {
			return runtime.NumGoroutine() <= before+1 // the reaper
		})
	})
}

// closeStream closes a Reader or Writer, and checks that it is closed.
func closeStream(t *testing.T, what string, c io.Closer) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Errorf("%s: Close: %v", what, err)
	}
	if err := c.Close(); err != fs.ErrClosed {
		t.Errorf("%s: Close again: %v", what, err)
	}
}

// second returns the error of a call.
func second[N any](_ N, err error) error { return err }

// contentOf returns the bytes of a file.
func contentOf(t *testing.T, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// TestDropped drops Readers and Writers with requests in flight, without Close.
func TestDropped(t *testing.T) {
	aiotest.Guard(t)
	goroutines(t)
	dir := aiotest.Dir(t)
	name := aiofile.Put(t, dir, "file", aiotest.Pattern(1<<20, 1))
	for i := range aiotest.Scaled(50) {
		f, err := aio.OpenFile(name, os.O_RDWR|aiofile.Modes[i%2].Flag, 0)
		if err != nil {
			t.Fatal(err)
		}
		r := stream.NewReader(f, stream.ReaderOptions{BlockSize: 65536})
		w := stream.NewWriter(f, stream.WriterOptions{BlockSize: 65536})
		if _, err := r.Read(make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(aiotest.Pattern(300_000, 1)); err != nil {
			t.Fatal(err)
		}
		runtime.GC()
	}
	aiotest.Settle(t, "dropped Files are still open", func() bool {
		return !strings.Contains(strings.Join(aiotest.Descriptors(), "\n"), name)
	})
}

// TestAllocs checks that no call allocates once all blocks exist.
func TestAllocs(t *testing.T) {
	aiotest.Guard(t)
	if aiotest.Race {
		aiotest.NeedsNoRace(t)
	}
	name := aiofile.Put(t, aiotest.Dir(t), "file", aiotest.Pattern(4<<20, 1))
	for _, m := range aiofile.Modes {
		f := aiofile.Open(t, name, os.O_RDWR|m.Flag)
		r := stream.NewReader(f, stream.ReaderOptions{BlockSize: 16384})
		w := stream.NewWriter(f, stream.WriterOptions{BlockSize: 16384})
		x := stream.NewWriter(f, stream.WriterOptions{BlockSize: 16384, Offset: 5 << 20, Exclusive: true})
		p := make([]byte, 40_000)
		for what, call := range map[string]func() error{
			"exclusive": func() error { return errors.Join(second(x.Write(p[:5000])), x.Sync()) },
			"Read":      func() error { return second(io.ReadFull(r, p)) },
			"Write":     func() error { return second(w.Write(p)) },
			"Sync":      func() error { return errors.Join(second(w.Write(p[:200])), w.Sync()) },
		} {
			for range 10 {
				if err := call(); err != nil { // it makes all blocks
					t.Fatal(err)
				}
			}
			aiotest.AllocsAtMost(t, 0, m.Name+": "+what, call)
		}
		if err := errors.Join(r.Close(), w.Close(), x.Close()); err != nil {
			t.Error(err)
		}
	}
}

// TestRefused runs tests of Readers and Writers without kernel AIO, and with room for one request.
func TestRefused(t *testing.T) {
	aiotest.NeedsTime(t)
	aiotest.Beside(t)
	const tests = "^Test(Reader|Writer|WriterConcurrent|WriterGrowsInOrder|LogResumed)$"
	aiofile.Refused(t, tests)
	aiofile.Cramped(t, tests)
}
