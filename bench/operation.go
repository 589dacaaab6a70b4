//go:build linux

package main

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/internal/aiotest/measure"
	"github.com/go-aio/aio/stream"
	"golang.org/x/sys/unix"
)

// Operations are the same code for every engine, so that the engines differ in the file alone.

func readRandom(l *lane) error {
	_, err := l.w.file.ReadAt(l.buf, l.offset())
	return err
}

// readEach reads each offset once.
func readEach(l *lane) error {
	// An odd step reaches every place, because the number of places is even.
	i := l.w.next.Add(1) * 1_000_003 % int64(l.strides&^1)
	_, err := l.w.file.ReadAt(l.buf, i*l.stride)
	return err
}

func writeRandom(l *lane) error {
	_, err := l.w.file.WriteAt(l.buf, l.offset())
	return err
}

func writeAndSync(l *lane) error {
	if _, err := l.w.file.WriteAt(l.buf, l.offset()); err != nil {
		return err
	}
	return l.w.file.Sync()
}

func batchRead(l *lane) error {
	l.batch.Reset()
	for _, p := range l.bufs {
		l.batch.ReadAt(l.w.file.(*aio.File), p, l.offset())
	}
	return l.batch.Do(context.Background())
}

func batchSync(l *lane) error {
	f := l.w.file.(*aio.File)
	l.batch.Reset()
	for _, p := range l.bufs {
		l.batch.WriteAt(f, p, l.offset())
	}
	l.batch.Barrier()
	l.batch.Sync(f)
	return l.batch.Do(context.Background())
}

// odd makes an offset one that no block begins at.
const odd = 17

func writeOddAndSync(l *lane) error {
	if _, err := l.w.file.WriteAt(l.buf, l.offset()+odd); err != nil {
		return err
	}
	return l.w.file.Sync()
}

func writeOddAndRead(l *lane) error {
	off := l.offset() + odd
	if _, err := l.w.file.WriteAt(l.buf, off); err != nil {
		return err
	}
	_, err := l.w.file.ReadAt(l.buf, off)
	return err
}

// readStream begins again where the file ends.
func readStream(l *lane) error {
	_, err := l.w.file.Read(l.buf)
	if errors.Is(err, io.EOF) {
		_, err = l.w.file.Seek(0, io.SeekStart)
	}
	return err
}

// writeStream begins again where the file ended. Other goroutines may have written a little behind
// that by then.
func writeStream(l *lane) error {
	if l.w.next.Add(1)%(l.w.size/blockSize) == 0 {
		if _, err := l.w.file.Seek(0, io.SeekStart); err != nil {
			return err
		}
	}
	_, err := l.w.file.Write(l.buf)
	return err
}

// A sink has no method but Write, so that io.Copy finds no shortcut.
type sink struct{ n int64 }

func (s *sink) Write(p []byte) (int, error) {
	s.n += int64(len(p))
	return len(p), nil
}

func copyAll(l *lane) error {
	if _, err := l.w.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	var s sink
	if _, err := io.Copy(&s, l.w.file); err != nil {
		return err
	}
	if s.n != l.w.size {
		return errors.New("io.Copy did not copy the whole file")
	}
	return nil
}

func extend(l *lane) error {
	_, err := l.w.file.WriteAt(l.buf, (l.w.next.Add(1)-1)*blockSize)
	return err
}

func fillHoles(l *lane) error {
	blocks := l.w.size / blockSize
	// An odd number times a count reaches every block once, because their number is even.
	i := l.w.next.Add(1) * 1_000_003 % blocks
	_, err := l.w.file.WriteAt(l.buf, i*blockSize)
	return err
}

// readThrough reads the file from one end to the other: os.File in pieces, aio.File by a Reader.
func readThrough(l *lane) error {
	var s sink
	var err error
	if f, ok := l.w.file.(*aio.File); ok {
		r := stream.NewReader(f, stream.ReaderOptions{})
		_, err = io.Copy(&s, r)
		err = errors.Join(err, r.Close())
	} else {
		for err == nil {
			var n int
			n, err = l.w.file.ReadAt(l.buf, s.n)
			s.n += int64(n)
		}
		if errors.Is(err, io.EOF) {
			err = nil
		}
	}
	if err == nil && s.n != l.w.size {
		err = errors.New("the whole file was not read")
	}
	return err
}

// writeThrough writes a file and makes it durable.
func writeThrough(l *lane) error {
	var to io.Writer = l.w.file
	f, ok := l.w.file.(*aio.File)
	if ok {
		w := stream.NewWriter(f, stream.WriterOptions{})
		defer w.Close()
		to = w
	} else if _, err := l.w.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	for n := int64(0); n < l.w.size; n += int64(len(l.buf)) {
		if _, err := to.Write(l.buf); err != nil {
			return err
		}
	}
	return to.(log).Sync()
}

// A log is an os.File, or a Writer of an aio.File.
type log interface {
	io.Writer
	Sync() error
}

// emptyLog begins a log.
func emptyLog(w *worker) error {
	if last, ok := w.log.(*stream.Writer); ok {
		if err := last.Close(); err != nil {
			return err
		}
	}
	w.log = w.file
	if f, ok := w.file.(*aio.File); ok {
		w.log = stream.NewWriter(f, stream.WriterOptions{Exclusive: true})
	}
	return empty(w)
}

func appendAndSync(l *lane) error {
	if _, err := l.w.log.Write(l.buf); err != nil {
		return err
	}
	return l.w.log.Sync()
}

// cachedBytes returns the bytes of a file in the page cache, by cachestat(2) (Linux 6.5), or -1
// without that call.
func cachedBytes(name string) (int64, error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var stat unix.Cachestat_t
	if err := unix.Cachestat(uint(f.Fd()), &unix.CachestatRange{}, &stat, 0); err != nil {
		return -1, nil
	}
	return int64(stat.Cache) * int64(os.Getpagesize()), nil
}

// warm brings the file into the page cache, once.
func warm(w *worker) error {
	if w.warm {
		return nil
	}
	w.warm = true
	buf := make([]byte, fillChunk)
	for off := int64(0); off < w.size; off += int64(len(buf)) {
		if _, err := w.file.ReadAt(buf, off); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
	}
	return nil
}

// warmAtStart also moves the offset to the beginning of the file, for Write.
func warmAtStart(w *worker) error {
	w.next.Store(0)
	_, err := w.file.Seek(0, io.SeekStart)
	return errors.Join(err, warm(w))
}

// cool drops the file from the page cache.
func cool(w *worker) error { return measure.Drop(w.name) }

// empty empties the file, and leaves nothing for the journal to do.
func empty(w *worker) error {
	w.next.Store(0)
	return errors.Join(w.file.Truncate(0), w.file.Sync())
}

// hollow makes the file one hole.
func hollow(w *worker) error {
	w.next.Store(0)
	return errors.Join(w.file.Truncate(0), w.file.Truncate(w.size), w.file.Sync())
}
