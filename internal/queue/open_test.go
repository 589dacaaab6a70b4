//go:build linux

package queue

import (
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/libaio"
)

// shortRetry shortens the time after which a refused queue asks the kernel again.
func shortRetry(t testing.TB) {
	old := retryAfter
	retryAfter = 5 * time.Millisecond
	t.Cleanup(func() { retryAfter = old })
}

// A program that imports the package and reads nothing pays nothing.
func TestNothingBeforeTheFirstRequest(t *testing.T) {
	aiotest.Guard(t)
	goroutines, files, maps := runtime.NumGoroutine(), aiotest.OpenFiles(), contexts()
	q := New(DefaultDepth)
	l := q.Lane()
	if l.TrySync(1) {
		l.Leave()
	}
	time.Sleep(5 * time.Millisecond)
	if n := runtime.NumGoroutine(); n > goroutines {
		t.Errorf("New started %d goroutines", n-goroutines)
	}
	if now := aiotest.OpenFiles(); !slices.Equal(now, files) {
		t.Errorf("New opened files: %q", now)
	}
	if n := contexts(); n != maps {
		t.Errorf("New made %d contexts", n-maps)
	}
}

func TestOpenOnce(t *testing.T) {
	k := newFakeKernel(t)
	var opened atomic.Int32
	q := newTestQueue(t, 77, func(depth int) (kernel, error) {
		if depth != 77 {
			t.Errorf("a context for %d requests, want 77", depth)
		}
		opened.Add(1)
		time.Sleep(time.Millisecond) // io_setup(2) is slow, and other callers come meanwhile
		return k, nil
	})
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() { want(t, int64(i), start(q, int64(i)), i, nil) })
	}
	all.Wait()
	if n := opened.Load(); n != 1 {
		t.Errorf("%d shared contexts have been made", n)
	}
	checkIdle(t, q)
}

// A kernel does not gain the system call while a program runs.
func TestOpenRefusedForGood(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.ENOSYS, syscall.EPERM, syscall.EACCES} {
		t.Run(errno.Error(), func(t *testing.T) {
			shortRetry(t)
			opened := 0
			q := newTestQueue(t, 8, func(int) (kernel, error) {
				opened++
				return nil, errno
			})
			for range 3 {
				want(t, 1, start(q, 1), 0, ErrUnavailable)
				time.Sleep(2 * retryAfter)
			}
			if opened != 1 {
				t.Errorf("the kernel was asked %d times", opened)
			}
			if !q.TrySync(1) {
				t.Error("a refused request is still counted")
			}
			q.Leave()
		})
	}
}

func TestOpenRefusedForNow(t *testing.T) {
	aiotest.NeedsTime(t)
	for i, errno := range []syscall.Errno{
		syscall.EAGAIN, syscall.ENOMEM, syscall.EMFILE, syscall.ENFILE, syscall.EINVAL,
	} {
		if !aiotest.SomeOrFull(i) {
			continue
		}
		t.Run(errno.Error(), func(t *testing.T) {
			shortRetry(t)
			retryAfter = 100 * time.Millisecond
			k := newFakeKernel(t)
			var asked []time.Time
			q := newTestQueue(t, 8, func(int) (kernel, error) {
				asked = append(asked, time.Now())
				if len(asked) < 3 {
					return nil, errno
				}
				return k, nil
			})
			aiotest.Until(t, "the kernel is asked again", func() bool {
				got := <-start(q, 5)
				if got.n == 5 && got.err == nil {
					return true
				}
				if got.n != 0 || got.err != ErrUnavailable {
					t.Fatalf("Do = %d, %v", got.n, got.err)
				}
				return false
			})
			if len(asked) != 3 {
				t.Errorf("the kernel was asked %d times, want 3", len(asked))
			}
			for i := range asked[1:] {
				// The queue uses the wall clock. The test assumes that it is not set meanwhile.
				if d := asked[i+1].Sub(asked[i]); d < retryAfter-10*time.Millisecond {
					t.Errorf("asked again after %v, want %v", d, retryAfter)
				}
			}
			checkIdle(t, q)
		})
	}
}

// While the kernel refuses a context, a crowd of callers must not ask for one each.
func TestRefusedCrowd(t *testing.T) {
	var opened atomic.Int32
	q := newTestQueue(t, 8, func(int) (kernel, error) {
		opened.Add(1)
		time.Sleep(10 * time.Millisecond) // other callers come meanwhile
		return nil, syscall.EAGAIN
	})
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() { want(t, 1, start(q, 1), 0, ErrUnavailable) })
	}
	all.Wait()
	if n := opened.Load(); n != 1 {
		t.Errorf("the kernel was asked %d times", n)
	}
}

