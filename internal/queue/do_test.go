//go:build linux

package queue

import (
	"errors"
	"syscall"
	"testing"
	"unsafe"

	"github.com/go-aio/aio/internal/aiotest"
)

// memory is the buffer of requests to a fake kernel, which transfers nothing.
var memory [1 << 16]byte

// An outcome holds the results of Do.
type outcome struct {
	n   int
	err error
}

// start reads off bytes at offset off in a goroutine, so that a result of another request
// shows. The request need not have reached the kernel yet.
func start(q *testQueue, off int64) <-chan outcome {
	done := make(chan outcome, 1)
	go func() {
		n, err := q.Do(req(Read, 3, memory[:off], off))
		done <- outcome{n, err}
	}()
	return done
}

// startAll starts requests one after the other. It waits until each has reached the kernel or
// waits in the queue.
func startAll(t testing.TB, k *fakeKernel, q *testQueue, offsets ...int64) []<-chan outcome {
	t.Helper()
	var all []<-chan outcome
	for _, off := range offsets {
		here := func() int { return len(k.order()) + countPending(q) }
		// A call belongs to this request unless a submitter is gathering.
		empty, calls := countPending(q) == 0, k.calls(submitting)
		before := here()
		all = append(all, start(q, off))
		aiotest.Until(t, "the request has arrived", func() bool {
			return here() > before || empty && k.calls(submitting) > calls
		})
	}
	return all
}

// wantDone waits for the requests and compares the result of each with its offset.
func wantDone(t testing.TB, offsets []int64, done []<-chan outcome) {
	t.Helper()
	for i, off := range offsets {
		want(t, off, done[i], int(off), nil)
	}
}

// want waits for the request at off.
func want(t testing.TB, off int64, done <-chan outcome, n int, err error) {
	t.Helper()
	if got := <-done; got.n != n || got.err != err {
		t.Errorf("the request at %d returned %d, %v, want %d, %v", off, got.n, got.err, n, err)
	}
}

// wantOpen checks that no request has returned yet.
func wantOpen(t testing.TB, done ...<-chan outcome) {
	t.Helper()
	still(t, "in flight", func() bool {
		for _, d := range done {
			if len(d) > 0 {
				return false
			}
		}
		return true
	})
}

// upTo returns 1 .. n.
func upTo(n int) []int64 {
	offsets := make([]int64, n)
	for i := range offsets {
		offsets[i] = int64(i + 1)
	}
	return offsets
}

func TestDoPreparesTheRequest(t *testing.T) {
	k, q := newFake(t, 4)
	for op, opcode := range map[Op]uint16{Read: 0, Write: 1, Sync: 2, Datasync: 3} { // aio_abi.h
		k.log = nil
		var p []byte
		var off int64
		if op == Read || op == Write {
			p, off = memory[512:1536], 1<<40
		}
		n, err := q.Do(req(op, 17, p, off))
		if n != len(p) || err != nil {
			t.Errorf("Do(%d) = %d, %v, want %d", op, n, err, len(p))
		}
		if len(k.log) != 1 {
			t.Fatalf("Do(%d) made %d requests", op, len(k.log))
		}
		r := k.log[0]
		if r.opcode != opcode || r.fd != 17 || r.n != int64(len(p)) || r.off != off ||
			r.buf != uint64(uintptr(unsafe.Pointer(unsafe.SliceData(p)))) {
			t.Errorf("Do(%d) asked for %+v", op, r)
		}
		if !r.armed {
			t.Errorf("Do(%d): the completion is quiet", op)
		}
	}
	checkIdle(t, q)
}

