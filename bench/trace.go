//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// tracefs is the directory of the kernel's tracer, Documentation/trace/ftrace.rst.
const tracefs = "/sys/kernel/tracing"

// A submitTrace records when a thread enters io_submit(2) and when it leaves.
type submitTrace struct {
	dir string // an instance of the tracer, which leaves its other users alone
}

func newSubmitTrace() (*submitTrace, error) {
	t := &submitTrace{dir: filepath.Join(tracefs, "instances", fmt.Sprintf("aio-bench-%d", os.Getpid()))}
	if err := os.Mkdir(t.dir, 0o755); err != nil {
		return nil, fmt.Errorf("-trace-submit needs root and the kernel's tracefs: %w", err)
	}
	err := errors.Join(
		t.set("tracing_on", "0"),
		t.set("trace_clock", "mono"),
		t.set("buffer_size_kb", "16384"),
		t.set("events/syscalls/sys_enter_io_submit/enable", "1"),
		t.set("events/syscalls/sys_exit_io_submit/enable", "1"))
	if err != nil {
		t.close()
		return nil, fmt.Errorf("-trace-submit: %w", err)
	}
	return t, nil
}

func (t *submitTrace) set(name, value string) error {
	return os.WriteFile(filepath.Join(t.dir, name), []byte(value), 0)
}

// begin starts recording.
func (t *submitTrace) begin() error {
	return errors.Join(t.set("trace", ""), t.set("tracing_on", "1"))
}

// end adds to s the calls of the process pid since begin.
func (t *submitTrace) end(pid int, s *submits) error {
	if err := t.set("tracing_on", "0"); err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(t.dir, "trace"))
	if err != nil {
		return err
	}
	threads := make(map[int]bool)
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return err
	}
	for _, e := range entries {
		tid, _ := strconv.Atoi(e.Name())
		threads[tid] = true
	}
	return s.parse(string(text), threads)
}

// close restores the tracer.
func (t *submitTrace) close() {
	_ = t.set("events/enable", "0")
	_ = os.Remove(t.dir) // an instance is removed by rmdir(2)
}

// submits holds the times of calls of io_submit(2).
type submits struct {
	Calls    int64        `json:"calls"`
	Requests int64        `json:"requests"`
	Took     *percentiles `json:"took"`

	took latency
}

func newSubmits() *submits { return &submits{took: newLatency()} }

func (s *submits) finish() { s.Took = s.took.percentiles() }

func (s *submits) String() string {
	if s == nil || s.Took == nil {
		return "not called"
	}
	return fmt.Sprintf("%s calls of %.1f requests; p50 %s, p99 %s, p99.9 %s, longest %s",
		formatCount(float64(s.Calls)), float64(s.Requests)/float64(s.Calls), formatMicroseconds(s.Took.P50),
		formatMicroseconds(s.Took.P99), formatMicroseconds(s.Took.P999), formatMicroseconds(s.Took.Max))
}

// parse reads the lines of threads in the file trace:
//
//	bench-123     [001] .....  4242.000017: sys_io_submit(ctx_id: 7f5c00000000, nr: 2, iocbpp: c000012000)
//	bench-123     [001] .....  4242.000031: sys_io_submit -> 0x2
func (s *submits) parse(trace string, threads map[int]bool) error {
	entered := make(map[int]time.Duration)
	for line := range strings.Lines(trace) {
		task, rest, found := strings.Cut(line, " [")
		if !found || strings.HasPrefix(line, "#") {
			continue
		}
		tid, err := strconv.Atoi(strings.TrimSpace(task[strings.LastIndexByte(task, '-')+1:]))
		if err != nil || !threads[tid] {
			continue
		}
		stamp, call, found := strings.Cut(rest, ": sys_io_submit")
		if !found {
			continue
		}
		at, err := time.ParseDuration(stamp[strings.LastIndexByte(stamp, ' ')+1:] + "s")
		if err != nil {
			return fmt.Errorf("a line of the trace: %q", line)
		}
		if strings.HasPrefix(call, "(") {
			entered[tid] = at
			continue
		}
		begin, found := entered[tid]
		n, err := strconv.ParseInt(strings.TrimSpace(strings.TrimPrefix(call, " -> ")), 0, 64)
		if !found || err != nil || n < 1 { // began before the trace, or the kernel refused the first
			continue
		}
		delete(entered, tid)
		s.Calls++
		s.Requests += n
		s.took.record(int64(at-begin), 1)
	}
	return nil
}
