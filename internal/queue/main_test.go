//go:build linux

package queue

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-aio/aio/internal/aiotest"
)

// TestMain fails the run if it leaves a context, a descriptor or a goroutine behind.
func TestMain(m *testing.M) {
	if name := os.Getenv(forbiddenChild); name != "" {
		os.Exit(runForbidden(name))
	}
	if r, w, err := os.Pipe(); err == nil { // the runtime's poller opens descriptors
		r.Close()
		w.Close()
	}
	files, goroutines := aiotest.OpenFiles(), runtime.NumGoroutine()
	code := m.Run()
	if code == 0 {
		code = leaks(files, goroutines)
	}
	os.Exit(code)
}

func leaks(files []string, goroutines int) (code int) {
	if n := contexts(); n != 0 {
		fmt.Fprintf(os.Stderr, "%d contexts have not been destroyed\n", n)
		code = 1
	}
	if now := aiotest.OpenFiles(); !slices.Equal(now, files) {
		fmt.Fprintf(os.Stderr, "open files before: %q\nopen files after: %q\n", files, now)
		code = 1
	}
	if aiotest.Eventually(func() bool { return runtime.NumGoroutine() <= goroutines }) {
		return code // a goroutine that is about to end may need a moment
	}
	fmt.Fprintf(os.Stderr, "goroutines left behind:\n%s\n", aiotest.Stacks())
	return 1
}

// contexts returns the number of AIO contexts of this process. The kernel maps the ring of
// each.
func contexts() int {
	maps, _ := os.ReadFile("/proc/self/maps")
	return strings.Count(string(maps), "/[aio]")
}

// still checks that a condition stays true for a moment. That is long enough for a goroutine
// that is about to make it false.
func still(t testing.TB, what string, true func() bool) {
	t.Helper()
	for range 20 {
		if !true() {
			t.Fatalf("no longer %s\n%s", what, aiotest.Stacks())
		}
		time.Sleep(250 * time.Microsecond)
	}
}

// procs sets GOMAXPROCS for the test. A queue reads it at its first request.
func procs(t testing.TB, n int) {
	old := runtime.GOMAXPROCS(n)
	t.Cleanup(func() { runtime.GOMAXPROCS(old) })
}
