package fd

import (
	"io/fs"
	"math"
	"os"

	"github.com/go-aio/aio/internal/inode"
	"github.com/go-aio/aio/internal/sched"
)

// Truncate changes the size of the file in bytes. It waits for writes in flight.
func (fd *FD) Truncate(size int64) error {
	return fd.exclusive(func() error {
		fd.size.Store(0)
		return bare(fd.file.Truncate(size))
	})
}

// Allocate reserves space for n bytes at off in file, whose FD is fd if it has one, and extends the
// file to their end (fallocate(2)).
func Allocate(file *os.File, fd *FD, off, n int64) error {
	return fallocate(callAllocate, file, fd, off, n)
}

// PunchHole gives back the space of n bytes at off in file, whose FD is fd if it has one
// (fallocate(2), FALLOC_FL_PUNCH_HOLE).
func PunchHole(file *os.File, fd *FD, off, n int64) error {
	return fallocate(callPunchHole, file, fd, off, n)
}

func fallocate(kind callKind, file *os.File, fd *FD, off, n int64) error {
	if fd == nil { // it has no locks
		conn, err := file.SyscallConn()
		if err != nil {
			return bare(err)
		}
		_, err = (&FD{conn: conn}).call(kind, sched.Request{Off: off}, n)
		return err
	}
	return fd.exclusive(func() error {
		if fd.inode != nil {
			// As before a direct write: a reader that has seen the hole must not find older bytes
			// in the page cache. The size does not shrink, so the hint for Extends stays.
			fd.inode.Forget(0, math.MaxInt64)
		}
		_, err := fd.call(kind, sched.Request{Off: off}, n)
		return err
	})
}

// exclusive runs change while no write is under way.
func (fd *FD) exclusive(change func() error) error {
	if !fd.acquireWrite(0, math.MaxInt64) {
		return fs.ErrClosed
	}
	defer fd.release()
	r := inode.Everything(inode.Exclusive)
	untracked := fd.lock(r)
	defer fd.unlock(r, untracked)
	thread := fd.device.PageCache()
	defer thread.Release(1)
	return change()
}
