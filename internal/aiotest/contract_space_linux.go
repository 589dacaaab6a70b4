package aiotest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// A small filesystem is soon full.
const small = 16 << 20

// Small are filesystems of 16 MiB, one with direct I/O and one without.
var Small = []Filesystem{
	{Ext4.Name, Ext4.Kind, Ext4.Mkfs, Ext4.Tool, small, Ext4.Sector, false},
	Tmpfs,
}

// mountSmall mounts one of Small.
func (s *Side) mountSmall(f Filesystem, name string) {
	s.Helper()
	data := ""
	if f.Mkfs == nil {
		data = fmt.Sprintf("size=%d", small)
	}
	s.mountNew(f, name, data)
}

// ReadOnly calls every method on files of a filesystem that is mounted read-only, opened
// in every way, and on its directory.
func ReadOnly(f Filesystem) func(s *Side) {
	return func(s *Side) {
		s.mountSmall(f, "fs")
		s.Put("fs/file", Pattern(10000, 1))
		s.remountReadOnly("fs", 0)
		for _, name := range []string{"fs/file", "fs/none", "fs"} {
			flags := append(with(os.O_CREATE, access...), readOnly...)
			kind{name: name, flags: flags, open: func(s *Side, flag int) (File, error) {
				return s.OpenFile(s.Path(name), flag, 0o600)
			}}.everyMethod(s)
		}
	}
}

// The file on the full filesystem has held bytes; spare bytes are left there for it later.
const (
	held  = 64 << 10
	spare = 256 << 10
)

// Full writes to a filesystem without space.
func Full(f Filesystem) func(s *Side) {
	return func(s *Side) {
		s.mountSmall(f, "fs")
		s.Put("fs/file", Pattern(held, 1))
		file := s.MustOpen("fs/file", os.O_RDWR)
		s.fill("fs")
		for _, w := range []struct {
			off int64
			n   int
		}{
			{0, 4096},
			{0, held},
			{1, 100},
			{held, 1},
			{held, 4096},
			{held, 1 << 20},
			{held + 4096, 8192},
			{held + 1, 100},
			{held + 1, 1 << 20},
			{held - 4096, 4096},
			{held - 4096, 8192},
			{held - 4096, 1 << 20},
			{held - 100, 4096},
			{held - 100, 1 << 20},
		} {
			for _, way := range ways {
				what := fmt.Sprintf("%s of %d bytes at %d", way.name, w.n, w.off)
				n, err := way.write(file, alignedPattern(w.n, 2), w.off)
				s.Note(what, n, err)
				s.State(file)
				s.Note("Sync", file.Sync())
				s.Note("Truncate", file.Truncate(held))
			}
		}
		s.Note("Truncate up", file.Truncate(10<<20))
		s.State(file)
		s.Note("Truncate back", file.Truncate(held))
		s.Note("Sync", file.Sync())
		f, err := s.Create(s.Path("fs/another"))
		if s.Opened("Create", f, err); f != nil {
			s.Note("Write", results(f.Write(Pattern(4096, 3)))...)
			s.Note("Write", results(f.Write(Pattern(100, 3)))...)
			s.State(f)
		}
	}
}

