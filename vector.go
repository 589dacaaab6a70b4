package aio

import (
	"context"
	"errors"
	"io"
	"math"
	"runtime/trace"
	"sync"
	"syscall"

	"github.com/go-aio/aio/internal/inode"
	"github.com/go-aio/aio/internal/queue"
)

// ReadvAt reads into bufs, one after the other, what ReadAt would read into one buffer as
// long as all of them, at byte offset off (preadv(2)). It returns the number of bytes read,
// which is less than that length only with an error: io.EOF where the file ends. Buffers that
// are empty or nil are skipped. A negative offset is an error, and so are more bytes than an
// int can count (EINVAL). It does not move the offset of Read.
//
// The buffers belong to the call until it returns, and must not overlap: the bytes of those
// that do are anyone's guess. bufs itself is not changed, nor kept.
//
// In a direct File the bytes come from the disk, by one request of kernel AIO
// (IOCB_CMD_PREADV, io_submit(2)), whatever the alignment. The kernel reads into bufs themselves
// if the address and the length of each fit, as those of an [AlignedBuffer] of whole blocks
// do, and off and the sum too; otherwise into a bounce buffer, 1 MiB at a time. More than 1024
// buffers (IOV_MAX) or 1 GiB are several requests. In a plain File it is preadv(2); on other
// systems than Linux, and for a pipe or a device, ReadAt of one buffer after the other.
func (f *File) ReadvAt(bufs [][]byte, off int64) (int, error) {
	v, ok := vectorOf(bufs)
	defer v.free()
	switch {
	case f.os() == nil || off < 0 || len(v.bufs) == 0:
		return f.ReadAt(nil, off)
	case !ok:
		return 0, f.wrapErr("read", syscall.EINVAL)
	case len(v.bufs) == 1:
		return f.ReadAt(v.bufs[0], off)
	case overflows(off, v.n):
		return f.readvJoined(v, off)
	case !f.Direct() || !f.h.acquire():
		return f.readvPlain(v, off)
	}
	defer f.h.release()
	return f.readvDirect(v, off)
}

// WritevAt writes bufs, one after the other, as WriteAt would write one buffer that holds
// the bytes of all, at byte offset off (pwritev(2)). It returns n less than their number only
// with an error. Buffers that are empty or nil are skipped. A negative offset is an error,
// and so are more bytes than an int can count (EINVAL) and a File opened with O_APPEND. It
// does not move the offset of Write.
//
// The buffers belong to the call until it returns; bufs itself is not changed, nor kept.
//
// In a direct File a write of whole blocks, in sum, goes to the disk by one request of
// kernel AIO (IOCB_CMD_PWRITEV, io_submit(2)), from bufs themselves if the address and the
// length of each fit, as those of an [AlignedBuffer] of whole blocks do. It is split, in
// ascending order, if there are more than 1024 buffers (IOV_MAX) or 1 GiB; and into pieces
// of 1 MiB, as WriteAt of memory that is not aligned is, where a buffer does not fit: no
// other direct write of the process comes between the pieces, but a reader may, and an error or
// a crash may leave the first ones only.
//
// Any other write is one pwritev(2) through the page cache. More than 1024 buffers are copied
// to one first, which needs as much memory again. So they are, however few, for a pipe or a
// device; on other systems than Linux it is WriteAt of one buffer after the other.
func (f *File) WritevAt(bufs [][]byte, off int64) (int, error) {
	v, ok := vectorOf(bufs)
	defer v.free()
	switch {
	case f.os() == nil || off < 0 || f.appends || len(v.bufs) == 0:
		return f.WriteAt(nil, off)
	case !ok:
		return 0, f.wrapErr("write", syscall.EINVAL)
	case len(v.bufs) == 1:
		return f.WriteAt(v.bufs[0], off)
	case f.h == nil:
		v.join()
		return f.plain.WriteAt(v.bufs[0], off)
	case !f.h.acquireWrite(off, end(off, v.n)):
		return f.plain.WriteAt(v.bufs[0], off) // it is closed
	}
	defer f.h.release()
	n, err := f.writevAt(v, off)
	if err != nil {
		return 0, err // as WriteAt
	}
	return n, nil
}

