//go:build linux

package libaio

import (
	"math"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/go-aio/aio/internal/aiotest"
	"golang.org/x/sys/unix"
)

// The event reports errors of the transfer itself; Submit does not. take checks that res2 is
// always 0.
func TestErrorsOfTheTransferComeInTheEvent(t *testing.T) {
	c := newContext(t, 8)
	name := newFile(t, 4*block)
	direct := open(t, name, unix.O_RDWR|unix.O_DIRECT)
	buffered := open(t, name, unix.O_RDWR)
	none := pages(t, 2*block, unix.PROT_NONE)
	buf := aligned(2 * block)
	mem, off := alignment(direct)

	read := func(fd int, p []byte, off int64) func(*IOCB) {
		return func(cb *IOCB) { cb.PrepPread(fd, p, off) }
	}
	write := func(fd int, p []byte, off int64) func(*IOCB) {
		return func(cb *IOCB) { cb.PrepPwrite(fd, p, off) }
	}
	for _, tt := range []struct {
		name  string
		prep  func(*IOCB)
		errno syscall.Errno
	}{
		{"direct read at a misaligned offset", read(direct, buf[:block], int64(off/2)), syscall.EINVAL},
		{"direct write at a misaligned offset", write(direct, buf[:block], int64(off/2)), syscall.EINVAL},
		{"direct read of a misaligned length", read(direct, buf[:block-off/2], 0), syscall.EINVAL},
		{"direct write of a misaligned length", write(direct, buf[:block-off/2], 0), syscall.EINVAL},
		{"direct read to misaligned memory", read(direct, buf[mem/2:][:block], 0), syscall.EINVAL},
		{"direct write from misaligned memory", write(direct, buf[mem/2:][:block], 0), syscall.EINVAL},
		{"direct read to a bad buffer", read(direct, none[:block], 0), syscall.EFAULT},
		{"direct write from a bad buffer", write(direct, none[:block], 0), syscall.EFAULT},
		{"buffered read to a bad buffer", read(buffered, none[:block], 0), syscall.EFAULT},
		{"buffered write from a bad buffer", write(buffered, none[:block], 0), syscall.EFAULT},
		{"write beyond the largest file", write(buffered, buf[:8], math.MaxInt64-8), syscall.EFBIG},
		{
			"direct write beyond the largest file",
			write(direct, buf[:block], math.MaxInt64&^(block-1)-block), syscall.EFBIG,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cb := new(IOCB)
			tt.prep(cb)
			wantRes(t, do(t, c, cb), tt.errno)
		})
	}
}

// On ext4 and xfs a direct write that exceeds the free space fails without writing anything.
// The test therefore uses the buffered write of tmpfs.
func TestWriteToAFullFilesystemIsENOSPCInTheEvent(t *testing.T) {
	c := newContext(t, 8)
	dir := detachedMount(t, "tmpfs", "size", "4k", "nr_inodes", "8")
	fd, err := unix.Openat(dir, "file", unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	page := os.Getpagesize()
	for _, res := range []int64{int64(page), -int64(syscall.ENOSPC)} {
		cb := new(IOCB)
		cb.PrepPwrite(fd, make([]byte, 2*page), 0)
		if res < 0 {
			cb.raw.offset = int64(page)
		}
		if got := do(t, c, cb); got != res {
			t.Errorf("Res = %d, want %d", got, res)
		}
	}
}

// Writes have no such test: from Linux 6.0 until 7.0 nearly every overwrite with RWF_NOWAIT
// on xfs returns EAGAIN.
func TestNowaitOfAColdPageIsEAGAINAndReadsAhead(t *testing.T) {
	c := newContext(t, 8)
	const size = 64 << 10
	name := newFile(t, size)
	needsPages(t, name)
	fd := open(t, name, unix.O_RDONLY)
	// Readahead may finish between two checks, and a page may not leave the cache at once.
	for try := 0; ; try++ {
		if err := unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED); err != nil {
			t.Fatal(err)
		}
		res := nowaitRead(t, c, fd)
		if res == block && try < 1000 {
			time.Sleep(time.Millisecond)
			continue
		}
		wantRes(t, res, syscall.EAGAIN)
		break
	}
	for { // no other process reads the file
		res := nowaitRead(t, c, fd)
		if res == block {
			return
		}
		wantRes(t, res, syscall.EAGAIN)
		time.Sleep(time.Millisecond)
	}
}

