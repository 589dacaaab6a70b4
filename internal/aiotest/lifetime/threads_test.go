//go:build linux

package lifetime

import (
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/internal/aiotest/aiofile"
)

// TestThreads reads and writes blocks of a direct File in 10,000 goroutines. The process needs
// hardly more threads than an idle one. Go never ends a thread, so they can be counted after the
// work.
func TestThreads(t *testing.T) {
	aiotest.NeedsTime(t)
	aiotest.Guard(t)
	if !aiotest.InChild() {
		aiotest.RunChild(t, "^TestThreads$", "alone")
		return
	}
	const (
		crowd = 10_000
		size  = 64 << 20
	)
	f := aiofile.Open(t, aiofile.Put(t, aiotest.Dir(t), "file", nil), os.O_RDWR|aio.O_DIRECT)
	if !f.Direct() {
		aiotest.NeedsDirect(t)
	}
	for off := int64(0); off < size; off += 1 << 20 {
		if _, err := f.WriteAt(aiotest.Buffer(1<<20, 0), off); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	p := aiotest.Buffer(crowd*4096, 0)
	most := runtime.GOMAXPROCS(0) + 8
	mostForWrites := most
	if aiotest.Chosen() {
		mostForWrites = most + 256 // on btrfs with checksums no write is direct
	}
	for _, w := range []struct {
		name string
		call func(p []byte, off int64) (int, error)
		most int
	}{
		{"reads", f.ReadAt, most},
		{"writes", f.WriteAt, mostForWrites},
	} {
		var all sync.WaitGroup
		end := time.Now().Add(time.Duration(aiotest.Scaled(1000)) * time.Millisecond)
		for i := range crowd {
			all.Go(func() {
				for time.Now().Before(end) {
					if _, err := w.call(p[i*4096:][:4096], rand.Int64N(size/4096)*4096); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		all.Wait()
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			t.Fatal(err)
		}
		// io_submit(2) blocks while the device's queue is full. On a disk that stalls the queue
		// adds a thread each time that this takes long, 64 at most.
		stats := aio.ReadStats()
		relieved := int(min(stats.Mechanism.Relieved, 64))
		if stats.Busy > 0 {
			t.Logf("processors were busy for %d requests: that takes threads, Config.Threads at most", stats.Busy)
			w.most += 256
		}
		t.Logf("after %s: %d threads, %d of them because submission was stuck", w.name, len(tasks), relieved)
		if len(tasks) > w.most+relieved && !aiotest.Race {
			t.Errorf("after %s by %d goroutines there are %d threads, want %d", w.name, crowd, len(tasks), w.most+relieved)
		}
	}
}
