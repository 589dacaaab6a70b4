package dio

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// O_DIRECT is the flag of open(2).
const O_DIRECT = syscall.O_DIRECT

// Stat returns the Info of fd, fstat(2).
func Stat(fd int) (Info, error) {
	var st unix.Stat_t
	if err := fstat(fd, &st); err != nil {
		return Info{}, err
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		dev := uint64(st.Dev) //nolint:unconvert // uint32 on 32-bit MIPS
		return Info{Kind: Regular, Dev: dev, Ino: st.Ino}, nil
	case unix.S_IFBLK:
		return Info{Kind: Block, Dev: uint64(st.Rdev)}, nil //nolint:unconvert // uint32 on 32-bit MIPS
	}
	return Info{Kind: Other}, nil
}

func fstat(fd int, st *unix.Stat_t) error {
	return ignoringEINTR(func() error { return unix.Fstat(fd, st) })
}

// Flags returns the flags that fd was opened with, F_GETFL of fcntl(2), or 0 if that fails.
func Flags(fd int) int {
	flags, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	return max(flags, 0)
}

// kept are the flags of a descriptor that its reopening copies. O_APPEND is not among them:
// the kernel refuses a direct write at an unaligned size.
const kept = unix.O_ACCMODE | unix.O_SYNC | unix.O_DSYNC | unix.O_NOATIME

// Open opens a direct descriptor for the file of fd. It returns EINVAL or EOPNOTSUPP if the
// filesystem has no direct I/O, EACCES if the creator of the file may not open it again, ENOENT
// without /proc, and EMFILE. It also fails if /proc leads to another file. A failed Open closes no
// descriptor of that file: that would end the process's fcntl(2) locks of the file.
func Open(fd int) (*Direct, error) {
	d, err := Adopt(fd)
	if err != nil {
		return nil, err
	}
	if d.Fd, err = reopen(fd, kept, unix.O_DIRECT); err != nil {
		return nil, err
	}
	return d, nil
}

// Adopt makes a Direct of fd, a direct descriptor. It fails, and leaves fd alone, if the kernel
// does not report the rules of direct I/O on fd.
func Adopt(fd int) (*Direct, error) {
	limits, err := limitsOf(fd)
	if err != nil {
		return nil, err
	}
	return &Direct{Fd: fd, Limits: limits}, nil
}

// OpenBuffered opens the file of fd, a direct descriptor, once more without O_DIRECT.
func OpenBuffered(fd int) (int, error) { return reopen(fd, kept|unix.O_APPEND, 0) }

// CopyOffset sets the file offset of descriptor to to that of descriptor from.
func CopyOffset(to, from int) error {
	off, err := unix.Seek(from, 0, unix.SEEK_CUR)
	if err == nil {
		_, err = unix.Seek(to, off, unix.SEEK_SET)
	}
	return err
}

// Errors of a second descriptor that reopen does not trust.
var (
	errNotProcfs   = errors.New("/proc is not a procfs")
	errAnotherFile = errors.New("/proc leads to another file")
)

// reopen opens the file of fd once more, with add and those flags of fd that are in keep.
//
// reopen does not trust /proc: the program may run in a directory tree that another user made
// (chroot(2)). So the directory must be of a procfs, and the file must be that of fd, before it is
// opened and after. Opening a FIFO may block, and opening a device may do anything.
//
// A thread may have a descriptor table of its own (CLONE_FILES, unshare(2)), hence thread-self.
func reopen(fd, keep, add int) (int, error) {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		return -1, err
	}
	if flags&unix.O_PATH != 0 {
		return -1, unix.EBADF // as any read or write of fd; a second descriptor would be readable
	}
	dir, err := open(unix.AT_FDCWD, "/proc/thread-self/fd", unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return -1, err
	}
	defer unix.Close(dir)
	var fs unix.Statfs_t
	if err := ignoringEINTR(func() error { return unix.Fstatfs(dir, &fs) }); err != nil {
		return -1, err
	}
	if fs.Type != unix.PROC_SUPER_MAGIC {
		return -1, errNotProcfs
	}
	name := strconv.Itoa(fd)
	err = sameFile(fd, func(st *unix.Stat_t) error { return unix.Fstatat(dir, name, st, 0) })
	if err != nil {
		return -1, err
	}
	again, err := open(dir, name, flags&keep|add)
	if err != nil {
		return -1, err
	}
	if err := sameFile(fd, func(st *unix.Stat_t) error { return fstat(again, st) }); err != nil {
		unix.Close(again)
		return -1, err
	}
	return again, nil
}

