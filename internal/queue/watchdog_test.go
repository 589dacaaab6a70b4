//go:build linux

package queue

import (
	"strings"
	"testing"
	"time"

	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/libaio"
)

// A deaf kernel signals no completion.
type deaf struct{ kernel }

func (deaf) arm(*libaio.IOCB) {}

// patrolled returns a queue with a watchdog that checks often.
func patrolled(t *testing.T, open func(int) (kernel, error)) *testQueue {
	q := newTestQueue(t, 64, open)
	q.dog.every = 2 * time.Millisecond
	return q
}

func TestWatchdogFindsCompletions(t *testing.T) {
	fd := directFile(t, 4)
	q := patrolled(t, func(depth int) (kernel, error) {
		k, err := newContext(depth)
		return deaf{k}, err
	})
	for i := range 4 {
		p := alignedBlocks(1)
		n, err := q.Do(req(Read, fd, p, int64(i)*block))
		if n != block || err != nil || string(p) != string(patternOf(i, 0)) {
			t.Errorf("block %d: %d, %v", i, n, err)
		}
	}
	// Not every completion: a submitter looks once, and may be in time.
	s := q.Stats()
	if s.Completed != 4 || s.Overlooked > 4 || (s.Overlooked == 0) != (s.Incident == "") {
		t.Errorf("%+v", s)
	}
}

// Without a collector, no goroutine would take events, and completions would be quiet.
func TestWatchdogCollects(t *testing.T) {
	k := newFakeKernel(t)
	q := patrolled(t, func(int) (kernel, error) { return k, nil })
	want(t, 1, start(q, 1), 1, nil)
	aiotest.Until(t, "the reaper has been woken", func() bool { return q.wakes.Load() == 1 })
	k.hold()
	q.collector.word.Store(token)
	done := startAll(t, k, q, 2, 3)
	k.letGo()
	wantDone(t, []int64{2, 3}, done)
	aiotest.Until(t, "no goroutine collects", func() bool { return !q.collector.held() })
	want(t, 4, start(q, 4), 4, nil)
	if s := settledStats(t, q); s.Overlooked != 1 || !strings.Contains(s.Incident, "collector 5") {
		t.Errorf("%+v", s)
	}
}

func TestWatchdogCounts(t *testing.T) {
	k := newFakeKernel(t)
	k.hold()
	k.silence(true)
	q := patrolled(t, func(int) (kernel, error) { return k, nil })
	done := startAll(t, k, q, 1, 2, 3)
	k.complete(2, 1, 3)
	wantDone(t, upTo(3), done)
	if s := settledStats(t, q); s.Overlooked == 0 || s.Incident == "" {
		t.Errorf("%+v", s)
	}
}

func TestWatchdogFindsPendingRequests(t *testing.T) {
	procs(t, 1)
	k := newFakeKernel(t)
	q := patrolled(t, func(int) (kernel, error) { return k, nil })
	want(t, 1, start(q, 1), 1, nil)
	q.Lane.mu.Lock()
	q.submitting++   // a submitter that does not exist
	q.watched = true // and a timer that is not set
	q.Lane.mu.Unlock()
	done := start(q, 2)
	aiotest.Until(t, "a request pends", func() bool { return countPending(q) == 1 })
	still(t, "a request pends", func() bool { return countPending(q) == 1 })
	q.Lane.mu.Lock()
	q.submitting--
	q.watched = false
	q.Lane.mu.Unlock()
	want(t, 2, done, 2, nil)
	if s := settledStats(t, q); s.Overlooked != 1 {
		t.Errorf("%+v", s)
	}
}

// A request may take any time. Without requests there is no timer.
func TestWatchdogWaits(t *testing.T) {
	k := newFakeKernel(t)
	k.hold()
	q := patrolled(t, func(int) (kernel, error) { return k, nil })
	done := startAll(t, k, q, upTo(20)...)
	time.Sleep(30 * time.Millisecond)
	k.letGo()
	wantDone(t, upTo(20), done)
	aiotest.Until(t, "the watchdog sleeps", func() bool {
		return !q.dog.set.Load()
	})
	if s := settledStats(t, q); s.Overlooked != 0 {
		t.Errorf("%+v", s)
	}
}

// A Group alone starts the watchdog, too.
func TestWatchdogOfGroup(t *testing.T) {
	k, q := newFake(t, 64)
	k.hold()
	var g Group
	g.Add(req(Read, 3, memory[:1], 1))
	done := make(chan struct{})
	go func() {
		q.Run(&g)
		close(done)
	}()
	aiotest.Until(t, "the kernel has it", func() bool { return k.insideNow() == 1 })
	if !q.dog.set.Load() {
		t.Error("the watchdog is not set")
	}
	k.letGo()
	<-done
	g.Free()
}
