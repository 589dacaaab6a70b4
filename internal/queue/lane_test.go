//go:build linux

package queue

import (
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-aio/aio/internal/aiotest"
)

// A laneFake is a queue with fakes for the shared context and for its lanes, however many
// there are.
type laneFake struct {
	*Queue
	shared *fakeKernel
	mu     sync.Mutex
	lanes  []*fakeKernel
}

func newLaneFake(t testing.TB, depth int) *laneFake {
	f := &laneFake{shared: newFakeKernel(t)}
	f.Queue = newTestQueue(t, depth, f.openShared, func() (kernel, error) { return f.openLane(t, false) })
	return f
}

func (f *laneFake) openShared(int) (kernel, error) { return f.shared, nil }

// openLane makes a lane's kernel, which keeps what it is given if held.
func (f *laneFake) openLane(t testing.TB, held bool) (kernel, error) {
	k := newFakeKernel(t)
	if held {
		k.hold()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lanes = append(f.lanes, k)
	return k, nil
}

// first returns the first lane that has been opened, which one request opens.
func (f *laneFake) first(t testing.TB) *fakeKernel {
	t.Helper()
	want(t, 1, start(f.Queue, 1), 1, nil)
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.lanes) != 1 {
		t.Fatalf("one request has opened %d lanes", len(f.lanes))
	}
	return f.lanes[0]
}

// inLanes returns the number of requests that lanes have taken.
func (f *laneFake) inLanes() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, k := range f.lanes {
		n += len(k.order())
	}
	return n
}

func TestLaneWhenAlone(t *testing.T) {
	f := newLaneFake(t, 16)
	for i := range int64(10) {
		want(t, i, start(f.Queue, i), int(i), nil)
	}
	if n := f.inLanes(); n != 10 {
		t.Errorf("%d requests of 10 took a lane", n)
	}
	if n := f.shared.calls(submitting); n != 0 {
		t.Errorf("the shared context was used %d times", n)
	}
	checkIdle(t, f.Queue)
}

func TestLaneMapsResults(t *testing.T) {
	f := newLaneFake(t, 16)
	lane := f.first(t)
	for off, c := range map[int64]struct {
		res int64
		n   int
		err error
	}{
		2: {1, 1, nil},
		3: {0, 0, nil},
		4: {-int64(syscall.EIO), 0, syscall.EIO},
		5: {-int64(syscall.EAGAIN), 0, syscall.EAGAIN},
		6: {-int64(syscall.ENOSYS), 0, syscall.ENOSYS},
	} {
		lane.answer(off, c.res)
		want(t, off, start(f.Queue, off), c.n, c.err)
	}
	if n := len(f.shared.order()); n != 0 {
		t.Errorf("%d results were not final", n)
	}
}

// As many requests as there are lanes take one each; the next goes to the shared context.
func TestLanesForAsMany(t *testing.T) {
	f := &laneFake{shared: newFakeKernel(t)}
	f.Queue = withLanes(t, 3, f.openShared, func() (kernel, error) { return f.openLane(t, true) })
	var done []<-chan outcome
	for i := range int64(3) {
		done = append(done, start(f.Queue, i))
		aiotest.Until(t, "a lane is in use", func() bool { return f.inLanes() == int(i)+1 })
	}
	want(t, 9, start(f.Queue, 9), 9, nil)
	if n := len(f.shared.order()); n != 1 {
		t.Errorf("the shared context took %d requests, and the lanes were full for one", n)
	}
	for _, lane := range f.lanes {
		lane.letGo()
	}
	for i, d := range done {
		want(t, int64(i), d, i, nil)
	}
	checkIdle(t, f.Queue)
}

// Most of a crowd goes to the shared context: a lane is a thread that waits.
func TestLaneInACrowd(t *testing.T) {
	const crowd = 64
	f := newLaneFake(t, 2*crowd)
	lane := f.first(t)
	f.shared.hold()
	lane.hold()
	taken := func() int { return f.inLanes() + len(f.shared.order()) }
	var done []<-chan outcome
	for _, off := range upTo(crowd) {
		done = append(done, start(f.Queue, off))
	}
	aiotest.Until(t, "all are in the kernel", func() bool { return taken() == 1+crowd })
	lane.letGo()
	aiotest.Until(t, "the lanes are free", func() bool {
		returned := 0
		for _, d := range done {
			returned += len(d)
		}
		return returned == crowd-f.shared.insideNow()
	})
	if n := f.shared.insideNow(); n < crowd/2 {
		t.Fatalf("%d requests of a crowd of %d are in the shared context", n, crowd)
	}

	// A lane is free again, but who took it would not be alone.
	before := f.inLanes()
	late := start(f.Queue, 100)
	aiotest.Until(t, "the late one is in the kernel", func() bool { return taken() == 1+crowd+1 })
	if f.inLanes() != before {
		t.Error("a request took a lane with a crowd in flight")
	}
	f.shared.letGo()
	wantDone(t, upTo(crowd), done)
	want(t, 100, late, 100, nil)

	want(t, 1, start(f.Queue, 1), 1, nil) // alone again
	if f.inLanes() != before+1 {
		t.Error("a request that is alone did not take a lane")
	}
	checkIdle(t, f.Queue)
}

// A request that comes while another waits in a lane does not wait for it.
func TestLaneDoesNotHoldUpOthers(t *testing.T) {
	f := newLaneFake(t, 16)
	lane := f.first(t)
	lane.hold()
	slow := start(f.Queue, 2)
	aiotest.Until(t, "the lane is in use", func() bool { return lane.insideNow() == 1 })
	for off := int64(3); off < 20; off++ {
		want(t, off, start(f.Queue, off), int(off), nil)
	}
	wantOpen(t, slow)
	lane.complete(2)
	want(t, 2, slow, 2, nil)
	checkIdle(t, f.Queue)
}