// open opens an existing file with O_CLOEXEC, openat(2).
func open(dir int, name string, flags int) (int, error) {
	return ignoringEINTRIO(func() (int, error) {
		return unix.Openat(dir, name, flags|unix.O_CLOEXEC, 0)
	})
}

// sameFile returns nil if stat returns the file of fd.
func sameFile(fd int, stat func(*unix.Stat_t) error) error {
	var want, st unix.Stat_t
	if err := fstat(fd, &want); err != nil {
		return err
	}
	if err := ignoringEINTR(func() error { return stat(&st) }); err != nil {
		return err
	}
	if st.Dev != want.Dev || st.Ino != want.Ino || st.Rdev != want.Rdev ||
		(st.Mode^want.Mode)&unix.S_IFMT != 0 {
		return errAnotherFile
	}
	return nil
}

// Close closes the descriptor. No call may be using it.
func (d *Direct) Close() error { return unix.Close(d.Fd) }

// Size returns the size in bytes of a regular file, and an error for a block device.
func (d *Direct) Size() (int64, error) {
	var st unix.Stat_t
	err := fstat(d.Fd, &st)
	if err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
		err = unix.ENOTSUP
	}
	return st.Size, err
}

// Tags returns the number of requests that the block device dev takes at once, or 0 if that is
// unknown: for a device that passes its requests on (device mapper), and for the numbers that btrfs
// and overlayfs make up. A partition has the tags of its disk.
func Tags(dev uint64) int {
	dir := fmt.Sprintf("/sys/dev/block/%d:%d", unix.Major(dev), unix.Minor(dev))
	if _, err := os.Stat(dir + "/partition"); err == nil {
		dir += "/.."
	}
	queues, _ := os.ReadDir(dir + "/mq")               // hardware queues
	text, _ := os.ReadFile(dir + "/queue/nr_requests") // for each hardware queue
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || n < 0 || n > maxTags {
		return 0
	}
	return min(n*len(queues), maxTags)
}

// maxTags is more than a Config admits into the kernel at once.
const maxTags = 1 << 20

// Pread calls pread(2).
func Pread(fd int, p []byte, off int64) (int, error) {
	return ignoringEINTRIO(func() (int, error) { return unix.Pread(fd, p, off) })
}

// Preadv calls preadv(2), with at most 1024 buffers.
func Preadv(fd int, bufs [][]byte, off int64) (int, error) {
	return ignoringEINTRIO(func() (int, error) { return unix.Preadv(fd, bufs, off) })
}

// Pwrite calls pwrite(2).
func Pwrite(fd int, p []byte, off int64) (int, error) {
	return ignoringEINTRIO(func() (int, error) { return unix.Pwrite(fd, p, off) })
}

// Pwritev calls pwritev(2), with at most 1024 buffers.
func Pwritev(fd int, bufs [][]byte, off int64) (int, error) {
	return ignoringEINTRIO(func() (int, error) { return unix.Pwritev(fd, bufs, off) })
}

// PreadCached calls preadv2(2) with RWF_NOWAIT (Linux 4.14) on a buffered descriptor of the
// filesystem dev. It returns the number of leading bytes of bufs that are in the page cache. It
// returns 0 for any error: a direct read meets all but EAGAIN, too. Overlayfs refuses the flag.
func PreadCached(fd int, dev uint64, bufs [][]byte, off int64) int {
	n, _ := nowait.transfer(dev, off, func() (int, error) {
		return unix.Preadv2(fd, bufs, off, unix.RWF_NOWAIT)
	})
	return n
}

// PwriteUncached calls pwritev2(2) with RWF_DONTCACHE (Linux 6.14) on a file of the filesystem dev.
// The kernel writes the pages to the disk at once and then drops them from the cache. It returns
// EOPNOTSUPP if the filesystem does not know the flag.
func PwriteUncached(fd int, dev uint64, bufs [][]byte, off int64) (int, error) {
	n, err := dontcache.transfer(dev, off, func() (int, error) {
		return unix.Pwritev2(fd, bufs, off, unix.RWF_DONTCACHE)
	})
	if err == unix.EINVAL {
		err = unix.EOPNOTSUPP // a bad offset, perhaps; the caller's pwrite will return that
	}
	return n, err
}

// A flag is an RWF_ flag that not every filesystem knows.
type flag struct {
	refused sync.Map // device numbers of the filesystems that refused it
}

var nowait, dontcache flag

