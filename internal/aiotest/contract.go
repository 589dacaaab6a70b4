package aiotest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"
)

// Contract is what each case does on an os.File and on an aio.File.
var Contract = []struct {
	Name string
	Do   func(s *Side)
}{
	{"ReadAt and WriteAt of any offset, length and address", anyAlignment},
	{"ReadAt around the end", readsAroundEnd},
	{"WriteAt around the end", writesAroundEnd},
	{"offsets that no file has", impossibleOffsets},
	{"nothing to transfer", transfersOfNothing},
	{"Read, Write and Seek", streamCalls},
	{"io.Copy", copies},
	{"Truncate", truncations},
	{"flags", openFlags},
	{"O_APPEND", appending},
	{"errors of opening", openErrors},
	{"opening functions", openFunctions},
	{"names that went away", unlinked},
	{"directory", directory},
	{"devices and /proc", specialFiles},
	{"named pipe", namedPipe},
	{"NewFile", newFiles},
	{"metadata", metadata},
}

// Offsets and lengths where alignments, bounce buffers and pages end.
var (
	edges   = []int{0, 1, 511, 512, 513, 4095, 4096, 4097, 65535, 65536, 65537, 1 << 20, 1<<20 + 1, 2 << 20}
	offsets = []int64{0, 1, 511, 512, 513, 4095, 4096, 4097, 65536, 1 << 20, 1<<20 + 1, 1<<20 + 4096}
)

func anyAlignment(s *Side) {
	s.Put("file", Pattern(3<<20+123, 1))
	f := s.MustOpen("file", os.O_RDWR)
	all := Pattern(4<<20, 2)
	for _, shift := range []int{0, 1, 512} {
		for i, n := range edges {
			p := Buffer(n, shift)
			for j, off := range offsets {
				if testing.Short() && (i+j+shift)%3 != 0 {
					continue
				}
				clear(p)
				k, err := f.ReadAt(p, off)
				s.Note(fmt.Sprintf("ReadAt %d bytes at %d, address %d", n, off, shift), k, err, p)
				copy(p, all[i*1000+j*100+shift:])
				k, err = f.WriteAt(p, off)
				s.Note(fmt.Sprintf("WriteAt %d bytes at %d, address %d", n, off, shift), k, err)
			}
			s.State(f)
		}
	}
	whole := Buffer(3<<20+123, 0)
	k, err := f.ReadAt(whole, 0)
	s.Note("ReadAt of it all", k, err, whole)
	s.Note("Sync", f.Sync())
}

var sizes = []int{0, 1, 300, 511, 512, 513, 4095, 4096, 4097, 8192, 10000, 1<<20 - 1, 1 << 20, 1<<20 + 1}

func readsAroundEnd(s *Side) {
	for i, size := range sizes {
		if testing.Short() && i%3 != 0 {
			continue
		}
		s.Put("file", Pattern(size, byte(size)))
		f := s.MustOpen("file", os.O_RDONLY)
		for _, back := range []int{0, 1, 511, 512, 513, 4096, size, size / 2, -1, -511, -512, -4096, -1 << 20, -3 << 20} {
			off := int64(size - back)
			for _, n := range []int{1, 512, 4096, 4097, 65536, 1<<20 + 4096} {
				p := Buffer(n, 0)
				k, err := f.ReadAt(p, off)
				s.Note(fmt.Sprintf("size %d: ReadAt %d bytes at %d", size, n, off), k, err, p[:k])
				if n > 1 {
					k, err = f.ReadAt(p[1:], off)
					s.Note("to an odd address", k, err, p[1:][:k])
				}
			}
		}
		s.Note("Close", f.Close())
	}
}

