package aio

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"runtime/trace"
	"sync"
	"syscall"

	"github.com/go-aio/aio/internal/queue"
)

// ReadAt reads len(p) bytes at byte offset off, as os.File's ReadAt does: it returns
// n < len(p) only with an error, which is io.EOF where the file ends. A negative offset
// is an error. It does not move the offset of Read.
//
// In a direct File the bytes come from the disk, by kernel AIO (io_submit(2)), whatever
// the alignment of off, len(p) and the address of p. If all fit, the kernel reads into p
// itself; otherwise into a bounce buffer, and p gets a copy.
func (f *File) ReadAt(p []byte, off int64) (n int, err error) {
	if !f.Direct() || off < 0 || len(p) == 0 || !f.h.acquire() {
		return f.readPlain(p, off)
	}
	defer f.h.release()
	return f.readDirect(p, off)
}

// readPlain is ReadAt through the page cache.
func (f *File) readPlain(p []byte, off int64) (int, error) {
	if f == nil || f.h == nil {
		return f.os().ReadAt(p, off)
	}
	t := shared().threads
	t.acquire()
	n, err := f.plain.ReadAt(p, off)
	t.release()
	return n, err
}

// readDirect is ReadAt through the twin, which the caller has acquired.
func (f *File) readDirect(p []byte, off int64) (n int, err error) {
	if overflows(off, len(p)) {
		shared().counts.unsupported.Add(1)
		return f.readPlain(p, off)
	}
	if trace.IsEnabled() {
		defer trace.StartRegion(context.Background(), "aio.ReadAt").End()
	}
	if f.h.inode.Recent(off, end(off, len(p))) && f.readCached(p, off) {
		return len(p), nil
	}
	for n < len(p) {
		m, end, err := f.readOnce(p[n:], off+int64(n))
		n += m
		switch {
		case err == nil:
		case f.forPageCache(err, off+int64(n), len(p)-n):
			shared().counts.unsupported.Add(1)
			m, err := f.readPlain(p[n:], off+int64(n))
			return n + m, err
		default:
			return n, f.wrapErr("read", err)
		}
		if end {
			return n, io.EOF
		}
	}
	return n, nil
}

// forPageCache reports whether the page cache is to read n bytes at off, of which a direct read
// returned err: what direct I/O on this file cannot read, and a bad range, of which it tells what
// is bad.
func (f *File) forPageCache(err error, off int64, n int) bool {
	switch err {
	case syscall.EINVAL, syscall.EOPNOTSUPP:
		return true
	case syscall.EIO:
		// xfs has space reserved beyond the end of a file that grows. Once fallocate(2) has
		// taken a part of that, a direct read past the end meets the rest, and fails
		// (Linux 6.18: IOMAP_DELALLOC in iomap_dio_iter).
		size, err := f.h.twin.Size()
		return err == nil && end(off, n) > size
	}
	return false
}

// readCached reads p if all of it is in the page cache, where a write has just put it: a
// direct read would have to wait until that is on the disk (94 us against 1).
func (f *File) readCached(p []byte, off int64) bool {
	c := calls.Get().(*call)
	c.kind, c.off, c.dev = callReadCached, off, f.h.dev
	c.with(p)
	if n, _ := c.on(f.conn); n == len(p) {
		shared().counts.recentReads.add()
		return true
	}
	f.h.inode.Forget(off, end(off, len(p)))
	return false
}

// readOnce makes one request for the beginning of p. It returns in end that the file
// ends after n bytes.
func (f *File) readOnce(p []byte, off int64) (n int, end bool, err error) {
	t := f.h.twin
	if p = p[:min(len(p), maxDirect)]; aligned(p, off, t.Read, t.Mem) {
		n, err = f.readInto(p, off)
	} else {
		p = p[:bounced(len(p), off, t.Read)]
		n, err = f.readBounced(p, off)
	}
	if err != nil || n == len(p) {
		return n, false, err
	}
	return n, n == 0 || f.endsAt(off+int64(n)), nil
}

// readBounced reads the whole blocks around p, which fit a bounce buffer.
func (f *File) readBounced(p []byte, off int64) (int, error) {
	return f.readAround(len(p), off, func(got []byte) int { return copy(p, got) })
}

