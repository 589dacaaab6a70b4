//go:build linux

package libaio

import "unsafe"

// Command codes of include/uapi/linux/aio_abi.h. They are not consecutive: the kernel refuses
// 4 (PREADX) and 6 (NOOP).
const (
	cmdPread   = 0
	cmdPwrite  = 1
	cmdFsync   = 2 // Linux 4.18; EINVAL before
	cmdFdsync  = 3 // Linux 4.18
	cmdPoll    = 5 // Linux 4.19
	cmdPreadv  = 7
	cmdPwritev = 8
)

// Flags of iocb.flags.
const (
	flagResfd  = 1 << 0 // resfd is an eventfd(2) to signal
	flagIoprio = 1 << 1 // reqprio is an ioprio_set(2) value
)

// iocb is struct iocb of aio_abi.h, the same on 32-bit and 64-bit systems.
type iocb struct {
	data uint64 // returned in ioEvent.data
	keyFlags
	opcode    uint16
	reqprio   int16
	fd        uint32
	buf       uint64
	nbytes    uint64
	offset    int64
	reserved2 uint64
	flags     uint32
	resfd     uint32
}

// ioEvent is struct io_event of aio_abi.h.
type ioEvent struct {
	data uint64
	obj  uint64
	res  int64
	res2 int64
}

// ring is struct aio_ring of fs/aio.c, which nr events follow. The kernel maps it at the address
// that identifies the context.
type ring struct {
	id           uint32
	nr           uint32
	head         uint32 // written by the reaper, in the kernel or here
	tail         uint32 // written by the kernel
	magic        uint32
	compat       uint32
	incompat     uint32
	headerLength uint32
}

const ringMagic = 0xa10a10a1

// The layouts, checked when the package is compiled for a port. The sizes leave no room for
// padding, so they fix the offsets too.
var (
	_ [64]byte = [unsafe.Sizeof(iocb{})]byte{}
	_ [32]byte = [unsafe.Sizeof(ioEvent{})]byte{}
	_ [32]byte = [unsafe.Sizeof(ring{})]byte{}

	// Submit passes the []*IOCB to the kernel as its array of struct iocb pointers.
	_ [0]byte = [unsafe.Offsetof(IOCB{}.raw)]byte{}
)
