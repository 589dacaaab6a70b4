// Package aiotest supports the tests of package aio. It does not know that package: anything with
// the methods of os.File can be compared with os.File here.
package aiotest

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A File has the methods of os.File.
type File interface {
	io.ReadWriteCloser
	io.ReaderAt
	io.WriterAt
	io.Seeker
	io.StringWriter
	io.ReaderFrom
	io.WriterTo
	syscall.Conn
	Chdir() error
	Chmod(mode fs.FileMode) error
	Chown(uid, gid int) error
	Fd() uintptr
	Name() string
	ReadDir(n int) ([]fs.DirEntry, error)
	Readdir(n int) ([]fs.FileInfo, error)
	Readdirnames(n int) ([]string, error)
	SetDeadline(t time.Time) error
	SetReadDeadline(t time.Time) error
	SetWriteDeadline(t time.Time) error
	Stat() (fs.FileInfo, error)
	Sync() error
	Truncate(size int64) error
}

// A Package opens Files. Lift makes its functions.
type Package struct {
	OpenFile   func(name string, flag int, perm fs.FileMode) (File, error)
	Open       func(name string) (File, error)
	Create     func(name string) (File, error)
	CreateTemp func(dir, pattern string) (File, error)
	OpenInRoot func(dir, name string) (File, error)
	NewFile    func(fd uintptr, name string) File
	Direct     bool // its Files are direct

	// NewReader and NewWriter return nil for a File of another package. They may be nil themselves.
	NewReader func(f File, s Stream) io.ReadCloser
	NewWriter func(f File, s Stream) StreamWriter
}

// OS is package os, the oracle. It never opens for direct I/O: only a file without alignment rules
// can tell the right result.
var OS = Package{
	OpenFile: func(name string, flag int, perm fs.FileMode) (File, error) {
		return Lift(os.OpenFile(name, flag&^O_DIRECT, perm))
	},
	Open:       func(name string) (File, error) { return Lift(os.Open(name)) },
	Create:     func(name string) (File, error) { return Lift(os.Create(name)) },
	CreateTemp: func(dir, pattern string) (File, error) { return Lift(os.CreateTemp(dir, pattern)) },
	OpenInRoot: func(dir, name string) (File, error) { return Lift(os.OpenInRoot(dir, name)) },
	NewFile: func(fd uintptr, name string) File {
		f, _ := Lift(os.NewFile(fd, name), nil)
		return f
	},
}

// Lift returns a nil File for a nil pointer, which an interface would hide.
func Lift[F interface {
	File
	comparable
}](f F, err error) (File, error) {
	var none F
	if f == none {
		return nil, err
	}
	return f, err
}

// A Side is one of two sides that do the same. It has a directory of its own, the package that
// opens its files, and a trace of all results that a caller can observe.
type Side struct {
	testing.TB
	Package
	Dir    string
	opened []File
	after  []func()
	trace  []string
}

// Compare does the same on the oracle and on pkg, in directories of their own below dir, and fails
// unless the traces are equal.
func Compare(t testing.TB, dir string, pkg Package, do func(s *Side)) {
	t.Helper()
	CompareWith(t, dir, OS, pkg, do)
}

// CompareWith is Compare with another oracle.
func CompareWith(t testing.TB, dir string, oracle, pkg Package, do func(s *Side)) {
	t.Helper()
	want := run(t, dir, oracle, do)
	got := run(t, dir, pkg, do)
	if len(want) == 0 {
		t.Error("nothing was compared")
	}
	for i := range max(len(want), len(got)) {
		w, g := line(want, i), line(got, i)
		if w == g {
			continue
		}
		before := want[max(0, min(i, len(want))-4):min(i, len(want))]
		t.Errorf("step %d:\n%s\n  os:  %s\n  aio: %s", i, strings.Join(before, "\n"), w, g)
		return // the following steps differ because of it
	}
	t.Logf("%d steps compared", len(want))
}

func line(trace []string, i int) string {
	if i < len(trace) {
		return trace[i]
	}
	return "(nothing)"
}

func run(t testing.TB, dir string, pkg Package, do func(s *Side)) []string {
	t.Helper()
	dir, err := os.MkdirTemp(dir, "side")
	if err != nil {
		t.Fatal(err)
	}
	s := &Side{TB: t, Package: pkg, Dir: dir}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := removeAll(dir); err != nil {
			t.Error(err)
		}
	}()
	defer func() {
		for _, fn := range slices.Backward(s.after) {
			fn()
		}
	}()
	defer os.Chdir(here) // Chdir is one of the methods
	defer func() {
		for _, f := range s.opened {
			f.Close()
		}
	}()
	do(s)
	return s.trace
}

// removeAll is os.RemoveAll, but also removes unwritable directories: Chmod is one of the methods.
func removeAll(dir string) error {
	filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			os.Chmod(name, 0o700)
		}
		return nil
	})
	return os.RemoveAll(dir)
}

