//go:build linux

package dio

import (
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/go-aio/aio/internal/aiotest"
)

// TestMain runs the tests in a mount namespace of their own, where that is allowed: then
// no filesystem that they mount outlives the process, however that ends. It fails the run
// if a descriptor is left behind.
func TestMain(m *testing.M) {
	aiotest.InNamespace()
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

// wantFiles fails the test if other descriptors are open than before.
func wantFiles(t testing.TB, before []string) {
	t.Helper()
	if now := aiotest.OpenFiles(); !slices.Equal(now, before) {
		t.Errorf("open files before: %q\nopen files after: %q", before, now)
	}
}