// Whatever a lane has against a request, the shared context's submitter knows what to do.
func TestLaneRefusesARequest(t *testing.T) {
	for _, err := range []error{syscall.EAGAIN, syscall.EINVAL, syscall.EBADF, syscall.ENOSYS, syscall.EPERM, nil} {
		f := newLaneFake(t, 16)
		lane := f.first(t)
		lane.at(submitting, lane.calls(submitting)+1, fault{err: err, none: true})
		want(t, 2, start(f.Queue, 2), 2, nil)
		if n := len(f.shared.order()); n != 1 {
			t.Errorf("%v: the shared context took %d requests, want 1", err, n)
		}
		checkIdle(t, f.Queue)
	}
	f := newLaneFake(t, 16)
	lane := f.first(t)
	lane.refuse(2, syscall.EBADF)
	f.shared.refuse(2, syscall.EBADF)
	want(t, 2, start(f.Queue, 2), 0, syscall.EBADF)
	checkIdle(t, f.Queue)
}

func TestLaneIsInterrupted(t *testing.T) {
	f := newLaneFake(t, 16)
	lane := f.first(t)
	for i := range 5 {
		lane.at(submitting, lane.calls(submitting)+1+i, fault{err: syscall.EINTR})
		lane.at(waiting, lane.calls(waiting)+1+i, fault{err: syscall.EINTR})
	}
	want(t, 2, start(f.Queue, 2), 2, nil)
	want(t, 3, start(f.Queue, 3), 3, nil)
	if n := f.inLanes(); n != 3 {
		t.Errorf("%d requests of 3 took the lane", n)
	}
}

// The request is in the kernel and its buffer the kernel's: there is no way back, even if
// a seccomp filter forbids the wait.
func TestLaneWaitIsForbidden(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EPERM, syscall.ENOSYS, syscall.EINVAL} {
		t.Run(errno.Error(), func(t *testing.T) {
			f := newLaneFake(t, 16)
			lane := f.first(t)
			lane.hold()
			for turn := 2; turn < 1000; turn++ {
				lane.at(waiting, turn, fault{err: errno})
			}
			done := start(f.Queue, 2)
			aiotest.Until(t, "the wait has failed", func() bool { return lane.calls(waiting) > 1 })
			wantOpen(t, done)
			lane.complete(2)
			want(t, 2, done, 2, nil)

			// Such a lane is of no use any more.
			want(t, 3, start(f.Queue, 3), 3, nil)
			if n := len(f.shared.order()); n != 1 {
				t.Errorf("the shared context took %d requests, want 1", n)
			}
			checkIdle(t, f.Queue)
		})
	}
}

// To give up a lane is no reason to poll for its last event without a pause.
func TestForbiddenWaitDoesNotSpin(t *testing.T) {
	f := newLaneFake(t, 16)
	lane := f.first(t)
	lane.hold()
	for turn := 2; turn < 100000; turn++ {
		lane.at(waiting, turn, fault{err: syscall.EPERM})
	}
	done := start(f.Queue, 2)
	time.Sleep(50 * time.Millisecond)
	if n := lane.calls(waiting); n > 100 {
		t.Errorf("%d attempts in 50 ms", n)
	}
	lane.complete(2)
	want(t, 2, done, 2, nil)
}

func TestNoLaneToBeHad(t *testing.T) {
	k := newFakeKernel(t)
	opened := 0
	q := newTestQueue(t, 8, func(int) (kernel, error) { return k, nil }, func() (kernel, error) {
		opened++
		return nil, syscall.EAGAIN
	})
	for i := range int64(10) {
		want(t, i, start(q, i), int(i), nil)
	}
	if len(k.order()) != 10 || opened == 0 || opened > 10 {
		t.Errorf("the shared context took %d requests of 10, a lane was asked for %d times", len(k.order()), opened)
	}
	checkIdle(t, q)
}

// However few "few" is, there is a bound, and both plain calls and requests count.
func TestTryPlain(t *testing.T) {
	f := newLaneFake(t, 256)
	const many = 200
	room := func() (n int) { // leaves nothing in flight
		for n < many && f.TryPlain(Pwrite) {
			n++
		}
		for range 3 {
			if n < many && f.TryPlain(Pwrite) {
				t.Error("room for a plain call after there was none")
			}
		}
		for range n {
			f.Leave()
		}
		return n
	}
	few := room()
	if few == 0 || few == many {
		t.Fatalf("%d plain calls at a time on an idle queue", few)
	}
	if n := room(); n != few {
		t.Errorf("room for %d plain calls, and then for %d", few, n)
	}

	// Plain calls do not stand in the way of requests.
	for range few {
		f.TryPlain(Pwrite)
	}
	want(t, 5, start(f.Queue, 5), 5, nil)
	for range few {
		f.Leave()
	}

	// Each request in flight, in a lane or not, takes the place of one.
	lane := f.first(t)
	lane.hold()
	f.shared.hold()
	offsets := upTo(few)
	var done []<-chan outcome
	for i, off := range offsets {
		done = append(done, start(f.Queue, off))
		aiotest.Until(t, "it is in the kernel", func() bool { return lane.insideNow()+f.shared.insideNow() == i+1 })
		if n := room(); n != few-i-1 {
			t.Errorf("room for %d plain calls beside %d requests, want %d", n, i+1, few-i-1)
		}
	}
	lane.letGo()
	f.shared.letGo()
	wantDone(t, offsets, done)
	if n := room(); n != few {
		t.Errorf("room for %d plain calls at the end, want %d", n, few)
	}
	checkIdle(t, f.Queue)
}