// readAround reads the whole blocks around n bytes at off, which fit a bounce buffer, and has
// take copy those of the n that it has got.
func (f *File) readAround(n int, off int64, take func(got []byte) int) (int, error) {
	lo, hi, ok := widen(off, n, f.h.twin.Read)
	if !ok {
		return 0, syscall.EINVAL
	}
	bounce := shared().bounce
	block := bounce.get(int(hi - lo))
	defer bounce.put(block)
	got, err := f.readInto(block, lo)
	skip := int(off - lo)
	if err != nil || got <= skip {
		return 0, err
	}
	return take(block[skip:got]), nil
}

// readInto reads whole blocks into aligned memory.
func (f *File) readInto(p []byte, off int64) (int, error) {
	if f.h.twin.Resident {
		touch(p)
	}
	return f.do(queue.Pread, p, nil, off)
}

// endsAt reports whether a short read that ended at byte off met the end of the file,
// as direct reads do; a disk with errors may end one anywhere.
func (f *File) endsAt(off int64) bool {
	size, err := f.h.twin.Size()
	return err == nil && off >= size
}

// Read reads up to len(p) bytes, as os.File's Read does; at the end of the file it
// returns 0, io.EOF. In a direct File it reads as ReadAt does, at the offset of the
// descriptor that Fd returns, and moves that.
func (f *File) Read(p []byte) (int, error) {
	switch {
	case f == nil || f.h == nil:
		return f.os().Read(p)
	case !f.Direct() || len(p) == 0:
		t := shared().threads
		t.acquire()
		defer t.release()
		return f.plain.Read(p)
	}
	f.cursor.Lock()
	defer f.cursor.Unlock()
	off, err := f.plain.Seek(0, io.SeekCurrent)
	if err != nil || !f.h.acquire() {
		return f.plain.Read(p) // has an error of its own for a closed file
	}
	defer f.h.release()
	n, err := f.readDirect(p[:min(len(p), maxDirect)], off) // os too reads no more at a time
	if n == 0 {
		return 0, err
	}
	// As read(2): what was read counts, and the next call meets the error.
	return n, f.moveTo(off + int64(n))
}

// moveTo sets the offset behind what has been transferred. That the File has been closed meanwhile is no error of a call that
// was under way.
func (f *File) moveTo(off int64) error {
	_, err := f.plain.Seek(off, io.SeekStart)
	if errors.Is(err, fs.ErrClosed) {
		return nil
	}
	return err
}

// WriteTo writes the rest of the file to w, as os.File's WriteTo does. A plain File
// leaves it to os.File where that, or w, may know a shorter way, such as sendfile(2).
func (f *File) WriteTo(w io.Writer) (int64, error) {
	if f == nil || f.h == nil {
		return f.os().WriteTo(w)
	}
	if f.Direct() {
		buf := streamBuffers.Get().(*[]byte)
		defer streamBuffers.Put(buf)
		return io.CopyBuffer(onlyWriter{w}, onlyReader{f}, *buf)
	}
	if to, ok := w.(*File); ok && to != nil && !to.Direct() {
		if to.h != nil {
			return to.ReadFrom(f) // which keeps to the locks of to
		}
		w = to.plain
	}
	switch w.(type) {
	case syscall.Conn, io.ReaderFrom:
		return f.plain.WriteTo(w)
	}
	return io.Copy(w, onlyReader{f})
}

// streamBuffers are for copies between a direct File and somebody else, who may keep us
// waiting: that is why they are not bounce buffers.
var streamBuffers = sync.Pool{New: func() any {
	buf := AlignedBuffer(maxBounce)
	return &buf
}}

// onlyReader and onlyWriter hide the other methods of what they hold from package io,
// which would call the method that calls it.
type onlyReader struct{ io.Reader }

type onlyWriter struct{ io.Writer }

// plainOf returns what os can copy from at once: the os.File of a plain File, and r
// itself otherwise.
func plainOf(r io.Reader) io.Reader {
	if from, ok := r.(*File); ok && from != nil && from.h != nil && !from.Direct() {
		return from.plain
	}
	return r
}

// isRegular reports whether r is a file that can be read without waiting for anybody.
func isRegular(r io.Reader) bool {
	file, ok := r.(*os.File)
	if !ok {
		return false
	}
	fi, err := file.Stat()
	return err == nil && fi.Mode().IsRegular()
}
