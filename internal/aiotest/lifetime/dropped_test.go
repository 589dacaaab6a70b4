//go:build linux

package lifetime

import (
	"bytes"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/internal/aiotest/aiofile"
	"github.com/go-aio/aio/internal/inode"
)

// poison allocates memory of the sizes of buffers in a loop, and fills it, until stop is called. If
// the collector freed memory that the kernel still writes to, such an allocation would get it, and
// its bytes would change.
func poison(t *testing.T) (stop func()) {
	var quit atomic.Bool
	var wg sync.WaitGroup
	for g := range 2 {
		wg.Go(func() {
			sizes := []int{512, 4096, 8192, 16384, 65536, 9472}
			var held [64][]byte
			for i := 0; !quit.Load(); i++ {
				p := &held[i%len(held)]
				for k, b := range *p {
					if b != 0xa5 {
						t.Errorf("memory of an allocation of %d bytes has been written to, at %d: %q", len(*p), k, (*p)[k:min(k+64, len(*p))])
						return
					}
				}
				*p = make([]byte, sizes[(i+g)%len(sizes)])
				for k := range *p {
					(*p)[k] = 0xa5
				}
				if i%200 == 0 {
					runtime.GC()
				}
			}
		})
	}
	return func() {
		quit.Store(true)
		wg.Wait()
	}
}

// orphan makes one call on a File with a buffer. No other reference to either exists, and the call
// is the last use of both.
func orphan(t *testing.T, name string, flag, i int) {
	f, err := aio.OpenFile(name, os.O_RDWR|flag, 0)
	if err != nil {
		t.Error(err)
		return
	}
	off := int64(i % 64 * 16384)
	switch i % 6 {
	case 0:
		p := aiotest.Buffer(16384, 0)
		putLines(p, 1, off, 1)
		_, err = f.WriteAt(p, off)
	case 1:
		p := make([]byte, 4*lineSize) // goes through the page cache
		putLines(p, 1, off, 1)
		_, err = f.WriteAt(p, off)
	case 2:
		err = f.Sync()
	case 3: // the kernel writes to memory that the caller never reads
		_, err = f.ReadAt(aiotest.Buffer(16384, 0), off)
	case 4:
		p := make([]byte, 16384)
		var n int
		if n, err = f.ReadAt(p, off); err == nil {
			err = checkLines(p[:n], 1, off, anyGeneration)
		}
	default:
		err = deep(20, func() error {
			var p [4096]byte // looks like a buffer on the stack, which moves
			n, err := f.ReadAt(p[:], off)
			if err != nil {
				return err
			}
			return checkLines(p[:n], 1, off, anyGeneration)
		})
	}
	if err != nil {
		t.Errorf("call %d: %v", i%6, err)
	}
}

// deep makes the stack grow, and so move, before it calls fn.
func deep(n int, fn func() error) error {
	var pad [512]byte
	if n == 0 {
		return fn()
	}
	err := deep(n-1, fn)
	runtime.KeepAlive(&pad)
	return err
}

// TestOrphans drops Files and buffers in the call that uses them, hundreds at a time, while the
// collector runs and memory is reused at once. No other memory may change, and all descriptors are
// closed in the end.
func TestOrphans(t *testing.T) {
	aiotest.Guard(t)
	content := make([]byte, 1<<20)
	putLines(content, 1, 0, 1)
	name := aiofile.Put(t, aiotest.Dir(t), "file", content)
	files, inodes := len(numbers(name)), inode.Count()
	stop := poison(t)
	for range aiotest.Scaled(10) {
		var wg sync.WaitGroup
		for i := range 300 {
			wg.Go(func() { orphan(t, name, aiofile.Modes[i/6%2].Flag, i) })
		}
		wg.Wait()
	}
	stop()
	aiotest.Settle(t, "dropped Files are still open", func() bool {
		return len(numbers(name)) == files && inode.Count() == inodes
	})
	if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, content) {
		t.Error("other bytes than were written", err)
	}
}

// TestDroppedInFlight drops every reference to a File except those of the calls in flight. Other
// descriptors take the numbers as soon as they are free, so a call must keep its own open.
func TestDroppedInFlight(t *testing.T) {
	aiotest.Guard(t)
	content := make([]byte, 1<<20)
	putLines(content, 1, 0, 1)
	name := aiofile.Put(t, aiotest.Dir(t), "file", content)
	defer poison(t)()
	for round := range aiotest.Scaled(20) {
		f, err := aio.OpenFile(name, os.O_RDWR|aiofile.Modes[round%2].Flag, 0)
		if err != nil {
			t.Fatal(err)
		}
		var wg, started sync.WaitGroup
		for i := range 64 {
			started.Add(1)
			wg.Go(func() {
				p := aiotest.Buffer(16384, i%2)
				off := int64(i * 16384)
				started.Done()
				switch i % 8 {
				case 7:
					if err := f.Sync(); err != nil {
						t.Error(err)
					}
				case 6:
					putLines(p, 1, off, 1)
					if _, err := f.WriteAt(p, off); err != nil {
						t.Error(err)
					}
				default:
					n, err := f.ReadAt(p, off)
					if err == nil {
						err = checkLines(p[:n], 1, off, anyGeneration)
					}
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		started.Wait()
		runtime.GC() // f is not used below
		wg.Wait()
	}
	aiotest.Settle(t, "dropped Files are still open", func() bool { return len(numbers(name)) == 0 })
}
