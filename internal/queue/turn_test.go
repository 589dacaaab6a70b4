//go:build linux

package queue

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/go-aio/aio/internal/aiotest"
)

// These tests cover the order of requests: the submitters, the batches.

func TestNoRequestStarves(t *testing.T) {
	for _, p := range []int{1, 2, 8} {
		t.Run(fmt.Sprint(p), func(t *testing.T) {
			procs(t, p)
			k, q := newFake(t, 4)
			k.logging = false
			var all sync.WaitGroup
			for i := range int64(200) {
				all.Go(func() {
					for range 50 {
						if n, err := q.Do(req(Read, 3, memory[:i], i)); n != int(i) || err != nil {
							t.Errorf("the request at %d returned %d, %v", i, n, err)
						}
					}
				})
			}
			all.Wait()
			checkIdle(t, q)
		})
	}
}

// The queue exists to avoid more threads in io_submit(2) than processors.
func TestOneSubmitterPerProcessor(t *testing.T) {
	aiotest.NeedsTime(t)
	for _, p := range []int{1, 2, 5} {
		t.Run(fmt.Sprint(p), func(t *testing.T) {
			procs(t, p)
			k, q := newFake(t, 256)
			block := make(chan struct{})
			for turn := range p + 20 {
				k.at(submitting, turn, fault{block: block})
			}
			offsets := upTo(100)
			done := startAll(t, k, q, offsets...)
			aiotest.Until(t, "all places are taken", func() bool { return k.calls(submitting) == p })
			still(t, "as many as processors", func() bool { return k.calls(submitting) == p })
			close(block)
			wantDone(t, offsets, done)
			if k.mostSubmitters != p {
				t.Errorf("%d submitters at once, want %d", k.mostSubmitters, p)
			}
			checkIdle(t, q)
		})
	}
}

func TestSubmittersUnderLoad(t *testing.T) {
	aiotest.NeedsTime(t)
	for _, p := range []int{1, 2, 4} {
		t.Run(fmt.Sprint(p), func(t *testing.T) {
			procs(t, p)
			k, q := newFake(t, 100)
			k.logging = false
			k.slow = func() { time.Sleep(20 * time.Microsecond) }
			var all sync.WaitGroup
			for i := range int64(150) {
				all.Go(func() {
					for range 20 {
						if n, err := q.Do(req(Read, 3, memory[:i], i)); n != int(i) || err != nil {
							t.Errorf("the request at %d returned %d, %v", i, n, err)
						}
					}
				})
			}
			all.Wait()
			if k.mostSubmitters > p {
				t.Errorf("%d submitters at once, want at most %d", k.mostSubmitters, p)
			}
			if k.largestBatch > batchSize || batchSize > 16 {
				t.Errorf("a batch of %d, want at most 16", k.largestBatch)
			}
			if k.largestBatch < 2 {
				t.Error("requests are never submitted together")
			}
			checkIdle(t, q)
		})
	}
}

// A request that is slow to submit delays those of its batch and no others.
func TestSlowSubmitDelaysItsBatchOnly(t *testing.T) {
	procs(t, 2)
	k, q := newFake(t, 256)
	one, two, slow := make(chan struct{}), make(chan struct{}), make(chan struct{})
	k.at(submitting, 1, fault{block: one})
	k.at(submitting, 2, fault{block: two})
	k.at(submitting, 3, fault{block: slow})
	offsets := upTo(100)
	done := startAll(t, k, q, offsets...)
	aiotest.Until(t, "both places are taken", func() bool { return k.calls(submitting) == 2 })
	close(one) // continues with a batch, and gets stuck
	aiotest.Until(t, "one is stuck", func() bool { return k.calls(submitting) == 3 })
	close(two)
	returned := func() (n int) {
		for _, d := range done {
			n += len(d)
		}
		return n
	}
	aiotest.Until(t, "the others have returned", func() bool {
		return returned() >= len(offsets)-16
	})
	// Later requests are not delayed, either.
	for range 10 {
		want(t, 500, start(q, 500), 500, nil)
	}
	if n := len(offsets) - returned(); n == 0 || n > 16 {
		t.Errorf("%d requests are delayed, want 1 to 16", n)
	}
	close(slow)
	wantDone(t, offsets, done)
	checkIdle(t, q)
}

// A disk that hangs must not hold up other disks: io_submit(2) blocks for it. The reason may be a
// dirty page in the range of a direct read.
func TestStuckSubmittersAreRelieved(t *testing.T) {
	aiotest.NeedsTime(t)
	for _, p := range []int{1, 2} {
		t.Run(fmt.Sprint(p), func(t *testing.T) {
			procs(t, p)
			k, q := newFake(t, 256)
			q.stuckAfter = time.Millisecond
			hangs := make(chan struct{})
			for turn := 1; turn <= p+3; turn++ {
				k.at(submitting, turn, fault{block: hangs})
			}
			var stuck []<-chan outcome
			for turn := 1; turn <= p+3; turn++ { // one by one, so that each is a batch
				stuck = append(stuck, start(q, int64(turn)))
				aiotest.Until(t, "one more is stuck", func() bool { return k.calls(submitting) == turn })
			}
			for i := range int64(50) {
				want(t, 100+i, start(q, 100+i), int(100+i), nil)
			}
			wantOpen(t, stuck...)
			if n := countSubmitters(q); n < p+3 {
				t.Errorf("%d goroutines submit, but %d hang", n, p+3)
			}
			close(hangs)
			for _, d := range stuck {
				<-d
			}
			aiotest.Until(t, "no goroutine submits", func() bool { return countSubmitters(q) == 0 })
			checkIdle(t, q)
		})
	}
}

// A submitter that is done with its own request must not submit those of other callers for
// ever.
func TestSubmitterLeavesWhenDone(t *testing.T) {
	for _, p := range []int{1, 2} {
		t.Run(fmt.Sprint(p), func(t *testing.T) {
			procs(t, p)
			k, q := newFake(t, 64)
			k.silence(true) // so that the submitter finds its own event
			first, others := make(chan struct{}), make(chan struct{})
			var stuck []<-chan outcome
			k.at(submitting, p, fault{block: first})
			for turn := 1; turn < p; turn++ { // the other places are taken for all of the test
				k.at(submitting, turn, fault{block: others})
				stuck = append(stuck, startAll(t, k, q, int64(50+turn))...)
			}
			k.at(submitting, p+1, fault{block: others})
			own := startAll(t, k, q, 1)
			offsets := []int64{2, 3, 4}
			done := startAll(t, k, q, offsets...)
			close(first)
			wantDone(t, []int64{1}, own)
			wantOpen(t, done...)
			if n := countSubmitters(q); n != p {
				t.Errorf("%d goroutines submit, want %d: another goroutine takes over", n, p)
			}
			close(others)
			wantDone(t, offsets, done)
			for _, d := range stuck {
				<-d
			}
			checkIdle(t, q)
		})
	}
}

// The first call for a group may be stuck. Another submitter takes the rest of the group.
func TestStuckGroupIsRelieved(t *testing.T) {
	procs(t, 1)
	k, q := newFake(t, 64)
	q.stuckAfter = time.Millisecond
	hangs := make(chan struct{})
	k.at(submitting, 1, fault{block: hangs})
	group := startGroup(q, upTo(20)...)
	aiotest.Until(t, "the kernel has the rest, or the watchdog finds it", func() bool {
		return len(k.order()) == 20-groupFirst || q.dog.overlooked.Load() > 0
	})
	close(hangs)
	wantGroup(t, upTo(20), <-group, nil)
	checkIdle(t, q)
}
