//go:build linux

package libaio

import (
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/go-aio/aio/internal/aiotest"
	"golang.org/x/sys/unix"
)

// TestMain fails the run if it leaves a context, a descriptor or a goroutine behind.
func TestMain(m *testing.M) {
	if id := os.Getenv(exitHelper); id != "" {
		exitWithWritesInFlight(id) // does not return
	}
	if r, w, err := os.Pipe(); err == nil { // the runtime's poller opens descriptors
		r.Close()
		w.Close()
	}
	fds, goroutines := aiotest.OpenFiles(), runtime.NumGoroutine()
	code := m.Run()
	removeSharedFile()
	destroying.Wait()
	if code == 0 {
		code = leaks(fds, goroutines)
	}
	os.Exit(code)
}

func leaks(fds []string, goroutines int) (code int) {
	if n := len(live.contexts); n != 0 {
		fmt.Fprintf(os.Stderr, "%d contexts have not been destroyed\n", n)
		code = 1
	}
	if now := aiotest.OpenFiles(); !slices.Equal(now, fds) {
		fmt.Fprintf(os.Stderr, "open files before: %q\nopen files after: %q\n", fds, now)
		code = 1
	}
	if aiotest.Eventually(func() bool { return runtime.NumGoroutine() <= goroutines }) {
		return code // a goroutine that is about to end may need a moment
	}
	stacks := make([]byte, 1<<20)
	fmt.Fprintf(os.Stderr, "goroutines left behind:\n%s\n", stacks[:runtime.Stack(stacks, true)])
	return 1
}

// destroying counts the contexts of ended tests that are being destroyed.
var destroying sync.WaitGroup

// newContext returns a context that the end of the test destroys. Unless the test has
// destroyed it, the test must have returned every slot by then.
func newContext(t testing.TB, n int) *Context {
	t.Helper()
	aiotest.Guard(t)
	c, err := Setup(n)
	for try := 0; err == syscall.EAGAIN && try < 100; try++ { // the limit is one for the host
		time.Sleep(100 * time.Millisecond)
		c, err = Setup(n)
	}
	if err != nil {
		t.Fatalf("Setup(%d): %v", n, err)
	}
	if c.ring == nil {
		t.Error("the ring is not mapped, or has a layout that this package does not know")
	}
	t.Cleanup(func() {
		if c.destroyed {
			return
		}
		if !t.Failed() {
			checkIdle(t, c)
		}
		// Destroy waits for a grace period of RCU, and the next test need not.
		destroying.Go(func() {
			if err := c.Destroy(); err != nil {
				panic(t.Name() + ": Destroy: " + err.Error())
			}
		})
	})
	return c
}

// bothWays runs a test twice: once with a context that takes events from the mapped ring, and
// once with one that takes them by a system call.
func bothWays(t *testing.T, test func(t *testing.T, setup func(n int) *Context)) {
	t.Run("ring", func(t *testing.T) {
		test(t, func(n int) *Context { return newContext(t, n) })
	})
	t.Run("syscall", func(t *testing.T) {
		test(t, func(n int) *Context {
			c := newContext(t, n)
			c.ring = nil
			return c
		})
	})
}

// held returns the number of submissions that hold memory in c. It fails the test if an index
// is free twice, or both free and in use.
func held(t testing.TB, c *Context) int {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	free := make(map[uint32]bool)
	for _, i := range c.free {
		if free[i] {
			t.Errorf("index %d has been released twice", i)
		}
		free[i] = true
	}
	n := 0
	for i, s := range c.inflight {
		switch {
		case free[uint32(i)] && (s.cb != nil || s.mem.buf != nil || s.mem.iovs != nil):
			t.Errorf("index %d is free and holds memory", i)
		case s.cb != nil:
			n += s.count
		case !free[uint32(i)]:
			t.Errorf("index %d is lost", i)
		}
	}
	return n
}

func checkIdle(t testing.TB, c *Context) {
	t.Helper()
	if n := held(t, c); n != 0 {
		t.Errorf("%d submissions have not been returned", n)
	}
}

// submit submits requests. It fails the test if the kernel does not take all of them.
func submit(t testing.TB, c *Context, iocbs ...*IOCB) {
	t.Helper()
	if n, err := c.Submit(iocbs...); n != len(iocbs) || err != nil {
		t.Fatalf("Submit of %d = %d, %v", len(iocbs), n, err)
	}
}