// Defer registers fn to run after the Files of this side are closed, in reverse order.
func (s *Side) Defer(fn func()) { s.after = append(s.after, fn) }

// Path returns the path of name on this side.
func (s *Side) Path(name string) string { return filepath.Join(s.Dir, name) }

// Put creates a file with this content, by package os.
func (s *Side) Put(name string, content []byte) string {
	s.Helper()
	if err := os.WriteFile(s.Path(name), content, 0o644); err != nil {
		s.Fatal(err)
	}
	return s.Path(name)
}

// MustOpen opens a file by the package of this side, which closes it at its end.
func (s *Side) MustOpen(name string, flag int) File {
	s.Helper()
	f, err := s.OpenFile(s.Path(name), flag, 0o644)
	if err != nil {
		s.Fatal(err)
	}
	s.opened = append(s.opened, f)
	return f
}

// Opened logs the outcome of a function that opens. The side closes f at its end.
func (s *Side) Opened(what string, f File, err error) File {
	s.Note(what, f != nil, err)
	if f != nil {
		s.opened = append(s.opened, f)
	}
	return f
}

// Note adds a step to the trace: a description, and the resulting values. Bytes become a checksum,
// an error all its properties, and the directory of this side DIR.
func (s *Side) Note(what string, values ...any) {
	var b strings.Builder
	b.WriteString(what)
	b.WriteString(":")
	for _, v := range values {
		b.WriteString(" ")
		b.WriteString(describe(v))
	}
	s.trace = append(s.trace, strings.NewReplacer(s.Dir, "DIR", filepath.Base(s.Dir), "DIR").Replace(b.String()))
}

// Do logs the results of fn, or its panic.
func (s *Side) Do(what string, fn func() []any) {
	defer func() {
		if r := recover(); r != nil {
			s.Note(what, "panic", fmt.Sprint(r))
		}
	}()
	s.Note(what, fn()...)
}

// State logs the state of f: the size by its name, the contents through another descriptor, and the
// offset of its descriptor.
func (s *Side) State(f File) {
	s.Helper()
	fi, err := os.Stat(f.Name())
	if err != nil {
		s.Note("state", err)
		return
	}
	content := []byte("too large to read")
	if fi.Size() <= 16<<20 {
		if content, err = os.ReadFile(f.Name()); err != nil {
			s.Fatal(err)
		}
	}
	s.Note("state", fi.Size(), content, Offset(f.Fd()))
}

func describe(v any) string {
	switch v := v.(type) {
	case nil:
		return "nil"
	case error:
		return Describe(v)
	case []byte:
		if len(v) <= 32 {
			return fmt.Sprintf("%q", v)
		}
		return fmt.Sprintf("[%d bytes, checksum %08x]", len(v), crc32.ChecksumIEEE(v))
	case fs.FileInfo:
		return fmt.Sprintf("{%s %d %v %v %T}", v.Name(), v.Size(), v.Mode(), v.IsDir(), v.Sys())
	case []fs.FileInfo:
		return describeAll(v)
	case []fs.DirEntry:
		return describeAll(v)
	}
	return fmt.Sprint(v)
}

// describeAll sorts, because the order of a directory depends on the filesystem.
func describeAll[E interface{ Name() string }](list []E) string {
	var all []string
	for _, e := range list {
		all = append(all, fmt.Sprintf("%s %T", e.Name(), e))
	}
	slices.Sort(all)
	return fmt.Sprintf("%t %q", list == nil, all)
}

// sentinels are the errors that callers compare with, or pass to errors.Is.
var sentinels = []error{
	io.EOF, io.ErrUnexpectedEOF, io.ErrShortWrite, io.ErrClosedPipe,
	fs.ErrInvalid, fs.ErrPermission, fs.ErrExist, fs.ErrNotExist, fs.ErrClosed,
	os.ErrDeadlineExceeded, os.ErrNoDeadline, errors.ErrUnsupported,
}

// Describe returns everything that a caller can ask of an error, as text.
func Describe(err error) string {
	if err == nil {
		return "nil"
	}
	var b strings.Builder
	for e := err; e != nil; e = errors.Unwrap(e) {
		fmt.Fprintf(&b, "%T", e)
		switch e := e.(type) {
		case *fs.PathError:
			fmt.Fprintf(&b, "{Op: %q, Path: %q, timeout: %t}", e.Op, e.Path, e.Timeout())
		case *os.SyscallError:
			fmt.Fprintf(&b, "{%q}", e.Syscall)
		case syscall.Errno:
			fmt.Fprintf(&b, "(%d)", int(e))
		}
		for _, s := range sentinels {
			if e == s { // callers compare with this very value
				fmt.Fprintf(&b, "[== %v]", s)
			}
		}
		b.WriteString(" ")
	}
	for _, s := range sentinels {
		if errors.Is(err, s) {
			fmt.Fprintf(&b, "[is %v]", s)
		}
	}
	fmt.Fprintf(&b, " %q", err.Error())
	return b.String()
}
