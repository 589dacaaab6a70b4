package aio

import (
	"io"
	"os"
	"syscall"

	"github.com/go-aio/aio/internal/fd"
)

// WriteAt writes len(p) bytes at byte offset off, as os.File's WriteAt does: it returns n < len(p)
// only with an error. A negative offset is an error, and so is a File opened with O_APPEND. It does
// not move the offset of Write.
//
// In a direct File a write of whole blocks goes to the disk by kernel AIO (io_submit(2)); any other
// goes through the page cache, as one pwrite(2), so that nothing is read, changed and written back.
// Neither is durable before Sync, unless the File was opened with O_SYNC or O_DSYNC.
func (f *File) WriteAt(p []byte, off int64) (int, error) {
	d := f.engine()
	if d == nil || f.appends || off < 0 || len(p) == 0 {
		return f.inner().WriteAt(p, off)
	}
	n, err := d.WriteAt(fd.One(p), off)
	return n, f.wrapErr("write", err)
}

// WritevAt is WriteAt of the bytes of bufs, one after the other (pwritev(2)). n counts the bytes of
// all of them. Buffers that are empty or nil are skipped. More bytes than an int can count are an
// error (EINVAL). bufs itself is neither changed nor kept.
//
// In a direct File a write of whole blocks, in sum, goes to the disk by one request of kernel AIO
// (IOCB_CMD_PWRITEV), from bufs themselves if the address and the length of each fit, as those of
// an [AlignedBuffer] of whole blocks do. More than 1024 buffers (IOV_MAX) or 1 GiB are split, in
// ascending order. So is, into pieces of 1 MiB, a write of memory that does not fit, as that of
// WriteAt: no other direct write of the process comes between the pieces, but a reader may, and an
// error or a crash may leave the first ones only.
//
// Any other write is one pwritev(2) through the page cache. More than 1024 buffers are copied to
// one first, and so are, however few, those for a pipe or a device. On systems other than Linux it
// is WriteAt of one buffer after the other.
func (f *File) WritevAt(bufs [][]byte, off int64) (int, error) {
	b, ok := fd.Many(bufs)
	d := f.engine()
	switch {
	case f.inner() == nil || off < 0 || f.appends || len(bufs) == 0 || ok && b.Len() == 0:
		return f.WriteAt(nil, off)
	case !ok:
		return 0, f.wrapErr("write", syscall.EINVAL)
	case d == nil:
		p := make([]byte, b.Len())
		b.Gather(p)
		return f.file.WriteAt(p, off)
	}
	n, err := d.WriteAt(b, off)
	return n, f.wrapErr("write", err)
}

// Write writes len(p) bytes at the offset of the descriptor that Fd returns, and moves that, as
// os.File's Write does; if the File was opened with O_APPEND, at its end, in one piece. It returns
// n < len(p) only with an error. In a direct File it writes as WriteAt does.
func (f *File) Write(p []byte) (int, error) {
	d := f.engine()
	if d == nil {
		return f.inner().Write(p)
	}
	n, err := d.Write(p, f.appends)
	return n, f.wrapErr("write", err)
}

// WriteString is Write of the bytes of s.
func (f *File) WriteString(s string) (int, error) { return f.Write(fd.Bytes(s)) }

// ReadFrom writes what r has, until its end or an error, as os.File's ReadFrom does. A buffered
// File leaves it to os.File, which may know a shorter way such as copy_file_range(2) or splice(2).
func (f *File) ReadFrom(r io.Reader) (int64, error) {
	d := f.engine()
	if d == nil {
		return f.inner().ReadFrom(r)
	}
	whole, ok := d.BeginCopy()
	if !ok {
		return f.file.ReadFrom(r) // it is closed
	}
	defer d.EndCopy(whole)
	switch {
	case whole:
		return f.copyFrom(r)
	case f.Direct():
		buf := streamBuffers.Get().(*[]byte)
		defer streamBuffers.Put(buf)
		return io.CopyBuffer(onlyWriter{f}, onlyReader{r}, *buf)
	}
	return io.Copy(onlyWriter{f}, r)
}

// copyFrom lets os.File copy from r, and from the os.File in it.
func (f *File) copyFrom(r io.Reader) (int64, error) {
	limited, ok := r.(*io.LimitedReader)
	if !ok {
		from := innerOf(r)
		return f.fd.CopyFrom(from, isRegular(from))
	}
	inner := &io.LimitedReader{R: innerOf(limited.R), N: limited.N}
	n, err := f.fd.CopyFrom(inner, isRegular(inner.R))
	limited.N = inner.N
	return n, err
}

// Truncate changes the size of the file in bytes, as os.File's Truncate does. It waits for writes
// in flight and does not move the offset of Read and Write.
func (f *File) Truncate(size int64) error {
	d := f.engine()
	if d == nil {
		return f.inner().Truncate(size)
	}
	return f.wrapErr("truncate", d.Truncate(size))
}

// Allocate reserves space for the n bytes at byte offset off, as posix_fallocate(3) does
// (fallocate(2)). A file that ends before off+n grows to that size, with zeros. A WriteAt within it
// does not extend the file, and so is asynchronous in a direct File. It also has its space on the
// disk, but where a filesystem never writes in place. Allocate waits for writes in flight and does
// not move the offset of Read and Write.
//
// An error is the kernel's, in an *fs.PathError with the Op "allocate": EINVAL for a negative off
// and an n that is not positive, EBADF for a File that is not open for writing, EOPNOTSUPP
// (errors.ErrUnsupported) where the filesystem cannot, ENOSPC and EFBIG, after which some of it may
// be done. On systems other than Linux it is errors.ErrUnsupported.
func (f *File) Allocate(off, n int64) error {
	if f.inner() == nil {
		return os.ErrInvalid
	}
	return f.wrapErr("allocate", fd.Allocate(f.file, f.fd, off, n))
}

// PunchHole gives back the space of the n bytes at byte offset off, which read as zeros from then
// on (fallocate(2), FALLOC_FL_PUNCH_HOLE). The size of the file stays. Space is given back in whole
// blocks of the filesystem; in those at the edges zeros are written. It waits for writes in flight
// and does not move the offset of Read and Write.
//
// An error is as that of [File.Allocate], with the Op "punchhole".
func (f *File) PunchHole(off, n int64) error {
	if f.inner() == nil {
		return os.ErrInvalid
	}
	return f.wrapErr("punchhole", fd.PunchHole(f.file, f.fd, off, n))
}

// Sync makes what has been written durable, as os.File's Sync does, with an fsync iocb
// (io_submit(2)). It covers the writes that returned before it was called. A write-back error of
// the page cache is reported once per descriptor.
func (f *File) Sync() error { return f.sync(fd.Sync) }

// Datasync is Sync without the metadata that reading the data back does not need, fdatasync(2).
// Where the system has none it is Sync.
func (f *File) Datasync() error { return f.sync(fd.Datasync) }

func (f *File) sync(op fd.Op) error {
	d := f.engine()
	if d == nil {
		return f.inner().Sync()
	}
	return f.wrapErr("sync", d.Sync(op))
}
