package fd

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"runtime/trace"
	"syscall"

	"github.com/go-aio/aio/internal/sched"
)

// ReadAt reads into b, which is not empty, at byte offset off, which is not negative. It returns n
// less than the length of b only with an error, io.EOF where the file ends.
func (fd *FD) ReadAt(b Buffers, off int64) (int, error) {
	if fd.direct == nil {
		return fd.readBuffered(b, off)
	}
	if !fd.acquire() {
		return 0, fs.ErrClosed
	}
	defer fd.release()
	return fd.read(b, off, 0, 0, nil)
}

// read is the loop of all reads by the direct descriptor. n and err are what the request for the
// first want bytes of b has returned; with want = 0 there has been none.
func (fd *FD) read(b Buffers, off int64, want, n int, err error) (done int, _ error) {
	if want == 0 {
		if Overflows(off, b.Len()) {
			counts.unsupported.Add(1)
			return fd.readBuffered(b, off)
		}
		if trace.IsEnabled() {
			defer region("aio.ReadAt", "aio.ReadvAt", b).End()
		}
		if fd.readRecent(b, off) {
			return b.Len(), nil
		}
	}
	for {
		b.Advance(n)
		done, off = done+n, off+int64(n)
		switch {
		case err == nil && n == want:
		case err == nil && (n == 0 || fd.endsAt(off)):
			return done, io.EOF
		case err == nil: // cut short: a disk with errors may end a read anywhere
		case fd.isForPageCache(err, off, b.Len()):
			counts.unsupported.Add(1)
			n, err := fd.readBuffered(b, off)
			return done + n, err
		default:
			return done, err
		}
		if b.Len() == 0 {
			return done, nil
		}
		if part := directPart(b, off, fd.direct.Read, fd.direct.Mem); part.Len() > 0 {
			want = part.Len()
			fd.faultIn(part)
			n, err = fd.device.Do(sched.Request{Op: Read, Fd: fd.direct.Fd, Bufs: part, Off: off}, false)
		} else {
			want = bounceLen(b.Len(), off, fd.direct.Read)
			n, err = fd.readBounced(b.Head(want), off)
		}
	}
}

// region begins a region of the execution trace.
func region(one, many string, b Buffers) *trace.Region {
	if _, ok := b.First(); ok {
		return trace.StartRegion(context.Background(), one)
	}
	return trace.StartRegion(context.Background(), many)
}

// readBounced reads the whole blocks around b, which fit a bounce buffer.
func (fd *FD) readBounced(b Buffers, off int64) (int, error) {
	lo, hi, ok := widen(off, b.Len(), fd.direct.Read)
	if !ok {
		return 0, syscall.EINVAL
	}
	block := bounce(fd.device, int(hi-lo))
	defer unbounce(fd.device, block)
	part := One(block.Bytes)
	fd.faultIn(part)
	n, err := fd.device.Do(sched.Request{Op: Read, Fd: fd.direct.Fd, Bufs: part, Off: lo}, false)
	skip := int(off - lo)
	if err != nil || n <= skip {
		return 0, err
	}
	return b.Scatter(block.Bytes[skip:n]), nil
}

// isForPageCache reports whether the page cache is to read n bytes at off, of which a direct read
// returned err: what direct I/O on this file cannot read, and a bad range, of which the page cache
// tells what is bad.
func (fd *FD) isForPageCache(err error, off int64, n int) bool {
	switch err {
	case syscall.EINVAL, syscall.EOPNOTSUPP:
		return true
	case syscall.EIO:
		// xfs reserves space beyond the end of a file that grows. Once fallocate(2) has taken a
		// part of that, a direct read past the end meets the rest, and fails (Linux 6.18:
		// IOMAP_DELALLOC in iomap_dio_iter).
		size, err := fd.direct.Size()
		return err == nil && end(off, n) > size
	}
	return false
}

// endsAt reports whether a short read that ended at byte off met the end of the file.
func (fd *FD) endsAt(off int64) bool {
	size, err := fd.direct.Size()
	return err == nil && off >= size
}

