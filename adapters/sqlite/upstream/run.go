package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// A result is the result of a package in a mode.
type result struct {
	passed, failed, skipped []string // names, sorted
	took                    time.Duration
	cached, direct          int // calls of package aio
	output                  string
}

func (r *result) add(o result) {
	r.passed, r.failed, r.skipped = append(r.passed, o.passed...), append(r.failed, o.failed...), append(r.skipped, o.skipped...)
	r.took += o.took
	r.cached, r.direct = r.cached+o.cached, r.direct+o.direct
}

// test runs a binary in a mode.
func (w *workshop) test(binary string, s suite, mode, run string, short bool, timeout time.Duration) result {
	args := []string{"-test.v", "-test.timeout=" + timeout.String()}
	if !short {
		args = append(args, "-test.run="+run)
		return w.runTest(binary, s.dir, mode, args, timeout)
	}
	r := w.runTest(binary, s.dir, mode, append(slices.Clone(args), "-test.short", "-test.run="+s.tests), timeout)
	if s.long != "" {
		more := w.runTest(binary, s.dir, mode, append(args, "-test.run="+s.long), timeout)
		r.output += more.output
		r.add(more)
		r.sort()
	}
	return r
}

func (w *workshop) runTest(binary, dir, mode string, args []string, timeout time.Duration) result {
	began := time.Now()
	out, counts, err := w.run(binary, dir, mode+",count", args, timeout)
	r := parse(out)
	r.took = time.Since(began)
	r.cached, r.direct = counts[0], counts[1]
	if err != nil && len(r.failed) == 0 {
		r.failed = append(r.failed, fmt.Sprintf("the whole: %v", err))
	}
	return r
}

// run runs a binary of tests in the directory of its package, with temporary files on the disk,
// and returns its output and how many calls of package aio went through the page cache and not.
func (w *workshop) run(binary, dir, mode string, args []string, timeout time.Duration) (out []byte, counts [2]int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout+10*time.Second) // the binary's own timeout prints more
	defer cancel()
	temp, err := os.MkdirTemp(w.dir, "tmp-")
	if err != nil {
		return nil, counts, err
	}
	defer os.RemoveAll(temp)
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Dir = filepath.Join(w.module, dir)
	cmd.Env = append(os.Environ(), modeVariable+"="+mode, "TMPDIR="+temp)
	out, err = cmd.CombinedOutput()
	files, _ := filepath.Glob(filepath.Join(temp, countsPrefix+"*"))
	for _, f := range files {
		text, err := os.ReadFile(f)
		var cached, direct int
		if _, serr := fmt.Sscan(string(text), &cached, &direct); err != nil || serr != nil {
			return nil, counts, errors.Join(err, serr)
		}
		counts[0], counts[1] = counts[0]+cached, counts[1]+direct
	}
	return out, counts, err
}

var (
	began = regexp.MustCompile(`(?m)^=== RUN +(\S+)$`)
	ended = regexp.MustCompile(`(?m)^ *--- (PASS|FAIL|SKIP): (\S+) \(`)
)

// parse reads the output of a test binary with -test.v. A test that has begun and not ended has
// failed.
func parse(out []byte) result {
	r := result{output: string(out)}
	state := make(map[string]string)
	for _, m := range began.FindAllSubmatch(out, -1) {
		state[string(m[1])] = "FAIL"
	}
	for _, m := range ended.FindAllSubmatch(out, -1) {
		state[string(m[2])] = string(m[1])
	}
	for name, s := range state {
		switch s {
		case "PASS":
			r.passed = append(r.passed, name)
		case "SKIP":
			r.skipped = append(r.skipped, name)
		default:
			r.failed = append(r.failed, name)
		}
	}
	r.sort()
	return r
}

func (r *result) sort() {
	slices.Sort(r.passed)
	slices.Sort(r.failed)
	slices.Sort(r.skipped)
}

// speedtest is the package of SQLite's benchmark.
const speedtest = "vfs/tests/speedtest1"

// speed measures speedtest1 over the modes in turn and prints how long it takes.
func (w *workshop) speed(size, rounds int, options []string) error {
	binary, err := w.build(speedtest)
	if err != nil {
		return err
	}
	perSize := regexp.MustCompile(`([0-9.]+) ns/op`)
	// The mode mixed is left out, because a run has one database.
	modes := slices.DeleteFunc(slices.Clone(modes), func(mode string) bool { return mode == "mixed" })
	times := make(map[string][]float64)
	ratios := make(map[string][]float64)
	for range rounds {
		for _, mode := range modes {
			out, _, err := w.run(binary, speedtest, mode, speedArgs(size, options), 10*time.Minute)
			m := perSize.FindSubmatch(out)
			if err != nil || m == nil {
				return fmt.Errorf("speedtest1 over %s: %w\n%s", mode, err, bytes.TrimSpace(out))
			}
			ns, err := strconv.ParseFloat(string(m[1]), 64)
			if err != nil {
				return err
			}
			t := ns * float64(size) / 1e9
			times[mode] = append(times[mode], t)
			last := times[modes[0]]
			ratios[mode] = append(ratios[mode], last[len(last)-1]/t)
		}
	}
	fmt.Printf("%s, speedtest1 --size %d %v, %d rounds\n\n", w.version, size, options, rounds)
	fmt.Println("| VFS | median s | speed against os: median | least | most |")
	fmt.Println("|---|---|---|---|---|")
	for _, mode := range modes {
		slices.Sort(times[mode])
		slices.Sort(ratios[mode])
		fmt.Printf("| %s | %.2f | %.2f | %.2f | %.2f |\n", mode, times[mode][rounds/2], ratios[mode][rounds/2], ratios[mode][0], ratios[mode][rounds-1])
	}
	return nil
}

// recordIO prints the calls that a run of speedtest1 makes on its files.
func (w *workshop) recordIO(size int, options []string) error {
	binary, err := w.build(speedtest)
	if err != nil {
		return err
	}
	out, _, err := w.run(binary, speedtest, "io", speedArgs(size, options), 10*time.Minute)
	lines := regexp.MustCompile(`(?m)^IO(\| \w+ \| \w+ )(.*)$`).FindAllSubmatch(out, -1)
	if err != nil || lines == nil {
		return fmt.Errorf("speedtest1: %w\n%s", err, bytes.TrimSpace(out))
	}
	fmt.Printf("%s, speedtest1 --size %d %v\n\n", w.version, size, options)
	fmt.Println("| file | call | calls | of whole 4 KiB | MiB |")
	fmt.Println("|---|---|---|---|---|")
	last := make(map[string]string) // the counts grow from one connection to the next
	for _, l := range lines {
		last[string(l[1])] = string(l[2])
	}
	for _, use := range slices.Sorted(maps.Keys(last)) {
		fmt.Println(use + last[use])
	}
	return nil
}

func speedArgs(size int, options []string) []string {
	args := []string{"-test.run=^$", "-test.bench=^Benchmark_speedtest1$", fmt.Sprintf("-test.benchtime=%dx", size), "--"}
	return append(args, options...)
}
