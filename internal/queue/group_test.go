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

// readGroup reads at each offset, as many bytes as that.
func readGroup(q *testQueue, g *Group, offsets ...int64) []outcome {
	for _, off := range offsets {
		g.Add(req(Read, 3, memory[:off], off))
	}
	q.Run(g)
	outcomes := make([]outcome, len(offsets))
	for i := range outcomes {
		outcomes[i].n, outcomes[i].err = g.Result(i)
	}
	g.Free()
	return outcomes
}

// startGroup is readGroup in a goroutine.
func startGroup(q *testQueue, offsets ...int64) <-chan []outcome {
	done := make(chan []outcome, 1)
	go func() { done <- readGroup(q, new(Group), offsets...) }()
	return done
}

// wantGroup compares the outcomes with those of complete reads, except for the offsets in
// other.
func wantGroup(t testing.TB, offsets []int64, got []outcome, other map[int64]outcome) {
	t.Helper()
	if len(got) != len(offsets) {
		t.Fatalf("%d results of %d requests", len(got), len(offsets))
	}
	for i, off := range offsets {
		want, ok := other[off]
		if !ok {
			want = outcome{int(off), nil}
		}
		if got[i] != want {
			t.Errorf("the request at %d returned %v, want %v", off, got[i], want)
		}
	}
}

func TestGroup(t *testing.T) {
	k, q := newFake(t, 300)
	var g Group
	for _, n := range []int{1, 2, 40, 127, 300, 5} {
		k.log, k.largestBatch = nil, 0
		before := k.calls(submitting)
		wantGroup(t, upTo(n), readGroup(q, &g, upTo(n)...), nil)
		if !slices.Equal(k.order(), upTo(n)) {
			t.Errorf("the kernel took the order %d", k.order())
		}
		calls := 1 + (max(n-groupFirst, 0)+batchSize-1)/batchSize
		if got := k.calls(submitting) - before; got != calls || k.largestBatch > batchSize {
			t.Errorf("%d requests in %d calls of up to %d", n, got, k.largestBatch)
		}
		checkIdle(t, q)
	}
	q.Run(&g) // of no requests
	g.Free()
	checkIdle(t, q)
}

// A group counts as one request in flight.
func TestGroupIsOneInFlight(t *testing.T) {
	k, q := newFake(t, 64)
	k.hold()
	group := startGroup(q, upTo(30)...)
	aiotest.Until(t, "the group is in the kernel", func() bool { return k.insideNow() == 30 })
	if q.TrySync(1) {
		t.Error("the group is not counted")
	}
	if !q.TrySync(2) {
		t.Error("the group is counted more than once")
	} else {
		q.Leave()
	}
	k.letGo()
	wantGroup(t, upTo(30), <-group, nil)
	checkIdle(t, q)
}

func TestGroupUnavailable(t *testing.T) {
	q := newTestQueue(t, 4, func(int) (kernel, error) { return nil, syscall.ENOSYS })
	none := outcome{0, ErrUnavailable}
	wantGroup(t, upTo(3), readGroup(q, new(Group), upTo(3)...), map[int64]outcome{1: none, 2: none, 3: none})
}

// A refused request is refused alone, at any index, also at the last.
func TestGroupRefused(t *testing.T) {
	k, q := newFake(t, 64)
	for _, off := range []int64{1, 7, 32} {
		for _, errno := range []syscall.Errno{syscall.EINVAL, syscall.EIO, syscall.EBADF} {
			k.refuse(off, errno)
			wantGroup(t, upTo(32), readGroup(q, new(Group), upTo(32)...), map[int64]outcome{off: {0, errno}})
			k.refuse(off, nil)
			checkIdle(t, q)
		}
	}
	all := make(map[int64]outcome)
	for _, off := range upTo(32) {
		k.refuse(off, syscall.EINVAL)
		all[off] = outcome{0, syscall.EINVAL}
	}
	wantGroup(t, upTo(32), readGroup(q, new(Group), upTo(32)...), all)
	checkIdle(t, q)
}

// Short and failed results reach their own request.
func TestGroupResults(t *testing.T) {
	k, q := newFake(t, 64)
	k.answer(3, 1)
	k.answer(4, 0)
	k.answer(5, -int64(syscall.EIO))
	wantGroup(t, upTo(8), readGroup(q, new(Group), upTo(8)...),
		map[int64]outcome{3: {1, nil}, 4: {0, nil}, 5: {0, syscall.EIO}})
	checkIdle(t, q)
}

