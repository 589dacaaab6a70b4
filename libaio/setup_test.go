//go:build linux

package libaio

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-aio/aio/internal/aiotest"
	"golang.org/x/sys/unix"
)

func TestSetupRefuses(t *testing.T) {
	aiotest.Guard(t)
	counts := []int{0, -1, math.MinInt, math.MaxInt, math.MaxInt32, 4194304 + 1}
	for _, n := range []int64{1<<32 + 8, -1<<32 + 8} { // the kernel takes 32 bits and sees 8
		if int64(int(n)) == n {
			counts = append(counts, int(n))
		}
	}
	for _, n := range counts {
		if c, err := Setup(n); c != nil || err != syscall.EINVAL {
			t.Errorf("Setup(%d) = %v, %v, want EINVAL", n, c, err)
		}
	}
	// Setup cannot pass these arguments.
	var zero, busy uintptr = 0, 1
	if errno := rawSetup(math.MaxUint32, &zero); errno != syscall.EINVAL {
		t.Errorf("io_setup(-1): %v, want EINVAL", errno)
	}
	if errno := rawSetup(1, &busy); errno != syscall.EINVAL {
		t.Errorf("io_setup to a nonzero context: %v, want EINVAL", errno)
	}
}

// hostCounter reads /proc/sys/fs/aio-nr or aio-max-nr.
func hostCounter(t *testing.T, name string) int {
	t.Helper()
	text, err := os.ReadFile("/proc/sys/fs/" + name)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestSetupAboveTheLimitOfTheHost(t *testing.T) {
	c := newContext(t, 64)
	destroying.Wait()
	limit := hostCounter(t, "aio-max-nr")
	if limit >= 4194304 {
		aiotest.Needs(t, "a smaller aio-max-nr, or EINVAL comes first",
			"sysctl fs.aio-max-nr=65536 and go test ./libaio")
	}
	for name, n := range map[string]int{
		"alone":     limit + 1,
		"in sum":    limit - 64 + 1, // together with the 64 of c
		"below max": 4194304,        // the largest value without EINVAL
	} {
		if c, err := Setup(n); c != nil || err != syscall.EAGAIN {
			t.Errorf("%s: Setup(%d) = %v, %v, want EAGAIN", name, n, c, err)
		}
	}
	checkIdle(t, c)
}

// Other processes may create contexts meanwhile, so the step has to be seen once, not every
// time.
func TestAioNrMovesByExactlyN(t *testing.T) {
	aiotest.Guard(t)
	destroying.Wait()
	const n = 337
	var steps []string
	for range 50 {
		before := hostCounter(t, "aio-nr")
		c, err := Setup(n)
		if err != nil {
			t.Fatal(err)
		}
		during := hostCounter(t, "aio-nr")
		if err := c.Destroy(); err != nil {
			t.Fatal(err)
		}
		after := hostCounter(t, "aio-nr")
		if during-before == n && after-during == -n {
			return
		}
		steps = append(steps, fmt.Sprintf("%d %d %d", before, during, after))
	}
	t.Errorf("aio-nr before Setup(%d), after it, and after Destroy: %q", n, steps)
}

// The excess over n depends on the number of possible CPUs of the host and on the page size.
func TestCapacityIsAtLeastN(t *testing.T) {
	for _, n := range []int{1, 64, 128, 1024} {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			c := newContext(t, n)
			p := newPending(t)
			taken := 0
			for {
				m, err := c.Submit(p.IOCB)
				if err == syscall.EAGAIN {
					break
				}
				if m != 1 || err != nil {
					t.Fatalf("Submit = %d, %v after %d", m, err, taken)
				}
				taken++
			}
			t.Logf("io_setup(%d) took %d", n, taken)
			if taken < n {
				t.Errorf("io_setup(%d) took %d requests", n, taken)
			}
			if h := held(t, c); h != taken {
				t.Errorf("%d submissions are held of %d that were taken", h, taken)
			}
			p.fire()
			take(t, c, taken)
		})
	}
}

// The kernel signals the eventfd before the slot is free, so one test checks both facts.
func TestCompletedEventHoldsItsSlotUntilItIsTaken(t *testing.T) {
	bothWays(t, func(t *testing.T, setup func(int) *Context) {
		c := setup(1)
		cb := newInstant(t)
		efd := newEventfd(t)
		cb.SetEventfd(efd)
		for range 3 {
			var n int
			for err := error(nil); err == nil; n++ {
				_, err = c.Submit(cb)
				if err != nil && err != syscall.EAGAIN {
					t.Fatal(err)
				}
			}
			n-- // the last was refused
			if count := eventfdCount(t, efd); count != uint64(n) {
				t.Fatalf("the eventfd counts %d completions of %d", count, n)
			}
			for range 10 { // all have completed, but their events are not taken
				if _, err := c.Submit(cb); err != syscall.EAGAIN {
					t.Fatalf("Submit to a full ring: %v, want EAGAIN", err)
				}
			}
			take(t, c, n)
		}
	})
}

