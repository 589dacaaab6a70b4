package aiotest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"
)

// Stacks returns the stacks of all goroutines.
func Stacks() []byte {
	text := make([]byte, 1<<20)
	return text[:runtime.Stack(text, true)]
}

// OpenFiles returns the open descriptors, each with its number and its target.
func OpenFiles() []string {
	entries, _ := os.ReadDir("/proc/self/fd")
	var open []string
	for _, e := range entries {
		name, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err == nil && !strings.Contains(name, "/proc/") { // not the directory just read
			open = append(open, e.Name()+" "+name)
		}
	}
	return open
}

// childEnv names the function that a child runs instead of the tests, before its arguments.
const childEnv = "AIOTEST_CHILD"

// Main runs the tests. It fails the run if they leave a descriptor open, or change the result of
// count. If the process is a [Child], Main calls its function in children first; if the function
// returns, the tests run. A process of root has a mount namespace of its own there, see
// [InNamespace].
func Main(m *testing.M, count func() int, children map[string]func(args []string)) {
	InNamespace()
	if os.Getenv("GORACE") == "" {
		os.Setenv("GORACE", "atexit_sleep_ms=0") // the race detector waits a second in each child
	}
	if args := strings.Fields(os.Getenv(childEnv)); len(args) > 0 {
		children[args[0]](args[1:])
	}
	if !FullLength() && os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400) // a tenth of the time; at full length the collector runs as usual
		debug.SetMemoryLimit(128 << 20)
	}
	files, counted := Descriptors(), count()
	code := m.Run()
	if code == 0 && !settled(func() bool { return len(left(files)) == 0 && count() == counted }) {
		fmt.Fprintf(os.Stderr, "left open: %q; count %d, was %d\n", left(files), count(), counted)
		code = 1
	}
	os.Exit(code)
}

// left returns the descriptors that are not among files. The runtime's poller and the queue keep
// their descriptors, which have no file.
func left(files []string) []string {
	return slices.DeleteFunc(Descriptors(), func(name string) bool {
		return slices.Contains(files, name) || strings.Contains(name, "anon_inode:")
	})
}

// settled runs the collector until ok returns true, because a cleanup closes dropped Files. It
// gives up after some seconds.
func settled(ok func() bool) bool {
	for range 500 {
		if ok() {
			return true
		}
		runtime.GC()
		time.Sleep(10 * time.Millisecond)
	}
	return false
}

// Settle fails the test if ok does not become true.
func Settle(t testing.TB, what string, ok func() bool) {
	t.Helper()
	if !settled(ok) {
		t.Errorf("%s; open are %q", what, Descriptors())
	}
}

// Child returns a command that runs the test binary again: first a function of [Main]'s children,
// and then the tests that match pattern. If pattern is empty, the function must not return.
func Child(t testing.TB, pattern string, function ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run="+pattern, "-test.short=true", "-test.v=true", "-test.timeout="+timeLeft(t).String())
	cmd.Env = append(os.Environ(), childEnv+"="+strings.Join(function, " "))
	cmd.Stderr = os.Stderr
	return cmd
}

// RunChild runs the tests that match pattern in a child, after a function of [Main]'s
// children, and fails unless it succeeds.
func RunChild(t testing.TB, pattern string, function ...string) {
	t.Helper()
	Succeeds(t, Child(t, pattern, function...), pattern, function...)
}

// Succeeds runs a [Child], which the caller may have changed, and fails the test unless it
// succeeds.
func Succeeds(t testing.TB, cmd *exec.Cmd, pattern string, function ...string) {
	t.Helper()
	out, err := Output(cmd)
	if err != nil {
		t.Errorf("%v after %q: %v\n%s", pattern, function, err, out)
	}
	if testing.Verbose() {
		t.Logf("after %q:\n%s", function, out)
	}
	if err == nil && !bytes.Contains(out, []byte("--- PASS")) {
		if m := lacks.FindSubmatch(out); m != nil {
			t.Skipf("%s", m[1])
		}
		t.Errorf("%q matches no test", pattern)
	}
}

// lacks matches the output of a child that skipped its test.
var lacks = regexp.MustCompile(`(needs .*: run .*)\n`)

// Output runs a program of tests that have guards, and returns its output.
func Output(cmd *exec.Cmd) ([]byte, error) {
	defer dog.rely()()
	cmd.Stdout, cmd.Stderr = nil, nil
	return cmd.CombinedOutput()
}

// timeLeft returns how long a child may run. It leaves the child time to print its stacks. 0 is no
// limit.
func timeLeft(t testing.TB) time.Duration {
	if t, ok := t.(interface{ Deadline() (time.Time, bool) }); ok {
		if at, ok := t.Deadline(); ok {
			left := time.Until(at)
			return max(left-min(2*margin, left/5), time.Second).Round(time.Second)
		}
	}
	return 0
}

// InChild reports whether the process is a [Child].
func InChild() bool { return os.Getenv(childEnv) != "" }