// readvPlain is ReadvAt through the page cache.
func (f *File) readvPlain(v *vector, off int64) (n int, err error) {
	if f.h != nil {
		t := shared().threads
		t.acquire()
		defer t.release()
	}
	for v.n > 0 {
		m, err := f.preadv(v, off+int64(n))
		n += m
		v.advance(m)
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// readvJoined is ReadAt of one buffer, where the split at maxBuffers would show.
func (f *File) readvJoined(v *vector, off int64) (int, error) {
	p := make([]byte, min(v.n, maxDirect))
	n, err := f.ReadAt(p, off)
	return v.scatter(p[:n]), err
}

// preadv reads the beginning of v from plain.
func (f *File) preadv(v *vector, off int64) (int, error) {
	if f.h == nil {
		return f.plain.ReadAt(v.bufs[0], off)
	}
	n, err := f.callVec(callReadv, v.most(), off)
	switch {
	case err == errClosed || err == errors.ErrUnsupported:
		return f.plain.ReadAt(v.bufs[0], off)
	case err != nil:
		return 0, f.wrapErr("read", err)
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// callVec makes a system call on plain with several buffers.
func (f *File) callVec(kind callKind, bufs [][]byte, off int64) (int, error) {
	c := calls.Get().(*call)
	c.kind, c.bufs, c.off, c.dev = kind, bufs, off, f.h.dev
	return c.on(f.conn)
}

// readvDirect is ReadvAt through the twin, which the caller has acquired.
func (f *File) readvDirect(v *vector, off int64) (n int, err error) {
	if trace.IsEnabled() {
		defer trace.StartRegion(context.Background(), "aio.ReadvAt").End()
	}
	if f.h.inode.Recent(off, end(off, v.n)) && f.readvCached(v, off) {
		return v.n, nil
	}
	for v.n > 0 {
		m, end, err := f.readvOnce(v, off+int64(n))
		n += m
		v.advance(m)
		switch {
		case err == nil:
		case f.forPageCache(err, off+int64(n), v.n):
			shared().counts.unsupported.Add(1)
			m, err := f.readvPlain(v, off+int64(n)) // as ReadAt
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

// readvCached reads v if all of it is in the page cache; see readCached.
func (f *File) readvCached(v *vector, off int64) bool {
	if len(v.bufs) <= maxBuffers {
		if n, _ := f.callVec(callReadCached, v.bufs, off); n == v.n {
			shared().counts.recentReads.add()
			return true
		}
	}
	f.h.inode.Forget(off, end(off, v.n))
	return false
}

// readvOnce makes one request for the beginning of v. It returns in end that the file ends
// after n bytes.
func (f *File) readvOnce(v *vector, off int64) (n int, end bool, err error) {
	t := f.h.twin
	bufs, want := v.direct(off, t.Read, t.Mem)
	if bufs != nil {
		n, err = f.readvInto(bufs, off)
	} else {
		want = bounced(v.n, off, t.Read)
		n, err = f.readAround(want, off, v.scatter)
	}
	if err != nil || n == want {
		return n, false, err
	}
	return n, n == 0 || f.endsAt(off+int64(n)), nil
}

// readvInto reads whole blocks into aligned memory.
func (f *File) readvInto(bufs [][]byte, off int64) (int, error) {
	if f.h.twin.Resident {
		for _, p := range bufs {
			touch(p)
		}
	}
	return f.do(queue.Pread, nil, bufs, off)
}

// writevAt is WritevAt with the handle acquired.
func (f *File) writevAt(v *vector, off int64) (n int, err error) {
	if f.writesDirect(off, v.n) {
		n, err = f.writevDirect(v, off)
		err = f.directErr(err)
	}
	if v.n == 0 || err != nil {
		return n, err
	}
	m, err := f.writevBuffered(v, off+int64(n))
	return n + m, err
}

// writevDirect writes whole blocks through the twin, in ascending order. It returns a bare
// syscall.Errno.
func (f *File) writevDirect(v *vector, off int64) (n int, err error) {
	if trace.IsEnabled() {
		defer trace.StartRegion(context.Background(), "aio.WritevAt").End()
	}
	r := inode.Range{Class: inode.Direct, Lo: off, Hi: end(off, v.n)}
	f.h.inode.Lock(r)
	defer f.h.inode.Unlock(r)
	f.h.inode.Forget(r.Lo, r.Hi)
	for v.n > 0 && inUnits(int64(n), 0, f.h.twin.Read) {
		m, err := f.writevOnce(v, off+int64(n))
		n += m
		v.advance(m)
		if err != nil || m == 0 {
			return n, err
		}
	}
	return n, nil
}

// writevOnce makes one request for the beginning of v.
func (f *File) writevOnce(v *vector, off int64) (int, error) {
	if bufs, _ := v.direct(off, f.h.twin.Write, f.h.twin.Mem); bufs != nil {
		return f.do(queue.Pwrite, nil, bufs, off)
	}
	bounce := shared().bounce
	block := bounce.get(min(v.n, maxBounce))
	defer bounce.put(block)
	v.gather(block)
	return f.do(queue.Pwrite, block, nil, off)
}

// writevBuffered is WritevAt through the page cache; see writeBuffered.
func (f *File) writevBuffered(v *vector, off int64) (n int, err error) {
	if len(v.bufs) > maxBuffers {
		v.join()
	}
	r := inode.Range{Class: inode.Buffered, Lo: off, Hi: end(off, v.n)}
	loose := f.h.lock(r)
	defer f.h.unlock(r, loose)
	t := shared().threads
	t.acquire()
	defer t.release()
	if f.h.twin != nil && v.n >= uncachedFrom {
		n, _ = f.callVec(callWriteUncached, v.bufs, off) // an error is for plain to meet again
		v.advance(n)
	}
	for v.n > 0 {
		at := off + int64(n)
		m, err := f.pwritev(v, at)
		if err != nil {
			return n, err
		}
		if f.h.twin != nil {
			f.h.inode.Wrote(at, at+int64(m))
		}
		n += m
		v.advance(m)
	}
	return n, nil
}

// pwritev writes the beginning of v to plain.
func (f *File) pwritev(v *vector, off int64) (int, error) {
	n, err := f.callVec(callWritev, v.bufs, off)
	switch {
	case err == errClosed || err == errors.ErrUnsupported:
		return f.plain.WriteAt(v.bufs[0], off)
	case err != nil:
		return 0, f.wrapErr("write", err)
	case n == 0:
		return 0, f.wrapErr("write", io.ErrUnexpectedEOF) // as internal/poll.FD.Pwrite
	}
	return n, nil
}

// maxBuffers is the largest number of buffers that preadv(2), pwritev(2) and io_submit(2)
// take: IOV_MAX.
const maxBuffers = 1024

// A vector is what is left of the buffers of a call: none of them is empty.
type vector struct {
	bufs    [][]byte
	n       int      // bytes in bufs
	all     [][]byte // memory of bufs
	request [][]byte // memory of what direct returns
}

var vectors = sync.Pool{New: func() any { return new(vector) }}

// vectorOf returns a vector of bufs. It is not ok if there are more bytes than an int can
// count.
func vectorOf(bufs [][]byte) (v *vector, ok bool) {
	v, ok = vectors.Get().(*vector), true
	v.n, v.all = 0, v.all[:0]
	for _, p := range bufs {
		if len(p) == 0 {
			continue
		}
		if len(p) > math.MaxInt-v.n {
			ok = false
			break
		}
		v.n += len(p)
		v.all = append(v.all, p)
	}
	v.bufs = v.all
	return v, ok
}

// free gives back what vectorOf returned.
func (v *vector) free() {
	clear(v.all)
	clear(v.request[:cap(v.request)])
	v.bufs = nil
	if cap(v.all) <= 2*maxBuffers {
		vectors.Put(v)
	}
}

// most returns as many of the buffers as a system call takes.
func (v *vector) most() [][]byte { return v.bufs[:min(len(v.bufs), maxBuffers)] }

// advance drops the first n bytes.
func (v *vector) advance(n int) {
	v.n -= n
	for n > 0 && n >= len(v.bufs[0]) {
		n -= len(v.bufs[0])
		v.bufs = v.bufs[1:]
	}
	if n > 0 {
		v.bufs[0] = v.bufs[0][n:]
	}
}

// direct returns the buffers at the beginning of v that the kernel can take as they are in
// one request at off, and their length: each fits mem, and off and all together unit, powers
// of two. It returns nil if there are none, or if a bounce buffer would hold more of v. What it
// returns is good until it is called again.
func (v *vector) direct(off int64, unit, mem int) (bufs [][]byte, n int) {
	if !inUnits(off, 0, unit) {
		return nil, 0
	}
	fit, sum := 0, 0
	v.request = v.request[:0]
	for _, p := range v.most() {
		p = p[:min(len(p), maxDirect-sum)]
		if len(p) == 0 || !aligned(p, 0, mem, mem) {
			break
		}
		v.request = append(v.request, p)
		if sum += len(p); inUnits(0, sum, unit) {
			fit, n = len(v.request), sum
		}
	}
	if n < min(v.n, maxBounce) {
		return nil, 0
	}
	return v.request[:fit], n
}

// gather fills p with the first bytes of v, which has as many.
func (v *vector) gather(p []byte) {
	for _, q := range v.bufs {
		if len(p) == 0 {
			return
		}
		p = p[copy(p, q):]
	}
}

// scatter copies p to the beginning of v and returns the number of bytes copied.
func (v *vector) scatter(p []byte) (n int) {
	for _, q := range v.bufs {
		if n == len(p) {
			break
		}
		n += copy(q, p[n:])
	}
	return n
}

// join makes one buffer of all.
func (v *vector) join() {
	p := make([]byte, v.n)
	v.gather(p)
	v.bufs[0] = p
	v.bufs = v.bufs[:1]
}

// total returns the number of bytes in bufs.
func total(bufs [][]byte) (n int) {
	for _, p := range bufs {
		n += len(p)
	}
	return n
}
