//go:build linux

package libaio

import (
	"math"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

func TestSubmitStopsAtTheFirstRefused(t *testing.T) {
	c := newContext(t, 8)
	efd := newEventfd(t)
	good := newInstant(t)
	for name, refused := range map[string]struct {
		cb    *IOCB
		errno syscall.Errno
	}{
		"EBADF":  {badf(), syscall.EBADF},
		"EFAULT": {nil, syscall.EFAULT},
	} {
		t.Run(name, func(t *testing.T) {
			good.Data = 1
			tail := newInstant(t)
			tail.Data = 2
			for _, cb := range []*IOCB{good, tail, refused.cb} {
				if cb != nil {
					cb.SetEventfd(efd)
				}
			}
			list := []*IOCB{good, refused.cb, tail}
			if n, err := c.Submit(list...); n != 1 || err != nil {
				t.Fatalf("Submit(good, bad, good) = %d, %v, want 1 and no error", n, err)
			}
			if n, err := c.Submit(list[1:]...); n != 0 || err != refused.errno {
				t.Fatalf("Submit(bad, good) = %d, %v, want %v", n, err, refused.errno)
			}
			if n := eventfdCount(t, efd); n != 1 {
				t.Errorf("the eventfd counts %d, want 1: refused requests and the tail must not count", n)
			}
			if e := take(t, c, 1)[0]; e.Data != 1 {
				t.Errorf("the event of request %d, want 1", e.Data)
			}
			noEvent(t, c)
			if n := held(t, c); n != 0 {
				t.Errorf("%d submissions are held that the kernel has not taken", n)
			}
			submit(t, c, list[2]) // the caller submits the tail itself
			if e := take(t, c, 1)[0]; e.Data != 2 {
				t.Errorf("the event of request %d, want 2", e.Data)
			}
			eventfdCount(t, efd)
		})
	}
}

func badf() *IOCB {
	cb := new(IOCB)
	cb.PrepPread(-1, make([]byte, 8), 0)
	return cb
}

func TestSubmitNone(t *testing.T) {
	c := newContext(t, 1)
	if n, err := c.Submit(); n != 0 || err != nil {
		t.Errorf("Submit() = %d, %v", n, err)
	}
	if _, errno := rawSubmit(c.id+8, 0, nil); errno != syscall.EINVAL {
		t.Errorf("io_submit of none with an id of no context: %v, want EINVAL", errno)
	}
	if _, errno := rawSubmit(c.id, -1, nil); errno != syscall.EINVAL {
		t.Errorf("io_submit of -1: %v, want EINVAL", errno)
	}
}

func TestSubmitTakesALongSliceInPart(t *testing.T) {
	c := newContext(t, 1)
	p := newPending(t)
	list := make([]*IOCB, 5000)
	for i := range list {
		list[i] = p.IOCB
	}
	n, err := c.Submit(list...)
	if n < 1 || n >= len(list) || err != nil {
		t.Fatalf("Submit of %d = %d, %v, want a part", len(list), n, err)
	}
	if h := held(t, c); h != n {
		t.Errorf("%d submissions are held, want the %d that were taken", h, n)
	}
	if _, err := c.Submit(list[n:]...); err != syscall.EAGAIN {
		t.Errorf("Submit of the rest: %v, want EAGAIN", err)
	}
	p.fire()
	take(t, c, n)
}

// The kernel refuses these requests in io_submit. The man pages and the errors of pread(2)
// suggest another errno for some of them, or an error in the event.
func TestSubmitRefuses(t *testing.T) {
	c := newContext(t, 8)
	name := newFile(t, block)
	rw := open(t, name, unix.O_RDWR)
	rd := open(t, name, unix.O_RDONLY)
	wr := open(t, name, unix.O_WRONLY)
	path := open(t, name, unix.O_PATH)
	dir := open(t, ".", unix.O_RDONLY)
	full := open(t, "/dev/full", unix.O_RDWR)
	r, w := pipe(t)
	buf := make([]byte, block)
	many := make([][]byte, 1025)
	for i := range many {
		many[i] = buf[:8]
	}

	read := func(fd int, p []byte, off int64) func(*IOCB) {
		return func(cb *IOCB) { cb.PrepPread(fd, p, off) }
	}
	write := func(fd int, p []byte, off int64) func(*IOCB) {
		return func(cb *IOCB) { cb.PrepPwrite(fd, p, off) }
	}
	// changed is a valid read with one change.
	changed := func(change func(*IOCB)) func(*IOCB) {
		return func(cb *IOCB) { cb.PrepPread(rw, buf, 0); change(cb) }
	}
	opcode := func(op uint16) func(*IOCB) {
		return changed(func(cb *IOCB) { cb.raw.opcode = op })
	}
	fsync := func(change func(*iocb)) func(*IOCB) {
		return func(cb *IOCB) { cb.PrepFsync(rw); change(&cb.raw) }
	}
	fdsync := func(change func(*iocb)) func(*IOCB) {
		return func(cb *IOCB) { cb.PrepFdsync(rw); change(&cb.raw) }
	}

	for _, tt := range []struct {
		name  string
		prep  func(*IOCB)
		errno syscall.Errno
	}{
		{"reserved2", changed(func(cb *IOCB) { cb.raw.reserved2 = 1 }), syscall.EINVAL},
		{"opcode 4, PREADX", opcode(4), syscall.EINVAL},
		{"opcode 6, NOOP", opcode(6), syscall.EINVAL},
		{"opcode 9, unknown", opcode(9), syscall.EINVAL},
		{"opcode 65535, unknown", opcode(math.MaxUint16), syscall.EINVAL},
		{"read at a negative offset", read(rw, buf, -1), syscall.EINVAL},
		{"empty read at a negative offset", read(rw, nil, -1), syscall.EINVAL},
		{"write at a negative offset", write(rw, buf, -1), syscall.EINVAL},
		{"empty write at a negative offset", write(rw, nil, math.MinInt64), syscall.EINVAL},
		{"read beyond MaxInt64", read(rw, buf, math.MaxInt64-7), syscall.EINVAL},
		{"write beyond MaxInt64", write(rw, buf, math.MaxInt64-7), syscall.EINVAL},
		{"length 2^63", changed(func(cb *IOCB) { cb.raw.nbytes = 1 << 63 }), syscall.EINVAL},
		{"length 2^64-1", changed(func(cb *IOCB) { cb.raw.nbytes = math.MaxUint64 }), syscall.EINVAL},
		{"resfd is a file", changed(func(cb *IOCB) { cb.SetEventfd(rw) }), syscall.EINVAL},
		{"resfd is a pipe", changed(func(cb *IOCB) { cb.SetEventfd(w) }), syscall.EINVAL},
		// read(2): EISDIR
		{"read of a directory", read(dir, buf, 0), syscall.EINVAL},
		// write(2): ENOSPC
		{"write to a file without write_iter", write(full, buf, 0), syscall.EINVAL},
		{"1025 buffers to read", func(cb *IOCB) { cb.PrepPreadv(rw, many, 0) }, syscall.EINVAL},
		{"1025 buffers to write", func(cb *IOCB) { cb.PrepPwritev(rw, many, 0) }, syscall.EINVAL},
		{"fsync with a buffer", fsync(func(raw *iocb) { raw.buf = 1 }), syscall.EINVAL},
		{"fsync with a length", fsync(func(raw *iocb) { raw.nbytes = 1 }), syscall.EINVAL},
		{"fsync with an offset", fsync(func(raw *iocb) { raw.offset = 1 }), syscall.EINVAL},
		{"fdsync with a buffer", fdsync(func(raw *iocb) { raw.buf = 1 }), syscall.EINVAL},
		{"fdsync with a length", fdsync(func(raw *iocb) { raw.nbytes = 1 }), syscall.EINVAL},
		{"fdsync with an offset", fdsync(func(raw *iocb) { raw.offset = 1 }), syscall.EINVAL},
		{"fsync of a pipe", func(cb *IOCB) { cb.PrepFsync(w) }, syscall.EINVAL},
		{"fdsync of a pipe", func(cb *IOCB) { cb.PrepFdsync(w) }, syscall.EINVAL},
		{"unknown priority class", changed(func(cb *IOCB) {
			cb.SetPriority(-1 << ioprioClassShift)
		}), syscall.EINVAL},

		{"descriptor -1", read(-1, buf, 0), syscall.EBADF},
		{"descriptor that is not open", read(1<<20, buf, 0), syscall.EBADF},
		{"poll of descriptor -1", func(cb *IOCB) { cb.PrepPoll(-1, unix.POLLIN) }, syscall.EBADF},
		{"fsync of descriptor -1", func(cb *IOCB) { cb.PrepFsync(-1) }, syscall.EBADF},
		{"read of O_WRONLY", read(wr, buf, 0), syscall.EBADF},
		{"empty read of O_WRONLY", read(wr, nil, 0), syscall.EBADF},
		{"write to O_RDONLY", write(rd, buf, 0), syscall.EBADF},
		{"empty write to O_RDONLY", write(rd, nil, 0), syscall.EBADF},
		{"readv of O_WRONLY", func(cb *IOCB) { cb.PrepPreadv(wr, [][]byte{buf}, 0) }, syscall.EBADF},
		{"writev to O_RDONLY", func(cb *IOCB) { cb.PrepPwritev(rd, [][]byte{buf}, 0) }, syscall.EBADF},
		{"read of a pipe's write end", read(w, buf, 0), syscall.EBADF},
		{"write to a pipe's read end", write(r, buf, 0), syscall.EBADF},
		{"resfd -1", changed(func(cb *IOCB) { cb.SetEventfd(-1) }), syscall.EBADF},
		{"O_PATH", read(path, buf, 0), syscall.EBADF},

		{"unknown rw_flags", changed(func(cb *IOCB) { cb.SetFlags(1 << 30) }), syscall.EOPNOTSUPP},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cb := new(IOCB)
			tt.prep(cb)
			if n, err := c.Submit(cb); n != 0 || err != tt.errno {
				t.Errorf("Submit = %d, %v, want %v", n, err, tt.errno)
			}
			noEvent(t, c)
			checkIdle(t, c)
			// The same request after a valid one: not taken, and no error.
			if n, err := c.Submit(newInstant(t), cb); n != 1 || err != nil {
				t.Errorf("Submit after a valid one = %d, %v, want 1", n, err)
			}
			take(t, c, 1)
			noEvent(t, c)
			checkIdle(t, c)
		})
	}
}