func nowaitRead(t *testing.T, c *Context, fd int) int64 {
	cb := new(IOCB)
	cb.PrepPread(fd, make([]byte, block), 0)
	cb.SetFlags(unix.RWF_NOWAIT)
	return do(t, c, cb)
}

// maxRW is the largest length of one transfer on Linux.
const maxRW = 0x7ffff000

func TestLengthsAreClipped(t *testing.T) {
	c := newContext(t, 8)
	null := open(t, "/dev/null", unix.O_WRONLY) // takes any length and reads no byte
	gib := pages(t, 1<<30, unix.PROT_NONE)
	long := func(n uint64) func(*IOCB) {
		return func(cb *IOCB) { cb.PrepPwrite(null, gib, 0); cb.raw.nbytes = n }
	}
	for _, tt := range []struct {
		name string
		prep func(*IOCB)
		res  int64
	}{
		{"1 GiB", long(1 << 30), 1 << 30},
		{"the maximum", long(maxRW), maxRW},
		{"one more", long(maxRW + 1), maxRW},
		{"2 GiB", long(1 << 31), maxRW},
		{"a vector of 1 GiB", func(cb *IOCB) { cb.PrepPwritev(null, [][]byte{gib}, 0) }, 1 << 30},
		{"a vector of 2 GiB", func(cb *IOCB) { cb.PrepPwritev(null, [][]byte{gib, gib}, 0) }, maxRW},
		{"a vector of 3 GiB", func(cb *IOCB) { cb.PrepPwritev(null, [][]byte{gib, gib, gib}, 0) }, maxRW},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cb := new(IOCB)
			tt.prep(cb)
			if res := do(t, c, cb); res != tt.res {
				t.Errorf("Res = %#x, want %#x", res, tt.res)
			}
		})
	}
}

// Submit blocks for the whole transfer: the event is there when it returns. These are the
// cases on ext4. Xfs blocks to allocate in a hole, and btrfs for every write with checksums.
// All of them block while the queue of the device is full. TestSubmitDoesNotBlockFor has the
// opposite cases.
func TestSubmitBlocksForTheTransfer(t *testing.T) {
	c := newContext(t, 8)
	name := newFile(t, 4*block)
	buffered := open(t, name, unix.O_RDWR)
	direct := open(t, name, unix.O_RDWR|unix.O_DIRECT)
	if err := unix.Ftruncate(buffered, 1<<20); err != nil { // a hole after the data
		t.Fatal(err)
	}
	_, off := alignment(direct)
	buf := aligned(block)
	for _, tt := range []struct {
		name     string
		ext4Only bool
		prep     func(cb *IOCB, i int)
	}{
		{"cold buffered read", false, func(cb *IOCB, i int) {
			_ = unix.Fadvise(buffered, 0, 0, unix.FADV_DONTNEED)
			cb.PrepPread(buffered, buf, 0)
		}},
		{"buffered write", false, func(cb *IOCB, i int) { cb.PrepPwrite(buffered, buf, 0) }},
		{"direct write that extends the file", true, func(cb *IOCB, i int) {
			cb.PrepPwrite(direct, buf, 1<<20+int64(i)*block)
		}},
		{"direct write of less than a block into a hole", true, func(cb *IOCB, i int) {
			if off == block {
				aiotest.Needs(t, "sectors smaller than a block",
					"TMPDIR=DIR go test ./libaio, with a DIR on such a disk")
			}
			cb.PrepPwrite(direct, buf[:off], 64<<10+int64(i)*block)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.ext4Only && !onExt4(t, name) {
				aiotest.Needs(t, "ext4", "TMPDIR=DIR go test ./libaio, with a DIR on ext4")
			}
			for i := range 20 {
				cb := new(IOCB)
				tt.prep(cb, i)
				submit(t, c, cb)
				var e [1]Event
				if n, err := c.GetEvents(0, e[:], 0); n != 1 || err != nil {
					t.Errorf("GetEvents right after Submit = %d, %v, want 1", n, err)
					take(t, c, 1-n)
				}
			}
		})
	}
}

