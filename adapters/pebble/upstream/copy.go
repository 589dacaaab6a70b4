package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

const (
	pebble = "github.com/cockroachdb/pebble/v2"
	aio    = "github.com/go-aio/aio"
	ours   = aio + "/adapters/pebble"
)

// initFile is added to the package of external tests of each package under test, and to Pebble's
// benchmark.
const initFile = `package %s

import (
	"os"

	"github.com/cockroachdb/pebble/v2/vfs"
	aiopebble "github.com/go-aio/aio/adapters/pebble"
)

func init() {
	switch mode := os.Getenv("AIOPEBBLE_MODE"); mode {
	case "os":
	case "buffered":
		vfs.Default = aiopebble.New(aiopebble.Options{})
	case "reads":
		vfs.Default = aiopebble.New(aiopebble.Options{DirectReads: true})
	case "wal":
		vfs.Default = aiopebble.New(aiopebble.Options{ExclusiveWAL: true})
	case "direct":
		vfs.Default = aiopebble.New(aiopebble.Options{DirectReads: true, DirectWrites: true})
	case "all":
		vfs.Default = aiopebble.New(aiopebble.Options{DirectReads: true, DirectWrites: true, ExclusiveWAL: true})
	default:
		panic("AIOPEBBLE_MODE is " + mode)
	}
}
`

// diskFile is added to package vfs.
const diskFile = `package vfs

import (
	"io"
	"os"
	"path/filepath"
)

// NewDisk returns an FS of a new directory below AIOPEBBLE_DISK, or one in memory if that is
// not set.
func NewDisk() FS {
	base := os.Getenv("AIOPEBBLE_DISK")
	if base == "" {
		return NewMem()
	}
	dir, err := os.MkdirTemp(base, "")
	if err != nil {
		panic(err)
	}
	return &disk{Default, dir}
}

type disk struct {
	FS
	dir string
}

func (d *disk) in(name string) string { return filepath.Join(d.dir, name) }

func (d *disk) Unwrap() FS { return nil }

func (d *disk) Create(name string, c DiskWriteCategory) (File, error) { return d.FS.Create(d.in(name), c) }
func (d *disk) Link(oldname, newname string) error { return d.FS.Link(d.in(oldname), d.in(newname)) }
func (d *disk) Open(name string, o ...OpenOption) (File, error) { return d.FS.Open(d.in(name), o...) }
func (d *disk) OpenReadWrite(name string, c DiskWriteCategory, o ...OpenOption) (File, error) {
	return d.FS.OpenReadWrite(d.in(name), c, o...)
}
func (d *disk) OpenDir(name string) (File, error) { return d.FS.OpenDir(d.in(name)) }
func (d *disk) Remove(name string) error { return d.FS.Remove(d.in(name)) }
func (d *disk) RemoveAll(name string) error { return d.FS.RemoveAll(d.in(name)) }
func (d *disk) Rename(oldname, newname string) error { return d.FS.Rename(d.in(oldname), d.in(newname)) }
func (d *disk) ReuseForWrite(oldname, newname string, c DiskWriteCategory) (File, error) {
	return d.FS.ReuseForWrite(d.in(oldname), d.in(newname), c)
}
func (d *disk) MkdirAll(dir string, perm os.FileMode) error { return d.FS.MkdirAll(d.in(dir), perm) }
func (d *disk) Lock(name string) (io.Closer, error) { return d.FS.Lock(d.in(name)) }
func (d *disk) List(dir string) ([]string, error) { return d.FS.List(d.in(dir)) }
func (d *disk) Stat(name string) (FileInfo, error) { return d.FS.Stat(d.in(name)) }
func (d *disk) GetDiskUsage(path string) (DiskUsage, error) { return d.FS.GetDiskUsage(d.in(path)) }
`