// take waits for n events.
func take(t testing.TB, c *Context, n int) []Event {
	t.Helper()
	events := make([]Event, n)
	if m, err := c.GetEvents(n, events, -1); m != n || err != nil {
		t.Fatalf("GetEvents of %d = %d, %v", n, m, err)
	}
	for i, e := range events {
		if e.Obj == nil {
			t.Fatalf("event %d of %d belongs to no request", i, n)
		}
		if e.Res2 != 0 {
			t.Errorf("event %d of %d has Res2 = %d", i, n, e.Res2)
		}
	}
	return events
}

// do submits cb and returns its result.
func do(t testing.TB, c *Context, cb *IOCB) int64 {
	t.Helper()
	submit(t, c, cb)
	e := take(t, c, 1)[0]
	if e.Obj != cb {
		t.Fatal("the event belongs to another request")
	}
	return e.Res
}

// noEvent fails the test if there is an event to take.
func noEvent(t testing.TB, c *Context) {
	t.Helper()
	var e [1]Event
	if n, err := c.GetEvents(0, e[:], 0); n != 0 || err != nil {
		t.Fatalf("GetEvents = %d, %v, want no event", n, err)
	}
}

// wantRes compares a result with a negative errno.
func wantRes(t testing.TB, res int64, errno syscall.Errno) {
	t.Helper()
	if res != -int64(errno) {
		t.Errorf("Res = %d (%v), want %d (%v)", res, syscall.Errno(max(0, -res)), -int64(errno), errno)
	}
}

// The functions below make the system calls without the bookkeeping of Context.

func rawSetup(n uint32, id *uintptr) syscall.Errno {
	_, _, errno := syscall.Syscall(unix.SYS_IO_SETUP, uintptr(n), uintptr(unsafe.Pointer(id)), 0)
	return errno
}

func rawDestroy(id uintptr) syscall.Errno {
	_, _, errno := syscall.Syscall(unix.SYS_IO_DESTROY, id, 0, 0)
	return errno
}

func rawSubmit(id uintptr, nr int, list *unsafe.Pointer) (int, syscall.Errno) {
	n, _, errno := syscall.Syscall(unix.SYS_IO_SUBMIT, id, uintptr(nr), uintptr(unsafe.Pointer(list)))
	return int(n), errno
}

func rawGetEvents(
	id uintptr, minEvents, nr int, events unsafe.Pointer, ts *unix.Timespec,
) (int, syscall.Errno) {
	n, _, errno := syscall.Syscall6(unix.SYS_IO_GETEVENTS, id, uintptr(minEvents), uintptr(nr),
		uintptr(events), uintptr(unsafe.Pointer(ts)), 0)
	return int(n), errno
}

// A thread is an OS thread that runs one function.
type thread struct {
	tid  int
	done chan struct{}
}

func onThread(f func()) *thread {
	th := &thread{done: make(chan struct{})}
	tid := make(chan int)
	go func() {
		defer close(th.done)
		runtime.LockOSThread() // until the goroutine ends, and the thread with it
		tid <- unix.Gettid()
		f()
	}()
	th.tid = <-tid
	return th
}

// awaitBlocked waits until the thread sleeps in system call nr, or has ended. A signal of the
// runtime may have ended the call earlier.
func (th *thread) awaitBlocked(nr int) {
	want := fmt.Sprintf("%d ", nr)
	for {
		state, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/syscall", th.tid))
		if err != nil && !th.isDone() {
			time.Sleep(100 * time.Millisecond) // a kernel or container without this file
			return
		}
		if strings.HasPrefix(string(state), want) || th.isDone() {
			return
		}
		time.Sleep(100 * time.Microsecond)
	}
}

func (th *thread) isDone() bool {
	select {
	case <-th.done:
		return true
	default:
		return false
	}
}

// interrupt sends SIGURG. The runtime's handler ignores it and has SA_RESTART, like all of
// the runtime's handlers.
func (th *thread) interrupt(t testing.TB) {
	if err := unix.Tgkill(os.Getpid(), th.tid, unix.SIGURG); err != nil && !th.isDone() {
		t.Errorf("tgkill: %v", err)
	}
}

// storm sends SIGURG and SIGPROF to all threads until stop is called. Go's runtime sends both
// in normal operation.
func storm(t testing.TB) (stop func()) {
	var ended atomic.Bool
	th := onThread(func() {
		for sig := unix.SIGURG; !ended.Load(); sig ^= unix.SIGURG ^ unix.SIGPROF {
			tasks, _ := fs.Glob(os.DirFS("/proc/self/task"), "*")
			for _, task := range tasks {
				var tid int
				fmt.Sscan(task, &tid)
				_ = unix.Tgkill(os.Getpid(), tid, sig) // ESRCH: it has ended
			}
			time.Sleep(300 * time.Microsecond)
		}
	})
	stop = func() {
		ended.Store(true)
		<-th.done
	}
	t.Cleanup(stop)
	return stop
}