// AlmostFull writes more bytes to a filesystem than are left there, in all ways.
//
// The offset of ENOSPC may differ: a filesystem needs blocks for itself, and for pages that it
// writes back it needs another number of them than for direct blocks. So the number of bytes is not
// compared. Compared are the error, that some bytes were written and not all, and that the reported
// bytes are there.
func AlmostFull(f Filesystem) func(s *Side) {
	return func(s *Side) {
		s.mountSmall(f, "fs")
		s.Put("fs/file", Pattern(held, 1))
		file := s.MustOpen("fs/file", os.O_RDWR)
		s.Put("fs/spare", Pattern(spare, 1))
		s.fill("fs")
		s.Note("Remove", os.Remove(s.Path("fs/spare")))
		for _, off := range []int64{held, held + 1, held - 4096, held - 100} {
			for _, way := range ways {
				p := alignedPattern(1<<20, 2)
				n, err := way.write(file, p, off)
				s.Note(fmt.Sprintf("%s at %d", way.name, off), err)
				if n < 0 || n >= int64(len(p)) || n > 0 && n < held {
					s.Errorf("%s at %d: %d, %v", way.name, off, n, err)
				}
				content, err := os.ReadFile(s.Path("fs/file"))
				if err != nil || int64(len(content)) < off+n || !bytes.Equal(content[off:off+n], p[:n]) {
					s.Errorf("%s at %d: %d bytes are reported as written, and are not there", way.name, off, n)
				}
				some := int64(len(content)) > held && len(content) < held+len(p)
				s.Note("some of it is there", some, bytes.Equal(content[off:], p[:max(0, len(content)-int(off))]))
				s.Note("Sync", file.Sync())
				s.Note("Truncate", file.Truncate(held))
				s.Note("Sync", file.Sync())
			}
		}
	}
}

// LastRoom appends records to a file and syncs each, by Writers, until the room left is no more
// than the filesystem may need for itself.
func LastRoom(f Filesystem) func(s *Side) {
	return func(s *Side) {
		for i, stream := range []Stream{{Exclusive: true}, {}, {Exclusive: true, BlockSize: 4096, Depth: 1}} {
			if !SomeOrFull(i) {
				continue
			}
			fs := fmt.Sprintf("fs%d", i)
			s.mountSmall(f, fs)
			s.Put(fs+"/spare", Pattern(spare, 1))
			file := s.MustOpen(fs+"/file", os.O_RDWR|os.O_CREATE)
			s.fill(fs)
			s.Note("Remove", os.Remove(s.Path(fs+"/spare")))
			w := s.writer(file, stream)
			record := Pattern(512, 3)
			var err error
			n := 0
			for err == nil {
				if _, err = w.Write(record); err == nil {
					err = w.Sync()
				}
				if err == nil {
					n++
				}
			}
			s.Note("no room", errors.Is(err, unix.ENOSPC), errors.Is(w.Close(), unix.ENOSPC))
			if room := n * len(record); room < spare-spare/16 {
				s.Errorf("%+v: %d bytes found room, where there was some for %d", stream, room, spare)
			}
			content, err := os.ReadFile(s.Path(fs + "/file"))
			s.Note("the synced records are there", bytes.HasPrefix(content, bytes.Repeat(record, n)), err)
		}
	}
}

// ways write p at off, each in another way, and return the number of bytes that the call reports.
var ways = []struct {
	name  string
	write func(f File, p []byte, off int64) (int64, error)
}{
	{"WriteAt", func(f File, p []byte, off int64) (int64, error) {
		n, err := f.WriteAt(p, off)
		return int64(n), err
	}},
	{"Write", func(f File, p []byte, off int64) (int64, error) {
		f.Seek(off, io.SeekStart)
		n, err := f.Write(p)
		return int64(n), err
	}},
	{"WriteString", func(f File, p []byte, off int64) (int64, error) {
		f.Seek(off, io.SeekStart)
		n, err := f.WriteString(string(p))
		return int64(n), err
	}},
	{"ReadFrom", func(f File, p []byte, off int64) (int64, error) {
		f.Seek(off, io.SeekStart)
		return f.ReadFrom(bytes.NewReader(p))
	}},
}

// fill writes to a file of its own until no space is left, including the space reserved for dirty
// pages.
func (s *Side) fill(fs string) {
	s.Helper()
	filler, err := os.Create(s.Path(fs + "/filler"))
	if err != nil {
		s.Fatal(err)
	}
	defer filler.Close()
	p := Pattern(4096, 9)
	for written := 1; written > 0; {
		written = 0
		for ; err == nil; written++ {
			_, err = filler.Write(p)
		}
		if !errors.Is(err, unix.ENOSPC) {
			s.Fatal(err)
		}
		written--
		if err = filler.Sync(); err != nil {
			s.Fatal(err)
		}
	}
}
