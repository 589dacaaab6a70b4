//go:build linux

package queue

import (
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-aio/aio/internal/aiotest"
)

// collectingFake returns a fake whose reaper collects. The kernel has the requests at 2 .. n,
// and the completion of the one at 1 was signalled.
func collectingFake(t testing.TB, n int) (*fakeKernel, *testQueue, []<-chan outcome) {
	t.Helper()
	k, q, done := heldFake(t, n)
	k.complete(1)
	want(t, 1, done[0], 1, nil)
	aiotest.Until(t, "the reaper collects", q.collector.held)
	return k, q, done
}

// armed reports whether the request at off signals its completion.
func (k *fakeKernel) armed(t testing.TB, off int64) bool {
	t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	i := slices.IndexFunc(k.log, func(r request) bool { return r.off == off })
	if i < 0 {
		t.Fatalf("the kernel has not seen the request at %d", off)
	}
	return k.log[i].armed
}

func TestCollectNeedsACrowd(t *testing.T) {
	k, q, done := heldFake(t, collectFrom)
	k.complete(1) // one less than a crowd is left
	want(t, 1, done[0], 1, nil)
	still(t, "not collecting", func() bool { return !q.collector.held() })
	k.complete(upTo(collectFrom)[1:]...)
	wantDone(t, upTo(collectFrom)[1:], done[1:])
	checkIdle(t, q)
}

// While the reaper collects, completions are quiet, and still delivered. When it stops, the
// next completion is signalled again.
func TestCollect(t *testing.T) {
	const n = 40
	k, q, done := collectingFake(t, n)
	k.silence(true)
	late := startAll(t, k, q, 101, 102, 103)
	aiotest.Until(t, "the kernel has them", func() bool { return k.insideNow() == n-1+3 })
	for _, off := range []int64{101, 102, 103} {
		if k.armed(t, off) {
			t.Errorf("the completion at %d is signalled", off)
		}
	}
	k.complete(upTo(n)[1:]...)
	wantDone(t, upTo(n)[1:], done[1:])
	// Three requests are no crowd, but no other goroutine would notice their completions.
	still(t, "collecting", q.collector.held)
	k.complete(102, 101)
	want(t, 101, late[0], 101, nil)
	want(t, 102, late[1], 102, nil)
	still(t, "collecting", q.collector.held)
	k.complete(103)
	want(t, 103, late[2], 103, nil)
	aiotest.Until(t, "the reaper is back at the poller", func() bool {
		return !q.collector.held()
	})
	wantBell(t, k, q, 104)
}

// wantBell makes one request and checks that its completion is signalled. Then the queue is
// idle.
func wantBell(t testing.TB, k *fakeKernel, q *testQueue, off int64) {
	t.Helper()
	k.silence(false)
	k.letGo()
	want(t, off, start(q, off), int(off), nil)
	if !k.armed(t, off) {
		t.Errorf("the completion at %d is quiet", off)
	}
	checkIdle(t, q)
}

// A disk that hangs costs a wait in a second, and the reaper notices its first event.
func TestCollectFromAHungDisk(t *testing.T) {
	const n = 100
	k, q, done := collectingFake(t, n)
	k.silence(true)
	var calls int
	aiotest.Until(t, "the reaper waits for long", func() bool {
		before := k.calls(collecting)
		time.Sleep(20 * time.Millisecond)
		calls = k.calls(collecting)
		return calls == before
	})
	k.complete(77)
	want(t, 77, done[76], 77, nil)
	k.letGo()
	for _, off := range upTo(n)[1:] {
		if off != 77 {
			want(t, off, done[off-1], int(off), nil)
		}
	}
	checkIdle(t, q)
}

// A request that the kernel refuses or has no room for no longer counts as quiet.
func TestCollectBesideRefusals(t *testing.T) {
	const n = 40
	k, q, done := collectingFake(t, n)
	k.refuse(101, syscall.EBADF)
	want(t, 101, start(q, 101), 0, syscall.EBADF)

	// The next submit but one has room again, and the delivery resumes a submitter.
	turn := k.calls(submitting) + 1
	k.at(submitting, turn, fault{err: syscall.EAGAIN})
	stalled := start(q, 102)
	aiotest.Until(t, "the request is pending again", func() bool {
		return k.calls(submitting) == turn && countPending(q) == 1
	})
	k.complete(upTo(n)[1:]...)
	wantDone(t, upTo(n)[1:], done[1:])
	aiotest.Until(t, "the kernel has it", func() bool { return k.insideNow() == 1 })
	k.complete(102)
	want(t, 102, stalled, 102, nil)
	checkIdle(t, q)
}

