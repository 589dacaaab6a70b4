// Package concurrency tests a file with many concurrent users: through one File and several,
// os.Files, other processes, and other names of the file.
package concurrency

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/pprof"
	"testing"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/internal/aiotest/aiofile"
)

// children are functions that other processes run instead of the tests.
var children = map[string]func(args []string){
	"stripes":   stripesChild,
	"appenders": appendersChild,
}

func TestMain(m *testing.M) { aiofile.Main(m, children) }

// withoutKernel matches the tests that must pass in any process.
const withoutKernel = "^(TestStripes|TestConcurrent|TestAppenders)$"

// TestRefused runs them in processes in which a seccomp filter refuses kernel AIO, or part of it.
func TestRefused(t *testing.T) {
	aiotest.NeedsTime(t)
	aiofile.Refused(t, withoutKernel)
}

// TestCramped runs them in a process with room for one request.
func TestCramped(t *testing.T) {
	aiotest.NeedsTime(t)
	aiofile.Cramped(t, withoutKernel)
}

// conditions runs a test unchanged, then with one P and with eight during signals and collections:
// any system call may return EINTR, any goroutine may move.
func conditions(t *testing.T, test func(t *testing.T)) {
	t.Run("quiet", func(t *testing.T) {
		aiotest.Guard(t)
		test(t)
	})
	if aiotest.Brief() {
		return
	}
	for _, procs := range []int{1, 8} {
		t.Run(fmt.Sprintf("storm, GOMAXPROCS=%d", procs), func(t *testing.T) {
			aiotest.Guard(t)
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
			if pprof.StartCPUProfile(io.Discard) == nil { // for its SIGPROF
				defer pprof.StopCPUProfile()
			}
			defer aiotest.Storm()()
			test(t)
		})
	}
}

// A way opens a file.
type way struct {
	name string
	open func(t testing.TB, name string, flag int) aiotest.File
}

var (
	byOS       = way{"os.File", func(t testing.TB, name string, flag int) aiotest.File { return aiofile.OpenOS(t, name, flag) }}
	byBuffered = way{"buffered", func(t testing.TB, name string, flag int) aiotest.File { return aiofile.Open(t, name, flag) }}
	byDirect   = way{"direct", openDirect}
	ways       = []way{byOS, byBuffered, byDirect}
)

// openDirect fails the test if the File is not direct where direct I/O is available.
func openDirect(t testing.TB, name string, flag int) aiotest.File {
	t.Helper()
	f, err := aiofile.Package(t, aio.O_DIRECT).OpenFile(name, flag, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// partner starts another process, which ends with the test. ask sends it a line and waits for the
// answer, which must be the same line.
func partner(t *testing.T, function ...string) (ask func(line string)) {
	t.Helper()
	cmd := aiotest.Child(t, "^$", function...)
	in, err := cmd.StdinPipe()
	aiofile.Must(err)
	out, err := cmd.StdoutPipe()
	aiofile.Must(err)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(aiotest.Follow(cmd.Process.Pid))
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	answers := bufio.NewScanner(out)
	return func(line string) {
		fmt.Fprintln(in, line)
		if !answers.Scan() || answers.Text() != line {
			t.Errorf("%q answers %q to %q", function, answers.Text(), line)
		}
	}
}

// serve is the other process's side of partner: it executes each line, until the end of the test.
func serve(do func(line string)) {
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		do(in.Text())
		fmt.Println(in.Text())
	}
	os.Exit(0)
}
