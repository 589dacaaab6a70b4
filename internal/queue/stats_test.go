//go:build linux

package queue

import (
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/libaio"
)

// settledStats returns the counts of a queue without requests. It waits for submitters and
// deliverers, which wake the callers first and count afterwards.
func settledStats(t testing.TB, q *testQueue) Stats {
	t.Helper()
	checkIdle(t, q)
	s := q.Stats()
	if s.InFlight != 0 || s.Pending != 0 || s.Submitted != s.Completed {
		t.Errorf("the idle queue has %+v", s)
	}
	return s
}

func TestStatsBeforeTheFirstRequest(t *testing.T) {
	q := newTestQueue(t, 4, func(int) (kernel, error) { return newFakeKernel(t), nil })
	if s := q.Stats(); s != (Stats{}) {
		t.Errorf("%+v", s)
	}
}

func TestStatsOfRequestsInFlight(t *testing.T) {
	k, q := newFake(t, 64)
	k.hold()
	offsets := []int64{1, 2, 3}
	done := startAll(t, k, q, offsets...)
	aiotest.Until(t, "the kernel has all", func() bool {
		return k.insideNow() == 3 && countSubmitters(q) == 0
	})
	s := q.Stats()
	if s.Submitted != 3 || s.Completed != 0 || s.InFlight != 3 || s.Pending != 0 {
		t.Errorf("three in the kernel: %+v", s)
	}
	k.letGo()
	wantDone(t, offsets, done)
	s = settledStats(t, q)
	if s.Completed != 3 || s.Batched != 3 || s.Wakes == 0 {
		t.Errorf("three requests: %+v", s)
	}
}

func TestStatsOfBatches(t *testing.T) {
	procs(t, 1)
	k, q := newFake(t, 64)
	block := make(chan struct{})
	k.at(submitting, 1, fault{block: block})
	k.at(submitting, 2, fault{take: 3}) // a short submit: the rest is another batch
	done := startAll(t, k, q, upTo(11)...)
	if s := q.Stats(); s.Pending != 10 || s.Submitted != 11 {
		t.Errorf("10 wait for the submitter of the first: %+v", s)
	}
	close(block)
	wantDone(t, upTo(11), done)
	if s := settledStats(t, q); s.Batches != 3 || s.Batched != 11 || s.LargestBatch != 7 {
		t.Errorf("batches of 1, 3 and 7: %+v", s)
	}
}

// A refused request counts in no batch and has no latency.
func TestStatsOfRefusedRequests(t *testing.T) {
	k, q := newFake(t, 64)
	q.RecordLatency(true)
	k.refuse(7, syscall.EINVAL)
	want(t, 7, start(q, 7), 0, syscall.EINVAL)
	want(t, 8, start(q, 8), 8, nil)
	if s := settledStats(t, q); s.Completed != 2 || s.Batched != 1 || s.Latency.Count() != 1 {
		t.Errorf("one of two was refused: %+v", s)
	}
}

func TestStatsOfRelief(t *testing.T) {
	procs(t, 1)
	k, q := newFake(t, 64)
	q.stuckAfter = time.Millisecond
	hangs := make(chan struct{})
	k.at(submitting, 1, fault{block: hangs})
	done := startAll(t, k, q, 1, 2)
	want(t, 2, done[1], 2, nil)
	close(hangs)
	want(t, 1, done[0], 1, nil)
	if s := settledStats(t, q); s.Relieved == 0 {
		t.Errorf("relieve added no submitter: %+v", s)
	}
}

func TestStatsOfTheReaper(t *testing.T) {
	k, q, done := collectingFake(t, 40)
	k.letGo()
	wantDone(t, upTo(40)[1:], done[1:])
	if s := settledStats(t, q); s.Wakes == 0 || s.Collects == 0 || s.Completed != 40 {
		t.Errorf("%+v", s)
	}
}

// Concurrent calls of Stats see no counter decrease, and no more completed than submitted.
func TestStatsUnderLoad(t *testing.T) {
	k, q := newFake(t, 8)
	k.logging = false
	q.RecordLatency(true)
	n := aiotest.Scaled(2000)
	var all sync.WaitGroup
	for i := range int64(16) {
		all.Go(func() {
			for range n {
				q.Do(req(Read, 3, memory[:i+1], i+1))
			}
		})
	}
	finished := make(chan struct{})
	go func() { all.Wait(); close(finished) }()
	for last := (Stats{}); ; {
		s := q.Stats()
		switch {
		case s.Completed > s.Submitted || s.InFlight < 0 ||
			s.InFlight+s.Pending > s.Submitted-s.Completed:
			t.Errorf("inconsistent: %+v", s)
		case s.Submitted < last.Submitted || s.Completed < last.Completed || s.Batched < last.Batched ||
			s.Batches < last.Batches || s.Latency.Count() < last.Latency.Count():
			t.Errorf("%+v after %+v", s, last)
		}
		last = s
		select {
		case <-finished:
			s = settledStats(t, q)
			if want := int64(16 * n); s.Completed != want || s.Batched != want || s.Latency.Count() != want {
				t.Errorf("%d requests: %+v", want, s)
			}
			return
		default:
		}
	}
}

