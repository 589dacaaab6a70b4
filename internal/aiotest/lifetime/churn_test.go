//go:build linux

package lifetime

import (
	"errors"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/internal/aiotest/aiofile"
	"github.com/go-aio/aio/internal/inode"
)

// threads returns the number of threads of the process.
func threads(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// churnWorkers is large enough for requests to go through the shared queue.
const churnWorkers = 16

// churn opens and closes the file n times, and uses it in between, sometimes in ways that the
// kernel refuses.
func churn(t *testing.T, name string, n int64) {
	t.Helper()
	var opened atomic.Int64
	var wg sync.WaitGroup
	for w := range churnWorkers {
		wg.Go(func() {
			p := aiotest.Buffer(4096, 0)
			off := int64(w * 4096)
			for i := opened.Add(1); i <= n && !t.Failed(); i = opened.Add(1) {
				if err := churnOnce(name, i, p, off); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func churnOnce(name string, i int64, p []byte, off int64) error {
	flag := []int{os.O_RDWR, os.O_RDWR, os.O_RDONLY, os.O_WRONLY}[i/2%4]
	f, err := aio.OpenFile(name, flag|aiofile.Modes[i%2].Flag, 0)
	if err != nil {
		return err
	}
	if i%3 != 0 {
		putLines(p, 1, off, 1)
		_, err := f.WriteAt(p, off)
		if err := allowed(err, flag != os.O_RDONLY); err != nil {
			return err
		}
		n, err := f.ReadAt(p, off)
		if err := allowed(err, flag != os.O_WRONLY); err != nil {
			return err
		}
		if err := checkLines(p[:n], 1, off, anyGeneration); err != nil {
			return err
		}
	}
	if i%16 == 1 {
		if err := f.Sync(); err != nil {
			return err
		}
	}
	return f.Close()
}

// allowed returns err if the File may make the call. If it may not, it returns nil for EBADF, and
// an error for any other result.
func allowed(err error, may bool) error {
	switch {
	case may:
		return err
	case errors.Is(err, syscall.EBADF):
		return nil
	}
	return errors.New("a call against the access mode: " + aiotest.Describe(err))
}

// readTogether reads from enough goroutines that most of the time some reads are requests of kernel
// AIO. From then on the process has a context, an eventfd and a reaper for them.
func readTogether(t *testing.T, name string) {
	t.Helper()
	f, err := aio.OpenFile(name, os.O_RDONLY|aio.O_DIRECT, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			p := aiotest.Buffer(4096, 0)
			for range 50 {
				if _, err := f.ReadAt(p, 0); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// TestChurn opens and closes Files ten thousand times. Nothing may be left of them.
func TestChurn(t *testing.T) {
	aiotest.Guard(t)
	content := make([]byte, churnWorkers*4096)
	putLines(content, 1, 0, 1)
	name := aiofile.Put(t, aiotest.Dir(t), "file", content)
	churn(t, name, 200) // starts the threads
	for range 100 {
		readTogether(t, name)
		if contexts, _ := rings(t, "self"); contexts > 0 {
			break // without direct I/O or kernel AIO there is none
		}
	}
	files, inodes := len(aiotest.Descriptors()), inode.Count()
	contexts, _ := rings(t, "self")
	goroutines, threadsBefore := runtime.NumGoroutine(), threads(t)

	churn(t, name, int64(aiotest.Scaled(10000)))

	// The queue's submitters and the runtime's workers end, or wait, after the last call.
	aiotest.Settle(t, "goroutines are left", func() bool { return runtime.NumGoroutine() <= goroutines })
	if n := len(aiotest.Descriptors()); n > files {
		t.Errorf("%d descriptors, %d of them of the file; there were %d", n, len(numbers(name)), files)
	}
	if n := inode.Count(); n != inodes {
		t.Errorf("%d inodes; there were %d", n, inodes)
	}
	// The queue makes a context when a second, or a third, request comes at the right moment.
	after, _ := rings(t, "self")
	if after > max(contexts, 1+runtime.GOMAXPROCS(0)) {
		t.Errorf("%d kernel contexts; there were %d", after, contexts)
	}
	// The runtime keeps threads, and starts one for each blocked call.
	if n := threads(t); n > threadsBefore+2*churnWorkers {
		t.Errorf("%d threads; there were %d", n, threadsBefore)
	}
	t.Logf("%d descriptors, %d goroutines, %d kernel contexts, %d threads (%d before)",
		files, goroutines, after, threads(t), threadsBefore)
	if aiotest.InChild() {
		return
	}
	// With four slots and four threads, a refused call that does not return its own is soon
	// noticed: a later call waits for ever.
	aiotest.RunChild(t, "^TestChurn$", "configure", "4", "4")
}
