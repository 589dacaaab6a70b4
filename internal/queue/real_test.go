//go:build linux

package queue

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/go-aio/aio/internal/aiotest"
	"golang.org/x/sys/unix"

	"github.com/go-aio/aio/libaio"
)

// These tests use the real kernel and a direct file.

const block = 4096

func realQueue(t testing.TB, depth int) *testQueue { return newTestQueue(t, depth, newContext) }

// directFile returns a direct descriptor of a file of n blocks. Each block has its own
// pattern.
func directFile(t testing.TB, n int) (fd int) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "blocks")
	var text []byte
	for i := range n {
		text = append(text, patternOf(i, 0)...)
	}
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open(name, unix.O_RDWR|unix.O_DIRECT|unix.O_CLOEXEC, 0)
	if err == unix.EINVAL {
		aiotest.NeedsDirect(t)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Fsync(fd); err != nil {
		t.Fatal(err)
	}
	return fd
}

// patternOf returns the content of block i after that number of writes.
func patternOf(i, written int) []byte {
	p := make([]byte, block)
	for j := 0; j < block; j += 8 {
		binary.LittleEndian.PutUint64(p[j:], uint64(i)<<40|uint64(written)<<16|uint64(j))
	}
	return p
}

// alignedBlocks returns memory for n blocks, aligned to a block.
func alignedBlocks(n int) []byte {
	p := make([]byte, (n+1)*block)
	skip := -int(uintptr(unsafe.Pointer(unsafe.SliceData(p)))) & (block - 1)
	return p[skip : skip+n*block : skip+n*block]
}

func wantBlock(t testing.TB, p []byte, i, written int) {
	t.Helper()
	if !bytes.Equal(p, patternOf(i, written)) {
		at := binary.LittleEndian.Uint64(p)
		t.Errorf("block %d, written %d times, reads as block %d, written %d times",
			i, written, at>>40, at>>16&0xffffff)
	}
}

func TestDoOnADisk(t *testing.T) {
	fd := directFile(t, 8)
	q := realQueue(t, 32)
	p := alignedBlocks(4)
	check := func(what string, n int, err error, wantN int, wantErr error) {
		t.Helper()
		if n != wantN || err != wantErr {
			t.Errorf("%s = %d, %v, want %d, %v", what, n, err, wantN, wantErr)
		}
	}
	n, err := q.Do(req(Read, fd, p, 2*block))
	check("read", n, err, len(p), nil)
	for i := range 4 {
		wantBlock(t, p[i*block:][:block], 2+i, 0)
	}
	n, err = q.Do(req(Read, fd, p, 6*block))
	check("read across the end", n, err, 2*block, nil)
	n, err = q.Do(req(Read, fd, p, 8*block))
	check("read at the end", n, err, 0, nil)
	n, err = q.Do(req(Write, fd, p[:block], 3*block))
	check("write", n, err, block, nil)
	n, err = q.Do(req(Read, fd, p[block:2*block], 3*block))
	check("read it back", n, err, block, nil)
	if !bytes.Equal(p[:block], p[block:2*block]) {
		t.Error("the read returned another block than was written")
	}
	copy(p, patternOf(3, 0))
	n, err = q.Do(req(Write, fd, p[:block], 3*block))
	check("write", n, err, block, nil)
	n, err = q.Do(req(Sync, fd, nil, 0))
	check("fsync", n, err, 0, nil)
	n, err = q.Do(req(Datasync, fd, nil, 0))
	check("fdsync", n, err, 0, nil)
	n, err = q.Do(req(Read, -1, p, 0))
	check("read of no file", n, err, 0, syscall.EBADF)
	n, err = q.Do(req(Read, fd, p, -block))
	check("read before the beginning", n, err, 0, syscall.EINVAL)
	checkIdle(t, q)
}

// eachThread calls fn for every thread of the process.
func eachThread(fn func(tid int)) {
	tasks, _ := fs.Glob(os.DirFS("/proc/self/task"), "*")
	for _, task := range tasks {
		var tid int
		fmt.Sscan(task, &tid)
		fn(tid)
	}
}

// inSystemCall returns the number of threads in system call nr.
func inSystemCall(nr int) (n int) {
	eachThread(func(tid int) {
		state, _ := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/syscall", tid))
		if strings.HasPrefix(string(state), fmt.Sprint(nr, " ")) {
			n++
		}
	})
	return n
}

