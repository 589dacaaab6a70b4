package stream_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/internal/aiotest/aiofile"
	"github.com/go-aio/aio/stream"
)

// writerShapes are options of Writers that fill several blocks in the tests.
var writerShapes = []stream.WriterOptions{
	{},
	{BlockSize: 4096, Depth: 1},
	{BlockSize: 8192, Depth: 2},
	{BlockSize: 5000, Depth: 3},
	{BlockSize: 1, Depth: 1000},
	{Exclusive: true},
	{BlockSize: 4096, Depth: 1, Exclusive: true},
	{BlockSize: 8192, Depth: 3, Exclusive: true},
}

// A flusher has the methods of a Writer that are compared with those of an os.File.
type flusher interface {
	io.Writer
	io.ReaderFrom
	Flush() error
	Sync() error
	io.Closer
}

// An osWriter is the oracle: it writes at once.
type osWriter struct {
	*os.File
	off int64
}

func (w *osWriter) Write(p []byte) (int, error) {
	n, err := w.WriteAt(p, w.off)
	w.off += int64(n)
	return n, err
}

func (w *osWriter) ReadFrom(r io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{w}, r)
}

func (w *osWriter) Flush() error { return nil }

// drive writes pieces of many lengths. It calls check when a piece has been flushed.
func drive(t *testing.T, what string, w flusher, total int, seed uint64, check func()) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 1))
	for n := 0; n < total; {
		length := min([]int{1, 100, 511, 512, 4095, 4096, 4097, 9000, 20_000}[r.IntN(9)], total-n)
		p := aiotest.Pattern(length, byte(n))
		var m int
		var err error
		if r.IntN(3) == 0 {
			var long int64
			long, err = w.ReadFrom(iotest.HalfReader(bytes.NewReader(p)))
			m = int(long)
		} else {
			m, err = w.Write(p)
		}
		clear(p) // the Writer must not need it any more
		if m != length || err != nil {
			t.Fatalf("%s: a write of %d bytes after %d: %d, %v", what, length, n, m, err)
		}
		n += length
		switch r.IntN(8) {
		case 0:
			err = w.Flush()
			check()
		case 1:
			err = w.Sync()
			check()
		}
		if err != nil {
			t.Fatalf("%s: after %d bytes: %v", what, n, err)
		}
	}
}

func TestWriter(t *testing.T) {
	aiotest.Guard(t)
	goroutines(t)
	dir := aiotest.Dir(t)
	for i, total := range fileSizes {
		for _, m := range aiofile.Modes {
			for j, shape := range writerShapes {
				for _, before := range []int{0, 5000, 60_000} {
					for _, off := range []int64{0, 1, 4095, 4096, 5000, 70_000} {
						if !aiotest.Some(i+j+int(off)) || before == 5000 && aiotest.Brief() {
							continue
						}
						shape.Offset = off
						compareWriters(t, dir, m.Flag, shape, before, total, uint64(i*j))
					}
				}
			}
		}
	}
}

