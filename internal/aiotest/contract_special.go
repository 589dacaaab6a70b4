package aiotest

import (
	"errors"
	"io"
	"os"
	"strings"
	"time"
)

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
		if s.Opened("open "+name, f, err); f == nil {
			continue // there is no /proc
		}
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

func metadata(s *Side) {
	s.Put("file", Pattern(5000, 1))
	f := s.MustOpen("file", os.O_RDWR)
	s.Note("Name", f.Name())
	s.Note("Stat", results(f.Stat())...)
	s.Note("Chmod", f.Chmod(0o600))
	s.Note("Stat", results(f.Stat())...)
	s.Note("Chown", f.Chown(-1, os.Getgid()))
	// Files of FUSE have deadlines.
	s.Note("SetDeadline", errors.Is(f.SetDeadline(time.Now()), os.ErrNoDeadline))
	s.Note("SetReadDeadline", errors.Is(f.SetReadDeadline(time.Now()), os.ErrNoDeadline))
	s.Note("SetWriteDeadline", errors.Is(f.SetWriteDeadline(time.Now()), os.ErrNoDeadline))
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
