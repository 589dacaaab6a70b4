//go:build linux

package main

import (
	"testing"
	"time"

	"github.com/go-aio/aio"
)

func TestLoad(t *testing.T) {
	l := startLoad(2)
	for i := range l.goroutines {
		for begin := time.Now(); l.goroutines[i].steps.Load() == 0; time.Sleep(time.Millisecond) {
			if time.Since(begin) > 10*time.Second {
				t.Fatalf("goroutine %d has not computed for 10 s", i)
			}
		}
	}
	l.stop()
	work := l.work()
	if work < 2*stepsAtOnce {
		t.Errorf("two goroutines made %d steps", work)
	}
	time.Sleep(5 * time.Millisecond)
	if now := l.work(); now != work {
		t.Errorf("%d steps were made after stop", now-work)
	}
}

func TestBusyShare(t *testing.T) {
	before := aio.Stats{Submitted: 100, Synchronous: 50, Busy: 7}
	after := aio.Stats{Submitted: 140, Synchronous: 60, Busy: 57}
	if got := busyShare(before, after); got != 0.5 {
		t.Errorf("50 of 100 requests: got %v", got)
	}
	if got := busyShare(after, after); got != 0 {
		t.Errorf("no requests: got %v", got)
	}
}

// Goroutines that compute run in the process of those that are measured, and their work counts.
func TestChildComputes(t *testing.T) {
	for _, e := range []engine{osEngine, aioEngine} {
		for _, w := range []workload{readWork, writeWork, syncWork, batchReadWork} {
			t.Run(string(w)+"/"+string(e), func(t *testing.T) {
				j := tinyFile(t)
				j.Engine, j.Workload, j.Computing = e, w, 2
				c, err := startChild(t.Context(), workerCommand(), j)
				if err != nil {
					t.Fatal(err)
				}
				defer c.close()
				r, err := c.measure(t.Context(), 0, 10*time.Millisecond)
				if err != nil {
					t.Fatal(err)
				}
				if r.Ops < 3 || r.Work <= 0 {
					t.Errorf("round: %+v", r)
				}
				if r.BusyShare < 0 || r.BusyShare > 1 || (e == osEngine && r.BusyShare != 0) {
					t.Errorf("busy share %v", r.BusyShare)
				}
			})
		}
	}
}
