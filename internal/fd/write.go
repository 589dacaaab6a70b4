package fd

import (
	"errors"
	"io"
	"io/fs"
	"math"
	"runtime/trace"
	"syscall"

	"github.com/go-aio/aio/internal/inode"
	"github.com/go-aio/aio/internal/sched"
)

// WriteAt writes b, which is not empty, at byte offset off, which is not negative. Whole blocks go
// direct, where the file has that; any other write is one pwrite(2) through the page cache, so
// that nothing is read, changed and written back. With an error n is 0, as os.File's WriteAt has
// it, which does not count what it wrote before.
func (fd *FD) WriteAt(b Buffers, off int64) (int, error) {
	if !fd.acquireWrite(off, end(off, b.Len())) {
		return 0, fs.ErrClosed
	}
	defer fd.release()
	if fd.direct == nil {
		return whole(fd.writeBuffered(b, off, false))
	}
	n, err := fd.writeDirect(b, off)
	return fd.writeRest(b, off, n, err)
}

// whole returns n without an error, and 0 with one.
func whole(n int, err error) (int, error) {
	if err != nil {
		return 0, err
	}
	return n, nil
}

// writeDirect is the loop of all writes by the direct descriptor, in ascending order. It writes
// whole blocks, and nothing if b is not a direct write. It returns a bare syscall.Errno.
func (fd *FD) writeDirect(b Buffers, off int64) (done int, err error) {
	if !fd.writesDirect(b, off) {
		return 0, nil
	}
	if trace.IsEnabled() {
		defer region("aio.WriteAt", "aio.WritevAt", b).End()
	}
	r := inode.Range{Class: inode.Direct, Lo: off, Hi: end(off, b.Len())}
	fd.inode.Lock(r)
	defer fd.inode.Unlock(r)
	fd.inode.Forget(r.Lo, r.Hi)
	for b.Len() > 0 && inUnits(int64(done), 0, fd.direct.Read) {
		part := directPart(b, off, fd.direct.Write, fd.direct.Mem)
		var block *Block
		if part.Len() == 0 {
			block = bounce(fd.device, min(b.Len(), maxBounce))
			b.Gather(block.Bytes)
			part = One(block.Bytes)
		}
		extends := fd.Extends(off + int64(part.Len()))
		n, err := fd.device.Do(sched.Request{Op: Write, Fd: fd.direct.Fd, Bufs: part, Off: off}, extends)
		if block != nil {
			unbounce(fd.device, block)
		}
		done, off = done+n, off+int64(n)
		b.Advance(n)
		if err != nil || n == 0 {
			return done, err
		}
	}
	return done, nil
}

// writesDirect reports whether a write of b goes past the page cache.
func (fd *FD) writesDirect(b Buffers, off int64) bool {
	t := fd.direct
	return t != nil && t.Writes && inUnits(off, b.Len(), t.Write) &&
		!fd.inode.Untracked() && !Overflows(off, b.Len())
}

// Extends reports whether a write up to byte end extends the file. Such a write blocks in
// io_submit(2): on ext4 until it is on the disk (2.9 ms for a batch of 16), on xfs for the inode's
// lock. One into a hole takes a little longer than others, and is worth it: it is 3 to 6 times as
// fast on ext4 as a system call of its own, and a little faster on xfs.
func (fd *FD) Extends(end int64) bool {
	if fd.direct.Fixed || end <= fd.size.Load() {
		return false
	}
	size, err := fd.direct.Size()
	if err != nil {
		return true
	}
	fd.size.Store(size)
	return end > size
}

// writeRest is the end of a WriteAt of b whose direct part has returned n, err.
func (fd *FD) writeRest(b Buffers, off int64, n int, err error) (int, error) {
	if err := directErr(err); err != nil {
		return 0, err
	}
	b.Advance(n)
	if b.Len() == 0 {
		return n, nil
	}
	m, err := fd.writeBuffered(b, off+int64(n), false)
	return whole(n+m, err)
}

// writeOn is the end of a WriteAt of b of which a request for all of it has returned n, err.
func (fd *FD) writeOn(b Buffers, off int64, n int, err error) (int, error) {
	if n == 0 || err != nil {
		return fd.writeRest(b, off, n, err)
	}
	b.Advance(n)
	done, err := fd.writeDirect(b, off+int64(n))
	m, err := fd.writeRest(b, off+int64(n), done, err)
	return whole(n+m, err)
}

// directErr returns what the caller gets of the error of a direct write: nothing if the page cache
// is to write the rest.
func directErr(err error) error {
	switch err {
	case nil:
		// All is written, or it was cut short within a block: the rest is not aligned any more.
	case syscall.EINVAL, syscall.EOPNOTSUPP:
		// A bad range, of which the page cache tells what is bad, or a limit of the file's size
		// within a block (RLIMIT_FSIZE).
		counts.unsupported.Add(1)
	case syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG:
		// Direct, all of it or nothing; os.File writes what fits.
		counts.noSpace.Add(1)
	default:
		return err
	}
	return nil
}

