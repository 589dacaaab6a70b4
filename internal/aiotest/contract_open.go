package aiotest

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"strings"
)

func openFlags(s *Side) {
	for _, flag := range []int{
		os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_RDWR | os.O_SYNC, os.O_RDWR | O_DSYNC,
		os.O_WRONLY | os.O_TRUNC, os.O_RDWR | os.O_TRUNC, os.O_RDWR | os.O_CREATE, os.O_WRONLY | os.O_APPEND,
		os.O_RDWR | os.O_APPEND, os.O_RDONLY | O_PATH,
	} {
		s.Put("file", Pattern(9000, 1))
		f := s.MustOpen("file", flag)
		for i, n := range []int{4096, 100, 512, 8192, 70000} {
			what := fmt.Sprintf("flags %#x: %d bytes: ", flag, n)
			off := int64(i&1) * 4096
			p := Buffer(n, 0)
			k, err := f.ReadAt(p, off)
			s.Note(what+"ReadAt", k, err, p[:k])
			s.Note(what+"WriteAt", results(f.WriteAt(Pattern(n, 3), off))...)
			k, err = f.Read(p)
			s.Note(what+"Read", k, err, p[:k])
			s.Note(what+"Write", results(f.Write(Pattern(n, 4)))...)
			s.Note(what+"ReadFrom", results(f.ReadFrom(bytes.NewReader(Pattern(n, 5))))...)
			var to bytes.Buffer
			s.Note(what+"WriteTo", results(f.WriteTo(&to))...)
			s.Note(what+"wrote", to.Bytes())
			s.State(f)
		}
		s.Note("Truncate", f.Truncate(6000))
		s.Note("Sync", f.Sync())
		s.State(f)
		s.Note("Close", f.Close())
	}
}

func openErrors(s *Side) {
	s.Put("file", nil)
	for _, c := range []struct {
		name string
		flag int
	}{
		{"none", os.O_RDWR},
		{"file", os.O_RDWR | os.O_CREATE | os.O_EXCL},
		{"file/below", os.O_RDONLY},
		{".", os.O_RDWR},
		{"", os.O_RDONLY},
		{"a\x00b", os.O_RDONLY},
	} {
		name := s.Path(c.name)
		if c.name == "" {
			name = ""
		}
		f, err := s.OpenFile(name, c.flag, 0o644)
		s.Opened(fmt.Sprintf("OpenFile %q", c.name), f, err)
	}
	f, err := s.Open(s.Path("none"))
	s.Opened("Open", f, err)
	f, err = s.Create(s.Path("none/below"))
	s.Opened("Create", f, err)
	f, err = s.CreateTemp(s.Path("none"), "temp")
	var pathErr *fs.PathError
	s.Note("CreateTemp", f == nil, errors.As(err, &pathErr), pathErr.Op, pathErr.Err) // the name is random
	f, err = s.CreateTemp(s.Dir, "a/b")
	s.Opened("CreateTemp of a path", f, err)
	f, err = s.OpenInRoot(s.Dir, "../outside")
	s.Opened("OpenInRoot", f, err)
	f, err = s.OpenInRoot(s.Path("none"), "file")
	s.Opened("OpenInRoot of no directory", f, err)
}

func openFunctions(s *Side) {
	name := s.Path("created")
	f, err := s.Create(name)
	s.Opened("Create", f, err)
	s.Note("Write", results(f.WriteString("some text"))...)
	s.State(f)
	s.Note("ReadAt", results(f.ReadAt(Buffer(9, 1), 0))...)
	again, err := s.Create(name)
	s.Opened("Create again", again, err)
	s.State(again)
	s.State(f)
	s.Put("created", Pattern(5000, 1))
	f, err = s.Open(name)
	s.Opened("Open", f, err)
	s.Note("Write", results(f.WriteString("some text"))...)
	s.Note("ReadAt", results(f.ReadAt(Buffer(5000, 1), 0))...)
	f, err = s.OpenInRoot(s.Dir, "created")
	s.Opened("OpenInRoot", f, err)
	s.Note("Name", f.Name())
	s.Note("ReadAt", results(f.ReadAt(Buffer(5000, 0), 1))...)
	f, err = s.CreateTemp(s.Dir, "pre*post")
	s.Opened("CreateTemp", f, err)
	base := strings.TrimPrefix(f.Name(), s.Dir)
	s.Note("its name", strings.HasPrefix(base, string(os.PathSeparator)+"pre"), strings.HasSuffix(base, "post"))
	s.Note("Write", results(f.Write(Pattern(4096, 1)))...)
	fi, err := f.Stat()
	s.Note("Stat", fi.Mode(), fi.Size(), err)
}