// ioprioClassShift is IOPRIO_CLASS_SHIFT of linux/ioprio.h; class 2 is best effort.
const ioprioClassShift = 13

// The requests that TestSubmitRefuses lists are refused for one fault each: without it the
// kernel takes them.
func TestSubmitTakesTheLimits(t *testing.T) {
	c := newContext(t, 8)
	name := newFile(t, 2*block)
	fd := open(t, name, unix.O_RDWR)
	buf := make([]byte, 1024)
	most := make([][]byte, 1024)
	for i := range most {
		most[i] = buf[i : i+1]
	}
	for _, tt := range []struct {
		name string
		prep func(*IOCB)
		res  int64
	}{
		{"read", func(cb *IOCB) { cb.PrepPread(fd, buf, 0) }, 1024},
		{"empty read", func(cb *IOCB) { cb.PrepPread(fd, nil, 0) }, 0},
		{"read up to MaxInt64", func(cb *IOCB) { cb.PrepPread(fd, buf, math.MaxInt64-1024) }, 0},
		{"1024 buffers to read", func(cb *IOCB) { cb.PrepPreadv(fd, most, 0) }, 1024},
		{"1024 buffers to write", func(cb *IOCB) { cb.PrepPwritev(fd, most, 0) }, 1024},
		{"no buffers", func(cb *IOCB) { cb.PrepPreadv(fd, nil, 0) }, 0},
		{"empty buffers", func(cb *IOCB) {
			cb.PrepPreadv(fd, [][]byte{nil, buf[:8], {}, buf[8:12]}, 0)
		}, 12},
		{"RWF_DSYNC", func(cb *IOCB) { cb.PrepPwrite(fd, buf, 0); cb.SetFlags(unix.RWF_DSYNC) }, 1024},
		{"RWF_APPEND", func(cb *IOCB) { cb.PrepPwrite(fd, buf, 0); cb.SetFlags(unix.RWF_APPEND) }, 1024},
		{"priority", func(cb *IOCB) {
			cb.PrepPread(fd, buf, 0)
			cb.SetPriority(2<<ioprioClassShift | 4)
		}, 1024},
		{"fsync", func(cb *IOCB) { cb.PrepFsync(fd) }, 0},
		{"fdsync", func(cb *IOCB) { cb.PrepFdsync(fd) }, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cb := new(IOCB)
			tt.prep(cb)
			if res := do(t, c, cb); res != tt.res {
				t.Errorf("Res = %d, want %d", res, tt.res)
			}
		})
	}
	if st, err := os.Stat(name); err != nil || st.Size() != 2*block+1024 {
		t.Errorf("RWF_APPEND: the file is %d bytes long (%v), want %d", st.Size(), err, 2*block+1024)
	}
}

