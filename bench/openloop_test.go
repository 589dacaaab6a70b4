//go:build linux

package main

import (
	"errors"
	"math"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A stallingFile takes as long for each read as delay says of its turn.
type stallingFile struct {
	file
	delay func(turn int) time.Duration
	err   error

	mu     sync.Mutex
	starts []time.Time
}

func (f *stallingFile) ReadAt(p []byte, _ int64) (int, error) {
	f.mu.Lock()
	turn := len(f.starts)
	f.starts = append(f.starts, time.Now())
	f.mu.Unlock()
	time.Sleep(f.delay(turn))
	return len(p), f.err
}

// openWorker offers 1000 reads of f a second. Its times are those of a synctest bubble.
func openWorker(f *stallingFile) *worker {
	j := job{Size: 1 << 20, Workload: readWork, Offered: 1000}
	w := &worker{
		spec: readWork.spec(), file: f, latency: newLatency(), delay: newLatency(), load: startLoad(0),
	}
	w.open = newOpenLoop(w, j, func(until time.Time) error {
		time.Sleep(time.Until(until))
		return nil
	})
	return w
}

func about(us float64, d time.Duration) bool {
	return math.Abs(us/float64(d/time.Microsecond)-1) < 0.01
}

// A read that stalls delays the intended start of none of the others.
func TestStalledOperation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &stallingFile{delay: func(turn int) time.Duration {
			if turn == 3 {
				return 700 * time.Millisecond
			}
			return 100 * time.Microsecond
		}}
		w := openWorker(f)
		begin := time.Now()
		a := w.round(200 * time.Millisecond)
		if a.Error != "" || a.Offered != 200 || a.Ops != 200 || a.Elapsed != 703*time.Millisecond {
			t.Errorf("%d of %d reads in %v: %s", a.Ops, a.Offered, a.Elapsed, a.Error)
		}
		for i, start := range f.starts {
			if at := start.Sub(begin); at != time.Duration(i)*time.Millisecond {
				t.Errorf("read %d began after %v", i, at)
			}
		}
		p := w.latency.percentiles()
		if !about(p.P50, 100*time.Microsecond) || !about(p.P99, 100*time.Microsecond) ||
			!about(p.Max, 700*time.Millisecond) {
			t.Errorf("latency %+v", p)
		}
		if n := len(w.lanes); n > 3 {
			t.Errorf("%d lanes, where two reads were under way at most", n)
		}
	})
}

// Latency counts from the intended start, also if the start itself was late.
func TestLateStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &stallingFile{delay: func(int) time.Duration { return time.Millisecond }}
		w := openWorker(f)
		w.open.wait = func(until time.Time) error {
			time.Sleep(time.Until(until.Add(20 * time.Millisecond)))
			return nil
		}
		if a := w.round(50 * time.Millisecond); a.Error != "" || a.Ops != 50 {
			t.Errorf("%+v", a)
		}
		if p := w.latency.percentiles(); !about(p.P50, 21*time.Millisecond) {
			t.Errorf("latency %+v", p)
		}
		if p := w.delay.percentiles(); !about(p.P50, 20*time.Millisecond) {
			t.Errorf("delay %+v", p)
		}
	})
}

// Operations beyond the bound are offered and not served. The next round has all lanes again.
func TestUnderWayBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stall := time.Hour
		f := &stallingFile{delay: func(int) time.Duration { return stall }}
		w := openWorker(f)
		w.open.limit = 10
		if a := w.round(100 * time.Millisecond); a.Error != "" || a.Offered != 100 || a.Ops != 10 {
			t.Errorf("%d of %d reads: %s", a.Ops, a.Offered, a.Error)
		}
		stall = 0
		if a := w.round(100 * time.Millisecond); a.Error != "" || a.Offered != 100 || a.Ops != 100 {
			t.Errorf("then %d of %d reads: %s", a.Ops, a.Offered, a.Error)
		}
		if n := w.latency.TotalCount(); n != 100 {
			t.Errorf("%d latencies of 100 reads", n)
		}
	})
}

func TestOpenLoopFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &stallingFile{delay: func(int) time.Duration { return 0 }, err: errors.New("no luck")}
		w := openWorker(f)
		if a := w.round(10 * time.Millisecond); a.Error != "no luck" {
			t.Errorf("a read that fails: %+v", a)
		}
		f.err = nil
		w.open.wait = func(time.Time) error { return errors.New("no time") }
		if a := w.round(10 * time.Millisecond); a.Error != "no time" {
			t.Errorf("a wait that fails: %+v", a)
		}
	})
}

// Random starts have the mean distance that was asked for, and are not equally far apart.
func TestPoisson(t *testing.T) {
	w := &worker{spec: readWork.spec()}
	o := newOpenLoop(w, job{Workload: readWork, Offered: 1000, Poisson: true, Seed: 1}, nil)
	var gaps []time.Duration
	var sum time.Duration
	for range 10_000 {
		gaps = append(gaps, o.gap())
		sum += gaps[len(gaps)-1]
	}
	if mean := sum / 10_000; mean < 950*time.Microsecond || mean > 1050*time.Microsecond {
		t.Errorf("the mean distance is %v, want 1 ms", mean)
	}
	slices.Sort(gaps)
	// The median of an exponential distribution is ln 2 of its mean.
	if median := gaps[5000]; median < 650*time.Microsecond || median > 740*time.Microsecond {
		t.Errorf("the median distance is %v, want 693 µs", median)
	}
}

// An alarm never returns before its time, and misses no expiry, however short the wait.
func TestAlarm(t *testing.T) {
	a, err := newAlarm()
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	for i := range 300 {
		until := time.Now().Add(time.Duration(i) * time.Microsecond)
		if err := a.wait(until); err != nil {
			t.Fatal(err)
		}
		if time.Now().Before(until) {
			t.Fatalf("wait %d returned too early", i)
		}
	}
	for range 300 { // shorter than wait ever asks for
		if err := a.sleep(time.Nanosecond); err != nil {
			t.Fatal(err)
		}
	}
}

func TestChildServesRate(t *testing.T) {
	for _, e := range []engine{osEngine, aioEngine} {
		for _, w := range defaultWorkloads {
			t.Run(string(w)+"/"+string(e), func(t *testing.T) {
				j := tinyFile(t)
				j.Engine, j.Workload, j.Offered = e, w, 500
				c, err := startChild(t.Context(), workerCommand(), j)
				if err != nil {
					t.Fatal(err)
				}
				defer c.close()
				for i := range 2 {
					r, err := c.measure(t.Context(), i, 20*time.Millisecond)
					if err != nil {
						t.Fatal(err)
					}
					if r.Ops != 10 || r.Served != 1 || r.Seconds < 0.018 || r.Latency == nil || r.Delay == nil {
						t.Errorf("round: %+v", r)
					}
					if r.Latency.P50 < r.Delay.P50 {
						t.Errorf("the median took %v µs and began %v µs late", r.Latency.P50, r.Delay.P50)
					}
				}
			})
		}
	}
}