// Submits that fall short or find no room continue when there is room.
func TestGroupShortSubmits(t *testing.T) {
	for name, f := range map[string]fault{
		"short": {take: 3}, "none": {none: true},
		"EAGAIN": {err: syscall.EAGAIN}, "EINTR": {err: syscall.EINTR},
	} {
		t.Run(name, func(t *testing.T) {
			k, q := newFake(t, 64)
			k.hold()
			first := startAll(t, k, q, 100) // its completion makes room
			k.at(submitting, 2, f)
			group := startGroup(q, upTo(20)...)
			aiotest.Until(t, "the group waits, or is in the kernel", func() bool {
				return countPending(q) == 20 || k.insideNow() == 21
			})
			k.letGo()
			wantDone(t, []int64{100}, first)
			wantGroup(t, upTo(20), <-group, nil)
			checkIdle(t, q)
		})
	}
}

// The kernel has room for a few requests at a time.
func TestGroupFullContext(t *testing.T) {
	k, q := newFake(t, 64)
	k.capacity = 5
	k.delay = func() time.Duration { return rand.N(50 * time.Microsecond) }
	for range 20 {
		wantGroup(t, upTo(40), readGroup(q, new(Group), upTo(40)...), nil)
	}
	checkIdle(t, q)
}

// A filter comes after the first group. No request stays with the group.
func TestGroupForbidden(t *testing.T) {
	k, q := newFake(t, 64)
	wantGroup(t, upTo(4), readGroup(q, new(Group), upTo(4)...), nil)
	k.at(submitting, 2, fault{err: syscall.ENOSYS})
	all := make(map[int64]outcome)
	for _, off := range upTo(4) {
		all[off] = outcome{0, ErrUnavailable}
	}
	wantGroup(t, upTo(4), readGroup(q, new(Group), upTo(4)...), all)
	checkIdle(t, q)
}

// The owner collects: completions of the group are quiet.
func TestGroupIsQuiet(t *testing.T) {
	k, q := newFake(t, 64)
	k.hold()
	k.silence(true)
	group := startGroup(q, upTo(30)...)
	aiotest.Until(t, "the owner collects", q.collector.held)
	for _, off := range upTo(30) {
		if k.armed(t, off) {
			t.Fatalf("the completion at %d is signalled", off)
		}
	}
	k.complete(upTo(30)[:29]...)
	still(t, "waiting", func() bool { return len(group) == 0 })
	k.complete(30)
	wantGroup(t, upTo(30), <-group, nil)
	aiotest.Until(t, "no goroutine collects", func() bool { return !q.collector.held() })
	wantBell(t, k, q, 40)
}

// The owner of a group on a device that hangs hands the token over: it would poll for other
// requests otherwise, for as long as the device hangs.
func TestOwnerOfAHungGroup(t *testing.T) {
	k, q := newFake(t, 64)
	k.hold()
	group := startGroup(q, upTo(20)...)
	relied := func() bool { return q.collector.word.Load() == token+quiet }
	aiotest.Until(t, "the owner relies on another goroutine", relied)
	before := k.calls(collecting)
	other := startAll(t, k, q, 101)
	aiotest.Until(t, "the kernel has it", func() bool { return k.insideNow() == 21 })
	k.complete(101)
	want(t, 101, other[0], 101, nil)
	aiotest.Until(t, "only the owner relies", relied)
	still(t, "waiting without a timeout", func() bool { return k.calls(collecting) <= before+3 })
	k.letGo()
	wantGroup(t, upTo(20), <-group, nil)
	checkIdle(t, q)
}

// When the group is done, the reaper gets the quiet completions of other requests.
func TestGroupHandsOver(t *testing.T) {
	k, q := newFake(t, 64)
	k.hold()
	group := startGroup(q, upTo(30)...)
	aiotest.Until(t, "the owner collects", func() bool {
		return q.collector.held() && k.insideNow() == 30
	})
	done := startAll(t, k, q, 101, 102)
	aiotest.Until(t, "they are in the kernel", func() bool { return k.insideNow() == 32 })
	k.complete(101)
	want(t, 101, done[0], 101, nil) // the owner delivers it
	k.complete(upTo(30)...)
	wantGroup(t, upTo(30), <-group, nil)
	still(t, "waiting", func() bool { return len(done[1]) == 0 })
	k.complete(102)
	want(t, 102, done[1], 102, nil)
	k.letGo()
	aiotest.Until(t, "the reaper is back at the poller", func() bool {
		return !q.collector.held()
	})
	checkIdle(t, q)
}

