//go:build linux

package queue

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-aio/aio/internal/aiotest"
)

// These tests cover EAGAIN: the context is full, or the kernel has no memory.

func TestFullContextWaitsForACompletion(t *testing.T) {
	k, q := newFake(t, 16)
	k.hold()
	k.capacity = 1
	first := startAll(t, k, q, 1)
	aiotest.Until(t, "the first is in the kernel", func() bool { return k.insideNow() == 1 })

	second := start(q, 2)
	aiotest.Until(t, "the second waits", func() bool {
		return k.calls(submitting) >= 2 && countPending(q) == 1
	})
	began, before := time.Now(), k.calls(submitting)
	wantOpen(t, second)
	if n := k.calls(submitting) - before; n > int(time.Since(began)/stallFor)+1 {
		t.Errorf("%d calls of submit in %v without room", n, time.Since(began))
	}

	k.complete(1)
	wantDone(t, []int64{1}, first)
	aiotest.Until(t, "the second is in the kernel", func() bool { return k.insideNow() == 1 })
	k.complete(2)
	want(t, 2, second, 2, nil)
	checkIdle(t, q)
}

// No completion would ever resume a submitter.
func TestNoRoomInAnEmptyContext(t *testing.T) {
	k, q := newFake(t, 16)
	for i := range 5 {
		k.at(submitting, i+1, fault{err: syscall.EAGAIN})
		want(t, 1, start(q, 1), 0, ErrUnavailable)
	}
	want(t, 1, start(q, 1), 1, nil)
	checkIdle(t, q)
}

// The tail of a batch that does not fit stays ahead of later requests.
func TestFullContextKeepsTheOrder(t *testing.T) {
	k, q, release := blockedFake(t, 64)
	k.hold()
	k.capacity = 3
	offsets := append(upTo(8), upTo(40)[9:]...) // 9 is the first
	done := startAll(t, k, q, offsets...)
	go release()
	var order []int64
	for len(order) < len(offsets)+1 {
		aiotest.Until(t, "there is a request to complete", func() bool {
			return len(k.order()) > len(order)
		})
		off := k.order()[len(order)]
		order = append(order, off)
		k.complete(off)
	}
	wantDone(t, offsets, done)
	for i, off := range order[1:] {
		if off != offsets[i] {
			t.Fatalf("the kernel took %d, want 9 and then %d", order, offsets)
		}
	}
	checkIdle(t, q)
}

// A submitter that finds no room must not rely on requests that another submitter has only
// counted. The kernel may refuse them, and then no completion resumes a submitter.
func TestNoRoomAndTheOtherSubmitterRefused(t *testing.T) {
	for _, c := range []struct{ refusal, want error }{
		{syscall.EINVAL, syscall.EINVAL},
		{syscall.EIO, syscall.EIO},
		{syscall.EAGAIN, ErrUnavailable},
		{syscall.ENOSYS, ErrUnavailable},
	} {
		t.Run(c.refusal.Error(), func(t *testing.T) {
			procs(t, 2)
			k, q := newFake(t, 16)
			one, two := make(chan struct{}), make(chan struct{})
			k.at(submitting, 1, fault{block: one, err: syscall.EAGAIN})
			k.at(submitting, 2, fault{block: two, err: c.refusal})
			full := startAll(t, k, q, 1)
			refused := startAll(t, k, q, 2)
			if n := countSubmitters(q); n != 2 {
				t.Fatalf("%d goroutines submit, want 2", n)
			}
			close(one) // finds the request of the other submitter counted
			aiotest.Until(t, "the first waits", func() bool {
				return countPending(q) == 1 || len(full[0]) == 1
			})
			close(two)
			want(t, 2, refused[0], 0, c.want)
			// The request must return, whether or not it is submitted again.
			got := <-full[0]
			if got != (outcome{1, nil}) && got != (outcome{0, ErrUnavailable}) {
				t.Errorf("the request that found no room returned %d, %v", got.n, got.err)
			}
			checkIdle(t, q)
		})
	}
}

