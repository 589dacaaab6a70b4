//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// hangEnv makes the test binary a worker that answers once and then never again.
const hangEnv = "AIO_BENCH_TEST_HANG"

func TestMain(m *testing.M) {
	// A process with the race detector in it sleeps for a second when it ends, unless told
	// otherwise.
	if os.Getenv("GORACE") == "" {
		os.Setenv("GORACE", "atexit_sleep_ms=0")
	}
	if os.Getenv(hangEnv) == "1" {
		hang()
	}
	if os.Getenv(workerEnv) == "1" {
		os.Exit(runWorker(os.Stdin, os.Stdout))
	}
	testscript.Main(m, map[string]func(){"bench": main})
}

func hang() {
	fmt.Println("{}")
	_, _ = io.Copy(io.Discard, os.Stdin)
	select {}
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("GORACE", os.Getenv("GORACE"))
			return nil
		},
		Condition: func(name string) (bool, error) {
			if name == "shm" { // a tmpfs that all users may write
				var st unix.Statfs_t
				err := unix.Statfs("/dev/shm", &st)
				return err == nil && uint32(st.Type) == unix.TMPFS_MAGIC && unix.Access("/dev/shm", unix.W_OK) == nil, nil
			}
			return false, fmt.Errorf("unknown condition %q", name)
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"wrong":      cmdWrong,
			"exits":      cmdExits,
			"empty":      cmdEmpty,
			"report":     cmdReport,
			"interrupt":  cmdInterrupt,
			"withoutfio": cmdWithoutFio,
		},
	})
}

// cmdWrong runs bench with flags that it must refuse: exit code 2, one line on standard error and
// nothing on standard output.
func cmdWrong(ts *testscript.TestScript, _ bool, args []string) {
	cmdExits(ts, false, append([]string{"2", "bench"}, args...))
	if out := ts.ReadFile("stdout"); out != "" {
		ts.Fatalf("standard output has %q", out)
	}
	text := ts.ReadFile("stderr")
	if !strings.HasPrefix(text, "bench: ") || strings.Index(text, "\n") != len(text)-1 {
		ts.Fatalf("want one line that begins with bench:, got %q", text)
	}
}

// cmdExits is exec with an exit code: exits CODE COMMAND ARGS...
func cmdExits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// cmdEmpty checks that a directory is empty: empty DIR
func cmdEmpty(ts *testscript.TestScript, _ bool, args []string) {
	entries, err := os.ReadDir(ts.MkAbs(args[0]))
	ts.Check(err)
	for _, e := range entries {
		ts.Fatalf("%s is left in %s", e.Name(), args[0])
	}
}

// cmdReport checks a -json file: report FILE ROWS ROUNDS ENGINE...
func cmdReport(ts *testscript.TestScript, _ bool, args []string) {
	var rep report
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &rep))
	rows, err := strconv.Atoi(args[1])
	ts.Check(err)
	rounds, err := strconv.Atoi(args[2])
	ts.Check(err)
	if len(rep.Rows) != rows {
		ts.Fatalf("%d rows, want %d", len(rep.Rows), rows)
	}
	env := rep.Environment
	if env.Kernel == "" || env.Go == "" || env.CPUs == 0 || env.Filesystem == "" || env.FileSize == 0 ||
		env.Date.IsZero() || len(env.Command) < 2 {
		ts.Fatalf("the environment is incomplete: %+v", env)
	}
	for _, r := range rep.Rows {
		if len(r.Engines) != len(args)-3 || len(r.Ratios) != len(r.Engines)-1 {
			ts.Fatalf("%s at %d: %d engines, %d ratios", r.Workload, r.Depth, len(r.Engines), len(r.Ratios))
		}
		for i, res := range r.Engines {
			if string(res.Engine) != args[3+i] {
				ts.Fatalf("engine %d is %s, want %s", i, res.Engine, args[3+i])
			}
			checkResult(ts, r, res, rounds)
		}
	}
}

func checkResult(ts *testscript.TestScript, r *row, res *result, rounds int) {
	where := fmt.Sprintf("%s at %d, %s", r.Workload, r.Depth, res.Engine)
	if res.Engine != fioEngine && len(res.Rounds) != rounds {
		ts.Fatalf("%s: %d rounds, want %d", where, len(res.Rounds), rounds)
	}
	if res.OpsPerSecond.Median <= 0 || res.PeakThreads <= 0 {
		ts.Fatalf("%s: %+v", where, res)
	}
	if l := res.Latency; l != nil && (l.P50 <= 0 || l.P99 < l.P50 || l.P999 < l.P99 || l.Max < l.P999) {
		ts.Fatalf("%s: latency %+v", where, *l)
	}
	for _, rd := range res.Rounds {
		if rd.Ops < 1 || rd.Seconds <= 0 || (res.Engine != fioEngine && rd.Latency == nil) {
			ts.Fatalf("%s: round %+v", where, rd)
		}
		if closed := r.Rate == 0; closed && res.Engine != fioEngine && rd.Ops < int64(r.Depth) {
			ts.Fatalf("%s: round %+v", where, rd)
		}
		if open := r.Rate > 0; open && (rd.Served <= 0 || rd.Served > 1 || r.Offered <= 0) {
			ts.Fatalf("%s: %v a second offered: round %+v", where, r.Offered, rd)
		}
		if (rd.Work > 0) != (r.Computing > 0) {
			ts.Fatalf("%s: round %+v", where, rd)
		}
	}
}

// cmdInterrupt starts bench, waits until its file exists and a while longer, and sends a signal:
// interrupt SIGNAL WHILE DIR ARGS... It leaves the output in the files out and err, and the exit
// code in the variable code.
func cmdInterrupt(ts *testscript.TestScript, _ bool, args []string) {
	number := unix.SignalNum(args[0])
	while, err := time.ParseDuration(args[1])
	ts.Check(err)
	cmd := exec.Command("bench", args[3:]...)
	cmd.Dir = ts.Getenv("WORK")
	out, err := os.Create(ts.MkAbs("out"))
	ts.Check(err)
	defer out.Close()
	errs, err := os.Create(ts.MkAbs("err"))
	ts.Check(err)
	defer errs.Close()
	cmd.Stdout, cmd.Stderr = out, errs
	ts.Check(cmd.Start())
	for range 1000 {
		if found, _ := filepath.Glob(filepath.Join(ts.MkAbs(args[2]), "aio-bench-*")); len(found) > 0 {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	time.Sleep(while)
	ts.Check(cmd.Process.Signal(number))
	late := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Signal(syscall.SIGQUIT) })
	defer late.Stop()
	_ = cmd.Wait()
	ts.Setenv("code", strconv.Itoa(cmd.ProcessState.ExitCode()))
}

// cmdWithoutFio sets a PATH that has bench and nothing else.
func cmdWithoutFio(ts *testscript.TestScript, _ bool, _ []string) {
	for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
		if _, err := os.Stat(filepath.Join(dir, "bench")); err == nil {
			ts.Setenv("PATH", dir)
			return
		}
	}
	ts.Fatalf("bench is not on the PATH")
}
