//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A fio runs fio's libaio engine on the same file. It is the yardstick: the minimum cost of a
// request through kernel AIO, from one thread of C that keeps the queue full.
type fio struct {
	path   string
	file   string
	size   int64
	direct bool
}

// args returns the arguments of one job. Like the goroutines, it chooses any block each time
// (norandommap), draws differently every time (randrepeat=0), uses the file unchanged, and times a
// request from before its submission (lat, not clat).
func (f fio) args(w workload, depth int, d time.Duration) []string {
	rw := "randwrite"
	if w.reads() {
		rw = "randread"
	}
	args := []string{
		"--name=bench", "--thread", "--ioengine=libaio", "--rw=" + rw,
		"--filename=" + strings.ReplaceAll(f.file, ":", `\:`), // a bare colon separates file names
		"--size=" + strconv.FormatInt(f.size, 10),
		"--bs=" + strconv.Itoa(blockSize),
		"--iodepth=" + strconv.Itoa(depth),
		"--runtime=" + strconv.FormatInt(d.Milliseconds(), 10) + "ms", "--time_based",
		"--randrepeat=0", "--norandommap", "--allow_file_create=0", "--invalidate=0",
		"--clat_percentiles=0", "--lat_percentiles=1",
		"--output-format=json+", "--eta=never", // json+ has the whole histogram
	}
	if f.direct {
		args = append(args, "--direct=1")
	}
	if w == syncWork {
		args = append(args, "--fsync=1")
	}
	return args
}

// measure runs one round, in a new process.
func (f fio) measure(ctx context.Context, w workload, depth, index int, d time.Duration) (round, error) {
	ctx, cancel := context.WithTimeout(ctx, d+patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, f.path, f.args(w, depth, d)...)
	// fio gets a process group of its own. Otherwise Ctrl-C would make it end the round and report
	// half of it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	dieWithParent(cmd)
	cmd.WaitDelay = time.Second
	var stdout bytes.Buffer
	var stderr headBuffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		return round{}, fmt.Errorf("fio: %w", err)
	}
	threads := sampleThreads(cmd.Process.Pid)
	err := cmd.Wait()
	peak := threads.end()
	if ctx.Err() != nil {
		return round{}, context.Cause(ctx)
	}
	if err != nil {
		return round{}, fmt.Errorf("fio: %w: %s", err, firstLine(stderr.String()+stdout.String()))
	}
	r, err := parseFio(stdout.Bytes(), w)
	if err != nil {
		return round{}, fmt.Errorf("fio: %w", err)
	}
	return newRound(index, r.ops, r.elapsed, r.cpu, peak, r.latency), nil
}

type fioResult struct {
	ops     int64
	elapsed time.Duration
	cpu     time.Duration
	latency latency
}

// fioOutput is the part of fio's JSON that bench uses.
type fioOutput struct {
	Jobs []struct {
		Error      int     `json:"error"`
		Read       fioSide `json:"read"`
		Write      fioSide `json:"write"`
		Sync       fioSide `json:"sync"`
		JobRuntime float64 `json:"job_runtime"` // milliseconds
		UserCPU    float64 `json:"usr_cpu"`     // per cent of job_runtime
		SystemCPU  float64 `json:"sys_cpu"`
	} `json:"jobs"`
}

type fioSide struct {
	TotalIOs int64   `json:"total_ios"`
	Runtime  float64 `json:"runtime"` // milliseconds
	Latency  struct {
		Bins map[string]int64 `json:"bins"` // counts, by latency in nanoseconds
	} `json:"lat_ns"`
}

func parseFio(output []byte, w workload) (fioResult, error) {
	// Warnings come before the JSON, on standard output.
	if i := bytes.IndexByte(output, '{'); i > 0 {
		output = output[i:]
	}
	var out fioOutput
	if err := json.Unmarshal(output, &out); err != nil {
		return fioResult{}, fmt.Errorf("reading its JSON: %w", err)
	}
	if len(out.Jobs) != 1 {
		return fioResult{}, fmt.Errorf("%d jobs in its JSON, want 1", len(out.Jobs))
	}
	j := out.Jobs[0]
	if j.Error != 0 {
		return fioResult{}, fmt.Errorf("its job failed: %w", syscall.Errno(j.Error))
	}
	side := j.Write
	if w.reads() {
		side = j.Read
	}
	if side.TotalIOs == 0 || side.Runtime == 0 {
		return fioResult{}, fmt.Errorf("no %s in its JSON", w)
	}
	r := fioResult{
		ops:     side.TotalIOs,
		elapsed: milliseconds(side.Runtime),
		cpu:     milliseconds(j.JobRuntime * (j.UserCPU + j.SystemCPU) / 100),
		latency: newLatency(),
	}
	if w == syncWork {
		// fio times the write and the sync separately. The latency of both together cannot be
		// computed from that.
		r.ops = min(r.ops, j.Sync.TotalIOs)
		return r, nil
	}
	for ns, n := range side.Latency.Bins {
		v, err := strconv.ParseInt(ns, 10, 64)
		if err != nil {
			return fioResult{}, fmt.Errorf("a latency in its JSON: %w", err)
		}
		r.latency.record(v, n)
	}
	return r, nil
}

func milliseconds(ms float64) time.Duration {
	return time.Duration(math.Round(ms * float64(time.Millisecond)))
}