func writesAroundEnd(s *Side) {
	for i, size := range sizes[:11] {
		if testing.Short() && i%3 != 1 {
			continue
		}
		for _, off := range []int{size - 1, size, size + 1, size + 511, size + 8192, size &^ 4095, (size + 4095) &^ 4095, 0} {
			for _, n := range []int{1, 512, 4096, 8192, 70000} {
				s.Put("file", Pattern(size, byte(size)))
				f := s.MustOpen("file", os.O_RDWR)
				k, err := f.WriteAt(Pattern(n, 2), int64(off))
				s.Note(fmt.Sprintf("size %d: WriteAt %d bytes at %d", size, n, off), k, err)
				s.State(f)
				p := Buffer(100000, 0)
				k, err = f.ReadAt(p, 0)
				s.Note("ReadAt", k, err, p[:max(k, 0)])
				f.Close()
			}
		}
	}
}

func impossibleOffsets(s *Side) {
	s.Put("file", Pattern(5000, 1))
	f := s.MustOpen("file", os.O_RDWR)
	for _, off := range []int64{
		-1, -512, -4096, math.MinInt64, math.MinInt64 + 4096,
		math.MaxInt64, math.MaxInt64 - 1, math.MaxInt64 - 511, math.MaxInt64 - 4095, math.MaxInt64 - 4096,
		math.MaxInt64 - 8191, math.MaxInt64 - 1<<20 + 1, 1 << 62,
		1<<44 - 4096, 1<<44 - 8192, 1<<44 - 8193, 1<<44 - 12288, 1 << 44, // the largest file of ext4, and around it
	} {
		for _, n := range []int{0, 1, 512, 4096, 8192, 1 << 20} {
			p := Buffer(n, 0)
			k, err := f.ReadAt(p, off)
			s.Note(fmt.Sprintf("ReadAt %d bytes at %d", n, off), k, err, p)
			k, err = f.WriteAt(p, off)
			s.Note(fmt.Sprintf("WriteAt %d bytes at %d", n, off), written(k, err)...)
			s.State(f)
			s.Note("Truncate", f.Truncate(5000))
		}
		at, err := f.Seek(off, io.SeekStart)
		s.Note(fmt.Sprintf("Seek to %d", off), at, err)
		s.Note("Read there", results(f.Read(Buffer(4096, 0)))...)
		s.Note("Write there", results(f.Write(Buffer(4096, 0)))...)
		s.State(f)
		s.Note("Truncate", f.Truncate(5000))
		s.Note("Seek back", results(f.Seek(0, io.SeekStart))...)
		if off < 0 || off >= 1<<44 {
			s.Note(fmt.Sprintf("Truncate to %d", off), f.Truncate(off))
			s.Note("Truncate back", f.Truncate(5000))
		}
		s.State(f)
	}
}

// written is what to compare of a WriteAt that may fail after its first bytes: those,
// os.File does not count.
func written(n int, err error) []any {
	if err != nil {
		return []any{err}
	}
	return []any{n, err}
}

func transfersOfNothing(s *Side) {
	s.Put("file", Pattern(5000, 1))
	for _, flag := range []int{os.O_RDWR, os.O_RDONLY, os.O_WRONLY} {
		f := s.MustOpen("file", flag)
		for _, off := range []int64{0, 1, 4096, 5000, 9999, -1} {
			for _, p := range [][]byte{nil, {}, Buffer(4096, 0)[:0], Buffer(4096, 1)[:0]} {
				s.Note("ReadAt", results(f.ReadAt(p, off))...)
				s.Note("WriteAt", results(f.WriteAt(p, off))...)
			}
			s.Note("Seek", results(f.Seek(off, io.SeekStart))...)
			s.Note("Read", results(f.Read(nil))...)
			s.Note("Write", results(f.Write(nil))...)
			s.Note("WriteString", results(f.WriteString(""))...)
			s.Note("ReadFrom", results(f.ReadFrom(new(bytes.Buffer)))...)
			s.State(f)
		}
	}
}

