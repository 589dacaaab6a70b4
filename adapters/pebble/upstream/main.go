// Upstream runs Pebble's own tests over the adapter. It copies the module of Pebble that go.mod
// names to a temporary directory and adds a file to each package under test, whose init replaces
// vfs.Default. It runs the tests with Pebble's own FS and with each mode of the adapter, and prints
// a table. It fails if a test fails with a mode of the adapter that passes with Pebble's FS, or the
// other way round.
//
//	go -C adapters/pebble run ./upstream            # everything; the better part of an hour
//	go -C adapters/pebble run ./upstream -short     # under a minute, once compiled
//	go -C adapters/pebble run ./upstream -ycsb DIR  # Pebble's own benchmark, in DIR
//
// Most of Pebble's tests use a file system in memory. The suites marked "disk" use files on the
// disk instead: each vfs.NewMem() that a test passes on as a vfs.FS becomes a new directory.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

// A suite is the tests of one package of Pebble.
type suite struct {
	pkg   string
	disk  bool // with files in place of the file system in memory
	args  []string
	short string // the tests of -short, a regular expression; "" for none
}

var suites = []suite{
	{pkg: "vfs", short: "."},
	{pkg: "vfs/atomicfs", disk: true, short: "."},
	{pkg: "record", disk: true},
	{pkg: "wal", disk: true, short: "."},
	{pkg: "objstorage/objstorageprovider", disk: true, short: "."},
	{pkg: "sstable", disk: true},
	{pkg: "replay", disk: true},
	{pkg: "tool", disk: true},
	{pkg: "."},
	{pkg: ".", disk: true, short: "^Test(FlushEmpty|LargeBatch|LogRecycle|OpenReadOnly|OpenWALReplay|RollManifest|TwoWAL|IngestStats|CheckpointManyFiles)"},
	{pkg: "internal/metamorphic", args: []string{
		"-test.run=^TestMeta", "-fs=disk", "-seed=20261126", "-ops=uniform:3000-5000",
	}},
}

// modes are the values that the added file accepts, besides "reads" and "wal", one option alone; os
// is Pebble's own FS.
var modes = []string{"os", "buffered", "direct", "all"}

func main() {
	log.SetFlags(0)
	short := flag.Bool("short", false, "the suites that take a few seconds each, and not all modes")
	only := flag.String("suites", "", "only the suites, or workloads of -ycsb, whose names contain one of these, separated by commas")
	with := flag.String("modes", "", "only these modes, separated by commas, besides os")
	files := flag.String("ycsb", "", "measure Pebble's benchmark instead, with 1.5 GiB of files in this directory")
	rounds := flag.Int("rounds", 7, "of -ycsb")
	keep := flag.Bool("keep", false, "keep the copy of Pebble and the output of the tests")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	run := modes
	switch {
	case *with != "":
		run = append([]string{"os"}, strings.Split(*with, ",")...)
	case *files != "":
		run = []string{"os", "buffered", "reads", "all"}
	case *short:
		run = []string{"os", "buffered", "all"}
	}
	ok := true
	err := inCopy(ctx, *keep, func(dir string) (err error) {
		if *files != "" {
			return bench(ctx, dir, *files, run, *only, *rounds)
		}
		ok, err = runSuites(ctx, dir, run, *short, *only)
		return err
	})
	if err != nil {
		log.Fatal(err)
	}
	if !ok {
		os.Exit(1)
	}
}

// inCopy calls do with a temporary directory that has a copy of Pebble.
func inCopy(ctx context.Context, keep bool, do func(dir string) error) error {
	dir, err := os.MkdirTemp("", "pebble-upstream-")
	if err != nil {
		return err
	}
	if keep {
		fmt.Println("kept:", dir)
	} else {
		defer os.RemoveAll(dir)
	}
	if err := prepare(ctx, dir); err != nil {
		return err
	}
	return do(dir)
}

func runSuites(ctx context.Context, dir string, run []string, short bool, only string) (bool, error) {
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, "suite\tmode\tpassed\tfailed\tskipped\tseconds\tdifferent from os")
	same := true
	for _, s := range suites {
		if short && s.short == "" || !wanted(only, s.name()) {
			continue
		}
		binary, err := compile(ctx, dir, s.pkg)
		if err != nil {
			return false, err
		}
		var os outcome
		if short {
			s.args = append(s.args, "-test.run="+s.short)
		}
		for i, mode := range run {
			o, err := runSuite(ctx, dir, binary, s, mode)
			if err != nil {
				return false, err
			}
			if i == 0 {
				os = o
			}
			diff := o.differs(os)
			same = same && len(diff) == 0
			fmt.Fprintf(out, "%s\t%s\t%d\t%d\t%d\t%.1f\t%s\n", s.name(), mode,
				o.count("PASS"), o.count("FAIL"), o.count("SKIP"), o.took.Seconds(), strings.Join(diff, " "))
			out.Flush()
		}
		if failing := os.failing(); len(failing) > 0 {
			fmt.Fprintf(out, "%s fails with all of them: %s\n", s.name(), strings.Join(failing, " "))
		}
	}
	return same, out.Flush()
}

func (s suite) packageName() string {
	if s.pkg == "." {
		return "pebble"
	}
	return path.Base(s.pkg)
}

func (s suite) name() string {
	name := s.pkg
	if name == "." {
		name = s.packageName()
	}
	if s.disk {
		name += " (disk)"
	}
	return name
}

func wanted(only, name string) bool {
	return only == "" || slices.ContainsFunc(strings.Split(only, ","), func(s string) bool { return strings.Contains(name, s) })
}

// runSuite runs a test binary in the directory of its package, as go test does.
func runSuite(ctx context.Context, dir, binary string, s suite, mode string) (outcome, error) {
	scratch, err := os.MkdirTemp(dir, "files-")
	if err != nil {
		return outcome{}, err
	}
	defer os.RemoveAll(scratch)
	args := append([]string{"-test.v", "-test.timeout=90m"}, s.args...)
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Dir = filepath.Join(dir, "pebble", s.pkg)
	cmd.Env = append(os.Environ(), "AIOPEBBLE_MODE="+mode, "TMPDIR="+scratch)
	if s.disk {
		cmd.Env = append(cmd.Env, "AIOPEBBLE_DISK="+scratch)
	}
	log := strings.NewReplacer("/", "-", " ", "").Replace(s.name()) + "-" + mode + ".log"
	output, err := os.Create(filepath.Join(dir, log))
	if err != nil {
		return outcome{}, err
	}
	defer output.Close()
	cmd.Stdout, cmd.Stderr = output, output
	started := time.Now()
	runErr := cmd.Run()
	if err := ctx.Err(); err != nil {
		return outcome{}, err
	}
	o, err := parse(output.Name())
	o.took = time.Since(started)
	if runErr != nil && o.count("FAIL") == 0 {
		o.results["(the process)"] = "FAIL"
	}
	return o, err
}
