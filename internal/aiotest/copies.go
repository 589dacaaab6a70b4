package aiotest

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
)

// copies runs io.Copy between all kinds of readers and writers. The shortcuts of some kinds, such
// as copy_file_range(2), sendfile(2) and splice(2), must have the same result.
func copies(s *Side) {
	lengths := []int{0, 5000, 1<<20 + 7}
	if testing.Short() || !FullLength() {
		lengths = lengths[:2]
	}
	for from, source := range sources {
		for _, sink := range sinks {
			for _, n := range lengths {
				src, srcState := source.open(s, Pattern(n, byte(from)))
				dst, dstState := sink.open(s)
				k, err := io.Copy(dst, src)
				s.Note(fmt.Sprintf("io.Copy of %d bytes from %s to %s", n, source.name, sink.name), k, err)
				s.Note("reader", srcState()...)
				s.Note("writer", dstState()...)
			}
		}
	}
}

// start is the offset where copies from and to files begin.
const start = 3

// sources return a reader of content, and a function that returns its state.
var sources = []struct {
	name string
	open func(s *Side, content []byte) (io.Reader, func() []any)
}{
	{"a file", func(s *Side, content []byte) (io.Reader, func() []any) {
		f := source(s, content, 0)
		return f, func() []any { return []any{Offset(f.Fd()), f.Close()} }
	}},
	{"a direct file", func(s *Side, content []byte) (io.Reader, func() []any) {
		f := source(s, content, O_DIRECT)
		return f, func() []any { return []any{Offset(f.Fd()), f.Close()} }
	}},
	{"an os.File", func(s *Side, content []byte) (io.Reader, func() []any) {
		f, err := os.Open(source(s, content, 0).Name())
		if err != nil {
			s.Fatal(err)
		}
		return f, func() []any { return []any{Offset(f.Fd()), f.Close()} }
	}},
	{"a limited file", func(s *Side, content []byte) (io.Reader, func() []any) {
		f := source(s, content, 0)
		r := &io.LimitedReader{R: f, N: 4096}
		return r, func() []any { return []any{r.N, Offset(f.Fd()), f.Close()} }
	}},
	{"a direct file with a limit beyond its end", func(s *Side, content []byte) (io.Reader, func() []any) {
		f := source(s, content, O_DIRECT)
		r := &io.LimitedReader{R: f, N: 3 << 20}
		return r, func() []any { return []any{r.N, Offset(f.Fd()), f.Close()} }
	}},
	{"a file with no bytes allowed", func(s *Side, content []byte) (io.Reader, func() []any) {
		f := source(s, content, 0)
		r := &io.LimitedReader{R: f}
		return r, func() []any { return []any{r.N, Offset(f.Fd()), f.Close()} }
	}},
	{"a buffer", func(_ *Side, content []byte) (io.Reader, func() []any) {
		b := bytes.NewBuffer(content)
		return b, func() []any { return []any{b.Len()} }
	}},
	{"a pipe", func(s *Side, content []byte) (io.Reader, func() []any) {
		r, w := pipe(s)
		return r, fed(r, w, content)
	}},
	{"a socket", func(s *Side, content []byte) (io.Reader, func() []any) {
		r, w := sockets(s)
		return r, fed(r, w, content)
	}},
}

// sinks return a writer, and a function that returns the written bytes.
var sinks = []struct {
	name string
	open func(s *Side) (io.Writer, func() []any)
}{
	{"a file", func(s *Side) (io.Writer, func() []any) { return sink(s, os.O_RDWR) }},
	{"a direct file", func(s *Side) (io.Writer, func() []any) { return sink(s, os.O_RDWR|O_DIRECT) }},
	{"a file for appending", func(s *Side) (io.Writer, func() []any) { return sink(s, os.O_RDWR|os.O_APPEND) }},
	{"a direct file for appending", func(s *Side) (io.Writer, func() []any) {
		return sink(s, os.O_RDWR|os.O_APPEND|O_DIRECT)
	}},
	{"an os.File", func(s *Side) (io.Writer, func() []any) {
		f, err := os.Create(s.Path("sink of os"))
		if err != nil {
			s.Fatal(err)
		}
		return f, stateOf(s, f)
	}},
	{"a buffer", func(*Side) (io.Writer, func() []any) {
		b := new(bytes.Buffer)
		return b, func() []any { return []any{b.Bytes()} }
	}},
	{"a pipe", func(s *Side) (io.Writer, func() []any) {
		r, w := pipe(s)
		return w, drained(r, w)
	}},
	{"a socket", func(s *Side) (io.Writer, func() []any) {
		r, w := sockets(s)
		return w, drained(r, w)
	}},
}

func source(s *Side, content []byte, flag int) File {
	s.Put("source", append(make([]byte, start), content...))
	f := s.MustOpen("source", os.O_RDONLY|flag)
	if _, err := f.Seek(start, io.SeekStart); err != nil {
		s.Fatal(err)
	}
	return f
}

func sink(s *Side, flag int) (io.Writer, func() []any) {
	s.Put("sink", Pattern(5000, 99))
	f := s.MustOpen("sink", flag)
	if _, err := f.Seek(start, io.SeekStart); err != nil {
		s.Fatal(err)
	}
	return f, stateOf(s, f)
}

func stateOf(s *Side, f File) func() []any {
	return func() []any {
		content, err := os.ReadFile(f.Name())
		if err != nil {
			s.Fatal(err)
		}
		return []any{content, Offset(f.Fd()), f.Close()}
	}
}

func pipe(s *Side) (r, w *os.File) {
	r, w, err := os.Pipe()
	if err != nil {
		s.Fatal(err)
	}
	return r, w
}

// sockets returns both ends of a connection over the loopback interface.
func sockets(s *Side) (r, w net.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.Fatal(err)
	}
	defer l.Close()
	if w, err = net.Dial("tcp", l.Addr().String()); err != nil {
		s.Fatal(err)
	}
	if r, err = l.Accept(); err != nil {
		s.Fatal(err)
	}
	return r, w
}

// fed writes content to w in the background. The copy may leave some of it.
func fed(r io.Closer, w io.WriteCloser, content []byte) func() []any {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.Write(content)
		w.Close()
	}()
	return func() []any {
		r.Close()
		<-ended
		return nil
	}
}

// drained reads from r in the background until w is closed.
func drained(r io.ReadCloser, w io.Closer) func() []any {
	got := make(chan []byte)
	go func() {
		b, _ := io.ReadAll(r)
		got <- b
	}()
	return func() []any {
		w.Close()
		b := <-got
		r.Close()
		return []any{b}
	}
}
