package concurrency

import (
	"bytes"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/internal/aiotest/aiofile"
)

// TestOpenedWhileCopying opens a direct File during a copy to a buffered one, which takes no lock
// in the lock table. Direct writes to the same place, here of the same bytes, must not bypass the
// page cache, or the next Sync fails.
func TestOpenedWhileCopying(t *testing.T) {
	aiotest.Guard(t)
	const blocks = 16
	want := aiotest.Pattern(blocks*4096, 1)
	name := aiofile.Put(t, aiotest.Dir(t), "file", want)
	for range aiotest.Scaled(20) {
		buffered := aiofile.Open(t, name, os.O_RDWR)
		r, w := io.Pipe()
		var writers, copying sync.WaitGroup
		copying.Go(func() {
			if _, err := buffered.ReadFrom(&rewinding{r, buffered}); err != nil {
				t.Errorf("ReadFrom: %v", err)
			}
		})
		w.Write(want[:4096])
		direct := aiofile.Open(t, name, os.O_RDWR|aio.O_DIRECT)
		var written atomic.Bool
		for range 32 { // enough to be in the kernel at the same time
			writers.Go(func() {
				for i := range 2 * blocks {
					off := i % blocks * 4096
					if _, err := direct.WriteAt(want[off:][:4096], int64(off)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		go func() {
			writers.Wait()
			written.Store(true)
		}()
		for i := 1; !written.Load() || i%blocks != 0; i++ {
			w.Write(want[i%blocks*4096:][:4096])
		}
		w.Close()
		copying.Wait()
		for _, f := range []*aio.File{buffered, direct} {
			if err := f.Sync(); err != nil {
				t.Error(err)
			}
			got := aiotest.Buffer(len(want), 0)
			if n, err := f.ReadAt(got, 0); n != len(want) || !bytes.Equal(got, want) {
				t.Errorf("direct %t: %d, %v: other bytes than were written", f.Direct(), n, err)
			}
			f.Close()
		}
	}
}

// rewinding is a source that moves the offset of f back before each read, so that a copy to f
// writes the same place again and again.
type rewinding struct {
	io.Reader
	f *aio.File
}

func (r *rewinding) Read(p []byte) (int, error) {
	if off, err := r.f.Seek(0, io.SeekCurrent); err != nil || off >= 16*4096 {
		if _, err := r.f.Seek(0, io.SeekStart); err != nil {
			return 0, err
		}
	}
	return r.Reader.Read(p)
}
