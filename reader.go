package aio

import (
	"io"
	"os"
	"sync"
	"syscall"

	"github.com/go-aio/aio/internal/fd"
)

// ReadAt reads len(p) bytes at byte offset off, as os.File's ReadAt does: it returns n < len(p)
// only with an error, which is io.EOF where the file ends. A negative offset is an error. It does
// not move the offset of Read.
//
// In a direct File the bytes come from the disk, by kernel AIO (io_submit(2)), whatever the
// alignment of off, len(p) and the address of p. If all fit, the kernel reads into p itself;
// otherwise into a bounce buffer, and p gets a copy.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	d := f.engine()
	if d == nil || off < 0 || len(p) == 0 {
		return f.inner().ReadAt(p, off)
	}
	n, err := d.ReadAt(fd.One(p), off)
	return n, f.wrapErr("read", err)
}

// ReadvAt is ReadAt into bufs, one after the other (preadv(2)). n counts the bytes of all of them.
// Buffers that are empty or nil are skipped. More bytes than an int can count are an error
// (EINVAL).
//
// The buffers must not overlap: otherwise their contents are unspecified. bufs itself is neither
// changed nor kept.
//
// In a direct File the bytes come from the disk, by one request of kernel AIO (IOCB_CMD_PREADV),
// whatever the alignment. The kernel reads into bufs themselves if the address and the length of
// each fit, as those of an [AlignedBuffer] of whole blocks do, and off and the sum too; otherwise
// into a bounce buffer, 1 MiB at a time. More than 1024 buffers (IOV_MAX) or 1 GiB are several
// requests. For a pipe or a device, and on systems other than Linux, it is ReadAt of one buffer
// after the other.
func (f *File) ReadvAt(bufs [][]byte, off int64) (int, error) {
	b, ok := fd.Many(bufs)
	d := f.engine()
	switch {
	case f.inner() == nil || off < 0 || len(bufs) == 0 || ok && b.Len() == 0:
		return f.ReadAt(nil, off)
	case !ok:
		return 0, f.wrapErr("read", syscall.EINVAL)
	case d == nil:
		return f.readEach(b, off)
	}
	n, err := d.ReadAt(b, off)
	return n, f.wrapErr("read", err)
}

// readEach is ReadvAt of a pipe or a device.
func (f *File) readEach(b fd.Buffers, off int64) (n int, err error) {
	if fd.Overflows(off, b.Len()) { // which the first buffer alone may not show
		p := make([]byte, min(b.Len(), fd.MaxCopy))
		n, err := f.file.ReadAt(p, off)
		return b.Scatter(p[:n]), err
	}
	for b.Len() > 0 && err == nil {
		p, _ := b.First()
		var m int
		m, err = f.file.ReadAt(p, off+int64(n))
		n += m
		b.Advance(m)
	}
	return n, err
}

// Read reads up to len(p) bytes, as os.File's Read does; at the end of the file it returns 0,
// io.EOF. In a direct File it reads as ReadAt does, at the offset of the descriptor that Fd
// returns, and moves that.
func (f *File) Read(p []byte) (int, error) {
	d := f.engine()
	if d == nil {
		return f.inner().Read(p)
	}
	n, err := d.Read(p)
	return n, f.wrapErr("read", err)
}

// WriteTo writes the rest of the file to w, as os.File's WriteTo does. A buffered File leaves it to
// os.File where that, or w, may know a shorter way, such as sendfile(2).
func (f *File) WriteTo(w io.Writer) (int64, error) {
	if f.engine() == nil {
		return f.inner().WriteTo(w)
	}
	if f.Direct() {
		buf := streamBuffers.Get().(*[]byte)
		defer streamBuffers.Put(buf)
		return io.CopyBuffer(onlyWriter{w}, onlyReader{f}, *buf)
	}
	if to, ok := w.(*File); ok && to != nil && !to.Direct() {
		if to.fd != nil {
			return to.ReadFrom(f) // which keeps to the locks of to
		}
		w = to.file
	}
	switch w.(type) {
	case syscall.Conn, io.ReaderFrom:
		return f.file.WriteTo(w)
	}
	return io.Copy(w, onlyReader{f})
}

// streamBuffers are for copies between a direct File and a reader or writer of the caller's. That
// may block for any time, so they are not bounce buffers.
var streamBuffers = sync.Pool{New: func() any {
	buf := AlignedBuffer(fd.MaxCopy)
	return &buf
}}

// onlyReader and onlyWriter hide the other methods of what they hold from package io, which would
// call the method that calls it.
type (
	onlyReader struct{ io.Reader }
	onlyWriter struct{ io.Writer }
)

// innerOf returns what os can copy from at once: the os.File of a buffered File, or r itself.
func innerOf(r io.Reader) io.Reader {
	if from, ok := r.(*File); ok && from != nil && from.fd != nil && !from.Direct() {
		return from.file
	}
	return r
}

// isRegular reports whether r is a file that can be read without waiting for anything but I/O.
func isRegular(r io.Reader) bool {
	file, ok := r.(*os.File)
	if !ok {
		return false
	}
	fi, err := file.Stat()
	return err == nil && fi.Mode().IsRegular()
}