// uncachedFrom is the length in bytes from which a buffered write of a direct file asks the kernel
// not to keep the pages.
const uncachedFrom = 64 << 10

// writeBuffered is WriteAt through the page cache, kept apart from direct writes. With stream it is
// Write, and off is the file offset, which it moves. There is one more difference: os.File's
// WriteAt does not count what it wrote before an error, its Write does.
func (fd *FD) writeBuffered(b Buffers, off int64, stream bool) (n int, err error) {
	if most(b).Len() < b.Len() {
		p := make([]byte, b.Len()) // in one piece
		b.Gather(p)
		b = One(p)
	}
	r := inode.Range{Class: inode.Buffered, Lo: off, Hi: end(off, b.Len())}
	untracked := fd.lock(r)
	defer fd.unlock(r, untracked)
	thread := fd.device.PageCache()
	defer thread.Release(1)
	if fd.direct != nil && b.Len() >= uncachedFrom {
		// Ignore the error: the write of the rest will report it.
		n, _ = fd.call(callWriteUncached, sched.Request{Op: Write, Bufs: b.Head(maxDirect), Off: off}, 0)
		b.Advance(n)
		if stream {
			if err := fd.setOffset(off + int64(n)); err != nil {
				return n, err
			}
		}
	}
	for b.Len() > 0 {
		at := off + int64(n)
		m, err := fd.pwritev(b, at, stream)
		if fd.direct != nil && m > 0 {
			fd.inode.Wrote(at, at+int64(m))
		}
		n += m
		b.Advance(m)
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// pwritev writes the beginning of b by the buffered descriptor, or all of one buffer.
func (fd *FD) pwritev(b Buffers, off int64, stream bool) (n int, err error) {
	p, one := b.First()
	if stream {
		n, err = fd.file.Write(p)
		return n, bare(err)
	}
	if !one {
		n, err = fd.call(callTransfer, sched.Request{Op: Write, Bufs: b, Off: off}, 0)
	}
	switch {
	case one || errors.Is(err, errors.ErrUnsupported):
		n, err = fd.file.WriteAt(p, off)
	case err == nil && n == 0:
		err = io.ErrUnexpectedEOF // as internal/poll.FD.Pwrite
	}
	return n, bare(err)
}

// Write writes p at the file offset and moves that, or appends it in one piece.
func (fd *FD) Write(p []byte, appends bool) (int, error) {
	if !fd.acquireWrite(0, math.MaxInt64) {
		return 0, fs.ErrClosed
	}
	defer fd.release()
	if fd.direct == nil || appends || len(p) == 0 {
		return fd.writeStream(p)
	}
	fd.cursor.Lock()
	defer fd.cursor.Unlock()
	off, err := fd.file.Seek(0, io.SeekCurrent)
	if err != nil {
		n, err := fd.file.Write(p) // has an error of its own for a closed file
		return n, bare(err)
	}
	n, err := fd.writeDirect(One(p), off)
	err = directErr(err)
	if n > 0 {
		if moved := fd.setOffset(off + int64(n)); err == nil {
			err = moved
		}
	}
	if n == len(p) || err != nil {
		return n, err
	}
	m, err := fd.writeBuffered(One(p[n:]), off+int64(n), true)
	return n + m, err
}

// writeStream is os.File's Write. Only the kernel knows where it will write.
func (fd *FD) writeStream(p []byte) (int, error) {
	r := inode.Everything(inode.Buffered)
	untracked := fd.lock(r)
	defer fd.unlock(r, untracked)
	thread := fd.device.PageCache()
	defer thread.Release(1)
	n, err := fd.file.Write(p)
	return n, bare(err)
}

// BeginCopy begins a copy into the file from its offset on. It returns false if fd is closed.
// whole is whether the os.File may make the copy by itself; otherwise somewhere in the process the
// file may be written to direct, and the copy is made of Writes, each with a lock of its own.
// EndCopy ends the copy.
func (fd *FD) BeginCopy() (whole, ok bool) {
	if !fd.acquireWrite(0, math.MaxInt64) {
		return false, false
	}
	return fd.direct == nil && fd.inode != nil && fd.inode.EnterUntracked(), true
}

// EndCopy ends what BeginCopy began.
func (fd *FD) EndCopy(whole bool) {
	if whole {
		fd.inode.LeaveUntracked()
	}
	fd.release()
}

// CopyFrom is os.File's ReadFrom, inside of a whole copy. bounded says that r is a file, which can
// be read without waiting for anything but I/O; then the copy is on a thread of the bound. Any
// other reader may wait for another call. The error is that of the os.File.
func (fd *FD) CopyFrom(r io.Reader, bounded bool) (int64, error) {
	if bounded {
		thread := fd.device.PageCache()
		defer thread.Release(1)
	}
	return fd.file.ReadFrom(r)
}
