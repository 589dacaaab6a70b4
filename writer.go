package aio

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"runtime/trace"
	"syscall"

	"github.com/go-aio/aio/internal/inode"
	"github.com/go-aio/aio/internal/queue"
)

// WriteAt writes len(p) bytes at byte offset off, as os.File's WriteAt does: it returns
// n < len(p) only with an error. A negative offset is an error, and so is a File opened
// with O_APPEND. It does not move the offset of Write.
//
// In a direct File a write of whole blocks goes to the disk by kernel AIO (io_submit(2));
// any other goes through the page cache, as one pwrite(2), so that nothing is read,
// changed and written back. Neither is durable before Sync, unless the File was opened
// with O_SYNC or O_DSYNC.
func (f *File) WriteAt(p []byte, off int64) (int, error) {
	if f == nil || f.h == nil || f.appends || off < 0 || len(p) == 0 || !f.h.acquireWrite(off, end(off, len(p))) {
		return f.os().WriteAt(p, off)
	}
	defer f.h.release()
	return f.writeAll(p, off)
}

// writeAll is WriteAt with the handle acquired.
func (f *File) writeAll(p []byte, off int64) (int, error) {
	n, err := f.writeAt(p, off)
	if err != nil {
		return 0, err // as os.File, which does not count what it wrote before
	}
	return n, nil
}

// writeAt is writeAll, but counts what was written before an error.
func (f *File) writeAt(p []byte, off int64) (int, error) {
	n, err := f.writeBlocks(p, off)
	if n == len(p) || err != nil {
		return n, err
	}
	m, err := f.writeBuffered(p[n:], off+int64(n), false)
	return n + m, err
}

// writeBlocks writes what may go past the page cache, which may be all of p or nothing.
// Unless it returns an error, the page cache is for the rest.
func (f *File) writeBlocks(p []byte, off int64) (int, error) {
	if !f.writesDirect(off, len(p)) {
		return 0, nil
	}
	n, err := f.writeDirect(p, off)
	return n, f.directErr(err)
}

// directErr returns what the caller gets of the outcome of a direct write: nothing if the
// page cache is to write the rest.
func (f *File) directErr(err error) error {
	switch err {
	case nil:
		// All is written, or it was cut short within a block: the rest is not aligned
		// any more.
	case syscall.EINVAL, syscall.EOPNOTSUPP:
		// A bad range, of which the page cache tells what is bad, or a limit of
		// the file's size within a block (RLIMIT_FSIZE).
		shared().counts.unsupported.Add(1)
	case syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG:
		// Direct, all of it or nothing; os.File writes what fits.
		shared().counts.noSpace.Add(1)
	default:
		return f.wrapErr("write", err)
	}
	return nil
}

// writesDirect reports whether a write of n bytes goes past the page cache.
func (f *File) writesDirect(off int64, n int) bool {
	t := f.h.twin
	return t != nil && t.Writes && inUnits(off, n, t.Write) && !f.h.inode.Loose() && !overflows(off, n)
}

// writeDirect writes whole blocks through the twin, in ascending order. It returns a
// bare syscall.Errno.
func (f *File) writeDirect(p []byte, off int64) (n int, err error) {
	if trace.IsEnabled() {
		defer trace.StartRegion(context.Background(), "aio.WriteAt").End()
	}
	r := inode.Range{Class: inode.Direct, Lo: off, Hi: end(off, len(p))}
	f.h.inode.Lock(r)
	defer f.h.inode.Unlock(r)
	f.h.inode.Forget(r.Lo, r.Hi)
	t := f.h.twin
	for n < len(p) && inUnits(int64(n), 0, t.Read) {
		m, err := f.writeOnce(p[n:], off+int64(n))
		n += m
		if err != nil || m == 0 {
			return n, err
		}
	}
	return n, nil
}

// writeOnce makes one request for the beginning of p.
func (f *File) writeOnce(p []byte, off int64) (int, error) {
	if addressFits(p, f.h.twin.Mem) {
		return f.do(queue.Pwrite, p[:min(len(p), maxDirect)], nil, off)
	}
	bounce := shared().bounce
	block := bounce.get(min(len(p), maxBounce))
	defer bounce.put(block)
	copy(block, p)
	return f.do(queue.Pwrite, block, nil, off)
}

// uncachedFrom is the length in bytes from which a buffered write of a direct File asks
// the kernel not to keep the pages.
const uncachedFrom = 64 << 10

