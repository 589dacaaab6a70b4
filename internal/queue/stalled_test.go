//go:build linux

package queue

import (
	"syscall"
	"testing"
	"time"

	"github.com/go-aio/aio/internal/aiotest"
)

// In these tests the kernel refuses requests for a moment (EAGAIN) while another submitter is
// stuck in io_submit(2), for a disk that hangs. The requests must not wait for that disk.

// The submitter of disk A is stuck and takes the only place. relieve adds a second submitter.
// It meets EAGAIN and leaves the request of disk B pending. The completion that makes room
// finds no place for a submitter, so relieve has to run again.
func TestStalledBesideAStuckSubmitter(t *testing.T) {
	procs(t, 1)
	k, q := newFake(t, 64)
	q.stuckAfter = time.Millisecond
	q.dog.every = 10 * time.Millisecond // the watchdog, a hundred times as often
	k.hold()
	first := startAll(t, k, q, 1) // in the kernel
	hangs, full := make(chan struct{}), make(chan struct{})
	n := k.calls(submitting)
	k.at(submitting, n+1, fault{block: hangs})                     // disk A
	k.at(submitting, n+2, fault{block: full, err: syscall.EAGAIN}) // the submitter that relieve adds
	a := start(q, 2)
	aiotest.Until(t, "A's submitter is stuck", func() bool { return k.calls(submitting) == n+1 })
	b := start(q, 3)
	aiotest.Until(t, "relieve adds a submitter", func() bool { return k.calls(submitting) == n+2 })
	time.Sleep(50 * time.Millisecond) // relieve runs again meanwhile, and finds nothing pending
	close(full)
	aiotest.Until(t, "B's request is pending", func() bool {
		return countPending(q) == 1 && countSubmitters(q) == 1
	})
	k.complete(1) // makes room, and resumes a submitter
	want(t, 1, first[0], 1, nil)
	k.letGo()
	aiotest.Until(t, "nothing is stalled", func() bool { return !q.stalled.Load() })
	aiotest.Until(t, "the kernel has B's request", func() bool { return len(b) > 0 })
	close(hangs)
	<-a
}

// The same without a completion to come. The only request that counts as in the kernel is
// that of the stuck submitter.
func TestStalledWithNothingInTheKernel(t *testing.T) {
	procs(t, 1)
	k, q := newFake(t, 64)
	q.stuckAfter = time.Millisecond
	q.dog.every = 10 * time.Millisecond
	hangs, full := make(chan struct{}), make(chan struct{})
	k.at(submitting, 1, fault{block: hangs})
	k.at(submitting, 2, fault{block: full, err: syscall.EAGAIN})
	a := start(q, 2)
	aiotest.Until(t, "A's submitter is stuck", func() bool { return k.calls(submitting) == 1 })
	b := start(q, 3)
	aiotest.Until(t, "relieve adds a submitter", func() bool { return k.calls(submitting) == 2 })
	time.Sleep(50 * time.Millisecond)
	close(full)
	aiotest.Until(t, "the kernel has B's request", func() bool { return len(b) > 0 })
	close(hangs)
	<-a
}

// There are two places. The submitter of disk A is stuck. That of disk B meets EAGAIN (no
// memory) while the kernel has no request at all.
func TestStalledBehindAStuckSubmitter(t *testing.T) {
	procs(t, 2)
	k, q := newFake(t, 64)
	q.stuckAfter = time.Millisecond
	q.dog.every = 10 * time.Millisecond
	hangs := make(chan struct{})
	k.at(submitting, 1, fault{block: hangs})
	k.at(submitting, 2, fault{err: syscall.EAGAIN})
	a := start(q, 2)
	aiotest.Until(t, "A's submitter is stuck", func() bool { return k.calls(submitting) == 1 })
	b := start(q, 3)
	aiotest.Until(t, "the kernel has B's request", func() bool { return len(b) > 0 })
	close(hangs)
	<-a
}

// The kernel has no memory for a moment, and no completion comes. The timer tries again, and
// much sooner than for a stuck submitter.
func TestStalledWithoutACompletion(t *testing.T) {
	k, q, done := heldFake(t, 1)
	k.at(submitting, k.calls(submitting)+1, fault{err: syscall.EAGAIN})
	stalled := start(q, 2)
	late := time.AfterFunc(10*time.Second, k.letGo)
	defer late.Stop()
	aiotest.Until(t, "the kernel has both, or the first is done", func() bool {
		return k.insideNow() == 2 || len(done[0]) > 0
	})
	if len(done[0]) > 0 {
		t.Error("the request has waited for a completion")
	}
	k.letGo()
	want(t, 2, stalled, 2, nil)
	want(t, 1, done[0], 1, nil)
	checkIdle(t, q)
}