func cpuTime(t testing.TB) time.Duration {
	var use unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &use); err != nil {
		t.Fatal(err)
	}
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}

func TestIdleQueueIsIdle(t *testing.T) {
	aiotest.NeedsTime(t)
	fd := directFile(t, 64)
	q := realQueue(t, 64)
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() { readAndCheck(t, q, fd, i) })
	}
	all.Wait()
	readAndCheck(t, q, fd, 0)

	const most = 15 * time.Millisecond // for the runtime, and for this test
	var used time.Duration
	for range 3 { // another process's work in this time slice counts, too
		before := cpuTime(t)
		time.Sleep(300 * time.Millisecond)
		if used = cpuTime(t) - before; used < most {
			break
		}
	}
	if used >= most {
		t.Errorf("the idle queue has used %v of CPU in 300 ms", used)
	}
	for _, nr := range []int{unix.SYS_IO_GETEVENTS, unix.SYS_IO_PGETEVENTS} {
		if n := inSystemCall(nr); n != 0 {
			t.Errorf("%d threads wait for events of the idle queue", n)
		}
	}
	readAndCheck(t, q, fd, 1)
	checkIdle(t, q)
}

func readAndCheck(t testing.TB, q *testQueue, fd, i int) {
	p := alignedBlocks(1)
	if n, err := q.Do(req(Read, fd, p, int64(i)*block)); n != block || err != nil {
		t.Errorf("a read of block %d returned %d, %v", i, n, err)
		return
	}
	wantBlock(t, p, i, 0)
}

// storm sends SIGURG and SIGPROF to all threads until the test ends, and runs the collector.
// Go's runtime sends both signals in normal operation.
func storm(t testing.TB) {
	var ended atomic.Bool
	var all sync.WaitGroup
	all.Go(func() {
		for sig := unix.SIGURG; !ended.Load(); sig ^= unix.SIGURG ^ unix.SIGPROF {
			eachThread(func(tid int) {
				unix.Tgkill(os.Getpid(), tid, sig) // an error: the thread has ended
			})
			time.Sleep(300 * time.Microsecond)
		}
	})
	all.Go(func() {
		for !ended.Load() {
			runtime.GC()
			time.Sleep(time.Millisecond)
		}
	})
	t.Cleanup(func() {
		ended.Store(true)
		all.Wait()
	})
}

// A crowd is a number of goroutines that read shared blocks and write a block of their own.
type crowd struct {
	t           testing.TB
	q           *testQueue
	fd          int
	size        int // number of goroutines
	shared      int // blocks that are only read; one more for each goroutine follows
	requests    atomic.Int64
	unavailable atomic.Int64
}

func newCrowd(t testing.TB, q *testQueue, size int) *crowd {
	c := &crowd{t: t, q: q, size: size, shared: 256}
	c.fd = directFile(t, c.shared+size)
	return c
}

func (c *crowd) run(d time.Duration) {
	deadline := time.Now().Add(d)
	var all sync.WaitGroup
	for i := range c.size {
		all.Go(func() {
			written := 0
			for time.Now().Before(deadline) && !c.t.Failed() {
				written = c.turn(c.shared+i, written)
			}
		})
	}
	all.Wait()
	c.t.Logf("%d requests, %d of them unavailable", c.requests.Load(), c.unavailable.Load())
}

func (c *crowd) turn(own, written int) int {
	// always fresh: another request gets memory that the collector frees too early
	p := alignedBlocks(4)
	switch rand.N(20) {
	case 0:
		c.do(Read, -1, p, 0, 0, syscall.EBADF)
	case 1:
		c.do(Read, c.fd, p, -block, 0, syscall.EINVAL)
	case 2:
		if rand.N(20) == 0 {
			c.do(Datasync, c.fd, nil, 0, 0, nil)
		}
	case 3, 4, 5:
		copy(p, patternOf(own, written+1))
		if !c.do(Write, c.fd, p[:block], int64(own)*block, block, nil) {
			break
		}
		written++
		fallthrough
	case 6:
		if c.do(Read, c.fd, p[block:2*block], int64(own)*block, block, nil) {
			wantBlock(c.t, p[block:2*block], own, written)
		}
	default:
		n, first := 1+rand.N(4), rand.N(c.shared-4)
		if c.do(Read, c.fd, p[:n*block], int64(first)*block, n*block, nil) {
			for i := range n {
				wantBlock(c.t, p[i*block:][:block], first+i, 0)
			}
		}
	}
	return written
}