func TestDestroyWaitsForReadsInFlight(t *testing.T) {
	c := newContext(t, 64)
	fd := openShared(t)
	const size = 1 << 20
	var bufs [sharedSize / size][]byte
	var iocbs []*IOCB
	for i := range bufs {
		bufs[i] = aligned(size)
		cb := new(IOCB)
		cb.PrepPread(fd, bufs[i], int64(i)*size)
		iocbs = append(iocbs, cb)
	}
	submit(t, c, iocbs...)
	if err := c.Destroy(); err != nil {
		t.Fatal(err)
	}
	for i, p := range bufs {
		check(t, p, int64(i)*size)
	}
}

// Destroying an idle context takes about 32 ms as well: a grace period of RCU.
func TestDestroyCancelsPolls(t *testing.T) {
	c := newContext(t, 4)
	p := newPending(t)
	efd := newEventfd(t)
	p.SetEventfd(efd)
	submit(t, c, p.IOCB)
	start := time.Now()
	if err := c.Destroy(); err != nil {
		t.Fatal(err)
	}
	t.Logf("io_destroy took %v", time.Since(start))
	if n := eventfdCount(t, efd); n != 1 {
		t.Errorf("the eventfd counts %d completions, want that of the poll", n)
	}
}

func TestDestroyTwiceAndUseAfter(t *testing.T) {
	c := newContext(t, 4)
	id := c.id
	if err := c.Destroy(); err != nil {
		t.Fatal(err)
	}
	cb := newInstant(t)
	var e [1]Event
	for name, call := range map[string]func() error{
		"Destroy":         c.Destroy,
		"Submit":          func() error { _, err := c.Submit(cb); return err },
		"Submit none":     func() error { _, err := c.Submit(); return err },
		"Cancel":          func() error { _, err := c.Cancel(cb); return err },
		"GetEvents":       func() error { _, err := c.GetEvents(1, e[:], -1); return err },
		"GetEvents(0, 0)": func() error { _, err := c.GetEvents(0, nil, 0); return err },
		"PGetEvents":      func() error { _, err := c.PGetEvents(1, e[:], -1, nil); return err },
		"Run":             func() error { _, err := c.Run(); return err },
		"QueueWait":       func() error { _, err := c.QueueWait(-1); return err },
		"Poll":            func() error { return c.Poll(cb, nil, 0, 0) },
		"Fsync":           func() error { return c.Fsync(cb, nil, 0) },
		"Fdsync":          func() error { return c.Fdsync(cb, nil, 0) },
	} {
		if err := call(); err != syscall.EINVAL {
			t.Errorf("%s after Destroy: %v, want EINVAL", name, err)
		}
	}
	checkIdle(t, c)
	if c.ring != nil {
		t.Error("the context still points at the ring, which the kernel has unmapped")
	}

	// These are the kernel's own answers.
	if errno := rawDestroy(id); errno != syscall.EINVAL {
		t.Errorf("io_destroy: %v, want EINVAL", errno)
	}
	if _, errno := rawSubmit(id, 0, nil); errno != syscall.EINVAL {
		t.Errorf("io_submit: %v, want EINVAL", errno)
	}
	if _, errno := rawGetEvents(id, 0, 0, nil, nil); errno != syscall.EINVAL {
		t.Errorf("io_getevents: %v, want EINVAL", errno)
	}
}

// The kernel gives the address of a destroyed context to the next one.
func TestUseAfterDestroyDoesNotReachTheNextContext(t *testing.T) {
	old := newContext(t, 4)
	if err := old.Destroy(); err != nil {
		t.Fatal(err)
	}
	next := newContext(t, 4)
	old.id = next.id // unless the kernel has already done so
	p := newPending(t)
	submit(t, next, p.IOCB)
	if _, err := old.Cancel(p.IOCB); err != syscall.EINVAL {
		t.Errorf("Cancel: %v, want EINVAL", err)
	}
	p.fire()
	if n, err := old.QueueWait(-1); n != 0 || err != syscall.EINVAL {
		t.Errorf("QueueWait = %d, %v, want EINVAL", n, err)
	}
	var e [1]Event
	if n, err := old.GetEvents(1, e[:], -1); n != 0 || err != syscall.EINVAL {
		t.Errorf("GetEvents = %d, %v, want EINVAL", n, err)
	}
	if n, err := old.Submit(newInstant(t)); n != 0 || err != syscall.EINVAL {
		t.Errorf("Submit = %d, %v, want EINVAL", n, err)
	}
	if err := old.Destroy(); err != syscall.EINVAL {
		t.Errorf("Destroy: %v, want EINVAL", err)
	}
	take(t, next, 1)
}

// A call that has passed the check for a destroyed context may not have reached the kernel
// yet. It must not meet another context there.
func TestDestroyOvertakesACall(t *testing.T) {
	aiotest.NeedsTime(t)
	given := 0 // how often a later context got the address
	for range 40 {
		c := newContext(t, 4)
		c.mu.Lock()
		entered := c.enter()
		c.mu.Unlock()
		if err := c.Destroy(); err != nil || !entered {
			t.Fatal(entered, err)
		}
		if next := newContext(t, 4); next.id == c.id {
			t.Error("the next context has the address while a call is on its way there")
		}
		c.leave()
		if live.contexts[c.id] != nil {
			t.Error("the address is kept")
		}
		if next := newContext(t, 4); next.id == c.id {
			if given++; given == 3 {
				return
			}
		}
	}
	t.Errorf("the address came back %d times only: the test proves nothing", given)
}