// io_getevents(2) is refused from now on. The reaper polls the ring until all quiet
// completions have come. Later completions are signalled.
func TestCollectFails(t *testing.T) {
	const n = 40
	k, q, done := collectingFake(t, n)
	late := startAll(t, k, q, 101, 102)
	aiotest.Until(t, "the kernel has them", func() bool { return k.insideNow() == n-1+2 })
	for turn := range 100 {
		k.at(collecting, k.calls(collecting)+1+turn, fault{err: syscall.EPERM})
	}
	k.complete(2) // ends the running call
	want(t, 2, done[1], 2, nil)
	k.silence(true)
	k.complete(101)
	want(t, 101, late[0], 101, nil)
	k.silence(false)
	k.complete(upTo(n)[2:]...)
	wantDone(t, upTo(n)[2:], done[2:])
	k.complete(102)
	want(t, 102, late[1], 102, nil)
	checkIdle(t, q)

	before := k.calls(collecting)
	var again []<-chan outcome
	for _, off := range upTo(n) {
		again = append(again, start(q, off+200))
	}
	aiotest.Until(t, "the kernel has all", func() bool { return k.insideNow() == n })
	k.letGo()
	for i, off := range upTo(n) {
		want(t, off+200, again[i], int(off+200), nil)
	}
	if calls := k.calls(collecting); calls != before {
		t.Errorf("%d more refused calls", calls-before)
	}
	checkIdle(t, q)
}

// A completion may raise the eventfd while a goroutine has the token. That wakes the reaper in
// vain, so the goroutine looks at the ring once it has given the token up.
func TestCollectorLooksOnceMore(t *testing.T) {
	k, q, done := heldFake(t, 1) // signalled: no goroutine had the token
	last, proceed := make(chan struct{}), make(chan struct{})
	group := make(chan []outcome, 1)
	go func() {
		g := Group{Done: func(int) { close(last); <-proceed }}
		group <- readGroup(q, &g, 2)
	}()
	aiotest.Until(t, "the owner collects", func() bool {
		return q.collector.held() && k.insideNow() == 2
	})
	k.complete(2)
	<-last // the owner collects no more
	wakes := q.wakes.Load()
	k.complete(1)
	aiotest.Until(t, "the reaper is woken", func() bool { return q.wakes.Load() > wakes })
	wantOpen(t, done...)
	close(proceed)
	wantGroup(t, []int64{2}, <-group, nil)
	want(t, 1, done[0], 1, nil)
	checkIdle(t, q)
}

// Crowds come and go. Each time a request may be submitted just as the reaper returns to the
// poller.
func TestCollectStartsAndStops(t *testing.T) {
	for _, p := range []int{1, 2, 8} {
		procs(t, p)
		k, q := newFake(t, 64)
		k.logging = false
		k.delay = func() time.Duration { return rand.N(200 * time.Microsecond) }
		collected := false
		deadline := time.Now().Add(aiotest.Lasting(time.Second))
		for round := 0; time.Now().Before(deadline); round++ {
			var all sync.WaitGroup
			for i := range 1 + rand.N(48) {
				all.Go(func() {
					for range 1 + rand.N(8) {
						if n, err := q.Do(req(Read, 3, memory[:i+1], int64(i+1))); n != i+1 || err != nil {
							t.Errorf("Do = %d, %v", n, err)
						}
					}
				})
			}
			collected = collected || q.collector.held()
			all.Wait()
		}
		if !collected && k.calls(collecting) == 0 {
			t.Error("the reaper never collected")
		}
		checkIdle(t, q)
		t.Logf("procs=%d: %d calls of collect, %d of submit", p, k.calls(collecting), k.calls(submitting))
	}
}

// Requests on a device that completes none are no crowd, until it completes one.
func TestHungRequestsAreNoCrowd(t *testing.T) {
	q := newQueue(DefaultDepth, nil)
	hangs, moves := q.Lane(), q.Lane()
	enter := func(l *Lane, n int64) {
		l.taken.Add(n)
		q.inKernel.Add(n)
	}
	leave := func(l *Lane) {
		l.delivered.Add(1)
		l.moves()
		q.inKernel.Add(-1)
	}
	note := func() {
		q.hungNoted.Store(int64(sinceEpoch() - hungAfter))
		q.noteHung()
	}
	want := func(what string, n int64) {
		t.Helper()
		if got := q.moving(); got != n {
			t.Errorf("%s: %d requests move, want %d", what, got, n)
		}
	}
	enter(hangs, 3*collectFrom)
	enter(moves, 4)
	leave(hangs)
	leave(moves)
	note()
	want("both have completed one", 3*collectFrom-1+3)
	leave(moves)
	q.noteHung()
	want("it looked a moment ago", 3*collectFrom-1+2)
	note()
	want("one hangs", 2)
	enter(moves, 5)
	leave(moves)
	note()
	want("it still hangs", 2+5-1)
	leave(hangs)
	want("it hangs no more", 3*collectFrom-2+2+5-1)
	note()
	want("the other hangs", 3*collectFrom-2)
}
