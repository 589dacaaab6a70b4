//go:build linux

package queue

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/go-aio/aio/internal/aiotest"
)

// heldFake returns a fake whose kernel has taken a request at each of 1 .. n.
func heldFake(t testing.TB, n int) (*fakeKernel, *testQueue, []<-chan outcome) {
	k, q := newFake(t, n+10)
	k.hold()
	var done []<-chan outcome
	for _, off := range upTo(n) {
		done = append(done, start(q, off))
	}
	aiotest.Until(t, "the kernel has all", func() bool { return k.insideNow() == n })
	aiotest.Until(t, "no submitter looks for events", func() bool {
		return countSubmitters(q) == 0
	})
	return k, q, done
}

// The eventfd counts completions instead of queueing them.
func TestOneBellForAllEvents(t *testing.T) {
	for _, n := range []int{1, 127, 128, 129, 1000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			k, q, done := heldFake(t, n)
			k.silence(true)
			k.complete(upTo(n)...)
			wantOpen(t, done[0], done[n-1])
			k.knock()
			wantDone(t, upTo(n), done)
			checkIdle(t, q)
		})
	}
}

func TestEventsInAnyOrder(t *testing.T) {
	aiotest.NeedsTime(t)
	const n = 100
	reversed := upTo(n)
	slices.Reverse(reversed)
	shuffled := upTo(n)
	rand.Shuffle(n, func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	for name, order := range map[string][]int64{"reversed": reversed, "shuffled": shuffled} {
		t.Run(name+"/burst", func(t *testing.T) {
			k, q, done := heldFake(t, n)
			k.complete(order...)
			wantDone(t, upTo(n), done)
			checkIdle(t, q)
		})
		t.Run(name+"/one by one", func(t *testing.T) {
			k, q, done := heldFake(t, n)
			for i, off := range order {
				k.complete(off)
				want(t, off, done[off-1], int(off), nil)
				if i%25 == 0 {
					for _, other := range order[i+1:] {
						if len(done[other-1]) != 0 {
							t.Fatalf("the event of %d ended the request at %d", off, other)
						}
					}
				}
			}
			checkIdle(t, q)
		})
		t.Run(name+"/late", func(t *testing.T) {
			k, q, done := heldFake(t, n)
			for i, off := range order {
				k.complete(off)
				if i%10 == 0 {
					time.Sleep(time.Millisecond) // the reaper sleeps again
				}
			}
			wantDone(t, upTo(n), done)
			checkIdle(t, q)
		})
	}
}

func TestLostBell(t *testing.T) {
	k, q, done := heldFake(t, 3)
	k.silence(true)
	k.complete(2)
	wantOpen(t, done[1])

	// The next submitter looks, and finds the event.
	other := start(q, 10)
	want(t, 2, done[1], 2, nil)

	// Any other signal makes up for a lost one.
	k.complete(3)
	wantOpen(t, done[2])
	k.silence(false)
	k.complete(1)
	want(t, 3, done[2], 3, nil)
	want(t, 1, done[0], 1, nil)
	k.complete(10)
	want(t, 10, other, 10, nil)
	checkIdle(t, q)
}

func TestBellWithoutEvents(t *testing.T) {
	k, q, done := heldFake(t, 2)
	for range 10 {
		before := k.calls(reaping)
		k.knock()
		aiotest.Until(t, "the reaper has looked", func() bool { return k.calls(reaping) > before })
	}
	wantOpen(t, done...)
	k.complete(2, 1)
	wantDone(t, upTo(2), done)
	k.knock() // on an idle queue
	checkIdle(t, q)
}

// A request that the page cache or memory answers is done when io_submit(2) returns. Waiting
// for the reaper would double its time.
func TestSubmitterFindsItsCompletion(t *testing.T) {
	k, q := newFake(t, 8)
	k.silence(true)
	for i := range int64(10) {
		want(t, i, start(q, i), int(i), nil)
	}
	checkIdle(t, q)
}

// A look may find more than the submitter's own event.
func TestSubmitterFindsOtherCompletions(t *testing.T) {
	k, q, done := heldFake(t, 20)
	k.silence(true)
	k.complete(upTo(20)...)
	k.letGo()
	want(t, 30, start(q, 30), 30, nil)
	wantDone(t, upTo(20), done)
	checkIdle(t, q)
}

func TestNegativeResults(t *testing.T) {
	k, q := newFake(t, 64)
	k.hold()
	for _, off := range upTo(30) {
		switch off % 3 {
		case 0:
			k.answer(off, -int64(syscall.EIO))
		case 1:
			k.answer(off, off/2)
		}
	}
	done := startAll(t, k, q, upTo(30)...)
	aiotest.Until(t, "the kernel has all", func() bool { return k.insideNow() == 30 })
	k.letGo()
	for i, off := range upTo(30) {
		switch off % 3 {
		case 0:
			want(t, off, done[i], 0, syscall.EIO)
		case 1:
			want(t, off, done[i], int(off/2), nil)
		case 2:
			want(t, off, done[i], int(off), nil)
		}
	}
	checkIdle(t, q)
}

// A failed reap takes no event. It is repeated, and finds the event.
func TestReapFails(t *testing.T) {
	k, q, done := heldFake(t, 3)
	for i := 1; i <= 3; i++ {
		k.at(reaping, k.calls(reaping)+i, fault{err: syscall.EPERM})
	}
	k.complete(1)
	want(t, 1, done[0], 1, nil)
	wantOpen(t, done[1:]...)
	k.complete(2, 3)
	wantDone(t, upTo(3)[1:], done[1:])
	checkIdle(t, q)
}

// An event that comes while the reaper is at work must not wait for the next event.
func TestEventWhileReaping(t *testing.T) {
	for range 50 {
		k, q, done := heldFake(t, 40)
		for _, off := range upTo(40) {
			if off%4 == 0 {
				go k.complete(off)
			} else {
				k.complete(off)
			}
		}
		wantDone(t, upTo(40), done)
		checkIdle(t, q)
	}
}
