package aio_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/internal/aiotest/subject"
)

// TestStreamWriterConcurrent has many write records of their own, flush and sync. Each record
// is whole, and there once.
func TestStreamWriterConcurrent(t *testing.T) {
	aiotest.Guard(t)
	goroutines(t)
	for _, m := range subject.Modes {
		for _, shape := range []aio.WriterOptions{
			{BlockSize: 8192, Depth: 2}, {BlockSize: 8192, Depth: 1, Exclusive: true}, {BlockSize: 65536, Exclusive: true},
		} {
			what := fmt.Sprintf("%s, %+v", m.Name, shape)
			name := subject.Put(t, aiotest.Dir(t), "file", nil)
			w := aio.NewWriter(subject.Open(t, name, os.O_RDWR|m.Flag), shape)
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

// TestStreamWriterResumed has one exclusive Writer go on where another stopped, that was not
// closed, as after a crash: in what was a tail of zeros.
func TestStreamWriterResumed(t *testing.T) {
	aiotest.Guard(t)
	goroutines(t)
	for _, m := range subject.Modes {
		name := subject.Put(t, aiotest.Dir(t), "file", nil)
		f := subject.Open(t, name, os.O_RDWR|m.Flag)
		var want []byte
		for i := range 20 {
			w := aio.NewWriter(f, aio.WriterOptions{Offset: int64(len(want)), Exclusive: true})
			p := aiotest.Pattern(100+i*777, byte(i))
			if n, err := w.Write(p); n != len(p) || err != nil {
				t.Fatalf("%s: %d, %v", m.Name, n, err)
			}
			if err := w.Sync(); err != nil {
				t.Fatalf("%s: %v", m.Name, err)
			}
			want = append(want, p...)
			got := contentOf(t, name)
			if len(got) < len(want)+4096 || len(got)%4096 != 0 || !bytes.Equal(got, append(want, make([]byte, len(got)-len(want))...)) {
				t.Fatalf("%s: %d bytes; %d have been written", m.Name, len(got), len(want))
			}
			if i%3 == 0 {
				closeStream(t, m.Name, w)
				if got := contentOf(t, name); !bytes.Equal(got, want) {
					t.Fatalf("%s: closed: %d bytes; %d have been written", m.Name, len(got), len(want))
				}
			}
		}
	}
}

// appendRecords has many goroutines append records, and call after each.
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

// record is the i-th of goroutine g: lines of text.
func record(g, i int) []byte {
	line := fmt.Sprintf("[%d %d]", g, i)
	return []byte(strings.Repeat(line, 1+(g*7+i)%300) + "\n")
}

func checkRecords(t *testing.T, what, name string, writers, records int) {
	t.Helper()
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	next := make([]int, writers)
	for line := range bytes.Lines(content) {
		var g, i int
		if n, _ := fmt.Sscanf(string(line[:min(len(line), 40)]), "[%d %d]", &g, &i); n != 2 || g >= writers || i != next[g] || !bytes.Equal(line, record(g, i)) {
			t.Fatalf("%s: a line of %d bytes is no record, or not the next: %.40q", what, len(line), line)
		}
		next[g]++
	}
	for g, n := range next {
		if n != records {
			t.Errorf("%s: goroutine %d: %d records", what, g, n)
		}
	}
}