// compareWriters writes the same by an os.File and by a Writer, to files of before bytes. An
// exclusive Writer truncates its file first, and the file ends in zeros until Close.
func compareWriters(
	t *testing.T, dir string, flag int, shape stream.WriterOptions, before, total int, seed uint64,
) {
	t.Helper()
	what := fmt.Sprintf("flag %#x, %+v, %d bytes to a file of %d", flag, shape, total, before)
	first := aiotest.Pattern(before, 99)
	oracle, name := aiofile.Put(t, dir, "oracle", first), aiofile.Put(t, dir, "file", first)
	g, err := os.OpenFile(oracle, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if shape.Exclusive && total > 0 && before > int(shape.Offset) {
		if err := g.Truncate(shape.Offset); err != nil {
			t.Fatal(err)
		}
	}
	var want [][]byte
	drive(t, what, &osWriter{g, shape.Offset}, total, seed, func() {
		want = append(want, contentOf(t, oracle))
	})
	g.Close()

	f, err := aio.OpenFile(name, os.O_RDWR|flag, 0)
	if err != nil {
		t.Fatal(err)
	}
	w := stream.NewWriter(f, shape)
	drive(t, what, w, total, seed, func() {
		got := contentOf(t, name)
		if shape.Exclusive && len(got)%4096 == 0 && len(got) >= len(want[0]) {
			want[0] = append(want[0], make([]byte, len(got)-len(want[0]))...)
		}
		if !bytes.Equal(got, want[0]) {
			t.Fatalf("%s: flushed, %d bytes, not the %d of os.File", what, len(got), len(want[0]))
		}
		want = want[1:]
	})
	closeStream(t, what, w)
	if off := w.Written(); off != shape.Offset+int64(total) {
		t.Errorf("%s: written up to %d", what, off)
	}
	for _, err := range []error{
		w.Flush(), w.Sync(),
		second(w.Write([]byte("more"))), second(w.ReadFrom(strings.NewReader("more"))),
	} {
		if err != fs.ErrClosed {
			t.Errorf("%s: after Close: %v", what, err)
		}
	}
	f.Close()
	if got, want := contentOf(t, name), contentOf(t, oracle); !bytes.Equal(got, want) {
		t.Errorf("%s: %d bytes, not the %d of os.File", what, len(got), len(want))
	}
}

// TestWriterGrowsInOrder reads a file while a Writer extends it: at every instant the file is a
// beginning of the stream.
func TestWriterGrowsInOrder(t *testing.T) {
	aiotest.Guard(t)
	goroutines(t)
	content := aiotest.Pattern(2<<20+77, 1)
	for _, m := range aiofile.Modes {
		name := aiofile.Put(t, aiotest.Dir(t), "file", nil)
		f := aiofile.Open(t, name, os.O_RDWR|m.Flag)
		w := stream.NewWriter(f, stream.WriterOptions{BlockSize: 16384, Depth: 8})
		done := make(chan error)
		go func() {
			_, err := io.Copy(w, bytes.NewReader(content))
			done <- errors.Join(err, w.Close())
		}()
		reads := 0
		for ended := false; !ended; reads++ {
			select {
			case err := <-done:
				if err != nil {
					t.Fatal(err)
				}
				ended = true
			default:
			}
			got, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.HasPrefix(content, got) || ended && len(got) != len(content) {
				t.Fatalf("%s: %d bytes that are no beginning of the stream, ended %t", m.Name, len(got), ended)
			}
		}
		t.Logf("%s: read %d times", m.Name, reads)
	}
}

// TestWriterErrors compares the errors of Writers that cannot write with those of WriteAt.
func TestWriterErrors(t *testing.T) {
	aiotest.Guard(t)
	goroutines(t)
	dir := aiotest.Dir(t)
	name := aiofile.Put(t, dir, "file", aiotest.Pattern(10_000, 1))
	closed := aiofile.Open(t, name, os.O_RDWR|aio.O_DIRECT)
	closed.Close()
	p := make([]byte, 20_000)
	for what, c := range map[string]struct {
		f   *aio.File
		off int64
	}{
		"nil":                 {nil, 0},
		"zero":                {new(aio.File), 0},
		"closed":              {closed, 0},
		"read-only":           {aiofile.Open(t, name, os.O_RDONLY|aio.O_DIRECT), 0},
		"read-only, buffered": {aiofile.Open(t, name, os.O_RDONLY), 7},
		"O_APPEND":            {aiofile.Open(t, name, os.O_RDWR|os.O_APPEND|aio.O_DIRECT), 0},
		"negative":            {aiofile.Open(t, name, os.O_RDWR|aio.O_DIRECT), -1},
		"too large":           {aiofile.Open(t, name, os.O_RDWR|aio.O_DIRECT), math.MaxInt64 - 100},
	} {
		t.Run(what, func(t *testing.T) {
			_, want := c.f.WriteAt(p, c.off)
			if want == nil {
				t.Fatal("it can be written to")
			}
			w := stream.NewWriter(c.f, stream.WriterOptions{Offset: c.off, BlockSize: 8192, Depth: 2})
			var err error
			for range 10 { // one of these calls observes the error
				if _, err = w.Write(p); err != nil {
					break
				}
			}
			if err == nil || err.Error() != want.Error() {
				t.Errorf("Write: %v; want %v", err, want)
			}
			x := stream.NewWriter(c.f, stream.WriterOptions{Offset: c.off, Exclusive: true})
			if err := errors.Join(second(x.Write(p)), x.Sync()); err == nil || x.Close() == nil {
				t.Errorf("exclusive: %v", err)
			}
			for _, again := range []error{
				second(w.Write(p)), second(w.ReadFrom(bytes.NewReader(p))), w.Flush(), w.Sync(), w.Close(),
			} {
				if again == nil || again.Error() != err.Error() {
					t.Errorf("later: %v; want %v", again, err)
				}
			}
			if off := w.Written(); off != c.off {
				t.Errorf("written up to %d", off)
			}
		})
	}
	if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, aiotest.Pattern(10_000, 1)) {
		t.Error("the file has changed", err)
	}
}

// TestWriterSource checks that ReadFrom writes the bytes before an error of its source.
func TestWriterSource(t *testing.T) {
	aiotest.Guard(t)
	goroutines(t)
	content := aiotest.Pattern(30_000, 1)
	for _, m := range aiofile.Modes {
		name := aiofile.Put(t, aiotest.Dir(t), "file", nil)
		f := aiofile.Open(t, name, os.O_RDWR|m.Flag)
		w := stream.NewWriter(f, stream.WriterOptions{BlockSize: 8192})
		source := io.MultiReader(bytes.NewReader(content), iotest.ErrReader(io.ErrClosedPipe))
		if n, err := w.ReadFrom(source); n != 30_000 || err != io.ErrClosedPipe {
			t.Errorf("%s: %d, %v", m.Name, n, err)
		}
		closeStream(t, m.Name, w)
		if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s: %d bytes, %v", m.Name, len(got), err)
		}
	}
}

// A panickingReader is a source with a bug.
type panickingReader struct{}

func (panickingReader) Read([]byte) (int, error) { panic("a bug of the source") }

