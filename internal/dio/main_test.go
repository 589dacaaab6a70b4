//go:build linux

package dio

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"syscall"
	"testing"

	"github.com/go-aio/aio/internal/aiotest"
)

// TestMain runs the tests in a mount namespace of their own, where that is allowed: then
// no filesystem that they mount outlives the process, however that ends. It fails the run
// if a descriptor is left behind.
func TestMain(m *testing.M) {
	if os.Getenv(inNamespace) == "" && os.Geteuid() == 0 {
		if code, ok := runInNamespace(); ok {
			os.Exit(code)
		}
	}
	if r, w, err := os.Pipe(); err == nil { // the runtime's poller opens descriptors of its own
		r.Close()
		w.Close()
	}
	files := aiotest.OpenFiles()
	code := m.Run()
	if now := aiotest.OpenFiles(); code == 0 && !slices.Equal(now, files) {
		fmt.Fprintf(os.Stderr, "open files before: %q\nopen files after: %q\n", files, now)
		code = 1
	}
	os.Exit(code)
}

// inNamespace is the environment variable that tells the child what it is.
const inNamespace = "AIO_DIO_TEST_IN_NAMESPACE"

func runInNamespace() (code int, ok bool) {
	runtime.LockOSThread() // Pdeathsig is sent when the thread ends
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), inNamespace+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	switch err := cmd.Run(); {
	case err == nil:
		return 0, true
	case errors.As(err, new(*exec.ExitError)):
		return max(1, cmd.ProcessState.ExitCode()), true
	default:
		return 0, false // not allowed here; tests that need mounts will say so
	}
}

// wantFiles fails the test if other descriptors are open than before.
func wantFiles(t testing.TB, before []string) {
	t.Helper()
	if now := aiotest.OpenFiles(); !slices.Equal(now, before) {
		t.Errorf("open files before: %q\nopen files after: %q", before, now)
	}
}