// A reaper that collects delivers a group, too.
func TestGroupBesideTheReaper(t *testing.T) {
	const n = 40
	k, q, done := collectingFake(t, n)
	group := startGroup(q, 101, 102, 103)
	aiotest.Until(t, "the group is in the kernel", func() bool { return k.insideNow() == n-1+3 })
	k.complete(101, 102)
	still(t, "waiting", func() bool { return len(group) == 0 })
	k.complete(103)
	wantGroup(t, []int64{101, 102, 103}, <-group, nil)
	k.letGo()
	wantDone(t, upTo(n)[1:], done[1:])
	checkIdle(t, q)
}

// The reaper collects until the group is done, although the crowd is gone.
func TestGroupKeepsTheReaper(t *testing.T) {
	const n = 40
	k, q, done := collectingFake(t, n)
	group := startGroup(q, 101, 102)
	aiotest.Until(t, "the group is in the kernel", func() bool { return k.insideNow() == n-1+2 })
	k.complete(upTo(n)[1:]...)
	wantDone(t, upTo(n)[1:], done[1:])
	still(t, "collecting", q.collector.held)
	k.complete(101, 102)
	wantGroup(t, []int64{101, 102}, <-group, nil)
	checkIdle(t, q)
}

// Done is called for each request when that is done, and not when all are.
func TestGroupDone(t *testing.T) {
	k, q := newFake(t, 64)
	k.hold()
	calls := make(chan int, 3)
	g := Group{Done: func(i int) { calls <- i }}
	group := make(chan []outcome, 1)
	go func() { group <- readGroup(q, &g, 1, 2, 3) }()
	aiotest.Until(t, "the group is in the kernel", func() bool { return k.insideNow() == 3 })
	for done, off := range []int64{2, 3, 1} {
		k.complete(off)
		aiotest.Until(t, "the request is done", func() bool { return g.left.Load() <= int64(3-done) })
		if len(calls) != 1 {
			t.Fatalf("%d calls of Done for the request at %d", len(calls), off)
		}
		if i := <-calls; i != int(off-1) {
			t.Errorf("Done(%d) for the request at %d", i, off)
		}
	}
	wantGroup(t, upTo(3), <-group, nil)
	checkIdle(t, q)
}

// The owner is refused io_getevents(2). The reaper sweeps, for this group and later ones.
func TestGroupCannotCollect(t *testing.T) {
	k, q := newFake(t, 64)
	k.hold()
	k.at(collecting, 1, fault{err: syscall.EPERM})
	k.at(collecting, 2, fault{err: syscall.EPERM})
	group := startGroup(q, upTo(20)...)
	aiotest.Until(t, "the group is in the kernel, and no goroutine collects", func() bool {
		return k.insideNow() == 20 && q.collector.refused.Load()
	})
	still(t, "collecting for the group", q.collector.held)
	k.complete(upTo(20)...)
	wantGroup(t, upTo(20), <-group, nil)
	aiotest.Until(t, "the reaper is back at the poller", func() bool {
		return !q.collector.held()
	})
	k.letGo()
	wantGroup(t, upTo(20), readGroup(q, new(Group), upTo(20)...), nil)
	if n := k.calls(collecting); n > 2 {
		t.Errorf("%d calls of io_getevents(2)", n)
	}
	checkIdle(t, q)
}

// While another goroutine is in io_getevents(2), even for a moment, reading the ring takes
// that call too, and the filter refuses it.
func TestSweepIsRefusedForAMoment(t *testing.T) {
	k, q := newFake(t, 64)
	k.hold()
	k.at(collecting, 1, fault{err: syscall.EPERM})
	k.at(collecting, 2, fault{err: syscall.EPERM})
	group := startGroup(q, upTo(20)...)
	aiotest.Until(t, "the group is in the kernel, and no goroutine collects", func() bool {
		return k.insideNow() == 20 && q.collector.refused.Load()
	})
	for i := 1; i <= 3; i++ {
		k.at(reaping, k.calls(reaping)+i, fault{err: syscall.EPERM})
	}
	k.complete(upTo(20)...)
	wantGroup(t, upTo(20), <-group, nil)
	k.letGo()
	for i := 1; i <= 3; i++ { // and for completions that are signalled
		k.at(reaping, k.calls(reaping)+i, fault{err: syscall.EPERM})
	}
	wantDone(t, upTo(5), startAll(t, k, q, upTo(5)...))
	checkIdle(t, q)
}