// transfer makes a call with the flag. Once a filesystem has refused that, it returns EOPNOTSUPP
// without a system call.
func (f *flag) transfer(dev uint64, off int64, call func() (int, error)) (int, error) {
	if _, refused := f.refused.Load(dev); refused || off < 0 {
		return 0, unix.EOPNOTSUPP // preadv2(2) takes -1 for the file's own offset
	}
	n, err := ignoringEINTRIO(call)
	if err == unix.EOPNOTSUPP || err == unix.ENOSYS {
		f.refused.Store(dev, struct{}{})
		err = unix.EOPNOTSUPP
	}
	return n, err
}

// Fdatasync calls fdatasync(2).
func Fdatasync(fd int) error {
	return ignoringEINTR(func() error { return unix.Fdatasync(fd) })
}

// Allocate calls fallocate(2): it reserves n bytes at off and extends the file to their end.
func Allocate(fd int, off, n int64) error {
	return ignoringEINTR(func() error { return unix.Fallocate(fd, 0, off, n) })
}

// PunchHole calls fallocate(2) with FALLOC_FL_PUNCH_HOLE (Linux 2.6.38): it frees the space of n
// bytes at off, which read as zeros.
func PunchHole(fd int, off, n int64) error {
	return ignoringEINTR(func() error {
		return unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
	})
}

// limitsOf asks the kernel for the rules of direct I/O on the file of fd. A trial would not tell: a
// misaligned read of a hole succeeds.
func limitsOf(fd int) (Limits, error) {
	const want = unix.STATX_DIOALIGN | unix.STATX_DIO_READ_ALIGN | unix.STATX_BASIC_STATS
	var st unix.Statx_t
	err := ignoringEINTR(func() error { return unix.Statx(fd, "", unix.AT_EMPTY_PATH, want, &st) })
	if err != nil {
		return Limits{}, err
	}
	var fs unix.Statfs_t
	if err := ignoringEINTR(func() error { return unix.Fstatfs(fd, &fs) }); err != nil {
		return Limits{}, err
	}
	var l Limits
	switch {
	case st.Mask&unix.STATX_DIOALIGN != 0: // Linux 6.1
		unit := int(st.Dio_offset_align)
		l = Limits{Mem: int(st.Dio_mem_align), Read: unit, Write: unit, Writes: true}
		if st.Mask&unix.STATX_DIO_READ_ALIGN != 0 && st.Dio_read_offset_align != 0 { // Linux 6.14
			l.Read = int(st.Dio_read_offset_align)
		}
	case uint32(fs.Type) == unix.BTRFS_SUPER_MAGIC: // Type is an int32 on 32-bit systems
		l = Limits{Mem: 4096, Read: 4096, Write: 4096, Writes: noCopyOnWrite(fd), Resident: true}
	default:
		return Limits{}, unix.EOPNOTSUPP
	}
	l.Write = max(l.Write, 4096, os.Getpagesize())
	if st.Blksize <= 64<<10 {
		l.Write = max(l.Write, int(st.Blksize))
	}
	l.Fixed = st.Mode&unix.S_IFMT == unix.S_IFBLK
	return l, l.check()
}

// check refuses rules that the library does not support. No direct I/O at all is an alignment of 0.
func (l Limits) check() error {
	bad := func(a int) bool { return a <= 0 || a&(a-1) != 0 }
	const maxMem = 4096 // the largest alignment that the library gives a buffer
	if bad(l.Mem) || bad(l.Read) || bad(l.Write) || l.Mem > maxMem || l.Read > 64<<10 {
		return unix.EOPNOTSUPP
	}
	return nil
}

// noCopyOnWrite reports whether a file of btrfs is exempt from checksums, chattr(1) +C. Only then
// its direct writes bypass the page cache. The flag can change only while a file is empty.
func noCopyOnWrite(fd int) bool {
	const noCow = 0x00800000 // FS_NOCOW_FL, linux/fs.h
	flags, err := unix.IoctlGetUint32(fd, unix.FS_IOC_GETFLAGS)
	return err == nil && flags&noCow != 0
}

// ignoringEINTR mirrors os.ignoringEINTR. Signal handlers are installed with SA_RESTART, but
// not every system call and not every handler honours it (golang/go#38033).
func ignoringEINTR(fn func() error) error {
	for {
		if err := fn(); err != unix.EINTR {
			return err
		}
	}
}

// ignoringEINTRIO is ignoringEINTR for calls that return a number, as in package poll.
func ignoringEINTRIO(fn func() (int, error)) (int, error) {
	for {
		n, err := fn()
		if err != unix.EINTR {
			return max(n, 0), err
		}
	}
}
