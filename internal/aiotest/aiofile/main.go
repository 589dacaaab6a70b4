package aiofile

import (
	"fmt"
	"maps"
	"os"
	"strconv"
	"testing"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/internal/inode"
)

// Main runs the tests of package aio, as aiotest.Main. The children that it adds are
// processes that lack something.
func Main(m *testing.M, children map[string]func(args []string)) {
	all := map[string]func(args []string){
		"refuse": func(args []string) { Must(aiotest.Refuse(args[0])) },
		"limit":  func(args []string) { Must(aiotest.LimitFileSize(uint64(Number(args[0])))) },
		"configure": func(args []string) {
			Must(aio.Configure(aio.Config{Depth: Number(args[0]), Threads: Number(args[1]), SyncLimit: -1}))
		},
	}
	maps.Copy(all, children)
	aiotest.Main(m, Count, all)
}

// Count is what tests must leave as it was: open inodes, and what the watchdog has found.
func Count() int {
	s := aio.ReadStats()
	if s.Overlooked > 0 {
		fmt.Fprintf(os.Stderr, "the watchdog found something forgotten %d times: %s\n", s.Overlooked, s.Incident)
	}
	return inode.Count() + int(s.Overlooked)
}

// Must panics if there is an error: a child has no other way to say so.
func Must(err error) {
	if err != nil {
		panic(err)
	}
}

// Number is what a child's argument says.
func Number(s string) int {
	n, err := strconv.Atoi(s)
	Must(err)
	return n
}

// Refused runs the tests that match pattern in processes that a seccomp filter keeps from
// kernel AIO, or from part of it.
func Refused(t *testing.T, pattern string) {
	if !aiotest.Linux {
		aiotest.Needs(t, "kernel AIO", "go test ./... on Linux")
	}
	for i, name := range []string{"io_submit", "io_setup", "io_getevents"} {
		if !aiotest.SomeOrFull(i) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			aiotest.Guard(t)
			aiotest.RunChild(t, pattern, "refuse", name)
		})
	}
}

// Cramped runs the tests that match pattern in a process that has room for one request
// and one plain system call: what waits for itself there waits for ever. Every direct
// request goes to kernel AIO, also one that is alone.
func Cramped(t *testing.T, pattern string) {
	aiotest.Guard(t)
	aiotest.RunChild(t, pattern, "configure", "1", "1")
}

// OnSmall compares package aio with the oracle on each small filesystem.
func OnSmall(t *testing.T, do func(f aiotest.Filesystem) func(s *aiotest.Side)) {
	for _, f := range aiotest.Small {
		if f.Name == "ext4" && aiotest.Brief() { // mkfs takes its time
			continue
		}
		for _, m := range Modes {
			t.Run(f.Name+"/"+m.Name, func(t *testing.T) {
				aiotest.Guard(t)
				aiotest.Compare(t, t.TempDir(), Package(t, m.Flag), do(f))
			})
		}
	}
}