// TestWriterSourcePanics checks that a Writer goes on after its caller has recovered from a panic
// of the source of ReadFrom.
func TestWriterSourcePanics(t *testing.T) {
	aiotest.Guard(t)
	goroutines(t)
	name := aiofile.Put(t, aiotest.Dir(t), "file", nil)
	w := stream.NewWriter(aiofile.Open(t, name, os.O_RDWR), stream.WriterOptions{})
	func() {
		defer func() {
			if r := recover(); r != "a bug of the source" {
				t.Errorf("recovered %v", r)
			}
		}()
		w.ReadFrom(panickingReader{})
	}()
	if n, err := w.Write([]byte("more")); n != 4 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	closeStream(t, "after a panic", w)
	if got := contentOf(t, name); string(got) != "more" {
		t.Errorf("%q", got)
	}
}

// TestFileSizeLimit writes up to RLIMIT_FSIZE. The file is the one that an os.File would leave.
func TestFileSizeLimit(t *testing.T) {
	aiotest.Guard(t)
	if !aiotest.Linux {
		aiotest.Needs(t, "RLIMIT_FSIZE", "go test ./... on Linux")
	}
	if !aiotest.InChild() {
		aiotest.RunChild(t, "^TestFileSizeLimit$", "limit", "50000")
		return
	}
	content := aiotest.Pattern(200_000, 1)
	for _, m := range aiofile.Modes {
		for _, shape := range writerShapes {
			what := fmt.Sprintf("%s, %+v", m.Name, shape)
			name := aiofile.Put(t, aiotest.Dir(t), "file", nil)
			f := aiofile.Open(t, name, os.O_RDWR|m.Flag)
			w := stream.NewWriter(f, shape)
			_, err := w.Write(content)
			if err == nil {
				err = w.Flush()
			}
			if !errors.Is(err, syscall.EFBIG) {
				t.Errorf("%s: %v", what, err)
			}
			if again := w.Close(); again == nil || again.Error() != err.Error() {
				t.Errorf("%s: Close: %v", what, again)
			}
			got := contentOf(t, name)
			if shape.Exclusive {
				if !bytes.HasPrefix(content, got) || int64(len(got)) != w.Written() {
					t.Errorf("%s: %d bytes, written up to %d", what, len(got), w.Written())
				}
				continue
			}
			if !bytes.Equal(got, content[:50_000]) {
				t.Errorf("%s: %d bytes", what, len(got))
			}
			if off := w.Written(); off > 50_000 || off < 50_000-1<<20 {
				t.Errorf("%s: written up to %d", what, off)
			}
		}
	}
}

// TestWriterConcurrent checks that records of many goroutines, which also flush and sync, are in
// the file once, whole, and in order.
func TestWriterConcurrent(t *testing.T) {
	aiotest.Guard(t)
	goroutines(t)
	for _, m := range aiofile.Modes {
		for _, shape := range []stream.WriterOptions{
			{BlockSize: 8192, Depth: 2},
			{BlockSize: 8192, Depth: 1, Exclusive: true},
			{BlockSize: 65536, Exclusive: true},
		} {
			what := fmt.Sprintf("%s, %+v", m.Name, shape)
			name := aiofile.Put(t, aiotest.Dir(t), "file", nil)
			w := stream.NewWriter(aiofile.Open(t, name, os.O_RDWR|m.Flag), shape)
			const writers, records = 8, 100
			appendRecords(t, w, writers, records, func(n int) error {
				switch n % 4 {
				case 0:
					return w.Flush()
				case 1:
					return w.Sync()
				}
				return nil
			})
			closeStream(t, what, w)
			checkRecords(t, what, name, writers, records)
		}
	}
}

// appendRecords appends records from many goroutines. Each goroutine calls after when it has
// written a record.
func appendRecords(t *testing.T, w io.Writer, writers, records int, after func(n int) error) {
	t.Helper()
	var wg sync.WaitGroup
	for g := range writers {
		wg.Go(func() {
			for i := range records {
				p := record(g, i)
				if n, err := w.Write(p); n != len(p) || err != nil {
					t.Errorf("Write: %d, %v", n, err)
					return
				}
				clear(p)
				if err := after(g + i); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// record returns record i of goroutine g, a line of text.
func record(g, i int) []byte {
	line := fmt.Sprintf("[%d %d]", g, i)
	return []byte(strings.Repeat(line, 1+(g*7+i)%300) + "\n")
}

// checkRecords checks that the file has all records, whole and in the order of each goroutine.
func checkRecords(t *testing.T, what, name string, writers, records int) {
	t.Helper()
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	next := make([]int, writers)
	for line := range bytes.Lines(content) {
		var g, i int
		n, _ := fmt.Sscanf(string(line[:min(len(line), 40)]), "[%d %d]", &g, &i)
		if n != 2 || g >= writers || i != next[g] || !bytes.Equal(line, record(g, i)) {
			t.Fatalf("%s: a line of %d bytes is not the next record: %.40q", what, len(line), line)
		}
		next[g]++
	}
	for g, n := range next {
		if n != records {
			t.Errorf("%s: goroutine %d: %d records", what, g, n)
		}
	}
}
