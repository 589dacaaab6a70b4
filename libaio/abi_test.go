//go:build linux

package libaio

import (
	"encoding/binary"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The numbers come from include/uapi/linux/aio_abi.h, and from fs/aio.c for what that header
// leaves out. They are the same on every port, except for the order of key and rw_flags.
func TestLayoutMatchesTheKernel(t *testing.T) {
	var (
		cb iocb
		e  ioEvent
		r  ring
		w  IOCB
	)
	key, rwFlags := 8, 12
	if binary.NativeEndian.Uint16([]byte{0, 1}) == 1 { // big-endian
		key, rwFlags = rwFlags, key
	}
	for _, tt := range []struct {
		name      string
		got, want uintptr
	}{
		{"iocb", unsafe.Sizeof(cb), 64},
		{"aio_data", unsafe.Offsetof(cb.data), 0},
		{"aio_key", unsafe.Offsetof(cb.key), uintptr(key)},
		{"aio_rw_flags", unsafe.Offsetof(cb.rwFlags), uintptr(rwFlags)},
		{"aio_lio_opcode", unsafe.Offsetof(cb.opcode), 16},
		{"aio_reqprio", unsafe.Offsetof(cb.reqprio), 18},
		{"aio_fildes", unsafe.Offsetof(cb.fd), 20},
		{"aio_buf", unsafe.Offsetof(cb.buf), 24},
		{"aio_nbytes", unsafe.Offsetof(cb.nbytes), 32},
		{"aio_offset", unsafe.Offsetof(cb.offset), 40},
		{"aio_reserved2", unsafe.Offsetof(cb.reserved2), 48},
		{"aio_flags", unsafe.Offsetof(cb.flags), 56},
		{"aio_resfd", unsafe.Offsetof(cb.resfd), 60},

		{"io_event", unsafe.Sizeof(e), 32},
		{"data", unsafe.Offsetof(e.data), 0},
		{"obj", unsafe.Offsetof(e.obj), 8},
		{"res", unsafe.Offsetof(e.res), 16},
		{"res2", unsafe.Offsetof(e.res2), 24},

		{"aio_ring", unsafe.Sizeof(r), 32},
		{"id", unsafe.Offsetof(r.id), 0},
		{"nr", unsafe.Offsetof(r.nr), 4},
		{"head", unsafe.Offsetof(r.head), 8},
		{"tail", unsafe.Offsetof(r.tail), 12},
		{"magic", unsafe.Offsetof(r.magic), 16},
		{"compat_features", unsafe.Offsetof(r.compat), 20},
		{"incompat_features", unsafe.Offsetof(r.incompat), 24},
		{"header_length", unsafe.Offsetof(r.headerLength), 28},
		{"io_events", uintptr(unsafe.Pointer(r.event(0))) - uintptr(unsafe.Pointer(&r)), 32},
		{"io_events[3]", uintptr(unsafe.Pointer(r.event(3))) - uintptr(unsafe.Pointer(&r)), 32 + 3*32},

		{"IOCB", unsafe.Offsetof(w.raw), 0},
		{"__aio_sigset", unsafe.Sizeof(aioSigset{}), 2 * unsafe.Sizeof(uintptr(0))},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: offset or size %d, want %d", tt.name, tt.got, tt.want)
		}
	}
}

func TestPrepFillsTheKernelsStruct(t *testing.T) {
	buf := make([]byte, 24)
	p := uint64(uintptr(unsafe.Pointer(&buf[0])))
	var cb IOCB
	for _, tt := range []struct {
		name string
		prep func()
		want iocb
	}{
		{
			"pread", func() { cb.PrepPread(3, buf, 5) },
			iocb{opcode: 0, fd: 3, buf: p, nbytes: 24, offset: 5},
		},
		{
			"pwrite", func() { cb.PrepPwrite(3, buf[8:], 5) },
			iocb{opcode: 1, fd: 3, buf: p + 8, nbytes: 16, offset: 5},
		},
		{"fsync", func() { cb.PrepFsync(3) }, iocb{opcode: 2, fd: 3}},
		{"fdsync", func() { cb.PrepFdsync(3) }, iocb{opcode: 3, fd: 3}},
		{"poll", func() { cb.PrepPoll(3, -2) }, iocb{opcode: 5, fd: 3, buf: 0xfffe}},
		{
			"eventfd", func() { cb.PrepFsync(3); cb.SetEventfd(9) },
			iocb{opcode: 2, fd: 3, flags: 1, resfd: 9},
		},
		{
			"priority", func() { cb.PrepFsync(3); cb.SetPriority(-7) },
			iocb{opcode: 2, fd: 3, flags: 2, reqprio: -7},
		},
		{
			"eventfd and priority", func() { cb.PrepFsync(3); cb.SetPriority(1); cb.SetEventfd(9) },
			iocb{opcode: 2, fd: 3, flags: 3, resfd: 9, reqprio: 1},
		},
		{
			"flags", func() { cb.PrepFsync(3); cb.SetFlags(unix.RWF_NOWAIT) },
			iocb{opcode: 2, fd: 3, keyFlags: keyFlags{rwFlags: 8}},
		},
	} {
		tt.prep()
		if cb.raw != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, cb.raw, tt.want)
		}
	}

	bufs := [][]byte{buf[:8], nil, buf[16:]}
	for opcode, prep := range map[uint16]func(){
		7: func() { cb.PrepPreadv(3, bufs, 5) },
		8: func() { cb.PrepPwritev(3, bufs, 5) },
	} {
		prep()
		iovs := cb.mem.iovs
		p := uint64(uintptr(unsafe.Pointer(&iovs[0])))
		want := iocb{opcode: opcode, fd: 3, buf: p, nbytes: 3, offset: 5}
		if cb.raw != want {
			t.Errorf("opcode %d: %+v, want %+v", opcode, cb.raw, want)
		}
		for i, b := range bufs {
			if iovs[i].Base != unsafe.SliceData(b) || int(iovs[i].Len) != len(b) {
				t.Errorf("opcode %d: buffer %d is %v", opcode, i, iovs[i])
			}
		}
	}
}
