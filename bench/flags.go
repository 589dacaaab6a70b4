//go:build linux

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// options holds the command line.
type options struct {
	plan
	dir      string
	size     int64
	allowRAM bool
	quick    bool
	trace    bool
	json     string
	svg      string
	markdown string
	from     string

	fioAsked bool // -fio-rounds was given, and not as 0
}

// The caller chooses the length of a run, except for values that are surely slips.
const (
	mostRounds     = 10000
	mostDepth      = 8192 // Go ends a program that has 10000 threads
	shortestRound  = time.Millisecond
	longestRound   = time.Minute
	defaultSize    = 1 << 30
	largestSize    = 1 << 50
	quickRounds    = 3
	quickRoundTime = 100 * time.Millisecond
)

const help = `Usage: go -C bench run . [flags]

Measures operations on one file by many goroutines, with os.File and with aio.File, both opened
with O_DIRECT and measured in turns, and with fio's libaio engine where fio is installed. It makes
a file of its own in the current directory, removes it in the end, and takes about two minutes.

Where and how long:
  -dir DIR          directory on the disk to measure (default ".")
  -size SIZE        size of the file: 16M, 4G, ... (default 1G, or less if space is short)
  -quick            half a minute: 3 short rounds and no fio, unless other flags say otherwise
  -rounds N         rounds of each engine in each row (default 10)
  -round-time D     length of a round: 50ms, 2s, ... (default 200ms)
  -fio-rounds N     rounds in which fio has a turn, 0 for none (default 2, or 0 with -quick)
  -allow-ram        measure even on tmpfs, or on a filesystem without O_DIRECT

What:
  -workloads LIST   default "read,write,sync", 4 KiB at random; others are
                    cached-read, cached-write, stream-read, stream-write, cold-read: no O_DIRECT;
                    odd-100, odd-4k, odd-1m: unaligned writes, each with a Sync; fresh-read: an
                    unaligned write, read back; large-read: 1 MiB; copy: io.Copy of a cold file;
                    extend, fill: writes at the end of a file, and into holes; seq-read,
                    seq-write: a whole file by a stream.Reader or Writer, with the bytes left in the
                    page cache; log-append: 200 bytes and Sync by an exclusive stream.Writer;
                    batch-read, batch-sync: aio.File has one goroutine with a Batch
  -depths LIST      numbers of goroutines, and of fio's requests (default "1,2,4,8,32,128,1024",
                    other workloads than the first three have their own)
  -trace-submit     add how long calls of io_submit(2) took in aio.File's rounds, from the kernel's
                    tracefs (root); tracing slows these rounds down a little

Output, besides the table on standard output:
  -json FILE        everything, each round for itself, and the machine
  -svg FILE         throughput and p99 against the number of goroutines
  -markdown FILE    the table, for a document; ratios that are worse than even are bold
  -from FILE        measure nothing: these outputs from the -json of an earlier run

The -C makes bench the current directory: relative names are from there.
Ctrl-C ends a run early; the table then has the rounds so far.

Examples:
  go -C bench run . -quick
  go -C bench run . -dir /mnt/disk -json run.json -svg run.svg
  go -C bench run . -workloads read -depths 1,32 -rounds 20 -round-time 1s -fio-rounds 0

Columns:
  ops/s              median of the rounds
  p50, p99, p99.9    latency of an operation, all rounds together
  CPU/op             user and system time of the process for each operation; work that the kernel
                     does on threads of its own is charged to no process
  threads            the most that the process had at once
  aio.File ÷ engine  aio.File's ops/s divided by that engine's, round by round: the median, and the
                     middle half of the rounds in brackets; then CPU/op, likewise divided
  faster             the faster one, if nine rounds of ten agree (two to five: all of them, and by a
                     tenth at least); else "even" if the median is within 5%, or "unclear"

Exit status: 0; 1 if something could not be measured; 2 for a wrong flag; 130 after Ctrl-C.
`

// parseFlags returns flag.ErrHelp for -h. Every other error is one line that says what is allowed.
func parseFlags(args []string) (options, error) {
	o := options{
		plan: plan{
			Workloads: defaultWorkloads,
			Rounds:    10, FioRounds: 2, RoundTime: 200 * time.Millisecond,
		},
		dir:  ".",
		size: defaultSize,
	}
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	o.define(fs)
	if err := fs.Parse(args); err != nil {
		return o, explain(err)
	}
	if fs.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q: only flags are allowed, see -h", fs.Arg(0))
	}
	given := make(map[string]bool)
	fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
	return o, o.settle(given)
}

func (o *options) define(fs *flag.FlagSet) {
	fs.Func("dir", "", o.setDir)
	fs.Func("size", "", func(s string) (err error) { o.size, err = parseSize(s); return err })
	boolFlag(fs, "quick", &o.quick)
	boolFlag(fs, "allow-ram", &o.allowRAM)
	boolFlag(fs, "trace-submit", &o.trace)
	intFlag(fs, "rounds", &o.Rounds, 1, mostRounds)
	intFlag(fs, "fio-rounds", &o.FioRounds, 0, mostRounds)
	fs.Func("round-time", "", o.setRoundTime)
	fs.Func("workloads", "", o.setWorkloads)
	fs.Func("depths", "", o.setDepths)
	outputFlag(fs, "json", &o.json)
	outputFlag(fs, "svg", &o.svg)
	outputFlag(fs, "markdown", &o.markdown)
	fs.Func("from", "", o.setFrom)
}

