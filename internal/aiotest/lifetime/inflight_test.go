//go:build linux

package lifetime

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/internal/aiotest/aiofile"
)

// TestCloseInFlight closes Files during hundreds of calls: each completes, or returns fs.ErrClosed.
func TestCloseInFlight(t *testing.T) {
	aiotest.NeedsTime(t)
	aiotest.Guard(t)
	content := bytes.Repeat([]byte("text"), 256<<10)
	name := aiofile.Put(t, aiotest.Dir(t), "file", content)
	for i := range aiotest.Scaled(6) {
		f := aiofile.Open(t, name, os.O_RDWR|aiofile.Modes[i%2].Flag)
		var wg sync.WaitGroup
		var done atomic.Int64
		for c := range 300 {
			wg.Go(func() {
				n := []int{4096, 100, 70000}[c%3]
				p := aiotest.Buffer(n, c%2*7)
				for {
					err := callSome(f, p, c, content)
					if errors.Is(err, fs.ErrClosed) {
						return
					}
					if err != nil {
						t.Errorf("call %d: %v", c, err)
						return
					}
					done.Add(1)
				}
			})
		}
		for done.Load() < 200 {
			runtime.Gosched()
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		wg.Wait()
	}
	if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, content) {
		t.Error("the content has changed", err)
	}
}

func callSome(f *aio.File, p []byte, c int, content []byte) error {
	off := int64(c % 64 * 8192)
	switch {
	case c%64 == 0:
		return f.Sync()
	case c%4 == 0:
		n, err := f.WriteAt(content[off:][:len(p)], off)
		if n < len(p) && err == nil {
			return io.ErrShortWrite
		}
		return err
	}
	n, err := f.ReadAt(p, off)
	if !bytes.Equal(p[:n], content[off:][:n]) {
		return errors.New("other bytes than the file has")
	}
	if n < len(p) && err == nil {
		return io.ErrUnexpectedEOF
	}
	return err
}