func unlinked(s *Side) {
	open := map[string]int{"unlinked": os.O_RDWR | os.O_CREATE}
	if O_TMPFILE != 0 {
		open["."] = os.O_RDWR | O_TMPFILE
	}
	for _, name := range []string{"unlinked", "."} {
		flag, ok := open[name]
		if !ok {
			continue
		}
		f := s.MustOpen(name, flag)
		if name != "." {
			s.Note("Remove", os.Remove(f.Name()))
		}
		s.Note("Write", results(f.Write(Pattern(10000, 1)))...)
		s.Note("WriteAt", results(f.WriteAt(Pattern(8192, 2), 4096))...)
		p := Buffer(8192, 0)
		k, err := f.ReadAt(p, 8192)
		s.Note("ReadAt", k, err, p[:k])
		s.Note("Sync", f.Sync())
		fi, err := f.Stat()
		s.Note("Stat", fi.Size(), fi.Mode(), err)
	}
	f := s.MustOpen("first", os.O_RDWR|os.O_CREATE)
	s.Put("second", Pattern(100, 1))
	s.Note("Rename over it", os.Rename(s.Path("second"), s.Path("first")))
	s.Note("WriteAt", results(f.WriteAt(Pattern(4096, 3), 0))...)
	p := Buffer(4096, 0)
	s.Note("ReadAt", results(f.ReadAt(p, 0))...)
	s.Note("the bytes read", p)
	s.State(f)
}

func newFiles(s *Side) {
	if !Linux {
		s.Note("none", 0)
		return
	}
	// The os.File gets a descriptor that is not direct, the aio.File one that is. No result may
	// depend on it.
	direct := 0
	if s.Direct {
		direct = O_DIRECT
	}
	for _, flag := range []int{
		os.O_RDWR, os.O_RDWR | direct, os.O_RDONLY | direct, os.O_WRONLY | direct,
		os.O_RDWR | os.O_APPEND, os.O_RDWR | os.O_APPEND | direct,
	} {
		name := s.Put("file", Pattern(8192, 1))
		fd := OpenFd(s, name, flag)
		if err := SetOffset(fd, 100); err != nil {
			s.Fatal(err)
		}
		f := s.NewFile(fd, name)
		s.Opened("NewFile", f, nil)
		if g, ok := f.(interface{ Direct() bool }); ok && g.Direct() != (flag&direct != 0) {
			s.Errorf("flags %#x: Direct is %t", flag, g.Direct())
		}
		for _, n := range []int{4096, 100, 8192} { // the first append is aligned
			p := Buffer(n, 0)
			k, err := f.Read(p)
			s.Note("Read", k, err, p[:k])
			k, err = f.ReadAt(p, 4096)
			s.Note("ReadAt", k, err, p[:k])
			s.Note("Write", results(f.Write(Pattern(n, 2)))...)
			s.Note("WriteAt", results(f.WriteAt(Pattern(n, 3), 4096))...)
			s.State(f)
		}
		Every(s, f)
		s.State(s.MustOpen("file", os.O_RDONLY))
	}
	for _, fd := range []uintptr{^uintptr(0), 54321, math.MaxInt32} {
		f := s.NewFile(fd, s.Path("no such descriptor"))
		s.Opened("NewFile of no descriptor", f, nil)
		if f != nil {
			Every(s, f)
		}
	}
	fd := OpenFd(s, s.Dir, os.O_RDONLY)
	Every(s, s.NewFile(fd, "the directory"))
}
