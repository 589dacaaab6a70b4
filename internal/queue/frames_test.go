//go:build linux

package queue_test

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/internal/queue"
)

// maxFrames bounds the way of a request from the method of a File to libaio.Submit, both counted.
const maxFrames = 8

// A request goes down in a few steps, each of which docs/architecture.md draws.
func TestFrames(t *testing.T) {
	aiotest.Guard(t)
	if !aiotest.Direct {
		aiotest.NeedsDirect(t)
	}
	var way []string
	queue.OnSubmit(t, func() { way = frames() })
	if err := aio.Configure(aio.Config{SyncLimit: -1}); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(aiotest.Dir(t), "file")
	if err := os.WriteFile(name, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := aio.OpenFile(name, os.O_RDWR|aio.O_DIRECT, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p := aio.AlignedBuffer(4096)
	for _, c := range []struct {
		method string
		call   func(p []byte, off int64) (int, error)
	}{{"ReadAt", f.ReadAt}, {"WriteAt", f.WriteAt}} {
		way = nil
		if _, err := c.call(p, 4096); err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(way, func(name string) bool { return strings.HasSuffix(name, "aio.(*File)."+c.method) })
		if i < 0 {
			t.Fatalf("%s did not go to kernel AIO: %q", c.method, way)
		}
		if i+1 > maxFrames {
			t.Errorf("%d frames from %s to libaio.Submit, want at most %d:\n%s", i+1, c.method, maxFrames, strings.Join(way[:i+1], "\n"))
		}
	}
}

// frames returns the functions on the stack, from the one that stands for libaio.Submit on.
func frames() (names []string) {
	pc := make([]uintptr, 64)
	list := runtime.CallersFrames(pc[:runtime.Callers(3, pc)])
	for more := true; more; {
		var frame runtime.Frame
		frame, more = list.Next()
		names = append(names, frame.Function)
	}
	return names
}
