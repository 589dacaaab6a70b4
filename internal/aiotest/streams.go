package aiotest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
)

// A Stream has the options of a Reader or a Writer of a File.
type Stream struct {
	Offset    int64
	BlockSize int
	Depth     int
	Exclusive bool // of a Writer
}

// A StreamWriter has the methods of a Writer of package stream.
type StreamWriter interface {
	io.WriteCloser
	io.ReaderFrom
	Flush() error
	Sync() error
	Written() int64
}

// newReader returns the package's Reader of f, or the oracle if there is none.
func (m *Machine) newReader(f File, s Stream) io.ReadCloser {
	if m.pkg.NewReader != nil {
		if r := m.pkg.NewReader(f, s); r != nil {
			return r
		}
	}
	return &serialReader{f, s.Offset}
}

func (m *Machine) newWriter(f File, s Stream) StreamWriter { return m.pkg.writer(f, s) }

// writer returns the package's Writer of f, or the oracle if there is none.
func (p Package) writer(f File, s Stream) StreamWriter {
	if p.NewWriter != nil {
		if w := p.NewWriter(f, s); w != nil {
			return w
		}
	}
	return &serialWriter{f: f, off: s.Offset, exclusive: s.Exclusive}
}

// A serialReader makes one ReadAt after the other.
type serialReader struct {
	f   File
	off int64
}

func (r *serialReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, err := r.f.ReadAt(p[:min(int64(len(p)), max(math.MaxInt64-r.off, 1))], r.off)
	if r.off += int64(n); n > 0 {
		err = nil // until the next call
	}
	return n, err
}

func (r *serialReader) Close() error { return nil }

// A serialWriter makes one WriteAt after the other. Its first error is sticky.
type serialWriter struct {
	f         File
	off       int64
	exclusive bool // has not cut the file yet
	err       error
}

func (w *serialWriter) Write(p []byte) (n int, err error) {
	if w.exclusive {
		w.exclusive = false
		fi, err := w.f.Stat()
		if err == nil && fi.Size() > w.off {
			err = w.f.Truncate(w.off)
		}
		w.err = err
	}
	if w.err == nil {
		n, w.err = w.f.WriteAt(p, w.off)
		w.off += int64(n)
	}
	return n, w.err
}

func (w *serialWriter) ReadFrom(r io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{w}, r)
}
func (w *serialWriter) Flush() error   { return w.err }
func (w *serialWriter) Close() error   { return w.err }
func (w *serialWriter) Written() int64 { return w.off }

func (w *serialWriter) Sync() error {
	if w.err == nil {
		w.err = w.f.Sync()
	}
	return w.err
}

// stream is an operation of programs.
func (m *Machine) stream(i, k int) {
	s := Stream{Offset: m.offset(), BlockSize: 4096 << (k / 4 % 5), Depth: 1 + k/32}
	switch k % 4 {
	case 0:
		m.readStream(i, s)
	case 1:
		m.readStreamToEnd(i, s)
	default:
		s.Offset = min(s.Offset, 3<<20) // a file cannot get larger than memory
		if s.Exclusive = k%4 == 3 && s.Offset >= 0; s.Exclusive {
			i %= 2
			m.reopen(i, 0)     // one that can read and write
			m.allocated = true // whole units
		}
		m.writeStream(i, s)
	}
}

// readStream reads some bytes.
func (m *Machine) readStream(i int, s Stream) {
	n, shift := m.length(), m.address()
	m.both(fmt.Sprintf("Reader %+v of %d bytes, address %d", s, n, shift), i, func(_ *half, f File) (b []byte, r []any) {
		stream := m.newReader(f, s)
		m.guarded(n, shift, func(p []byte) {
			k, err := io.ReadFull(stream, p)
			b, r = p[:k], []any{k, err, stream.Close()}
			m.untouched(p[k:])
		})
		return b, r
	})
}

// readStreamToEnd copies to the end, and then checks that nothing follows.
func (m *Machine) readStreamToEnd(i int, s Stream) {
	m.both(fmt.Sprintf("Reader %+v to the end", s), i, func(_ *half, f File) ([]byte, []any) {
		stream := m.newReader(f, s)
		var b bytes.Buffer
		n, err := io.Copy(&b, stream)
		more, err2 := stream.Read(make([]byte, 1))
		return b.Bytes(), []any{n, err, more, err2, stream.Close()}
	})
}

// writeStream writes pieces, between which it may flush or sync.
func (m *Machine) writeStream(i int, s Stream) {
	type piece struct {
		n    int
		then byte
	}
	var pieces []piece
	total := 0
	for range 1 + m.next()%6 {
		p := piece{max(m.length(), 1), byte(m.next())}
		pieces = append(pieces, p)
		total += p.n
	}
	synced := m.syncs
	m.both(fmt.Sprintf("Writer %+v of %v", s, pieces), i, func(_ *half, f File) (_ []byte, r []any) {
		m.syncs = synced
		w := m.newWriter(f, s)
		p := make([]byte, total)
		m.fill(p)
		for _, piece := range pieces {
			m.writePiece(w, p[:piece.n], piece.then)
			p = p[piece.n:]
		}
		first := w.Flush() // the call that returns it depends on timing
		err := w.Close()
		if err == nil {
			r = append(r, w.Written())
		}
		return nil, append(r, first, err)
	})
	m.wrote.off, m.wrote.n = s.Offset, total
}

func (m *Machine) writePiece(w StreamWriter, p []byte, then byte) {
	var n int64
	var err error
	if then&1 == 0 {
		var k int
		k, err = w.Write(p)
		n = int64(k)
	} else {
		n, err = w.ReadFrom(struct{ io.Reader }{bytes.NewReader(p)})
	}
	if err == nil && n != int64(len(p)) {
		m.Errorf("a piece of %d bytes: %d, %v", len(p), n, err)
	}
	switch {
	case then < 64:
		err = errors.Join(err, w.Flush())
	case then < 96 && (m.syncs == 0 || m.Long):
		m.syncs++ // it is slow
		err = errors.Join(err, w.Sync())
	}
	if err != nil && w.Flush() == nil {
		m.Errorf("the error %v was not sticky", err)
	}
}