// A waiter notices within 0.1 ms; the test demands only that it notices.
func TestDestroyWakesAWaiter(t *testing.T) {
	aiotest.NeedsTime(t)
	bothWays(t, func(t *testing.T, setup func(int) *Context) {
		for _, there := range []int{0, 1} {
			t.Run(fmt.Sprintf("%d there", there), func(t *testing.T) {
				c := setup(4)
				cb := newInstant(t)
				for range there {
					submit(t, c, cb)
				}
				var n int
				var err error
				th := onThread(func() {
					var events [3]Event
					n, err = c.GetEvents(2, events[:], -1)
				})
				th.awaitBlocked(unix.SYS_IO_GETEVENTS)
				if err := c.Destroy(); err != nil {
					t.Fatal(err)
				}
				<-th.done
				if there == 0 && (n != 0 || err != syscall.EINVAL) || there != 0 && (n != there || err != nil) {
					t.Errorf("GetEvents = %d, %v", n, err)
				}
			})
		}
	})
}

func TestForkedChildGetsEINVAL(t *testing.T) {
	c := newContext(t, 4)
	submit(t, c, newInstant(t))
	pid, errno := forkAndTry(c.id)
	if errno != 0 {
		t.Fatalf("clone: %v", errno)
	}
	var status syscall.WaitStatus
	for {
		_, err := syscall.Wait4(int(pid), &status, 0, nil)
		if err == nil {
			break
		}
		if err != syscall.EINTR {
			t.Fatalf("wait4: %v", err)
		}
	}
	if !status.Exited() || status.ExitStatus() != 0 {
		t.Errorf("the child ended with %#x, want 0: 1 stands for io_submit and 2 for io_getevents"+
			" without EINVAL", status)
	}
	take(t, c, 1) // the child has not touched the parent's event
}

// forkAndTry forks a child that submits nothing to a context and takes nothing from it. The
// child exits with 0 if both calls return EINVAL. It has one thread of a Go program, without
// a scheduler, collector or race detector. So it may only make system calls, on the stack it
// has.
//
//go:nosplit
//go:norace
func forkAndTry(id uintptr) (pid uintptr, errno syscall.Errno) {
	flags, stack := uintptr(syscall.SIGCHLD), uintptr(0)
	if runtime.GOARCH == "s390x" {
		flags, stack = stack, flags
	}
	pid, _, errno = syscall.RawSyscall6(syscall.SYS_CLONE, flags, stack, 0, 0, 0, 0)
	if pid != 0 || errno != 0 {
		return pid, errno
	}
	var status uintptr
	if _, _, errno = syscall.RawSyscall(unix.SYS_IO_SUBMIT, id, 0, 0); errno != syscall.EINVAL {
		status |= 1
	}
	_, _, errno = syscall.RawSyscall6(unix.SYS_IO_GETEVENTS, id, 0, 0, 0, 0, 0)
	if errno != syscall.EINVAL {
		status |= 2
	}
	for {
		syscall.RawSyscall(syscall.SYS_EXIT_GROUP, status, 0, 0)
	}
}

// exitHelper names an environment variable. It is set for a copy of this test that exits with
// writes in flight, and holds the name of the file to write.
const exitHelper = "LIBAIO_TEST_EXIT_HELPER"

const exitWrites, exitSize = 32, 1 << 20

func TestExitWaitsForWritesInFlight(t *testing.T) {
	aiotest.NeedsTime(t)
	aiotest.Guard(t)
	name := newFile(t, exitWrites*exitSize) // so that the helper overwrites written blocks
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), exitHelper+"="+name)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("the helper: %v\n%s", err, out)
	}
	fd := open(t, name, unix.O_RDONLY|unix.O_DIRECT)
	p := aligned(exitSize)
	for i := range exitWrites {
		if _, err := unix.Pread(fd, p, int64(i)*exitSize); err != nil {
			t.Fatal(err)
		}
		check(t, p, int64(i)*exitSize+exitShift)
	}
}

// exitShift is the difference between the helper's pattern and the earlier one.
const exitShift = 1 << 40

func exitWithWritesInFlight(name string) {
	fail := func(err error) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fd, err := unix.Open(name, unix.O_WRONLY|unix.O_DIRECT, 0)
	if err != nil {
		fail(err)
	}
	c, err := Setup(exitWrites)
	if err != nil {
		fail(err)
	}
	iocbs := make([]*IOCB, exitWrites)
	for i := range iocbs {
		p := aligned(exitSize)
		fill(p, int64(i)*exitSize+exitShift)
		iocbs[i] = new(IOCB)
		iocbs[i].PrepPwrite(fd, p, int64(i)*exitSize)
	}
	if n, err := c.Submit(iocbs...); n != exitWrites {
		fail(fmt.Errorf("Submit = %d, %w", n, err))
	}
	os.Exit(0)
}