// A reap that is refused for good does not hold a caller whose requests are done.
func TestReapIsRefusedForGood(t *testing.T) {
	aiotest.NeedsTime(t)
	k, q := newFake(t, 64)
	for i := range 50 * reapTries {
		k.at(reaping, i+1, fault{err: syscall.EPERM})
	}
	wantGroup(t, upTo(4), <-startGroup(q, upTo(4)...), nil)
	if n := k.calls(reaping); n > 5*reapTries {
		t.Errorf("%d calls of reap", n)
	}
}

// A stuck submitter does not hold the requests of the group: the next one takes them.
func TestGroupWhileOthersSubmit(t *testing.T) {
	k, q, release := blockedFake(t, 64)
	group := startGroup(q, upTo(8)...)
	aiotest.Until(t, "the group waits for the submitter", func() bool {
		return countPending(q) == 8
	})
	release()
	wantGroup(t, upTo(8), <-group, nil)
	if n := k.calls(submitting); n != 3 {
		t.Errorf("%d calls of submit, want 3: one for the request before, two for the group", n)
	}
	checkIdle(t, q)
}

// Groups and single requests run with faults, late completions and few slots.
func TestGroupsInACrowd(t *testing.T) {
	k, q := newFake(t, 50)
	k.logging = false
	k.capacity = 40
	k.delay = func() time.Duration { return rand.N(100 * time.Microsecond) }
	k.refuse(13, syscall.EINVAL)
	other := map[int64]outcome{13: {0, syscall.EINVAL}}
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			var g Group
			for range aiotest.Scaled(500) {
				offsets := upTo(rand.N(30) + 1)
				got := readGroup(q, &g, offsets...)
				wantGroup(t, offsets[:len(got)], got, other)
			}
		})
		wg.Go(func() {
			for range aiotest.Scaled(2000) {
				off := rand.Int64N(12) + 1
				want(t, off, start(q, off), int(off), nil)
			}
		})
	}
	wg.Wait()
	aiotest.Until(t, "no goroutine collects", func() bool { return !q.collector.held() })
	checkIdle(t, q)
}

func TestGroupAllocs(t *testing.T) {
	if aiotest.Race {
		aiotest.NeedsNoRace(t)
	}
	k, q := newFake(t, 64)
	k.logging = false
	var g Group
	got := testing.AllocsPerRun(100, func() {
		for range 32 {
			g.Add(req(Read, 3, memory[:512], 512))
		}
		q.Run(&g)
		g.Free()
	})
	if got > 0 {
		t.Errorf("%v allocations", got)
	}
}

// A group's owner whose device hangs collects for other devices, and waits for one event at a time.
func TestHungGroupHoldsUpNoOther(t *testing.T) {
	k, q := newFake(t, 64)
	other := &testQueue{q.Queue, q.Queue.Lane()}
	k.hold()
	group := startGroup(q, upTo(16)...)
	aiotest.Until(t, "the owner has waited in vain", func() bool {
		k.mu.Lock()
		defer k.mu.Unlock()
		return len(k.minEvents) > 1
	})
	const first, n = 101, 8
	var done []<-chan outcome
	for off := int64(first); off < first+n; off++ {
		done = append(done, start(other, off))
	}
	aiotest.Until(t, "all are in the kernel", func() bool { return k.insideNow() == 16+n })
	k.mu.Lock()
	k.minEvents = nil
	k.mu.Unlock()
	for i := range done {
		k.complete(int64(first + i))
		want(t, int64(first+i), done[i], first+i, nil)
	}
	k.mu.Lock()
	for _, events := range k.minEvents {
		if events != 1 {
			t.Errorf("the owner waited for %d events", events)
		}
	}
	k.mu.Unlock()
	k.letGo()
	wantGroup(t, upTo(16), <-group, nil)
	checkIdle(t, q)
}