// prepare copies Pebble to dir/pebble, as a module that requires the adapter, and adds the files of
// the tests.
func prepare(ctx context.Context, dir string) error {
	from, err := output(ctx, ".", "go", "list", "-m", "-f", "{{.Dir}}", pebble)
	if err != nil {
		return err
	}
	here, err := output(ctx, ".", "go", "list", "-m", "-f", "{{.Dir}}", ours)
	if err != nil {
		return err
	}
	root, err := output(ctx, ".", "go", "list", "-m", "-f", "{{.Dir}}", aio)
	if err != nil {
		return err
	}
	to := filepath.Join(dir, "pebble")
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		return err
	}
	if err := writable(to); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"-require=" + ours + "@v0.0.0", "-replace=" + ours + "=" + here},
		{"-require=" + aio + "@v0.0.0", "-replace=" + aio + "=" + root},
	} {
		if _, err := output(ctx, to, "go", append([]string{"mod", "edit"}, args...)...); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(to, "vfs", "upstream_disk.go"), []byte(diskFile), 0o600); err != nil {
		return err
	}
	if err := onDisk(filepath.Join(to, "metamorphic", "meta.go")); err != nil {
		return err
	}
	for _, s := range suites {
		if err := addInit(filepath.Join(to, s.pkg, "upstream_init_test.go"), s.packageName()+"_test"); err != nil {
			return err
		}
		if s.disk {
			if err := replaceMem(filepath.Join(to, s.pkg)); err != nil {
				return err
			}
		}
	}
	return nil
}

// onDisk fixes the metamorphic test's -fs=disk, which crashes in v2.1.7: options that simulate a
// crash of the system need the file system in memory.
func onDisk(name string) error {
	const line = "to.useDisk = true"
	src, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if n := strings.Count(string(src), line); n != 1 {
		return fmt.Errorf("%s has %q %d times", name, line, n)
	}
	return os.WriteFile(name, []byte(strings.Replace(string(src), line, line+"; to.strictFS = false", 1)), 0o600)
}

// writable makes the files writable: the module cache sets read-only modes.
func writable(dir string) error {
	return filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		return os.Chmod(name, fi.Mode()|0o200)
	})
}

func addInit(name, pkg string) error {
	return os.WriteFile(name, fmt.Appendf(nil, initFile, pkg), 0o600)
}

const (
	newMem  = "vfs.NewMem()"
	newDisk = "vfs.NewDisk()"
)

// replaceMem makes the tests of a package use a directory of the disk.
func replaceMem(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		return err
	}
	for _, name := range files {
		src, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if err := os.WriteFile(name, []byte(strings.ReplaceAll(string(src), newMem, newDisk)), 0o600); err != nil {
			return err
		}
	}
	return nil
}

var position = regexp.MustCompile(`(?m)^(\S+\.go):(\d+):\d+: (.*)$`)

// compile makes the test binary of a package. Where the tests need the type of a file system in
// memory, the compiler reports it, and compile restores that file system.
func compile(ctx context.Context, dir, pkg string) (string, error) {
	binary := filepath.Join(dir, strings.ReplaceAll(pkg, "/", "-")+".test")
	for {
		cmd := exec.CommandContext(ctx, "go", "test", "-mod=mod", "-vet=off", "-gcflags=-e", "-c", "-o", binary, "./"+pkg)
		cmd.Dir = filepath.Join(dir, "pebble")
		out, err := cmd.CombinedOutput()
		if err == nil {
			return binary, nil
		}
		undone := 0
		for _, m := range position.FindAllStringSubmatch(string(out), -1) {
			line, _ := strconv.Atoi(m[2])
			n, err := undo(filepath.Join(dir, "pebble", m[1]), line)
			if err != nil {
				return "", err
			}
			undone += n
		}
		if undone == 0 {
			return "", fmt.Errorf("go test -c ./%s: %w\n%s", pkg, err, out)
		}
	}
}

// undo restores the file systems in memory in the function that contains the line, or in the whole
// file if no function does. It returns their number.
func undo(name string, line int) (int, error) {
	src, err := os.ReadFile(name)
	if err != nil {
		return 0, err
	}
	lines := strings.SplitAfter(string(src), "\n")
	lo, hi := line-1, line
	for lo > 0 && !strings.HasPrefix(lines[lo], "func ") {
		lo--
	}
	for hi < len(lines) && !strings.HasPrefix(lines[hi-1], "}") {
		hi++
	}
	part := strings.Join(lines[lo:hi], "")
	n := strings.Count(part, newDisk)
	part = strings.ReplaceAll(part, newDisk, newMem)
	src = []byte(strings.Join(lines[:lo], "") + part + strings.Join(lines[hi:], ""))
	return n, os.WriteFile(name, src, 0o600)
}

func output(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(out)), nil
}
