//go:build linux

package libaio

import (
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/go-aio/aio/internal/aiotest"
	"golang.org/x/sys/unix"
)

// Both commands exist since Linux 4.18. They run on a workqueue of the kernel, which makes a
// single one 45 us slower than fsync(2).
func TestFsyncCoversWritesThatHaveCompleted(t *testing.T) {
	c := newContext(t, 4)
	name := newFile(t, 16*block)
	needsPages(t, name)
	fd := open(t, name, unix.O_RDWR)
	dirty := func() uint64 {
		var st unix.Cachestat_t
		err := unix.Cachestat(uint(fd), &unix.CachestatRange{}, &st, 0)
		if err == unix.ENOSYS {
			aiotest.Needs(t, "cachestat(2), of Linux 6.5", aiotest.Whole)
		}
		if err != nil {
			t.Fatal(err)
		}
		return st.Dirty + st.Writeback
	}
	for name, prep := range map[string]func(*IOCB){
		"fsync":  func(cb *IOCB) { cb.PrepFsync(fd) },
		"fdsync": func(cb *IOCB) { cb.PrepFdsync(fd) },
	} {
		seen := false // the kernel may write back on its own
		for range 5 {
			write := new(IOCB)
			write.PrepPwrite(fd, make([]byte, 16*block), 0)
			if res := do(t, c, write); res != 16*block {
				t.Fatalf("write: Res = %d", res)
			}
			seen = seen || dirty() != 0
			cb := new(IOCB)
			prep(cb)
			if res := do(t, c, cb); res != 0 {
				t.Errorf("%s: Res = %d", name, res)
			}
			if n := dirty(); n != 0 {
				t.Errorf("%s: %d pages are dirty after it", name, n)
			}
		}
		if !seen {
			t.Errorf("%s: there was nothing to sync", name)
		}
	}
}

// The kernel reports a writeback error once per descriptor, so every sync must use the same
// descriptor. The error of this test is that of a page that is dirty again when a direct
// write wants to drop it. The kernel logs it.
func TestWritebackErrorIsReportedOncePerDescriptor(t *testing.T) {
	c := newContext(t, 4)
	name := newFile(t, 16*block)
	buffered := open(t, name, unix.O_RDWR)
	direct := open(t, name, unix.O_RDWR|unix.O_DIRECT)
	first, second := open(t, name, unix.O_RDWR), open(t, name, unix.O_RDWR)
	cb := new(IOCB)
	fsync := func(fd int) int64 {
		cb.PrepFsync(fd)
		return do(t, c, cb)
	}

	var stop atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		for p := make([]byte, block); !stop.Load(); {
			if _, err := unix.Pwrite(buffered, p, 0); err != nil {
				t.Error(err)
				return
			}
		}
	})
	p := aligned(block)
	res := int64(0)
	for try := 0; res == 0 && try < aiotest.Scaled(5000); try++ {
		cb.PrepPwrite(direct, p, 0)
		if res := do(t, c, cb); res != block {
			t.Errorf("direct write: Res = %d", res)
		}
		res = fsync(first)
	}
	stop.Store(true)
	wg.Wait()
	if res == 0 {
		aiotest.Needs(t, "a kernel and filesystem that do not drop the page", aiotest.Whole)
	}
	wantRes(t, res, syscall.EIO)
	wantRes(t, fsync(first), 0)
	wantRes(t, fsync(second), syscall.EIO)
	wantRes(t, fsync(second), 0)
}