// The limit of the host may leave room for a smaller depth only.
func TestDepthIsHalvedToFitTheHost(t *testing.T) {
	aiotest.NeedsTime(t)
	for _, c := range []struct {
		depth, room int
		errno       syscall.Errno
		asked       []int
		ok          bool
	}{
		{1024, 1024, 0, []int{1024}, true},
		{1024, 1023, syscall.EAGAIN, []int{1024, 512}, true},
		{1024, 100, syscall.EAGAIN, []int{1024, 512, 256, 128, 64}, true},
		{1024, 100, syscall.ENOMEM, []int{1024, 512, 256, 128, 64}, true},
		{1000, 40, syscall.EAGAIN, []int{1000, 500, 250, 125, 62}, false}, // 31 is too few
		{1024, 32, syscall.EAGAIN, []int{1024, 512, 256, 128, 64, 32}, true},
		{1024, 31, syscall.EAGAIN, []int{1024, 512, 256, 128, 64, 32}, false},
		{1024, 31, syscall.EINVAL, []int{1024}, false},
		{1024, 31, syscall.ENOSYS, []int{1024}, false},
		{32, 31, syscall.EAGAIN, []int{32}, false},
		{1, 0, syscall.EAGAIN, []int{1}, false},
	} {
		aiotest.Guard(t)
		var asked []int
		withSetup(t, func(depth int) (*libaio.Context, error) {
			asked = append(asked, depth)
			if depth > c.room {
				return nil, c.errno
			}
			return libaio.Setup(depth)
		})
		k, err := newContext(c.depth)
		if ok := err == nil; ok != c.ok || !ok && err != c.errno {
			t.Errorf("depth %d, room %d: %v", c.depth, c.room, err)
		}
		if err == nil {
			k.close()
		}
		if !slices.Equal(asked, c.asked) {
			t.Errorf("depth %d, room %d: asked for %d, want %d", c.depth, c.room, asked, c.asked)
		}
	}
}

func withSetup(t testing.TB, setup func(int) (*libaio.Context, error)) {
	old := ioSetup
	ioSetup = setup
	t.Cleanup(func() { ioSetup = old })
}

// A refused context must not cost a descriptor.
func TestRefusedContextLeavesNothing(t *testing.T) {
	aiotest.Guard(t)
	files := aiotest.OpenFiles()
	withSetup(t, func(int) (*libaio.Context, error) { return nil, syscall.EAGAIN })
	for range 10 {
		if k, err := newContext(64); k != nil || err != syscall.EAGAIN {
			t.Errorf("newContext = %v, %v", k, err)
		}
	}
	if now := aiotest.OpenFiles(); !slices.Equal(now, files) {
		t.Errorf("open files before: %q, after: %q", files, now)
	}
}

// A context that may not be used counts as refused.
func TestProbeFindsADeadContext(t *testing.T) {
	aiotest.Guard(t)
	files, made := aiotest.OpenFiles(), contexts()
	withSetup(t, func(depth int) (*libaio.Context, error) {
		c, err := libaio.Setup(depth)
		if err == nil {
			err = c.Destroy() // stands for a filter that allows io_setup(2) and nothing else
		}
		return c, err
	})
	if k, err := newContext(64); k != nil || err == nil {
		t.Errorf("newContext = %v, %v", k, err)
	}
	if now := aiotest.OpenFiles(); !slices.Equal(now, files) || contexts() != made {
		t.Errorf("left behind: %d contexts, and %s", contexts()-made, strings.Join(now, ", "))
	}
}

// The process has no free descriptor for the eventfd.
func TestNoDescriptorForTheEventfd(t *testing.T) {
	aiotest.Guard(t)
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	tight := old
	spare, err := os.Open(os.DevNull) // gets the lowest free number
	if err != nil {
		t.Fatal(err)
	}
	defer spare.Close()
	tight.Cur = uint64(spare.Fd())
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &tight); err != nil {
		aiotest.Needs(t, "setrlimit(2), which returns "+err.Error(), aiotest.Whole)
	}
	k, err := newContext(64)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	if k != nil || err != syscall.EMFILE {
		t.Errorf("newContext = %v, %v, want EMFILE", k, err)
	}
}
