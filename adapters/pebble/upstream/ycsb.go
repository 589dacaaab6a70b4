package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/go-aio/aio/internal/aiotest/measure"
)

// ycsb measures Pebble's own benchmark (pebble bench ycsb) over vfs.Default and the adapter, in
// dir.
type ycsb struct {
	dir, binary string
	rounds      int
	modes       []string
	only        string // workloads
}

const (
	ycsbKeys  = 640 << 10 // of 1000 bytes each, ten times
	ycsbCache = 64 << 20  // bytes
)

// ycsbWorkloads are the workloads of the tool: C reads at random; F is, in this tool, inserts, each
// synced; scan reads 100 records in order. Few enough reads are made that they meet hardly any
// block twice, as in a database larger than memory: the tool has blocks of 32 KiB. Without any
// reads it measures in whole seconds, so F has a time.
var ycsbWorkloads = []struct {
	name   string
	args   []string
	writes bool
	until  map[int]string // by the number of goroutines
}{
	{name: "C", args: []string{"--workload=C"}, until: map[int]string{1: "--num-ops=2000", 64: "--num-ops=5000"}},
	{name: "scan", args: []string{"--workload=scan=100", "--scans=100"}, until: map[int]string{1: "--num-ops=500", 64: "--num-ops=1500"}},
	{name: "F", args: []string{"--workload=F"}, writes: true, until: map[int]string{1: "--duration=4s", 64: "--duration=4s"}},
}

// bench builds the tool in the copy of Pebble, makes a database below dir and measures the modes.
func bench(ctx context.Context, scratch, dir string, modes []string, only string, rounds int) error {
	tool := filepath.Join(scratch, "pebble", "cmd", "pebble")
	if err := addInit(filepath.Join(tool, "upstream_init.go"), "main"); err != nil {
		return err
	}
	y := &ycsb{binary: filepath.Join(scratch, "pebble.bin"), modes: modes, only: only, rounds: rounds}
	if _, err := output(ctx, tool, "go", "build", "-mod=mod", "-o", y.binary, "."); err != nil {
		return err
	}
	var err error
	if y.dir, err = os.MkdirTemp(dir, "ycsb-"); err != nil {
		return err
	}
	defer os.RemoveAll(y.dir)
	if _, err := y.run(ctx, "os", "full", 1, "--workload=C", "--num-ops=1", fmt.Sprint("--initial-keys=", ycsbKeys), "--wait-compactions"); err != nil {
		return err
	}
	return y.measure(ctx)
}

// A rate is a result of the tool.
type rate struct{ ops, cpu float64 } // a second; seconds for each

var total = regexp.MustCompile(`(?m)^Benchmarkycsb/\S+ (\d+)  ([0-9.]+) ops/sec`)

// run runs the tool over a database.
func (y *ycsb) run(ctx context.Context, mode, db string, goroutines int, args ...string) (rate, error) {
	args = append([]string{"bench", "ycsb", filepath.Join(y.dir, db), fmt.Sprint("--cache=", ycsbCache), fmt.Sprint("--concurrency=", goroutines)}, args...)
	cmd := exec.CommandContext(ctx, y.binary, args...)
	cmd.Dir = y.dir // it leaves profiles
	cmd.Env = append(os.Environ(), "AIOPEBBLE_MODE="+mode)
	out, err := cmd.CombinedOutput()
	m := total.FindSubmatch(out)
	if err != nil || m == nil {
		return rate{}, fmt.Errorf("%v: %w\n%s", cmd.Args, err, out)
	}
	n, err := strconv.ParseFloat(string(m[1]), 64)
	if err != nil {
		return rate{}, err
	}
	ops, err := strconv.ParseFloat(string(m[2]), 64)
	return rate{ops, (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds() / n}, err
}

// round runs a workload once, with the database dropped from the page cache. Workloads that write
// get a copy, by hard links.
func (y *ycsb) round(ctx context.Context, mode string, goroutines int, writes bool, args ...string) (rate, error) {
	db := "full"
	if writes {
		db = "copy"
		defer os.RemoveAll(filepath.Join(y.dir, db))
		if _, err := vfs.Clone(vfs.Default, vfs.Default, filepath.Join(y.dir, "full"), filepath.Join(y.dir, db), vfs.CloneTryLink); err != nil {
			return rate{}, err
		}
	}
	if err := measure.Drop(filepath.Join(y.dir, db)); err != nil {
		return rate{}, err
	}
	args = append(args, "--initial-keys=0", fmt.Sprint("--prepopulated-keys=", ycsbKeys), "--keys=uniform")
	return y.run(ctx, mode, db, goroutines, args...)
}

// measure runs all workloads in all modes, in turns, and prints a table.
func (y *ycsb) measure(ctx context.Context) error {
	fmt.Println("| workload | goroutines | mode | its ops/s | os ops/s | ratio | CPU ratio |")
	fmt.Println("|---|---|---|---|---|---|---|")
	for _, w := range ycsbWorkloads {
		if !wanted(y.only, w.name) {
			continue
		}
		for _, goroutines := range []int{1, 64} {
			rates, err := measure.Rounds(y.modes, y.rounds, func(mode string, _ int) (rate, error) {
				return y.round(ctx, mode, goroutines, w.writes, append(slices.Clone(w.args), w.until[goroutines])...)
			})
			if err != nil {
				return fmt.Errorf("%s: %w", w.name, err)
			}
			ops, cpu := make(map[string][]float64), make(map[string][]float64)
			for mode, all := range rates {
				ops[mode] = measure.Each(all, func(r rate) float64 { return r.ops })
				cpu[mode] = measure.Each(all, func(r rate) float64 { return r.cpu })
			}
			base := y.modes[0]
			for _, mode := range y.modes[1:] {
				fmt.Printf("| %s | %d | %s | %.5g | %.5g | %v | %.2f |\n", w.name, goroutines, mode, measure.Quantile(ops[mode], 0.5),
					measure.Quantile(ops[base], 0.5), measure.Ratios(ops[mode], ops[base]), measure.Ratios(cpu[mode], cpu[base]).Median)
			}
		}
	}
	return nil
}
