//go:build linux

package libaio

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// An IOCB is one request: the kernel's struct iocb, and what keeps its memory
// alive. The zero value is ready to be prepared. It must not be copied after it
// has been submitted, and it must not be prepared or submitted by two goroutines
// at once.
//
// Each Prep method resets all of the request but Data.
type IOCB struct {
	raw iocb // first: a *IOCB is the address of a struct iocb

	// Data is the caller's own; it comes back in Event.Data.
	Data uint64

	callback Callback
	mem      memory
	round    uint64 // of the Submit call that last saw it; see Context.hold
}

// memory is what the kernel may touch on behalf of one request. The iovecs hold
// their buffers by real pointers.
type memory struct {
	buf  []byte
	iovs []unix.Iovec
}

// A Callback is called by [Context.Run] with the event of cb: its result, a count
// of bytes or a negative errno, in res.
type Callback func(c *Context, cb *IOCB, res, res2 int64)

func (cb *IOCB) prep(opcode uint16, fd int) {
	cb.raw = iocb{opcode: opcode, fd: uint32(fd)}
	cb.callback = nil
	cb.mem = memory{}
}

func (cb *IOCB) prepBuf(opcode uint16, fd int, buf []byte, off int64) {
	cb.prep(opcode, fd)
	cb.mem.buf = buf
	cb.raw.buf = uint64(uintptr(unsafe.Pointer(unsafe.SliceData(buf))))
	cb.raw.nbytes = uint64(len(buf))
	cb.raw.offset = off
}

func (cb *IOCB) prepVec(opcode uint16, fd int, bufs [][]byte, off int64) {
	cb.prep(opcode, fd)
	// Always a new array: an earlier submission may still need the old one.
	iovs := make([]unix.Iovec, len(bufs))
	for i, b := range bufs {
		iovs[i].Base = unsafe.SliceData(b)
		iovs[i].SetLen(len(b))
	}
	cb.mem.iovs = iovs
	cb.raw.buf = uint64(uintptr(unsafe.Pointer(unsafe.SliceData(iovs))))
	cb.raw.nbytes = uint64(len(iovs))
	cb.raw.offset = off
}

// PrepPread prepares a read of len(buf) bytes at byte offset off, as pread(2)
// (IOCB_CMD_PREAD). Lengths above 0x7ffff000 bytes are cut by the kernel.
func (cb *IOCB) PrepPread(fd int, buf []byte, off int64) { cb.prepBuf(cmdPread, fd, buf, off) }

// PrepPwrite prepares a write of len(buf) bytes at byte offset off, as pwrite(2)
// (IOCB_CMD_PWRITE). Lengths above 0x7ffff000 bytes are cut by the kernel.
func (cb *IOCB) PrepPwrite(fd int, buf []byte, off int64) { cb.prepBuf(cmdPwrite, fd, buf, off) }

// PrepPreadv prepares a read into bufs, in order, at byte offset off, as preadv(2)
// (IOCB_CMD_PREADV). The kernel takes at most 1024 buffers (EINVAL). The slice bufs
// itself is not kept.
func (cb *IOCB) PrepPreadv(fd int, bufs [][]byte, off int64) {
	cb.prepVec(cmdPreadv, fd, bufs, off)
}

// PrepPwritev prepares a write of bufs, in order, at byte offset off, as pwritev(2)
// (IOCB_CMD_PWRITEV). The kernel takes at most 1024 buffers (EINVAL). The slice bufs
// itself is not kept.
func (cb *IOCB) PrepPwritev(fd int, bufs [][]byte, off int64) {
	cb.prepVec(cmdPwritev, fd, bufs, off)
}

// PrepPoll prepares a one-shot poll(2) of fd for events, POLLIN and the like
// (IOCB_CMD_POLL, Linux 4.19). The event's Res is the set of events that are ready;
// POLLERR and POLLHUP come unasked, and so may others that are ready at that time.
func (cb *IOCB) PrepPoll(fd int, events int16) {
	cb.prep(cmdPoll, fd)
	cb.raw.buf = uint64(uint16(events))
}

// PrepFsync prepares an fsync(2) (IOCB_CMD_FSYNC, Linux 4.18). It covers writes that
// have completed when it is submitted.
func (cb *IOCB) PrepFsync(fd int) { cb.prep(cmdFsync, fd) }

// PrepFdsync prepares an fdatasync(2) (IOCB_CMD_FDSYNC, Linux 4.18). It covers writes
// that have completed when it is submitted.
func (cb *IOCB) PrepFdsync(fd int) { cb.prep(cmdFdsync, fd) }

// Eventfd makes an eventfd(2) for [IOCB.SetEventfd], close-on-exec and non-blocking, as
// the runtime's poller (os.NewFile) wants it.
func Eventfd() (int, error) { return unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK) }

// SetEventfd makes the completion add one to the eventfd(2) fd. The eventfd is
// signalled after the event is in the ring.
func (cb *IOCB) SetEventfd(fd int) {
	cb.raw.flags |= flagResfd
	cb.raw.resfd = uint32(fd)
}

// SetCallback sets the function that [Context.Run] calls with the event of the next
// submission.
func (cb *IOCB) SetCallback(fn Callback) { cb.callback = fn }

// SetFlags sets aio_rw_flags, the RWF_ flags of preadv2(2) and pwritev2(2). The
// kernel answers EOPNOTSUPP for those that it or the file does not know.
func (cb *IOCB) SetFlags(rwf int32) { cb.raw.rwFlags = rwf }

// SetPriority sets aio_reqprio, an I/O priority as ioprio_set(2) takes it (Linux
// 4.18).
func (cb *IOCB) SetPriority(prio int16) {
	cb.raw.flags |= flagIoprio
	cb.raw.reqprio = prio
}

// Release drops the IOCB's references to the buffers that it was prepared with. While
// the request is in flight its Context still holds them. The IOCB has to be prepared
// before it is submitted again.
func (cb *IOCB) Release() {
	cb.mem = memory{}
	cb.raw.buf, cb.raw.nbytes = 0, 0 // nobody keeps what was there from the collector
}
