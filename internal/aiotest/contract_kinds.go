package aiotest

import (
	"fmt"
	"os"
	"slices"
)

// A kind is a kind of file on which every method is called, open and closed.
type kind struct {
	name  string
	flags []int // for one open each
	root  bool  // it needs something mounted
	open  func(s *Side, flag int) (File, error)
	// between, if any, runs before each method.
	between func(f File)
}

// everyMethod makes a case of each kind.
func everyMethod(kinds []kind) []Case {
	var cases []Case
	for _, k := range kinds {
		cases = append(cases, Case{"every method: " + k.name, k.everyMethod, k.root})
	}
	return cases
}

func (k kind) everyMethod(s *Side) {
	for i, flag := range k.flags {
		if !Some(i) {
			continue
		}
		f, err := k.open(s, flag)
		if s.Opened(fmt.Sprintf("open with flags %#x", flag), f, err); f == nil {
			continue
		}
		Every(s, f, func() {
			if k.between != nil {
				k.between(f)
			}
			s.look(f)
		})
		Every(s, f) // it is closed now
	}
}

// look logs the contents of a file, if it has any, through another descriptor, if f's name leads to
// it, and the offset.
func (s *Side) look(f File) {
	fi, err := f.Stat()
	if err != nil || !fi.Mode().IsRegular() && fi.Mode().Type() != os.ModeDevice || Proc(f.Name()) {
		return
	}
	s.Note("offset and size", Offset(f.Fd()), fi.Size())
	if named, err := os.Stat(f.Name()); err != nil || !os.SameFile(named, fi) {
		return
	}
	content, err := os.ReadFile(f.Name())
	s.Note("contents", content, err)
}

// Flags to open a file with.
var (
	access    = []int{os.O_RDONLY, os.O_WRONLY, os.O_RDWR}
	openModes = append(slices.Clone(access), os.O_WRONLY|os.O_APPEND, os.O_RDWR|os.O_APPEND,
		os.O_RDWR|os.O_SYNC, os.O_WRONLY|O_DSYNC, os.O_RDONLY|O_PATH)
)

// with returns all flags with one more.
func with(more int, flags ...int) []int {
	var all []int
	for _, flag := range flags {
		all = append(all, flag|more)
	}
	return all
}

var kinds = []kind{
	{name: "regular file", flags: openModes, open: func(s *Side, flag int) (File, error) {
		return s.OpenFile(s.Put("file", Pattern(10000, 1)), flag, 0)
	}},
	{name: "empty file", flags: openModes, open: func(s *Side, flag int) (File, error) {
		return s.OpenFile(s.Put("file", nil), flag, 0)
	}},
	{name: "file that opening truncates", flags: with(os.O_TRUNC, openModes...), open: func(s *Side, flag int) (File, error) {
		return s.OpenFile(s.Put("file", Pattern(10000, 1)), flag, 0)
	}},
	{name: "file that opening creates", flags: with(os.O_CREATE|os.O_EXCL, openModes[:7]...), open: func(s *Side, flag int) (File, error) {
		os.Remove(s.Path("file"))
		return s.OpenFile(s.Path("file"), flag, 0o600)
	}},
	{name: "unlinked file", flags: openModes, open: func(s *Side, flag int) (File, error) {
		f, err := s.OpenFile(s.Put("file", Pattern(10000, 1)), flag, 0)
		os.Remove(s.Path("file"))
		return f, err
	}},
	{name: "file without a name", flags: with(O_TMPFILE, openModes[1:7]...), open: func(s *Side, flag int) (File, error) {
		return s.OpenFile(s.Dir, flag, 0o600)
	}},
	{name: "hard link", flags: access, open: func(s *Side, flag int) (File, error) {
		os.Remove(s.Path("link"))
		if err := os.Link(s.Put("file", Pattern(10000, 1)), s.Path("link")); err != nil {
			return nil, err
		}
		return s.OpenFile(s.Path("link"), flag, 0)
	}},
	{name: "symbolic link", flags: access, open: func(s *Side, flag int) (File, error) {
		s.Put("file", Pattern(10000, 1))
		os.Remove(s.Path("link"))
		if err := os.Symlink("file", s.Path("link")); err != nil {
			return nil, err
		}
		return s.OpenFile(s.Path("link"), flag, 0)
	}},
	{name: "file of Open", flags: []int{0}, open: func(s *Side, _ int) (File, error) {
		return s.Open(s.Put("file", Pattern(10000, 1)))
	}},
	{name: "file of Create", flags: []int{0}, open: func(s *Side, _ int) (File, error) {
		return s.Create(s.Path("file"))
	}},
	{name: "file of OpenInRoot", flags: []int{0}, open: func(s *Side, _ int) (File, error) {
		s.Put("file", Pattern(10000, 1))
		return s.OpenInRoot(s.Dir, "file")
	}},
	{name: "directory", flags: []int{os.O_RDONLY, os.O_RDONLY | O_PATH, os.O_RDWR}, open: func(s *Side, flag int) (File, error) {
		return s.OpenFile(s.directory(), flag, 0)
	}},
}

// directory returns a directory that holds two files.
func (s *Side) directory() string {
	s.Helper()
	name := s.Path("dir")
	if err := os.MkdirAll(name, 0o755); err != nil {
		s.Fatal(err)
	}
	if err := os.Chmod(name, 0o755); err != nil { // a method may have changed it
		s.Fatal(err)
	}
	s.Put("dir/one", nil)
	s.Put("dir/two", nil)
	s.Defer(func() { os.Chmod(name, 0o755) })
	return name
}