func onExt4(t *testing.T, name string) bool {
	t.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs(name, &st); err != nil {
		t.Fatal(err)
	}
	return st.Type == unix.EXT4_SUPER_MAGIC
}

// A read of an empty pipe blocks until another process or thread writes to the pipe.
func TestSubmitBlocksForAPipe(t *testing.T) {
	c := newContext(t, 8)
	r, w := pipe(t)
	cb := new(IOCB)
	cb.PrepPread(r, make([]byte, 1), 0)
	var n int
	var err error
	th := onThread(func() { n, err = c.Submit(cb) })
	th.awaitBlocked(unix.SYS_IO_SUBMIT)
	if _, err := unix.Write(w, []byte{1}); err != nil {
		t.Fatal(err)
	}
	<-th.done
	if n != 1 || err != nil {
		t.Errorf("Submit = %d, %v", n, err)
	}
	if e := take(t, c, 1)[0]; e.Res != 1 {
		t.Errorf("Res = %d, want 1", e.Res)
	}
}

// A direct read also writes back the dirty pages of its range first.
func TestDirectTransferWaitsForWritebackOfItsRange(t *testing.T) {
	c := newContext(t, 8)
	name := newFile(t, 4*block)
	needsPages(t, name)
	buffered := open(t, name, unix.O_RDWR)
	direct := open(t, name, unix.O_RDWR|unix.O_DIRECT)
	buf := aligned(block)
	dirty := func() uint64 {
		var st unix.Cachestat_t
		err := unix.Cachestat(uint(buffered), &unix.CachestatRange{Off: 0, Len: block}, &st, 0)
		if err == unix.ENOSYS {
			aiotest.Needs(t, "cachestat(2), of Linux 6.5", aiotest.Whole)
		}
		if err != nil {
			t.Fatal(err)
		}
		return st.Dirty + st.Writeback
	}
	for name, prep := range map[string]func(*IOCB){
		"read":  func(cb *IOCB) { cb.PrepPread(direct, buf, 0) },
		"write": func(cb *IOCB) { cb.PrepPwrite(direct, buf, 0) },
	} {
		seen := false // the kernel may write the page back on its own
		for range 20 {
			if _, err := unix.Pwrite(buffered, make([]byte, block), 0); err != nil {
				t.Fatal(err)
			}
			before := dirty()
			cb := new(IOCB)
			prep(cb)
			submit(t, c, cb)
			if after := dirty(); after != 0 {
				t.Errorf("%s: %d pages are dirty when Submit returns", name, after)
			}
			take(t, c, 1)
			seen = seen || before == 1
		}
		if !seen {
			t.Errorf("%s: the page was never dirty", name)
		}
	}
}

// Direct reads, direct overwrites and fsync continue after Submit has returned. Whether the
// last of a batch is still in flight at the check is a race, so the test has to see it once.
func TestSubmitDoesNotBlockFor(t *testing.T) {
	const size, n = 256 << 10, 32
	name := newFile(t, n*size)
	direct := open(t, name, unix.O_RDWR|unix.O_DIRECT)
	buf := aligned(size)
	for opName, prep := range map[string]func(cb *IOCB, i int64){
		"direct read":      func(cb *IOCB, i int64) { cb.PrepPread(direct, buf, i*size) },
		"direct overwrite": func(cb *IOCB, i int64) { cb.PrepPwrite(direct, buf, i*size) },
		"fsync":            func(cb *IOCB, i int64) { cb.PrepFsync(direct) },
		"fdsync":           func(cb *IOCB, i int64) { cb.PrepFdsync(direct) },
	} {
		t.Run(opName, func(t *testing.T) {
			c := newContext(t, n)
			var iocbs []*IOCB
			for i := range n {
				cb := new(IOCB)
				prep(cb, int64(i))
				iocbs = append(iocbs, cb)
			}
			for range 200 {
				// fsync gets something to write.
				if _, err := unix.Pwrite(direct, buf[:block], 0); err != nil {
					t.Fatal(err)
				}
				submit(t, c, iocbs...)
				var events [n]Event
				m, err := c.GetEvents(0, events[:], 0)
				if err != nil {
					t.Fatal(err)
				}
				take(t, c, n-m)
				if m < n {
					return
				}
			}
			t.Error("in 200 attempts all requests had completed when Submit returned")
		})
	}
}
