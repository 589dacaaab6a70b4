//go:build linux

package dio

import (
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/go-aio/aio/internal/aiotest"
)

// TestMain runs the tests in a mount namespace of their own, if the system permits that. Then
// no filesystem that they mount outlives the process, even if it is killed. TestMain fails
// the run if a test leaves a descriptor behind.
func TestMain(m *testing.M) {
	aiotest.InNamespace()
	if r, w, err := os.Pipe(); err == nil { // the runtime's poller opens descriptors
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

// wantFiles fails the test if the open descriptors differ from those before.
func wantFiles(t testing.TB, before []string) {
	t.Helper()
	if now := aiotest.OpenFiles(); !slices.Equal(now, before) {
		t.Errorf("open files before: %q\nopen files after: %q", before, now)
	}
}