// settle checks and sets options that depend on several flags.
func (o *options) settle(given map[string]bool) error {
	if o.quick {
		if !given["rounds"] {
			o.Rounds = quickRounds
		}
		if !given["round-time"] {
			o.RoundTime = quickRoundTime
		}
		if !given["fio-rounds"] {
			o.FioRounds = 0
		}
	}
	o.fioAsked = given["fio-rounds"] && o.FioRounds > 0
	if o.FioRounds > o.Rounds {
		if o.fioAsked {
			return fmt.Errorf("invalid value \"%d\" for flag -fio-rounds: want at most as many as -rounds, %d", o.FioRounds, o.Rounds)
		}
		o.FioRounds = o.Rounds
	}
	if o.json != "" && o.json == o.svg {
		return errors.New("-json and -svg name the same file: want two")
	}
	if o.markdown != "" && (o.markdown == o.json || o.markdown == o.svg) {
		return errors.New("-markdown names the file of another flag: want one of its own")
	}
	return nil
}

// explain adds the allowed values to messages of package flag.
func explain(err error) error {
	msg := err.Error()
	if name, ok := strings.CutPrefix(msg, "flag provided but not defined: "); ok {
		return fmt.Errorf("unknown flag %s: see -h for those there are", name)
	}
	if name, ok := strings.CutPrefix(msg, "flag needs an argument: "); ok {
		return fmt.Errorf("flag %s needs a value: see -h for what it may be", name)
	}
	if errors.Is(err, flag.ErrHelp) {
		return err
	}
	if strings.HasPrefix(msg, "bad flag syntax") {
		return fmt.Errorf("%s: see -h for the flags there are", msg)
	}
	return err
}

func boolFlag(fs *flag.FlagSet, name string, to *bool) {
	fs.BoolFunc(name, "", func(s string) error {
		v, err := strconv.ParseBool(s)
		if err != nil {
			return errors.New("want true or false, or nothing for true")
		}
		*to = v
		return nil
	})
}

func intFlag(fs *flag.FlagSet, name string, to *int, least, most int) {
	fs.Func(name, "", func(s string) error {
		n, err := strconv.Atoi(s)
		if err != nil || n < least || n > most {
			return fmt.Errorf("want a number from %d to %d", least, most)
		}
		*to = n
		return nil
	})
}

// outputFlag checks now that a file can be written, and not only when all is measured.
func outputFlag(fs *flag.FlagSet, name string, to *string) {
	fs.Func(name, "", func(s string) error {
		if s == "" {
			return errors.New("want the name of a file")
		}
		if st, err := os.Stat(s); err == nil && st.IsDir() {
			return errors.New("is a directory, want a file")
		}
		dir := filepath.Dir(s)
		if err := unix.Access(dir, unix.W_OK|unix.X_OK); err != nil {
			return fmt.Errorf("want a file in a directory that can be written: %s: %w", dir, err)
		}
		*to = s
		return nil
	})
}

func (o *options) setFrom(s string) error {
	if _, err := os.Stat(s); err != nil {
		return errors.New("want a file that -json wrote")
	}
	o.from = s
	return nil
}

func (o *options) setDir(s string) error {
	st, err := os.Stat(s)
	if err != nil {
		return errors.New("want a directory that exists")
	}
	if !st.IsDir() {
		return errors.New("want a directory")
	}
	if err := unix.Access(s, unix.W_OK|unix.X_OK); err != nil {
		return fmt.Errorf("want a directory that can be written: %w", err)
	}
	o.dir = s
	return nil
}

func (o *options) setRoundTime(s string) error {
	d, err := time.ParseDuration(s)
	if err != nil || d < shortestRound || d > longestRound {
		return fmt.Errorf("want a duration from %v to %v, such as 200ms", shortestRound, longestRound)
	}
	o.RoundTime = d
	return nil
}

func (o *options) setWorkloads(s string) error {
	o.Workloads = nil
	for name := range strings.SplitSeq(s, ",") {
		w := workload(strings.TrimSpace(name))
		if !slices.Contains(allWorkloads, w) || slices.Contains(o.Workloads, w) {
			return errors.New("want some of those that -h names, each once, with commas between them")
		}
		o.Workloads = append(o.Workloads, w)
	}
	return nil
}

func (o *options) setDepths(s string) error {
	o.Depths = nil
	for text := range strings.SplitSeq(s, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || n < 1 || n > mostDepth || slices.Contains(o.Depths, n) {
			return fmt.Errorf("want numbers from 1 to %d, each once, with commas between them", mostDepth)
		}
		o.Depths = append(o.Depths, n)
	}
	return nil
}

// units are powers of 1024, as usual for the sizes of files.
var units = []struct {
	letter string
	bytes  int64
}{{"T", 1 << 40}, {"G", 1 << 30}, {"M", 1 << 20}, {"K", 1 << 10}}

func parseSize(s string) (int64, error) {
	bad := fmt.Errorf("want a size from %s to %s, such as 512M or 4G", formatSize(smallestFile), formatSize(largestSize))
	number, unit := strings.TrimSuffix(strings.TrimSuffix(s, "B"), "i"), int64(1)
	for _, u := range units {
		if n, ok := strings.CutSuffix(strings.ToUpper(number), u.letter); ok {
			number, unit = n, u.bytes
			break
		}
	}
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || math.IsNaN(n) || n*float64(unit) < smallestFile || n*float64(unit) > largestSize {
		return 0, bad
	}
	return int64(n * float64(unit)), nil
}

// formatSize returns a readable size; a round size gets back its form on the command line.
func formatSize(n int64) string {
	for _, u := range units {
		if n >= u.bytes {
			return strconv.FormatFloat(math.Floor(float64(n)/float64(u.bytes)*10)/10, 'f', -1, 64) + " " + u.letter + "iB"
		}
	}
	return strconv.FormatInt(n, 10) + " bytes"
}
