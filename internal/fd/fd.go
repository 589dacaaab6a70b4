// Package fd is to aio.File what internal/poll.FD is to os.File: the descriptors of a file, their
// lifetime, the locks of its writes, and what keeps the page cache and direct I/O in step.
//
// An [FD] has the buffered descriptor, which is that of an os.File, and may have a direct one: a
// second open file description of the same inode, with O_DIRECT. A transfer arrives as [Buffers]
// and an offset. One loop reads and one loop writes; what a loop asks of the kernel goes to
// package sched. Errors are bare: a syscall.Errno, io.EOF, fs.ErrClosed, or what an os.File has
// inside of its fs.PathError.
//
// # Lock order
//
// A call takes in this order what it needs of: the FD (acquire), a range of the inode's lock
// table, a bounce buffer, and a permit of sched (a place of the device, or a thread). While it
// holds one it waits for none that comes before. A write waits for abandoned ones once it has
// acquired the FD. A Read or Write at the file offset holds the cursor around all of this.
package fd

import (
	"errors"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/go-aio/aio/internal/dio"
	"github.com/go-aio/aio/internal/inode"
	"github.com/go-aio/aio/internal/sched"
)

// These are package sched's.
type (
	// Buffers are the memory of a transfer.
	Buffers = sched.Buffers
	// An Op is what a call does.
	Op = sched.Op
)

// The operations.
const (
	Read     = sched.Read
	Write    = sched.Write
	Sync     = sched.Sync
	Datasync = sched.Datasync
)

// One returns the Buffers of one buffer.
func One(p []byte) Buffers { return sched.One(p) }

// Many returns the Buffers of several. It is not ok if an int cannot count their bytes.
func Many(bufs [][]byte) (b Buffers, ok bool) { return sched.Many(bufs) }

// An FD is an open regular file or block device. All methods may be called concurrently.
type FD struct {
	file   *os.File        // the buffered descriptor
	conn   syscall.RawConn // of file
	dev    uint64
	device *sched.Device // shared by all files with the same dev

	inode     *inode.Inode     // nil on systems without direct I/O
	abandoned *inode.Abandoned // writes whose callers have left
	direct    *dio.Direct      // the direct descriptor, or nil
	notDirect error            // why there is none
	owner     *os.File         // has the direct descriptor, if that was an os.File's; see FromOS

	// size is one that the file had, in bytes. It is a hint for Extends, and may be out of date
	// either way.
	size atomic.Int64

	// cursor makes a Read or Write of a direct file, which moves the offset before and after, one
	// step to the others; the kernel's f_pos_lock does that for os.File.
	cursor sync.Mutex

	// abandonedSyncs are Syncs whose callers have left, and syncErr is the error of one, until
	// another returns it. Later Syncs wait for them, because the kernel reports a write-back error
	// to only one of two that fsync(2) at the same time.
	abandonedSyncs inode.Abandoned
	syncErr        atomic.Pointer[error]

	// calls is twice the number of calls that use the FD, plus 1 once it is closed. The direct
	// descriptor is closed, and its number may be used again, after the last of them.
	calls atomic.Int64
}

// New returns the FD of file, or nil if that is neither a regular file nor a block device. With
// direct it has a direct descriptor, where one can be had.
func New(file *os.File, direct bool) *FD {
	conn, err := file.SyscallConn()
	if err != nil {
		return nil
	}
	fd := &FD{file: file, conn: conn}
	ok := false
	// Control, because Fd would make a pipe blocking.
	conn.Control(func(n uintptr) { ok = fd.init(int(n), direct) })
	if !ok {
		return nil
	}
	return fd
}

func (fd *FD) init(n int, direct bool) bool {
	info, err := dio.Stat(n)
	if errors.Is(err, errors.ErrUnsupported) {
		// No direct I/O on this system, but a bound on threads.
		fd.abandoned = new(inode.Abandoned)
		fd.device = sched.DeviceOf(0)
		fi, err := fd.file.Stat()
		return err == nil && fi.Mode().IsRegular()
	}
	if err != nil || info.Kind == dio.Other {
		return false
	}
	fd.dev, fd.device = info.Dev, sched.DeviceOf(info.Dev)
	fd.inode = inode.Open(inode.Key{Dev: info.Dev, Ino: info.Ino, Block: info.Kind == dio.Block})
	fd.abandoned = &fd.inode.Abandoned
	if fd.notDirect = errNotAsked; !direct {
		return true
	}
	d, err := dio.Open(n)
	if fd.notDirect = err; err == nil {
		fd.attach(d)
	}
	return true
}

// Reasons for a file not to be direct.
var (
	errNotAsked = errors.New("the file was opened without O_DIRECT")
	// ErrNotFile is that of a file that has no FD.
	ErrNotFile = errors.New("it is neither a regular file nor a block device")
)

