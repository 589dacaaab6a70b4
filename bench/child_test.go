//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func tinyFile(t *testing.T) job {
	t.Helper()
	d, err := probeDisk(t.TempDir(), true)
	if err != nil {
		t.Fatal(err)
	}
	name, err := d.makeFile(t.Context(), 4<<20, func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	return job{Engine: osEngine, File: name, Size: 4 << 20, Direct: d.direct, Workload: readWork, Depth: 3}
}

func TestChildMeasures(t *testing.T) {
	for _, e := range []engine{osEngine, aioEngine} {
		for _, w := range defaultWorkloads {
			t.Run(fmt.Sprintf("engine=%s/%s", e, w), func(t *testing.T) {
				j := tinyFile(t)
				j.Engine, j.Workload = e, w
				c, err := startChild(t.Context(), workerCommand(), j)
				if err != nil {
					t.Fatal(err)
				}
				defer c.close()
				for i := range 2 {
					r, err := c.measure(t.Context(), i, 10*time.Millisecond)
					if err != nil {
						t.Fatal(err)
					}
					if r.Index != i || r.Ops < 3 || r.Seconds < 0.01 || r.PeakThreads < 1 || r.CPUSeconds <= 0 {
						t.Errorf("round: %+v", r)
					}
					if n := r.histogram.TotalCount(); n != r.Ops {
						t.Errorf("%d latencies of %d operations", n, r.Ops)
					}
				}
			})
		}
	}
}

// TestWorkloads runs every workload on every engine.
func TestWorkloads(t *testing.T) {
	for _, w := range allWorkloads {
		for _, e := range (plan{FioRounds: 0}).engines(w) {
			t.Run(string(w)+"/"+string(e), func(t *testing.T) {
				j := tinyFile(t)
				j.Engine, j.Workload, j.Depth = e, w, plan{Depths: []int{3}}.depths(w)[0]
				worker, err := newWorker(j)
				if err != nil {
					t.Fatal(err)
				}
				defer worker.close()
				for range 2 {
					if a := worker.round(5 * time.Millisecond); a.Error != "" || a.Ops < 1 {
						t.Errorf("%+v", a)
					}
				}
			})
		}
	}
}

// TestLaneFlushes checks that a lane's samples go to the histogram whenever there are 1024 of them,
// and that none is lost.
func TestLaneFlushes(t *testing.T) {
	j := tinyFile(t)
	w, err := newWorker(j)
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	for _, l := range w.lanes {
		l.do = func(*lane) error { return nil }
	}
	a := w.round(5 * time.Millisecond)
	if a.Error != "" || a.Ops < 3*samplesPerLane {
		t.Fatalf("%+v", a)
	}
	if n := w.latency.TotalCount(); n != a.Ops {
		t.Errorf("%d latencies of %d operations", n, a.Ops)
	}
}

func TestChildErrors(t *testing.T) {
	j := tinyFile(t)
	missing := j
	missing.File = filepath.Join(t.TempDir(), "missing")
	if _, err := startChild(t.Context(), workerCommand(), missing); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("no file: %v", err)
	}
	// Reads beyond the end of the file fail.
	if err := os.Truncate(j.File, 0); err != nil {
		t.Fatal(err)
	}
	c, err := startChild(t.Context(), workerCommand(), j)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	if _, err := c.measure(t.Context(), 0, time.Millisecond); err == nil || !strings.Contains(err.Error(), "os.File: EOF") {
		t.Errorf("reading at the end: %v", err)
	}
}

func TestChildThatDies(t *testing.T) {
	cmd := exec.Command("sh", "-c", "read line; echo something broke >&2; exit 3")
	_, err := startChild(t.Context(), cmd, job{Engine: aioEngine})
	if err == nil || !strings.Contains(err.Error(), "exit status 3: something broke") {
		t.Errorf("got %v", err)
	}
}

func TestChildThatHangs(t *testing.T) {
	cmd := workerCommand()
	cmd.Env = append(os.Environ(), hangEnv+"=1")
	c, err := startChild(t.Context(), cmd, job{Engine: aioEngine})
	if err != nil {
		t.Fatal(err)
	}
	c.patience = 50 * time.Millisecond
	_, err = c.measure(t.Context(), 0, time.Millisecond)
	hang, ok := errors.AsType[*hangError](err)
	if !ok {
		t.Fatalf("got %v, want a hangError", err)
	}
	if !strings.Contains(hang.stacks, "goroutine ") {
		t.Errorf("no stacks: %q", hang.stacks)
	}
	select {
	case <-c.exited:
	default:
		t.Error("the worker is still there")
	}
}

func TestChildIsStopped(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	c, err := startChild(ctx, workerCommand(), tinyFile(t))
	if err != nil {
		t.Fatal(err)
	}
	stop := stopError{syscall.SIGINT}
	time.AfterFunc(20*time.Millisecond, func() { cancel(stop) })
	start := time.Now()
	if _, err := c.measure(ctx, 0, time.Minute); !errors.Is(err, stop) {
		t.Errorf("got %v, want %v", err, stop)
	}
	c.kill()
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
}

// TestWorkersDieWithParent checks that workers do not outlive a parent that had no time to stop
// them.
func TestWorkersDieWithParent(t *testing.T) {
	dir := t.TempDir()
	bench, err := exec.LookPath("bench")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bench, "-allow-ram", "-dir", dir, "-size", "16M", "-workloads", "sync", "-depths", "16",
		"-rounds", "1", "-round-time", "1m", "-fio-rounds", "0")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }()
	defer func() { _ = cmd.Process.Kill() }()
	workers := waitFor(t, func() []int {
		if pids := children(cmd.Process.Pid); len(pids) > 0 {
			return pids
		}
		return nil
	})
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() []int {
		if slices.ContainsFunc(workers, alive) {
			return nil
		}
		return workers
	})
}

// children returns the processes started by any thread of pid.
func children(pid int) []int {
	var pids []int
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, f := range files {
		text, _ := os.ReadFile(f)
		for word := range strings.FieldsSeq(string(text)) {
			if n, err := strconv.Atoi(word); err == nil {
				pids = append(pids, n)
			}
		}
	}
	return pids
}

// alive reports whether a process runs. A zombie that waits for init does not.
func alive(pid int) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	return err == nil && !strings.Contains(string(status), "State:\tZ") && !strings.Contains(string(status), "State:\tX")
}

func waitFor(t *testing.T, found func() []int) []int {
	t.Helper()
	if _, err := os.Stat("/proc/thread-self/children"); err != nil {
		t.Skip("this kernel does not list children")
	}
	for range 2000 {
		if pids := found(); pids != nil {
			return pids
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("waited 20 s")
	return nil
}
