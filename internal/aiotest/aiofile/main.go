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

// Main runs the tests of package aio like aiotest.Main. The children that it adds are processes
// that lack something.
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

// Count returns a number that tests must leave unchanged: open inodes, and repairs by the watchdog.
func Count() int {
	s := aio.ReadStats()
	if s.Overlooked > 0 {
		fmt.Fprintf(os.Stderr, "the watchdog found %d overlooked requests: %s\n", s.Overlooked, s.Incident)
	}
	return inode.Count() + int(s.Overlooked)
}

// Must panics if err is not nil: a child has no other way to report it.
func Must(err error) {
	if err != nil {
		panic(err)
	}
}

// Number parses the argument of a child.
func Number(s string) int {
	n, err := strconv.Atoi(s)
	Must(err)
	return n
}

// Refused runs the tests that match pattern in processes in which a seccomp filter refuses kernel
// AIO, or part of it.
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

// Cramped runs the tests that match pattern in a process that has room for one async request and
// one sync one. A request that waits for another of its own call hangs there. Every direct request
// goes to kernel AIO, even if it is the only one.
func Cramped(t *testing.T, pattern string) {
	aiotest.Guard(t)
	aiotest.RunChild(t, pattern, "configure", "1", "1")
}

// OnSmall compares package aio with the oracle on each small filesystem.
func OnSmall(t *testing.T, do func(f aiotest.Filesystem) func(s *aiotest.Side)) {
	for _, f := range aiotest.Small {
		if f.Name == "ext4" && aiotest.Brief() { // mkfs is slow
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