func streamCalls(s *Side) {
	s.Put("file", Pattern(20000, 1))
	f := s.MustOpen("file", os.O_RDWR)
	for _, n := range []int{1, 100, 411, 512, 3072, 4096, 5000} {
		p := Buffer(n, 0)
		k, err := f.Read(p)
		s.Note(fmt.Sprintf("Read %d bytes", n), k, err, p[:k], Offset(f.Fd()))
		s.Note("Write", results(f.Write(Pattern(n, byte(n))))...)
		s.State(f)
	}
	for _, at := range []struct {
		off    int64
		whence int
	}{
		{0, io.SeekStart},
		{4096, io.SeekStart},
		{-96, io.SeekCurrent},
		{-1, io.SeekEnd},
		{100, io.SeekEnd},
		{-1, io.SeekStart},
		{-100000, io.SeekCurrent},
		{0, 3},
		{0, -1},
		{0, 99},
		{8192, io.SeekStart},
	} {
		s.Note(fmt.Sprint("Seek ", at), results(f.Seek(at.off, at.whence))...)
		p := Buffer(8192, 0)
		k, err := f.Read(p)
		s.Note("Read", k, err, p[:k], Offset(f.Fd()))
	}
	if err := SetOffset(f.Fd(), 7); err != nil && Linux {
		s.Fatal(err)
	}
	s.Note("WriteString where lseek(2) on Fd went", results(f.WriteString("text"))...)
	s.State(f)
	s.Note("Seek to the end", results(f.Seek(0, io.SeekEnd))...)
	s.Note("Read at the end", results(f.Read(Buffer(1, 0)))...)
	s.Note("Write blocks at the end", results(f.Write(Buffer(8192, 0)))...)
	s.State(f)
	s.Note("Seek beyond the end", results(f.Seek(1<<20, io.SeekStart))...)
	s.Note("Read", results(f.Read(Buffer(4096, 0)))...)
	s.Note("Write", results(f.Write(Pattern(4096, 9)))...)
	s.State(f)
	s.Note("Seek", results(f.Seek(3, io.SeekStart))...)
	var all bytes.Buffer
	s.Note("WriteTo", results(f.WriteTo(&all))...)
	s.Note("what it wrote", all.Bytes())
	s.Note("WriteTo at the end", results(f.WriteTo(&all))...)
	s.State(f)
	s.Note("Seek", results(f.Seek(4096, io.SeekStart))...)
	s.Note("ReadFrom", results(f.ReadFrom(bytes.NewReader(Pattern(10000, 5))))...)
	s.State(f)
	s.Note("ReadFrom with an error", results(f.ReadFrom(io.MultiReader(strings.NewReader("some"), iotest.ErrReader(io.ErrNoProgress))))...)
	s.State(f)
	// How far it has read ahead of a writer that fails is not promised.
	s.Note("WriteTo with an error", results(f.WriteTo(failing{}))...)
}

// failing takes some bytes and fails.
type failing struct{}

func (failing) Write(p []byte) (int, error) { return min(len(p), 10), io.ErrClosedPipe }

func truncations(s *Side) {
	s.Put("file", Pattern(20000, 1))
	f := s.MustOpen("file", os.O_RDWR)
	s.Note("Seek", results(f.Seek(10000, io.SeekStart))...)
	for _, size := range []int64{19999, 8192, 8193, 4096, 4095, 0, 1, 512, 100000, -1, 1 << 20, 5000} {
		s.Note(fmt.Sprintf("Truncate to %d", size), f.Truncate(size))
		s.State(f)
		p := Buffer(4096, 0)
		k, err := f.ReadAt(p, 4096)
		s.Note("ReadAt", k, err, p[:k])
		s.Note("Read", results(f.Read(p))...)
		s.Note("WriteAt blocks", results(f.WriteAt(p, 4096))...)
		s.Note("WriteAt bytes", results(f.WriteAt(p[:100], 9000))...)
		s.State(f)
	}
	r := s.MustOpen("file", os.O_RDONLY)
	s.Note("Truncate a file open for reading", r.Truncate(1))
	s.State(r)
}

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