func TestLatency(t *testing.T) {
	k, q := newFake(t, 8)
	k.delay = func() time.Duration { return 5 * time.Millisecond }
	want(t, 1, start(q, 1), 1, nil)
	if s := settledStats(t, q); s.Latency != (Latency{}) {
		t.Errorf("recorded before RecordLatency: %+v", s.Latency)
	}
	q.RecordLatency(true)
	want(t, 2, start(q, 2), 2, nil)
	s := settledStats(t, q)
	below := 0
	for _, n := range s.Latency.Counts[:13] { // less than 4.096 ms
		below += int(n)
	}
	if s.Latency.Count() != 1 || below != 0 || s.Latency.Sum < 5*time.Millisecond {
		t.Errorf("one request of 5 ms: %+v", s.Latency)
	}
	q.RecordLatency(false)
	want(t, 3, start(q, 3), 3, nil)
	if s := settledStats(t, q); s.Latency.Count() != 1 {
		t.Errorf("%d recorded, want 1: recording is off", s.Latency.Count())
	}
}

func TestLatencyBuckets(t *testing.T) {
	for d, want := range map[time.Duration]int{
		0:                                 0,
		time.Microsecond - 1:              0,
		time.Microsecond:                  1,
		2*time.Microsecond - 1:            1,
		2 * time.Microsecond:              2,
		time.Millisecond:                  10,
		LatencyBound(LatencyBounds-1) - 1: LatencyBounds - 1,
		LatencyBound(LatencyBounds - 1):   LatencyBounds,
		1000 * time.Hour:                  LatencyBounds,
		-time.Second:                      0, // no clock goes back, but add allows for it
	} {
		var h histogram
		h.add(d)
		if h.counts[want].Load() != 1 {
			t.Errorf("%v is not in bucket %d", d, want)
		}
		if want < LatencyBounds && d >= LatencyBound(want) {
			t.Errorf("%v is not below the bound of bucket %d, %v", d, want, LatencyBound(want))
		}
	}
}

// Unavailable names the reason of the refusal, and a limit with its value.
func TestStatsTellWhyThereIsNoKernelAIO(t *testing.T) {
	for errno, parts := range map[syscall.Errno][]string{
		syscall.EAGAIN: {
			syscall.EAGAIN.Error(), "/proc/sys/fs/aio-nr is " + limit("aio-nr"),
			"/proc/sys/fs/aio-max-nr is " + limit("aio-max-nr"),
		},
		syscall.ENOSYS: {syscall.ENOSYS.Error(), "seccomp", "CONFIG_AIO"},
		syscall.EPERM:  {syscall.EPERM.Error(), "seccomp", "CONFIG_AIO"},
		syscall.EMFILE: {syscall.EMFILE.Error(), "RLIMIT_NOFILE"},
		syscall.ENFILE: {syscall.ENFILE.Error(), "/proc/sys/fs/file-max is " + limit("file-max")},
		syscall.ENOMEM: {syscall.ENOMEM.Error()},
	} {
		t.Run(fmt.Sprintf("errno=%d", int(errno)), func(t *testing.T) {
			shortRetry(t)
			withSetup(t, func(int) (*libaio.Context, error) { return nil, errno })
			q := newTestQueue(t, 64, newContext)
			want(t, 1, start(q, 1), 0, ErrUnavailable)
			text := q.Stats().Unavailable
			for _, part := range parts {
				if !strings.Contains(text, part) {
					t.Errorf("%q does not say %q", text, part)
				}
			}
			if strings.Contains(text, "unknown") {
				t.Errorf("%q", text)
			}
		})
	}
}

// Unavailable is empty again once the host has room.
func TestStatsWhenKernelAIOIsBack(t *testing.T) {
	shortRetry(t)
	k := newFakeKernel(t)
	asked := 0
	q := newTestQueue(t, 8, func(int) (kernel, error) {
		if asked++; asked == 1 {
			return nil, syscall.EAGAIN
		}
		return k, nil
	})
	want(t, 1, start(q, 1), 0, ErrUnavailable)
	if q.Stats().Unavailable == "" {
		t.Error("Unavailable is empty")
	}
	time.Sleep(2 * retryAfter)
	want(t, 1, start(q, 1), 1, nil)
	if text := q.Stats().Unavailable; text != "" {
		t.Errorf("still unavailable: %s", text)
	}
}

// A seccomp filter may come later.
func TestStatsWhenIOSubmitIsForbidden(t *testing.T) {
	k, q := newFake(t, 8)
	want(t, 1, start(q, 1), 1, nil)
	k.at(submitting, 2, fault{err: syscall.EPERM})
	want(t, 1, start(q, 1), 0, ErrUnavailable)
	if text := q.Stats().Unavailable; !strings.Contains(text, "seccomp") {
		t.Errorf("Unavailable is %q", text)
	}
}

func TestStatsOfGroups(t *testing.T) {
	_, q := newFake(t, 64)
	var g Group
	for round := range int64(3) {
		if s := q.Stats(); s.Submitted != 4*round || s.Completed != 4*round || s.InFlight != 0 {
			t.Errorf("round %d, before: %+v", round, s)
		}
		for i := range int64(4) {
			g.Add(req(Read, 3, memory[:1], i))
		}
		q.Run(&g)
		g.Free()
		if s := q.Stats(); s.Submitted != 4*round+4 || s.Completed != s.Submitted {
			t.Errorf("round %d, after: %+v", round, s)
		}
	}
	checkIdle(t, q)
}