// writeBuffered is WriteAt through the page cache, kept apart from direct writes; or
// Write, where off is the offset of plain. The difference is more than that offset:
// os.File's WriteAt does not count what it wrote before an error, its Write does.
func (f *File) writeBuffered(p []byte, off int64, stream bool) (n int, err error) {
	r := inode.Range{Class: inode.Buffered, Lo: off, Hi: end(off, len(p))}
	loose := f.h.lock(r)
	defer f.h.unlock(r, loose)
	t := shared().threads
	t.acquire()
	defer t.release()
	if f.h.twin != nil && len(p) >= uncachedFrom {
		// An error is for plain to meet again, with what is left.
		n = f.writeUncached(p, off)
		if stream {
			if err := f.moveTo(off + int64(n)); err != nil {
				return n, err
			}
		}
	}
	if n == len(p) {
		return n, nil
	}
	var m int
	if stream {
		m, err = f.plain.Write(p[n:])
	} else {
		m, err = f.plain.WriteAt(p[n:], off+int64(n))
	}
	if f.h.twin != nil && m > 0 {
		f.h.inode.Wrote(off+int64(n), off+int64(n+m))
	}
	return n + m, err
}

// writeUncached writes the beginning of p with RWF_DONTCACHE and returns its length, 0
// where the filesystem does not have that.
func (f *File) writeUncached(p []byte, off int64) int {
	c := calls.Get().(*call)
	c.kind, c.off, c.dev = callWriteUncached, off, f.h.dev
	c.with(p[:min(len(p), maxDirect)])
	n, _ := c.on(f.conn)
	return n
}

// lock takes r for a call that goes through the page cache; loose is whether it could do
// without the lock table. The bound on threads comes after it: who holds a thread never
// waits for a lock.
func (h *handle) lock(r inode.Range) (loose bool) {
	if h.inode == nil || h.twin == nil && h.inode.EnterLoose() {
		return true
	}
	h.inode.Lock(r)
	return false
}

func (h *handle) unlock(r inode.Range, loose bool) {
	switch {
	case h.inode == nil:
	case loose:
		h.inode.LeaveLoose()
	default:
		h.inode.Unlock(r)
	}
}

// end returns off+n, or the largest offset if that is less.
func end(off int64, n int) int64 {
	if off > math.MaxInt64-int64(n) {
		return math.MaxInt64
	}
	return off + int64(n)
}

// Write writes len(p) bytes at the offset of the descriptor that Fd returns, and moves
// that, as os.File's Write does; if the File was opened with O_APPEND, at its end, in one
// piece. It returns n < len(p) only with an error. In a direct File it writes as WriteAt
// does.
func (f *File) Write(p []byte) (int, error) {
	if f == nil || f.h == nil || !f.h.acquireWrite(0, math.MaxInt64) {
		return f.os().Write(p)
	}
	defer f.h.release()
	if !f.Direct() || f.appends || len(p) == 0 {
		return f.writeStream(p)
	}
	f.cursor.Lock()
	defer f.cursor.Unlock()
	off, err := f.plain.Seek(0, io.SeekCurrent)
	if err != nil {
		return f.plain.Write(p) // has an error of its own for a closed file
	}
	n, err := f.writeBlocks(p, off)
	if n > 0 {
		if moved := f.moveTo(off + int64(n)); err == nil {
			err = moved
		}
	}
	if n == len(p) || err != nil {
		return n, err
	}
	m, err := f.writeBuffered(p[n:], off+int64(n), true)
	return n + m, err
}

// writeStream is os.File's Write. Only the kernel knows where it will write.
func (f *File) writeStream(p []byte) (int, error) {
	r := inode.Everything(inode.Buffered)
	loose := f.h.lock(r)
	defer f.h.unlock(r, loose)
	t := shared().threads
	t.acquire()
	defer t.release()
	return f.plain.Write(p)
}

// WriteString is Write of the bytes of s.
func (f *File) WriteString(s string) (int, error) {
	return f.Write(bytesOf(s))
}

// ReadFrom writes what r has, until its end or an error, as os.File's ReadFrom does. A
// plain File leaves it to os.File, which may know a shorter way such as
// copy_file_range(2) or splice(2).
func (f *File) ReadFrom(r io.Reader) (int64, error) {
	if f == nil || f.h == nil || !f.h.acquireWrite(0, math.MaxInt64) {
		return f.os().ReadFrom(r)
	}
	defer f.h.release()
	if f.Direct() {
		buf := streamBuffers.Get().(*[]byte)
		defer streamBuffers.Put(buf)
		return io.CopyBuffer(onlyWriter{f}, onlyReader{r}, *buf)
	}
	if f.h.inode == nil || !f.h.inode.EnterLoose() {
		// Somebody may write direct: one lock for each piece, for nobody knows how long
		// the whole will take.
		return io.Copy(onlyWriter{f}, r)
	}
	defer f.h.inode.LeaveLoose()
	return f.readFromFile(r)
}

// readFromFile lets os.File copy from r, and from the os.File in it.
func (f *File) readFromFile(r io.Reader) (int64, error) {
	limited, ok := r.(*io.LimitedReader)
	if !ok {
		return f.copyFrom(plainOf(r))
	}
	inner := &io.LimitedReader{R: plainOf(limited.R), N: limited.N}
	n, err := f.copyFrom(inner)
	limited.N = inner.N
	return n, err
}