// Through Submit, the kernel can read and write every IOCB except nil.
func TestSubmitOfAnUnreadableIOCBIsEFAULT(t *testing.T) {
	c := newContext(t, 8)
	none := pages(t, os.Getpagesize(), unix.PROT_NONE)
	readOnly := pages(t, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE)
	*(*iocb)(unsafe.Pointer(&readOnly[0])) = newInstant(t).raw // valid, except for the key
	if err := unix.Mprotect(readOnly, unix.PROT_READ); err != nil {
		t.Fatal(err)
	}
	for name, p := range map[string]unsafe.Pointer{
		"is nil":            nil,
		"cannot be read":    unsafe.Pointer(&none[0]),
		"cannot be written": unsafe.Pointer(&readOnly[0]),
	} {
		if n, errno := rawSubmit(c.id, 1, &p); errno != syscall.EFAULT {
			t.Errorf("io_submit of an iocb that %s = %d, %v, want EFAULT", name, n, errno)
		}
	}
	n, errno := rawSubmit(c.id, 1, (*unsafe.Pointer)(unsafe.Pointer(&none[0])))
	if errno != syscall.EFAULT {
		t.Errorf("io_submit of a list that cannot be read = %d, %v, want EFAULT", n, errno)
	}
	noEvent(t, c)
}

