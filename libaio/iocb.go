//go:build linux

package libaio

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// An IOCB is one request: the kernel's struct iocb, and the references that keep its memory alive.
// The zero value is ready to be prepared. An IOCB must not be copied after it has been submitted.
// Two goroutines must not prepare or submit it at once. Each Prep method resets all of the request
// except Data.
type IOCB struct {
	raw iocb // first: a *IOCB is the address of a struct iocb

	// Data is for the caller; it comes back in Event.Data.
	Data uint64

	callback Callback
	mem      memory
	round    uint64 // number of the last Submit call that named it; see Context.hold
}

// memory is what the kernel may access for one request. The iovecs hold real pointers.
type memory struct {
	buf  []byte
	iovs []unix.Iovec
}

// A Callback handles the event of cb for [Context.Run]. res is the result, a count of bytes or a
// negative errno.
type Callback func(c *Context, cb *IOCB, res, res2 int64)

func (cb *IOCB) prep(opcode uint16, fd int, mem memory, addr unsafe.Pointer, n int, off int64) {
	cb.mem, cb.callback = mem, nil
	cb.raw = iocb{
		opcode: opcode, fd: uint32(fd),
		buf: uint64(uintptr(addr)), nbytes: uint64(n), offset: off,
	}
}

func (cb *IOCB) prepBuf(opcode uint16, fd int, buf []byte, off int64) {
	cb.prep(opcode, fd, memory{buf: buf}, unsafe.Pointer(unsafe.SliceData(buf)), len(buf), off)
}

func (cb *IOCB) prepVec(opcode uint16, fd int, bufs [][]byte, off int64) {
	// Always a new array: an earlier submission may still need the old one.
	iovs := make([]unix.Iovec, len(bufs))
	for i, b := range bufs {
		iovs[i].Base = unsafe.SliceData(b)
		iovs[i].SetLen(len(b))
	}
	cb.prep(opcode, fd, memory{iovs: iovs}, unsafe.Pointer(unsafe.SliceData(iovs)), len(iovs), off)
}

// PrepPread prepares a read of len(buf) bytes at byte offset off, as pread(2) (IOCB_CMD_PREAD). The
// kernel cuts lengths above 0x7ffff000 bytes.
func (cb *IOCB) PrepPread(fd int, buf []byte, off int64) { cb.prepBuf(cmdPread, fd, buf, off) }

// PrepPwrite is [IOCB.PrepPread] for a write, as pwrite(2) (IOCB_CMD_PWRITE).
func (cb *IOCB) PrepPwrite(fd int, buf []byte, off int64) { cb.prepBuf(cmdPwrite, fd, buf, off) }

// PrepPreadv prepares a read into bufs, in order, at byte offset off, as preadv(2)
// (IOCB_CMD_PREADV). The kernel takes at most 1024 buffers (EINVAL). The slice bufs is not kept.
func (cb *IOCB) PrepPreadv(fd int, bufs [][]byte, off int64) {
	cb.prepVec(cmdPreadv, fd, bufs, off)
}

// PrepPwritev is [IOCB.PrepPreadv] for a write, as pwritev(2) (IOCB_CMD_PWRITEV).
func (cb *IOCB) PrepPwritev(fd int, bufs [][]byte, off int64) {
	cb.prepVec(cmdPwritev, fd, bufs, off)
}

// PrepPoll prepares a one-shot poll(2) of fd for events, POLLIN and the like (IOCB_CMD_POLL, Linux
// 4.19). The event's Res is the set of ready events, with POLLERR and POLLHUP unasked, and perhaps
// others that are ready at that time.
func (cb *IOCB) PrepPoll(fd int, events int16) {
	cb.prep(cmdPoll, fd, memory{}, nil, 0, 0)
	cb.raw.buf = uint64(uint16(events))
}

// PrepFsync prepares an fsync(2) (IOCB_CMD_FSYNC, Linux 4.18). It covers writes that have completed
// before its Submit.
func (cb *IOCB) PrepFsync(fd int) { cb.prep(cmdFsync, fd, memory{}, nil, 0, 0) }

// PrepFdsync is [IOCB.PrepFsync] for fdatasync(2) (IOCB_CMD_FDSYNC, Linux 4.18).
func (cb *IOCB) PrepFdsync(fd int) { cb.prep(cmdFdsync, fd, memory{}, nil, 0, 0) }

// Eventfd creates an eventfd(2) for [IOCB.SetEventfd]. It is close-on-exec, and non-blocking for
// the runtime's poller (os.NewFile).
func Eventfd() (int, error) { return unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK) }

// SetEventfd makes the completion add one to the eventfd(2) fd, after the event is in the ring.
func (cb *IOCB) SetEventfd(fd int) {
	cb.raw.flags |= flagResfd
	cb.raw.resfd = uint32(fd)
}

// SetCallback sets the function that [Context.Run] calls with the event of the next submission.
func (cb *IOCB) SetCallback(fn Callback) { cb.callback = fn }

// SetFlags sets aio_rw_flags, the RWF_ flags of preadv2(2) and pwritev2(2). The kernel returns
// EOPNOTSUPP for a flag that it or the file does not know.
func (cb *IOCB) SetFlags(rwf int32) { cb.raw.rwFlags = rwf }

// SetPriority sets aio_reqprio, an I/O priority as in ioprio_set(2) (Linux 4.18).
func (cb *IOCB) SetPriority(prio int16) {
	cb.raw.flags |= flagIoprio
	cb.raw.reqprio = prio
}

// Release drops the IOCB's references to its buffers; the Context of a request in flight still
// holds them. The caller must prepare the IOCB before it submits it again.
func (cb *IOCB) Release() {
	cb.mem = memory{}
	cb.raw.buf, cb.raw.nbytes = 0, 0 // the buffer may be collected from here on
}