// readRecent reads b if all of it is in the page cache, where a write has just put it: a direct
// read would have to wait until that is on the disk (94 us against 1).
func (fd *FD) readRecent(b Buffers, off int64) bool {
	hi := end(off, b.Len())
	if !fd.inode.Recent(off, hi) {
		return false
	}
	if n, _ := fd.call(callReadCached, sched.Request{Bufs: b, Off: off}, 0); n == b.Len() {
		counts.recentReads.Add()
		return true
	}
	fd.inode.Forget(off, hi)
	return false
}

// readBuffered is ReadAt through the page cache.
func (fd *FD) readBuffered(b Buffers, off int64) (int, error) {
	p, one := b.First()
	if !one {
		return fd.readBufferedVec(b, off)
	}
	thread := fd.device.PageCache()
	n, err := fd.file.ReadAt(p, off)
	thread.Release(1)
	return n, bare(err)
}

// readBufferedVec is readBuffered of several buffers.
func (fd *FD) readBufferedVec(b Buffers, off int64) (n int, err error) {
	if Overflows(off, b.Len()) {
		// As one buffer, or the split at MaxBuffers would show.
		p := make([]byte, min(b.Len(), maxDirect))
		n, err := fd.readBuffered(One(p), off)
		return b.Scatter(p[:n]), err
	}
	thread := fd.device.PageCache()
	defer thread.Release(1)
	for b.Len() > 0 {
		m, err := fd.preadv(b, off+int64(n))
		n += m
		b.Advance(m)
		switch {
		case err != nil:
			return n, err
		case m == 0:
			return n, io.EOF
		}
	}
	return n, nil
}

// preadv is preadv(2) by the buffered descriptor, or on systems that have none a read of the first
// buffer.
func (fd *FD) preadv(b Buffers, off int64) (int, error) {
	n, err := fd.call(callTransfer, sched.Request{Op: Read, Bufs: most(b), Off: off}, 0)
	if errors.Is(err, errors.ErrUnsupported) {
		p, _ := b.First()
		n, err = fd.file.ReadAt(p, off)
	}
	return n, bare(err)
}

// most returns as many of the buffers as a system call takes.
func most(b Buffers) Buffers {
	if b.AtMost(sched.MaxBuffers) {
		return b
	}
	rest := b
	for range sched.MaxBuffers {
		p, all := rest.First()
		if all {
			return b
		}
		rest.Advance(len(p))
	}
	return b.Head(b.Len() - rest.Len())
}

// Read reads up to len(p) bytes at the file offset and moves that.
func (fd *FD) Read(p []byte) (int, error) {
	if fd.direct == nil || len(p) == 0 {
		thread := fd.device.PageCache()
		defer thread.Release(1)
		n, err := fd.file.Read(p)
		return n, bare(err)
	}
	fd.cursor.Lock()
	defer fd.cursor.Unlock()
	off, err := fd.file.Seek(0, io.SeekCurrent)
	if err != nil || !fd.acquire() {
		n, err := fd.file.Read(p) // has an error of its own for a closed file
		return n, bare(err)
	}
	defer fd.release()
	p = p[:min(len(p), maxDirect)] // os too reads no more at a time
	n, err := fd.read(One(p), off, 0, 0, nil)
	if n == 0 {
		return 0, err
	}
	// As read(2): what was read counts, and the next call meets the error.
	return n, fd.setOffset(off + int64(n))
}

// Seek sets the file offset.
func (fd *FD) Seek(offset int64, whence int) (int64, error) {
	if fd.direct != nil {
		fd.cursor.Lock()
		defer fd.cursor.Unlock()
	}
	n, err := fd.file.Seek(offset, whence)
	return n, bare(err)
}

// setOffset sets the file offset behind what has been transferred. That the file has been closed
// meanwhile is no error of a call that was under way.
func (fd *FD) setOffset(off int64) error {
	_, err := fd.file.Seek(off, io.SeekStart)
	if errors.Is(err, fs.ErrClosed) {
		return nil
	}
	return bare(err)
}