// DONTCACHE is refused likewise; ext4 and xfs have it.
func TestSubmitNowaitIsEOPNOTSUPP(t *testing.T) {
	c := newContext(t, 8)
	layers := directDir(t)
	for _, name := range []string{"lower", "upper", "work"} {
		if err := os.Mkdir(filepath.Join(layers, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for fstype, options := range map[string][]string{
		"tmpfs": nil,
		"overlay": {
			"lowerdir", filepath.Join(layers, "lower"),
			"upperdir", filepath.Join(layers, "upper"), "workdir", filepath.Join(layers, "work"),
		},
	} {
		t.Run(fstype, func(t *testing.T) {
			if fstype == "overlay" {
				needsPages(t, layers) // such a directory cannot be a layer of another overlayfs, either
			}
			dir := detachedMount(t, fstype, options...)
			fd, err := unix.Openat(dir, "file", unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fd)
			cb := new(IOCB)
			for _, flag := range []int32{unix.RWF_NOWAIT, unix.RWF_DONTCACHE} {
				cb.PrepPread(fd, make([]byte, 8), 0)
				cb.SetFlags(flag)
				if n, err := c.Submit(cb); n != 0 || err != syscall.EOPNOTSUPP {
					t.Errorf("flags %#x: Submit = %d, %v, want EOPNOTSUPP", flag, n, err)
				}
			}
		})
	}
}

// A Submit of more requests than free slots takes as many as fit and does not report EAGAIN.
// TestCapacityIsAtLeastN sees EAGAIN when the first request has no slot.
func TestSubmitToAFullRingIsShort(t *testing.T) {
	bothWays(t, func(t *testing.T, setup func(int) *Context) {
		c := setup(1)
		cb := newInstant(t)
		list := []*IOCB{cb, cb, cb, cb, cb, cb, cb}
		for total := 0; ; {
			n, err := c.Submit(list...)
			if total += n; n == len(list) {
				continue
			}
			if n > 0 && err != nil || n == 0 && err != syscall.EAGAIN {
				t.Errorf("Submit = %d, %v", n, err)
			}
			if h := held(t, c); h != total {
				t.Errorf("%d submissions are held, want %d", h, total)
			}
			take(t, c, total)
			break
		}
	})
}
