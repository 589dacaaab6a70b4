//go:build linux

// Command bench measures aio.File side by side with os.File, and with fio's libaio engine where
// fio is installed: throughput, latency, CPU time and threads, at one to a thousand goroutines.
//
//	go -C bench run . -h
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
)

func main() {
	if os.Getenv(workerEnv) == "1" {
		os.Exit(runWorker(os.Stdin, os.Stdout))
	}
	// Workers are killed when the thread that started them ends; see dieWithParent.
	runtime.LockOSThread()
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run is main, with an exit code.
func run(args []string, stdout, stderr *os.File) int {
	warn := func(format string, args ...any) {
		fmt.Fprintf(stderr, "bench: "+format+"\n", args...)
	}
	o, err := parseFlags(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(stdout, "%s", help)
		return 0
	}
	if err != nil {
		warn("%v", err)
		return 2
	}
	if o.from != "" {
		rep, err := readReport(o.from)
		if err == nil {
			err = publish(rep, o, stdout)
		}
		if err != nil {
			warn("%v", err)
			return 1
		}
		return 0
	}
	ctx, stop := untilSignal()
	defer stop()
	rep, err := bench(ctx, o, stderr, warn)
	stopped, interrupted := errors.AsType[stopError](context.Cause(ctx))
	if err != nil && !interrupted {
		warn("%v", err)
		return 1
	}
	if rep != nil {
		rep.Interrupted = interrupted
		err = publish(rep, o, stdout)
	}
	if interrupted {
		warn("%v", stopped)
	}
	if err != nil {
		warn("%v", err)
	}
	switch {
	case interrupted:
		return 128 + int(stopped.signal)
	case err != nil || rep.failed():
		return 1
	}
	return 0
}

// A stopError is the signal that cancelled everything.
type stopError struct{ signal syscall.Signal }

func (e stopError) Error() string { return fmt.Sprintf("stopped early by a signal: %v", e.signal) }

// untilSignal returns a context that ends with the first signal that asks the program to end. It
// ignores later ones: the remaining work is short and must be done.
func untilSignal() (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		if s, ok := <-signals; ok {
			cancel(stopError{s.(syscall.Signal)})
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(signals)
	}
}

// bench measures. When it returns, it has removed its file and ended its workers. The report is nil
// if it got no further than the file.
func bench(ctx context.Context, o options, stderr *os.File, warn func(string, ...any)) (*report, error) {
	dir, err := filepath.Abs(o.dir)
	if err != nil {
		return nil, err
	}
	d, err := probeDisk(dir, o.allowRAM)
	if err != nil {
		return nil, err
	}
	size, err := d.fit(o.size)
	if err != nil {
		return nil, err
	}
	if size < o.size {
		warn("space is short in %s: measuring a file of %s instead of %s", dir, formatSize(size), formatSize(o.size))
	}
	rep := &report{Environment: describeSystem()}
	fioPath, err := findFio(&o, warn)
	if err != nil {
		return nil, err
	}
	if fioPath != "" {
		rep.Environment.Fio = fioVersion(fioPath)
	}
	var trace *submitTrace
	if o.trace {
		if trace, err = newSubmitTrace(); err != nil {
			return nil, err
		}
		defer trace.close()
	}
	rep.Plan = o.plan
	rep.Environment.describeDisk(dir)
	rep.Environment.FileSize, rep.Environment.Direct = size, d.direct

	filling := newBar(stderr, size, "writing the file", true)
	name, err := d.makeFile(ctx, size, filling.advance)
	filling.clear()
	if name != "" {
		defer os.Remove(name)
	}
	if err != nil {
		return nil, err
	}
	fresh := name + ".fresh"
	if err := os.WriteFile(fresh, nil, 0o600); err != nil {
		return rep, err
	}
	defer os.Remove(fresh)
	m := &measurer{
		plan:   o.plan,
		job:    job{File: name, Size: size, Direct: d.direct},
		fresh:  fresh,
		trace:  trace,
		fio:    fio{path: fioPath, file: name, size: size, direct: d.direct, poisson: o.Poisson},
		report: rep,
		bar:    newBar(stderr, int64(o.steps()), "measuring", false),
		warn:   warn,
	}
	m.run(ctx)
	m.bar.clear()
	return rep, nil
}

// findFio returns "" if fio has no turns.
func findFio(o *options, warn func(string, ...any)) (string, error) {
	if o.FioRounds == 0 {
		return "", nil
	}
	path, err := exec.LookPath("fio")
	if err == nil {
		return path, nil
	}
	if o.fioAsked {
		return "", errors.New("-fio-rounds asks for fio, which is not on the PATH")
	}
	warn("fio is not on the PATH: no rows for it")
	o.FioRounds = 0
	return "", nil
}

// publish writes the requested outputs. If it fails to write the table, it still writes the JSON.
func publish(rep *report, o options, stdout io.Writer) error {
	var errs []error
	if o.json != "" {
		errs = append(errs, rep.writeJSON(o.json))
	}
	if o.svg != "" && len(rep.Rows) > 0 {
		errs = append(errs, rep.writeSVG(o.svg))
	}
	if o.markdown != "" {
		errs = append(errs, rep.writeMarkdown(o.markdown))
	}
	_, err := io.WriteString(stdout, rep.table())
	return errors.Join(append(errs, err)...)
}