func (f *File) copyFrom(r io.Reader) (int64, error) {
	from := r
	if limited, ok := r.(*io.LimitedReader); ok {
		from = limited.R
	}
	if isRegular(from) {
		// Within the bound on threads; any other reader may wait for another call of
		// ours.
		t := shared().threads
		t.acquire()
		defer t.release()
	}
	return f.plain.ReadFrom(r)
}

// Truncate changes the size of the file in bytes, as os.File's Truncate does. It waits
// for writes in flight and does not move the offset of Read and Write.
func (f *File) Truncate(size int64) error {
	if f == nil || f.h == nil || !f.h.acquireWrite(0, math.MaxInt64) {
		return f.os().Truncate(size)
	}
	defer f.h.release()
	r := inode.Everything(inode.Exclusive)
	loose := f.h.lock(r)
	defer f.h.unlock(r, loose)
	t := shared().threads
	t.acquire()
	defer t.release()
	f.h.seen.Store(0)
	return f.plain.Truncate(size)
}

// Allocate reserves space for the n bytes at byte offset off, as posix_fallocate(3) does
// (fallocate(2)). A file that ends before off+n grows to that size; what is new reads as zeros,
// what is there stays. A WriteAt within it does not extend the file, and so is asynchronous
// in a direct File, and has its space on the disk, but where a filesystem never writes in
// place. It waits for writes in flight and does not move the offset of Read and Write.
//
// An error is the kernel's, in an *fs.PathError with the Op "allocate": EINVAL for a negative
// off and an n that is not positive, EBADF for a File that is not open for writing, EOPNOTSUPP
// (errors.ErrUnsupported) where the filesystem cannot, ENOSPC and EFBIG, after which some of it
// may be done; on other systems than Linux errors.ErrUnsupported.
func (f *File) Allocate(off, n int64) error { return f.allocate("allocate", callAllocate, off, n) }

// PunchHole gives back the space of the n bytes at byte offset off, which read as zeros from
// then on (fallocate(2), FALLOC_FL_PUNCH_HOLE). The size of the file stays, also where they
// go beyond it. Space is given back in whole blocks of the filesystem; in those at the edges
// zeros are written. It waits for writes in flight and does not move the offset of Read and
// Write.
//
// An error is as that of [File.Allocate], with the Op "punchhole".
func (f *File) PunchHole(off, n int64) error { return f.allocate("punchhole", callPunchHole, off, n) }

func (f *File) allocate(op string, kind callKind, off, n int64) error {
	if f.os() == nil {
		return os.ErrInvalid
	}
	if f.h == nil || !f.h.acquireWrite(0, math.MaxInt64) {
		return f.fallocate(op, kind, off, n)
	}
	defer f.h.release()
	r := inode.Everything(inode.Exclusive)
	loose := f.h.lock(r)
	defer f.h.unlock(r, loose)
	if f.h.inode != nil {
		// As before a direct write: who has seen the hole must not find older bytes in the
		// page cache. The size does not shrink, so what keepsSize has seen stays.
		f.h.inode.Forget(0, math.MaxInt64)
	}
	t := shared().threads
	t.acquire()
	defer t.release()
	return f.fallocate(op, kind, off, n)
}

// fallocate makes the system call.
func (f *File) fallocate(op string, kind callKind, off, n int64) error {
	c := calls.Get().(*call)
	c.kind, c.off, c.size = kind, off, n
	switch _, err := c.on(f.conn); err {
	case nil:
		return nil
	case errClosed:
		return f.wrapErr(op, fs.ErrClosed)
	default:
		return f.wrapErr(op, err)
	}
}

// Sync makes what has been written durable, as os.File's Sync does, with an fsync iocb
// (io_submit(2)). It covers the writes that returned before it was called. A write-back
// error of the page cache is reported once per descriptor.
func (f *File) Sync() error { return f.syncAfter(queue.Fsync, (*File).fsync) }

// Datasync is Sync without the metadata that reading the data back does not need,
// fdatasync(2). Where the system has none it is Sync.
func (f *File) Datasync() error { return f.syncAfter(queue.Fdsync, (*File).datasync) }

// syncAfter is sync, after the Syncs that were given up.
func (f *File) syncAfter(op queue.Op, plain func(*File) error) error {
	if f != nil && f.h != nil {
		f.h.leftSyncs.Wait(0, 1)
	}
	return f.sync(op, plain)
}

// fsync and datasync are the plain system calls.
func (f *File) fsync() error { return f.plain.Sync() }

func (f *File) datasync() error {
	c := calls.Get().(*call)
	c.kind = callDatasync
	_, err := c.on(f.conn)
	switch {
	case err == nil:
		return nil
	case err == errClosed || errors.Is(err, errors.ErrUnsupported):
		return f.plain.Sync()
	}
	return f.wrapErr("sync", err)
}
