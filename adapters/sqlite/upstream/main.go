// Upstream runs the tests of go-sqlite3 over its own VFS and over those of the adapter, and
// compares the results.
//
//	go -C adapters/sqlite run ./upstream            # everything, some minutes
//	go -C adapters/sqlite run ./upstream -short     # short enough for CI
//	go -C adapters/sqlite run ./upstream -speed 100 # SQLite's speedtest1 in its place
//
// It prints the numbers of passed, failed and skipped tests of each package. It ends with status 1
// if a test fails over the adapter that passes over go-sqlite3's own, or the other way round. A
// package that fails is run once more, and the second run counts: some tests give up a lock after
// 10 seconds, which happens with any VFS on a busy machine.
//
// The tests are those of the version of go-sqlite3 in go.mod. They do not know the adapter: they
// are built in a temporary copy of that module, with another default VFS.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// modes are the VFSes compared. In "mixed" each opened file gets the next of the other three, so
// connections by all of them share one database.
var modes = []string{"os", "aio", "aio-direct", "mixed"}

// A suite is a package of tests of go-sqlite3.
type suite struct {
	dir   string // in its module
	short bool   // a part of -short
	tests string // the tests that -short runs, with testing.Short; "" for all
	long  string // tests that -short also runs, without testing.Short, which would skip them
}

var suites = []suite{
	{dir: "vfs", short: true},
	{dir: "vfs/tests", short: true},
	{dir: "vfs/tests/mptest", short: true, tests: "^Test_mptest$/^(multiwrite01_wal|crash01|crash01_wal)$"},
	{dir: "vfs/adiantum"},
	{dir: "vfs/xts"},
	{dir: "vfs/memdb"},
	{dir: "vfs/mvcc"},
	{dir: "vfs/readervfs"},
	{dir: "util/vfsutil"},
	{dir: "tests", short: true},
	{dir: "tests/parallel", short: true, tests: "^(Test_parallel|Test_wal)$", long: "^Test_MultiProcess"},
	{dir: "tests/bradfitz", short: true},
	{dir: "."},
	{dir: "driver"},
	{dir: "ext/blobio"},
	{dir: "ext/bloom"},
	{dir: "ext/csv"},
	{dir: "ext/fileio"},
	{dir: "ext/fts5"},
	{dir: "ext/rtree"},
	{dir: "ext/serdes"},
	{dir: "ext/statement"},
	{dir: "ext/stats"},
}

func main() {
	short := flag.Bool("short", false, "run less")
	only := flag.String("only", "", "run this package")
	speed := flag.Int("speed", 0, "measure speedtest1 of this size instead")
	chosen := flag.String("modes", strings.Join(modes, ","), "the VFSes to compare, the first with the others")
	recordIO := flag.Bool("io", false, "with -speed: count its file calls, instead of measuring it")
	rounds := flag.Int("rounds", 5, "rounds of -speed")
	options := flag.String("options", "", "options of speedtest1, separated by spaces: --journal wal")
	run := flag.String("run", "", "run the tests that match this, as of go test")
	timeout := flag.Duration("timeout", 10*time.Minute, "the time that a package has")
	flag.Parse()
	modes = strings.Split(*chosen, ",")

	w, err := newWorkshop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "upstream:", err)
		os.Exit(2)
	}
	same := true
	switch {
	case *speed > 0 && *recordIO:
		err = w.recordIO(*speed, strings.Fields(*options))
	case *speed > 0:
		err = w.speed(*speed, *rounds, strings.Fields(*options))
	default:
		same, err = w.runSuites(*only, *run, *short, *timeout)
	}
	w.close()
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "upstream:", err)
		os.Exit(2)
	case !same:
		os.Exit(1)
	}
}

// runSuites runs the suites in every mode and reports whether they fail alike.
func (w *workshop) runSuites(only, run string, short bool, timeout time.Duration) (same bool, err error) {
	fmt.Printf("%s\n\n", w.version)
	fmt.Println("| package | VFS | passed | failed | skipped | s | calls of aio: page cache | direct, sync |")
	fmt.Println("|---|---|---|---|---|---|---|---|")
	same = true
	totals := make([]result, len(modes))
	for _, s := range suites {
		if only != "" && s.dir != only || short && !s.short {
			continue
		}
		binary, err := w.build(s.dir)
		if err != nil {
			return false, err
		}
		var own result
		for i, mode := range modes {
			r := w.test(binary, s, mode, run, short, timeout)
			if len(r.failed) > 0 {
				fmt.Printf("| %s | %s | failed, and is run once more: %q |\n%s\n", s.dir, mode, r.failed, tail(r.output))
				r = w.test(binary, s, mode, run, short, timeout)
			}
			totals[i].add(r)
			fmt.Printf("| %s | %s | %d | %d | %d | %.1f | %d | %d |\n",
				s.dir, mode, len(r.passed), len(r.failed), len(r.skipped), r.took.Seconds(), r.cached, r.direct)
			if i == 0 {
				own = r
			} else if !slices.Equal(own.failed, r.failed) || !slices.Equal(own.skipped, r.skipped) {
				same = false
				fmt.Printf("\n%s over %s is not as over %s.\nfailed: %q, %q\nskipped: %q, %q\n%s\n\n",
					s.dir, mode, modes[0], r.failed, own.failed, r.skipped, own.skipped, tail(r.output))
			}
			if mode == "os" && r.cached+r.direct > 0 {
				return false, fmt.Errorf("%s over its own VFS used package aio", s.dir)
			}
		}
	}
	for i, r := range totals {
		fmt.Printf("| all | %s | %d | %d | %d | %.1f | %d | %d |\n",
			modes[i], len(r.passed), len(r.failed), len(r.skipped), r.took.Seconds(), r.cached, r.direct)
		if modes[i] != "os" && only == "" && r.cached+r.direct == 0 {
			return false, fmt.Errorf("nothing over %s used package aio", modes[i])
		}
	}
	for _, name := range totals[0].failed {
		fmt.Printf("\n%s fails over %s too.\n", name, modes[0])
	}
	return same, nil
}

// output runs a command and returns its output. Its error contains the output.
func output(name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%s: %w\n%s", cmd, err, stderr.String())
	}
	return string(out), err
}

// tail returns the last lines of a text.
func tail(text string) string {
	lines := strings.Split(text, "\n")
	return strings.Join(lines[max(0, len(lines)-100):], "\n")
}