// WhyNotDirect returns why fd has no direct descriptor, or nil if it has one.
func (fd *FD) WhyNotDirect() error {
	if fd.direct == nil && fd.notDirect == nil {
		return errors.ErrUnsupported // not on this system
	}
	return fd.notDirect
}

// OSFile returns the os.File of the buffered descriptor.
func (fd *FD) OSFile() *os.File { return fd.file }

// Flags returns the flags that descriptor n was opened with, or 0 where these are not known.
func Flags(n uintptr) int { return dio.Flags(int(n)) }

// Adopt makes n, a descriptor with O_DIRECT, the direct one of a new os.File of that name, whose
// offset is that of n. It returns nil, and leaves n alone, where that cannot be.
func Adopt(n uintptr, name string) (*os.File, *FD) {
	direct, err := dio.Adopt(int(n))
	if err != nil {
		return nil, nil
	}
	again, err := dio.OpenBuffered(int(n))
	if err != nil {
		return nil, nil
	}
	file := os.NewFile(uintptr(again), name)
	fd := New(file, false)
	if fd == nil || dio.CopyOffset(again, int(n)) != nil {
		file.Close()
		if fd != nil {
			fd.Close()
		}
		return nil, nil
	}
	fd.attach(direct)
	return file, fd
}

// FlagsOf returns the flags that the descriptor of file was opened with, or 0 where these are not
// known.
func FlagsOf(file *os.File) (flags int) {
	if conn, err := file.SyscallConn(); err == nil {
		conn.Control(func(n uintptr) { flags = Flags(n) })
	}
	return flags
}

// FromOS is New for an os.File that another package has opened. If its descriptor has O_DIRECT, it
// is the direct one of the FD, whose OSFile then is a new one. It returns fs.ErrClosed if file is
// closed.
func FromOS(file *os.File, direct bool) (*FD, error) {
	conn, err := file.SyscallConn()
	if err != nil {
		return nil, bare(err)
	}
	var fd *FD
	err = conn.Control(func(n uintptr) {
		if Flags(n)&dio.O_DIRECT != 0 {
			_, fd = Adopt(n, file.Name())
		}
	})
	if err != nil {
		return nil, fs.ErrClosed
	}
	if fd != nil {
		fd.owner = file
		return fd, nil
	}
	return New(file, direct), nil
}

// attach gives fd its direct descriptor. It comes before the first use.
func (fd *FD) attach(t *dio.Direct) {
	fd.direct, fd.notDirect = t, nil
	fd.inode.AddDirect()
}

// Direct reports whether fd has a direct descriptor.
func (fd *FD) Direct() bool { return fd.direct != nil }

// Alignment returns what direct I/O wants of a buffer's address, of a read and of a write, in
// bytes. It returns zeros for an FD that is not direct, and for writes that never are.
func (fd *FD) Alignment() (memory, read, write int) {
	switch t := fd.direct; {
	case t == nil:
		return 0, 0, 0
	case t.Writes:
		return t.Mem, t.Read, t.Write
	default:
		return t.Mem, t.Read, 0
	}
}

// acquire counts a call. It returns false once fd is closed.
func (fd *FD) acquire() bool {
	for {
		n := fd.calls.Load()
		if n&1 != 0 {
			return false
		}
		if fd.calls.CompareAndSwap(n, n+2) {
			return true
		}
	}
}

// acquireWrite is acquire for a call that writes to bytes [lo, hi). It waits for abandoned writes
// there.
func (fd *FD) acquireWrite(lo, hi int64) bool {
	if !fd.acquire() {
		return false
	}
	fd.abandoned.Wait(lo, hi)
	return true
}

// release ends a call that acquire counted.
func (fd *FD) release() {
	if fd.calls.Add(-2) == 1 {
		fd.finish()
	}
}

// Close lets no call begin. It may be called again. The os.File is closed by its owner.
func (fd *FD) Close() {
	if old := fd.calls.Or(1); old == 0 {
		fd.finish()
	}
}

// finish runs once, when fd is closed and no call uses it.
func (fd *FD) finish() {
	if fd.direct != nil {
		if fd.owner != nil {
			fd.owner.Close()
		} else {
			fd.direct.Close()
		}
		fd.inode.RemoveDirect()
	}
	if fd.inode != nil {
		fd.inode.Close()
	}
}

// lock takes r for a call that goes through the page cache. untracked is whether it could do
// without the lock table.
func (fd *FD) lock(r inode.Range) (untracked bool) {
	if fd.inode == nil || fd.direct == nil && fd.inode.EnterUntracked() {
		return true
	}
	fd.inode.Lock(r)
	return false
}

func (fd *FD) unlock(r inode.Range, untracked bool) {
	switch {
	case fd.inode == nil:
	case untracked:
		fd.inode.LeaveUntracked()
	default:
		fd.inode.Unlock(r)
	}
}

// bare returns what an os.File has inside of its fs.PathError.
func bare(err error) error {
	if pe, ok := err.(*fs.PathError); ok {
		return pe.Err
	}
	return err
}