// The last completion may come just when a submitter finds the context full.
func TestNoRoomAndTheLastCompletion(t *testing.T) {
	k, q := newFake(t, 16)
	k.logging = false
	waited := 0
	for range 3000 {
		k.hold()
		first := start(q, 1)
		aiotest.Until(t, "the first is in the kernel", func() bool { return k.insideNow() == 1 })
		turn := k.calls(submitting) + 1
		block := make(chan struct{})
		k.at(submitting, turn, fault{block: block, err: syscall.EAGAIN})
		second := start(q, 2)
		aiotest.Until(t, "the second is on its way", func() bool {
			return k.calls(submitting) == turn
		})
		close(block)
		for range rand.N(200) { // varies which comes first
			runtime.KeepAlive(k)
		}
		k.letGo()
		want(t, 1, first, 1, nil)
		switch got := <-second; got {
		case outcome{2, nil}:
			waited++
		case outcome{0, ErrUnavailable}:
		default:
			t.Errorf("the request that found no room returned %d, %v", got.n, got.err)
		}
		aiotest.Until(t, "no goroutine submits", func() bool { return countSubmitters(q) == 0 })
	}
	t.Logf("%d of 3000 have waited for the completion", waited)
	checkIdle(t, q)
}

// Many goroutines meet a full context and refusals at once. A request may be unavailable, but
// each must return.
func TestStressOfRefusals(t *testing.T) {
	for _, p := range []int{1, 2, 8} {
		for _, capacity := range []int{1, 5, 100} {
			t.Run(fmt.Sprintf("procs=%d/capacity=%d", p, capacity), func(t *testing.T) {
				procs(t, p)
				k, q := newFake(t, 64)
				k.capacity, k.logging = capacity, false
				k.slow = func() {
					if rand.N(4) == 0 {
						runtime.Gosched()
					}
				}
				for i := range 4000 { // of about 10000 calls
					switch rand.N(12) {
					case 0, 1, 2:
						k.at(submitting, i, fault{err: syscall.EAGAIN})
					case 3:
						k.at(submitting, i, fault{err: syscall.EINTR})
					case 4:
						k.at(submitting, i, fault{err: syscall.EINVAL})
					case 5:
						k.at(submitting, i, fault{take: 1 + rand.N(8)})
					case 6:
						k.at(submitting, i, fault{none: true})
					}
				}
				k.refuse(1, syscall.EBADF)
				stressRefusals(t, q)
				checkIdle(t, q)
			})
		}
	}
}

func stressRefusals(t *testing.T, q *testQueue) {
	var all sync.WaitGroup
	var good, unavailable, refused atomic.Int64
	for i := range int64(100) {
		all.Go(func() {
			for range aiotest.ScaledOrFull(100) {
				switch n, err := q.Do(req(Read, 3, memory[:i], i)); {
				case i == 1 && err == syscall.EBADF, err == syscall.EINVAL:
					refused.Add(1)
				case err == ErrUnavailable:
					unavailable.Add(1)
				case err != nil || n != int(i) || i == 1:
					t.Errorf("the request at %d returned %d, %v", i, n, err)
				default:
					good.Add(1)
				}
			}
		})
	}
	all.Wait()
	t.Logf("%d good, %d unavailable, %d refused", good.Load(), unavailable.Load(), refused.Load())
	if good.Load() == 0 {
		t.Error("no request succeeded")
	}
}

// The context is full when it is asked, and the device has nothing in it a moment later: the
// request is submitted again. If it is refused once more, a system call is to make it.
func TestFullContextHasEmptied(t *testing.T) {
	k, q := newFake(t, 32)
	want(t, 1, start(q, 1), 1, nil)
	n := k.calls(submitting)
	k.at(submitting, n+1, fault{err: syscall.EAGAIN})
	want(t, 2, start(q, 2), 2, nil)
	k.at(submitting, n+3, fault{err: syscall.EAGAIN})
	k.at(submitting, n+4, fault{err: syscall.EAGAIN})
	want(t, 3, start(q, 3), 0, ErrUnavailable)
	checkIdle(t, q)
}
