// Package apart tests that a disk that hangs holds up no other. Disk A hangs, with thousands of
// calls under way, and the operations a second on disk B stay what they were.
//
// A hangs in one of two ways. A frozen filesystem, fsfreeze(8), blocks writes and Truncate in the
// system call, io_submit(2) included. A stalled disk answers no request, so its reads and Syncs
// hang as well, most of them inside the kernel's queue.
package apart

import (
	"runtime"
	"strconv"
	"testing"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/internal/aiotest/aiofile"
)

func TestMain(m *testing.M) {
	aiotest.Main(m, aiofile.Count, map[string]func(args []string){
		"keep":  keep,
		"procs": func([]string) {},
		"small": func([]string) {
			must(aio.Configure(aio.Config{Depth: smallDepth, Threads: smallThreads}))
			threads = smallThreads
		},
	})
}

// The Config of the child that has little room.
const (
	smallDepth   = 32
	smallThreads = 8
)

// threads is Config.Threads.
var threads = 256

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// TestProcs runs the tests with one P and with two.
func TestProcs(t *testing.T) {
	for _, n := range []int{1, 2} {
		if n == runtime.GOMAXPROCS(0) {
			continue // as TestHungDisk in this process
		}
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			again(t, "procs", "GOMAXPROCS="+strconv.Itoa(n))
		})
	}
}

// TestSmall runs the tests in a process that has room for few requests and few system calls.
func TestSmall(t *testing.T) { again(t, "small") }

// again runs the tests of hung disks in a child.
func again(t *testing.T, function string, environment ...string) {
	aiotest.NeedsMounts(t)
	aiotest.Guard(t)
	const pattern = "^(TestHungDisk|TestHungDisks|TestBatchOverBoth)$"
	cmd := aiotest.Child(t, pattern, function)
	cmd.Env = append(cmd.Env, environment...)
	aiotest.Succeeds(t, cmd, pattern, function)
}