func appending(s *Side) {
	s.Put("file", Pattern(4096, 1))
	f := s.MustOpen("file", os.O_RDWR|os.O_APPEND)
	other := s.MustOpen("file", os.O_RDWR)
	for _, n := range []int{4096, 1, 4095, 512, 100000, 1<<20 + 1} {
		s.Note("Write", results(f.Write(Pattern(n, byte(n))))...)
		s.State(f)
		s.Note("Write of another", results(other.WriteAt(Pattern(100, 7), int64(n)))...)
		s.Note("Seek", results(f.Seek(10, io.SeekStart))...)
		s.Note("ReadFrom", results(f.ReadFrom(strings.NewReader("some text")))...)
		s.State(f)
		s.Note("ReadFrom a file", results(f.ReadFrom(io.LimitReader(s.MustOpen("file", os.O_RDONLY), 1000)))...)
		s.State(f)
		p := Buffer(8192, 0)
		k, err := f.ReadAt(p, 4096)
		s.Note("ReadAt", k, err, p[:k])
		s.Note("WriteAt", results(f.WriteAt(p, 0))...)
		s.Note("WriteAt a negative offset", results(f.WriteAt(p, -1))...)
		s.State(f)
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
	s.Note("CreateTemp", f == nil, errors.As(err, &pathErr), pathErr.Op, pathErr.Err) // the name is by chance
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
	s.Note("what it read", p)
	s.State(f)
}

func directory(s *Side) {
	s.Put("file", nil)
	if err := os.Mkdir(s.Path("dir"), 0o755); err != nil {
		s.Fatal(err)
	}
	f := s.MustOpen(".", os.O_RDONLY)
	for _, name := range []string{
		"Read", "ReadAt", "Write", "WriteAt", "WriteTo", "ReadFrom", "Truncate", "Sync", "SetDeadline",
		"ReadDir", "ReadDir", "Seek", "Readdir", "Readdirnames", "Fd", "Name", "SyscallConn",
	} {
		s.Do(name, func() []any { return Methods[name](f) })
	}
	s.Note("Seek to the start", results(f.Seek(0, io.SeekStart))...)
	s.Note("ReadDir one by one", results(f.ReadDir(1000))...)
	s.Note("ReadDir at the end", results(f.ReadDir(1))...)
	s.Note("Chdir", f.Chdir())
	s.Note("Getwd", results(os.Getwd())...)
}

func specialFiles(s *Side) {
	if !Linux {
		s.Note("none", 0)
		return
	}
	for _, name := range []string{"/dev/null", "/dev/zero", "/proc/version", "/proc/self/comm"} {
		flag := os.O_RDWR
		if strings.HasPrefix(name, "/proc/") {
			flag = os.O_RDONLY
		}
		f, err := s.OpenFile(name, flag, 0)
		s.Opened("open "+name, f, err)
		for _, n := range []int{0, 4, 4096, 100} {
			p := Buffer(n, 0)
			k, err := f.Read(p)
			s.Note("Read", k, err, p[:k])
			k, err = f.ReadAt(p, 4)
			s.Note("ReadAt", k, err, p[:k])
		}
		s.Note("Seek", results(f.Seek(0, io.SeekStart))...)
		s.Note("Write", results(f.Write([]byte("name")))...)
		s.Note("WriteAt", results(f.WriteAt(Buffer(4096, 0), 4096))...)
		s.Note("Sync", f.Sync())
		s.Note("Truncate", f.Truncate(0))
		s.Note("SetDeadline", f.SetDeadline(time.Time{}))
		s.Note("Close", f.Close())
	}
}

func namedPipe(s *Side) {
	Mkfifo(s, s.Path("pipe"))
	f := s.MustOpen("pipe", os.O_RDWR)
	s.Note("SetDeadline", f.SetReadDeadline(time.Now().Add(-time.Second)))
	s.Note("Read after the deadline", results(f.Read(Buffer(10, 0)))...)
	s.Note("SetDeadline", f.SetReadDeadline(time.Now().Add(5*time.Millisecond)))
	s.Note("Read until the deadline", results(f.Read(Buffer(10, 0)))...)
	s.Note("no deadline", f.SetDeadline(time.Time{}))
	s.Note("Write", results(f.Write([]byte("some text")))...)
	p := Buffer(4096, 0)
	n, err := f.Read(p)
	s.Note("Read", n, err, p[:n])
	s.Note("ReadAt", results(f.ReadAt(p, 0))...)
	s.Note("WriteAt", results(f.WriteAt(p, 0))...)
	s.Note("Seek", results(f.Seek(0, io.SeekStart))...)
	s.Note("Truncate", f.Truncate(0))
	s.Note("Sync", f.Sync())

	type outcome struct {
		n   int
		err error
	}
	read := make(chan outcome)
	go func() {
		n, err := f.Read(Buffer(10, 0))
		read <- outcome{n, err}
	}()
	time.Sleep(5 * time.Millisecond) // it should be waiting by now
	s.Note("Close", f.Close())
	o := <-read
	s.Note("Read that Close unblocked", o.n, o.err)
}

func newFiles(s *Side) {
	if !Linux {
		s.Note("none", 0)
		return
	}
	// The os.File gets a descriptor that is not direct, where the aio.File gets one that
	// is: it must not show.
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
		for _, n := range []int{4096, 100, 8192} { // at first, what is appended is aligned
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

func metadata(s *Side) {
	s.Put("file", Pattern(5000, 1))
	f := s.MustOpen("file", os.O_RDWR)
	s.Note("Name", f.Name())
	s.Note("Stat", results(f.Stat())...)
	s.Note("Chmod", f.Chmod(0o600))
	s.Note("Stat", results(f.Stat())...)
	s.Note("Chown", f.Chown(-1, os.Getgid()))
	for name, at := range map[string]func(time.Time) error{
		"SetDeadline": f.SetDeadline, "SetReadDeadline": f.SetReadDeadline, "SetWriteDeadline": f.SetWriteDeadline,
	} {
		if err := at(time.Now()); !errors.Is(err, os.ErrNoDeadline) {
			s.Errorf("%s: %v", name, err)
		}
	}
	s.Note("SetDeadline", f.SetDeadline(time.Time{}))
	s.Note("ReadDir", results(f.ReadDir(-1))...)
	s.Note("Readdir", results(f.Readdir(-1))...)
	s.Note("Readdirnames", results(f.Readdirnames(-1))...)
	s.Note("Chdir", f.Chdir())
	conn, err := f.SyscallConn()
	s.Note("SyscallConn", err)
	s.Note("Control", conn.Control(func(fd uintptr) { s.Note("offset", Offset(fd)) }))
	s.Note("Fd", f.Fd() == ^uintptr(0))
	s.Note("Close", f.Close())
	s.Note("Fd after Close", f.Fd() == ^uintptr(0))
	s.Note("Name after Close", f.Name())
}

// Methods calls every method of a File, with arguments that matter.
var Methods = map[string]func(f File) []any{
	"Chdir":            func(f File) []any { return []any{f.Chdir()} },
	"Chmod":            func(f File) []any { return []any{f.Chmod(0o644)} },
	"Chown":            func(f File) []any { return []any{f.Chown(-1, -1)} },
	"Close":            func(f File) []any { return []any{f.Close()} },
	"Fd":               func(f File) []any { return []any{f.Fd() == ^uintptr(0)} },
	"Name":             func(f File) []any { return []any{f.Name()} },
	"Read":             func(f File) []any { return results(f.Read(make([]byte, 4096))) },
	"ReadAt":           func(f File) []any { return results(f.ReadAt(Buffer(4096, 0), 0)) },
	"ReadDir":          func(f File) []any { return results(f.ReadDir(-1)) },
	"ReadFrom":         func(f File) []any { return results(f.ReadFrom(strings.NewReader("text"))) },
	"Readdir":          func(f File) []any { return results(f.Readdir(-1)) },
	"Readdirnames":     func(f File) []any { return results(f.Readdirnames(-1)) },
	"Seek":             func(f File) []any { return results(f.Seek(1, io.SeekStart)) },
	"SetDeadline":      func(f File) []any { return []any{f.SetDeadline(time.Now())} },
	"SetReadDeadline":  func(f File) []any { return []any{f.SetReadDeadline(time.Now())} },
	"SetWriteDeadline": func(f File) []any { return []any{f.SetWriteDeadline(time.Now())} },
	"Stat":             func(f File) []any { return results(f.Stat()) },
	"Sync":             func(f File) []any { return []any{f.Sync()} },
	"Truncate":         func(f File) []any { return []any{f.Truncate(10)} },
	"Write":            func(f File) []any { return results(f.Write([]byte("text"))) },
	"WriteAt":          func(f File) []any { return results(f.WriteAt(Buffer(4096, 0), 0)) },
	"WriteString":      func(f File) []any { return results(f.WriteString("text")) },
	"WriteTo":          func(f File) []any { return results(f.WriteTo(io.Discard)) },
	"SyscallConn": func(f File) []any {
		c, err := f.SyscallConn()
		if err != nil {
			return []any{c == nil, err}
		}
		return []any{err, c.Control(func(uintptr) {}), c.Read(func(uintptr) bool { return true })}
	},
	// Not names of Methods, but other ways to call them.
	"Read nothing":             func(f File) []any { return results(f.Read(nil)) },
	"ReadAt nothing":           func(f File) []any { return results(f.ReadAt(nil, 0)) },
	"ReadAt a negative offset": func(f File) []any { return results(f.ReadAt(make([]byte, 1), -1)) },
	"ReadFrom nothing":         func(f File) []any { return results(f.ReadFrom(strings.NewReader(""))) },
	"ReadFrom an error":        func(f File) []any { return results(f.ReadFrom(iotest.ErrReader(io.ErrNoProgress))) },
	"Write nothing":            func(f File) []any { return results(f.Write(nil)) },
	"WriteAt nothing":          func(f File) []any { return results(f.WriteAt(nil, 0)) },
	"WriteAt a negative offset": func(f File) []any {
		return results(f.WriteAt(make([]byte, 1), -1))
	},
	"WriteAt unaligned":   func(f File) []any { return results(f.WriteAt(make([]byte, 100), 1)) },
	"WriteString nothing": func(f File) []any { return results(f.WriteString("")) },
	"Truncate negative":   func(f File) []any { return []any{f.Truncate(-1)} },
	"Seek nowhere":        func(f File) []any { return results(f.Seek(0, 17)) },
}

func results[V any](v V, err error) []any { return []any{v, err} }

// Every does all that Methods has, and Close last.
func Every(s *Side, f File) {
	var names []string
	for name := range Methods {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if name != "Close" {
			s.Do(name, func() []any { return Methods[name](f) })
		}
	}
	s.Do("Close", func() []any { return Methods["Close"](f) })
}

// Buffer returns n bytes whose address is shift beyond a multiple of 4096.
func Buffer(n, shift int) []byte {
	p := make([]byte, n+shift+4096)
	skip := shift + int(-reflect.ValueOf(p).Pointer()&4095)
	return p[skip : skip+n : skip+n]
}

// Pattern returns n bytes, no block of which is like another, and none of which is like
// a hole. There are 256 of that length.
func Pattern(n int, seed byte) []byte { return slices.Clone(noise()[int(seed)*997:][:n]) }

// noise is what patterns are cut from.
var noise = sync.OnceValue(func() []byte {
	p := make([]byte, 8<<20)
	x := uint32(1)
	for i := range p {
		x = x*1664525 + 1013904223
		p[i] = byte(x>>24) | 1
	}
	return p
})