func (c *crowd) do(op Op, fd int, p []byte, off int64, wantN int, wantErr error) bool {
	n, err := c.q.Do(req(op, fd, p, off))
	c.requests.Add(1)
	if err == ErrUnavailable {
		c.unavailable.Add(1)
		return false
	}
	if n != wantN || err != wantErr {
		c.t.Errorf("Do(%d, %d, %d bytes, %d) = %d, %v, want %d, %v",
			op, fd, len(p), off, n, err, wantN, wantErr)
	}
	return n == wantN && err == nil
}

func TestStress(t *testing.T) {
	for _, p := range []int{1, 2, 8} {
		t.Run(fmt.Sprint("procs=", p), func(t *testing.T) {
			procs(t, p)
			for _, size := range []int{200, 2, 1} {
				if aiotest.Brief() && size < 200 {
					continue
				}
				t.Run(fmt.Sprint("goroutines=", size), func(t *testing.T) {
					q := realQueue(t, 64)
					c := newCrowd(t, q, size)
					storm(t)
					c.run(aiotest.Lasting(250 * time.Millisecond))
					if n := c.unavailable.Load(); n != 0 {
						t.Errorf("%d requests were unavailable", n)
					}
					checkIdle(t, q)
				})
			}
		})
	}
}

// The host has room for a small context only, so io_submit(2) returns EAGAIN.
func TestStressOfASmallContext(t *testing.T) {
	aiotest.NeedsTime(t)
	withSetup(t, func(depth int) (*libaio.Context, error) {
		if depth > minDepth {
			return nil, syscall.EAGAIN
		}
		return libaio.Setup(depth)
	})
	for _, p := range []int{1, 8} {
		t.Run(fmt.Sprint("procs=", p), func(t *testing.T) {
			procs(t, p)
			k := &lateKernel{}
			q := newTestQueue(t, 1024, func(depth int) (kernel, error) {
				var err error
				k.kernel, err = newContext(depth)
				return k, err
			})
			c := newCrowd(t, q, 600)
			c.run(aiotest.Lasting(400 * time.Millisecond))
			t.Logf("the context has been full %d times", k.full.Load())
			if k.full.Load() == 0 {
				t.Error("the context has never been full")
			}
			// A request is unavailable only if it finds the context full, and empty again a
			// moment later.
			if n := c.unavailable.Load(); n > c.requests.Load()/100 {
				t.Errorf("%d of %d requests were unavailable", n, c.requests.Load())
			}
			checkIdle(t, q)
		})
	}
}

// A lateKernel lets only the reaper take events, and only when the context is full or has not
// become full for a while. It counts how often the context was full.
type lateKernel struct {
	kernel
	watching atomic.Bool
	full     atomic.Int64
}

func (k *lateKernel) Submit(iocbs ...*libaio.IOCB) (int, error) {
	n, err := k.kernel.Submit(iocbs...)
	if err == syscall.EAGAIN {
		k.full.Add(1)
	}
	return n, err
}

func (k *lateKernel) reap(events []libaio.Event) (int, error) {
	if !k.watching.Load() {
		return 0, nil
	}
	return k.kernel.reap(events)
}

func (k *lateKernel) watch(fn func()) {
	k.kernel.watch(func() {
		for before, i := k.full.Load(), 0; k.full.Load() == before && i < 50; i++ {
			time.Sleep(time.Millisecond)
		}
		k.watching.Store(true)
		fn()
		k.watching.Store(false)
	})
}

// A thousand goroutines that wait for the disk need far fewer threads.
func TestCrowdNeedsFewThreads(t *testing.T) {
	q := realQueue(t, DefaultDepth)
	c := newCrowd(t, q, 1000)
	var most int
	var watcher sync.WaitGroup
	ended := make(chan struct{})
	watcher.Go(func() {
		for {
			select {
			case <-ended:
				return
			case <-time.After(5 * time.Millisecond):
				threads := 0
				eachThread(func(int) { threads++ })
				most = max(most, threads)
			}
		}
	})
	c.run(aiotest.Lasting(300 * time.Millisecond))
	close(ended)
	watcher.Wait()
	t.Logf("%d threads", most)
	if most > 100 { // including threads of earlier tests
		t.Errorf("%d threads for 1000 goroutines", most)
	}
	checkIdle(t, q)
}