func TestDoMapsResults(t *testing.T) {
	const length = 4096
	k, q := newFake(t, 4)
	for off, c := range map[int64]struct {
		res int64
		n   int
		err error
	}{
		0: {length, length, nil},
		1: {512, 512, nil}, // the caller handles a short transfer
		2: {0, 0, nil},     // the end of the file
		3: {0x7ffff000, 0x7ffff000, nil},
		4: {-int64(syscall.EIO), 0, syscall.EIO},
		5: {-int64(syscall.EINVAL), 0, syscall.EINVAL},
		6: {-int64(syscall.ENOSPC), 0, syscall.ENOSPC},
		7: {-int64(syscall.EAGAIN), 0, syscall.EAGAIN}, // in an event it is a result like any other
		8: {-4095, 0, syscall.Errno(4095)},
		9: {-int64(syscall.ENOSYS), 0, syscall.ENOSYS},
	} {
		k.answer(off, c.res)
		if n, err := q.Do(req(Read, 3, memory[:length], off)); n != c.n || err != c.err {
			t.Errorf("a result of %d: Do = %d, %v, want %d, %v", c.res, n, err, c.n, c.err)
		}
	}
	// Do took none of these results for a refusal.
	if n, err := q.Do(req(Read, 3, memory[:length], 100)); n != length || err != nil {
		t.Errorf("after them: Do = %d, %v", n, err)
	}
	checkIdle(t, q)
}

// Callers compare with ==, and switch on syscall.Errno.
func TestErrUnavailableIsNoErrno(t *testing.T) {
	if errors.As(ErrUnavailable, new(syscall.Errno)) {
		t.Error("ErrUnavailable can be taken for an error of the kernel")
	}
}

// The number of synchronous calls is bounded, and both these and requests count.
func TestTrySync(t *testing.T) {
	k, q := newFake(t, 256)
	for _, limit := range []int{0, 1, 5} {
		room := func() (n int) { // leaves nothing in flight
			for n < 10 && q.TrySync(limit) {
				n++
			}
			if q.TrySync(limit) {
				t.Error("room for a synchronous call after there was none")
			}
			for range n {
				q.Leave()
			}
			return n
		}
		if n := room(); n != limit {
			t.Fatalf("%d synchronous calls at once, want %d", n, limit)
		}
		// Synchronous calls do not delay requests.
		for range limit {
			q.TrySync(limit)
		}
		want(t, 5, start(q, 5), 5, nil)
		for range limit {
			q.Leave()
		}
		// Each request in flight takes the place of one call.
		k.hold()
		offsets := upTo(limit)
		done := startAll(t, k, q, offsets...)
		if n := room(); n != 0 {
			t.Errorf("room for %d synchronous calls beside %d requests", n, limit)
		}
		k.letGo()
		wantDone(t, offsets, done)
		if n := room(); n != limit {
			t.Errorf("room for %d synchronous calls at the end, want %d", n, limit)
		}
		checkIdle(t, q)
	}
}

// From a certain number of requests in the kernel on, a submitter waits for goroutines that
// have just been woken. It submits their next requests in one call.
func TestGather(t *testing.T) {
	procs(t, 1)
	const crowd = 64
	k, q := newFake(t, 2*crowd)
	k.hold()
	offsets := upTo(crowd)
	again := make(chan outcome, crowd)
	for _, off := range offsets {
		go func() {
			q.Do(req(Read, 3, memory[:off], off))
			n, err := q.Do(req(Read, 3, memory[:off], off))
			again <- outcome{n, err}
		}()
	}
	aiotest.Until(t, "all are in the kernel", func() bool { return k.insideNow() == crowd })
	before := k.calls(submitting)
	k.complete(offsets[:crowd/2]...)
	aiotest.Until(t, "half have come again", func() bool { return k.insideNow() == crowd })
	// One call more: its submitter found too few requests in the kernel to gather, or was
	// preempted.
	if n := k.calls(submitting) - before; n > crowd/2/batchSize+2 {
		t.Errorf("%d calls of io_submit for %d requests", n, crowd/2)
	}
	k.letGo()
	for range crowd {
		if got := <-again; got.err != nil {
			t.Error(got.err)
		}
	}
	checkIdle(t, q)
}
