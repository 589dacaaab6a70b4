// Upstream runs raft-wal's own tests of the code above and beside a VFS, over raft-wal's own VFS
// and over the adapter in each of its modes, and compares the failures:
//
//	go run ./upstream         # from adapters/raftwal; a minute
//	go run ./upstream -short  # without the race detector
//
// It ends with 1 if a test fails in one mode and not in another. The sources are those of the
// module cache. In a temporary copy of them
//
//   - fs.New, the VFS that wal.Open uses, is raftwal.New;
//   - the VFS in memory of the tests of package segment becomes one of files, vfs_test.go.txt.
//     These tests have the faults: commits, headers and sizes that a crash has left half done.
//
// Then it runs the workloads of raft-wal's ALICE tests and their checker, each in a process of its
// own, so that no state stays in memory.
//
// The tests of package wal itself have no VFS: they stop at segments, which they simulate.
package main

import (
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-aio/aio/internal/aiotest/upstream"
)

const module = "github.com/hashicorp/raft-wal"

// vfs replaces package fs of raft-wal. The environment chooses the VFS.
const vfs = `package fs

import (
	"os"

	"github.com/go-aio/aio/adapters/raftwal"
	"github.com/hashicorp/raft-wal/types"
)

type FS struct{ types.VFS }

func New() *FS {
	switch mode := os.Getenv("UPSTREAM_MODE"); mode {
	case "os":
		return &FS{newOwn()}
	default:
		return &FS{raftwal.New(raftwal.Options{Direct: mode == "direct"})}
	}
}
`

// hook is added to the tests of a package.
const hook = `package %s

import (
	"fmt"
	"os"
	"testing"

	"github.com/go-aio/aio"
)

func TestMain(m *testing.M) {
	code := m.Run()
	s := aio.ReadStats()
	fmt.Println("\nupstream:", s.PageCache, s.Synchronous+s.Submitted+s.Fallbacks.Extending)
	os.Exit(code)
}
`

// segmentVFS is the VFS of the tests of package segment.
//
//go:embed vfs_test.go.txt
var segmentVFS []byte

var modes = []string{"os", "buffered", "direct"}

func main() {
	short := flag.Bool("short", false, "without the race detector")
	flag.Parse()
	upstream.Main(func(dir string) (bool, error) { return compare(dir, *short) })
}

func compare(dir string, short bool) (same bool, err error) {
	modfile, err := upstream.ReplaceModule(dir, module, edit)
	if err != nil {
		return false, err
	}
	s := upstream.Suite{
		Packages: []string{module + "/fs", module + "/segment"},
		Modes:    modes,
		Modfile:  modfile,
		Dir:      dir,
	}
	// The test has no files, and panics in v0.4.0 now and then: its random lengths go beyond its
	// own buffer.
	s.Flags = []string{"-skip", "^TestFrameCodecFuzz$"}
	if !short {
		s.Flags = append(s.Flags, "-race")
	}
	if same, err = s.Run(); err != nil {
		return false, err
	}
	return same, alice(dir, modfile)
}

// edit changes the copy of raft-wal in dir.
func edit(dir string) error {
	name := filepath.Join(dir, "fs/fs.go")
	source, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	own := string(source)
	for _, r := range [][2]string{{"type FS struct", "type own struct"}, {"func New()", "func newOwn()"}, {"*FS", "*own"}, {"&FS{}", "&own{}"}} {
		if !strings.Contains(own, r[0]) {
			return fmt.Errorf("%s has another fs.New than that of v0.4.0", module)
		}
		own = strings.ReplaceAll(own, r[0], r[1])
	}
	return errors.Join(
		os.WriteFile(name, []byte(own), 0o600),
		os.WriteFile(filepath.Join(dir, "fs/upstream.go"), []byte(vfs), 0o600),
		os.WriteFile(filepath.Join(dir, "fs/upstream_test.go"), fmt.Appendf(nil, hook, "fs"), 0o600),
		os.WriteFile(filepath.Join(dir, "segment/vfs_test.go"), segmentVFS, 0o600),
		os.WriteFile(filepath.Join(dir, "segment/upstream_test.go"), fmt.Appendf(nil, hook, "segment"), 0o600),
	)
}

// alice runs each workload, and then the checker on its files, in each mode.
func alice(dir, modfile string) error {
	for _, name := range []string{"workload", "checker"} {
		out, err := exec.Command("go", "build", "-modfile", modfile, "-o", filepath.Join(dir, name), module+"/alice/"+name).CombinedOutput()
		if err != nil {
			return fmt.Errorf("go build %s/alice/%s: %w: %s", module, name, err, out)
		}
	}
	for _, mode := range modes {
		started := time.Now()
		for _, workload := range []string{"append", "truncate-head", "truncate-tail", "truncate-all"} {
			if err := aliceOne(dir, mode, workload); err != nil {
				return fmt.Errorf("alice, mode %s, %s: %w", mode, workload, err)
			}
		}
		fmt.Printf("| alice | %s | 4 | 0 | 0 | %.1f s | | |\n", mode, time.Since(started).Seconds())
	}
	return nil
}

func aliceOne(dir, mode, workload string) error {
	tmp, err := os.MkdirTemp(dir, workload)
	if err != nil {
		return err
	}
	said := filepath.Join(tmp, "stdout")
	logs := filepath.Join(tmp, "logs")
	if err := os.Mkdir(logs, 0o700); err != nil {
		return err
	}
	run := func(name string, args ...string) ([]byte, error) {
		cmd := exec.Command(filepath.Join(dir, name), args...)
		cmd.Env = append(os.Environ(), "UPSTREAM_MODE="+mode)
		var errs strings.Builder
		cmd.Stderr = &errs
		out, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("%s: %w: %s", name, err, errs.String())
		}
		return out, nil
	}
	if _, err := run("workload", "-dir", logs, "-workload", workload, "-init"); err != nil {
		return err
	}
	out, err := run("workload", "-dir", logs, "-workload", workload)
	if err != nil {
		return err
	}
	if err := os.WriteFile(said, out, 0o600); err != nil {
		return err
	}
	_, err = run("checker", logs, said)
	return err
}
