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

// O_DIRECT is open(2)'s.
const O_DIRECT = syscall.O_DIRECT

// Stat returns what fstat(2) says of fd.
func Stat(fd int) (Info, error) {
	var st unix.Stat_t
	if err := ignoringEINTR(func() error { return unix.Fstat(fd, &st) }); err != nil {
		return Info{}, err
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return Info{Kind: Regular, Dev: uint64(st.Dev), Ino: st.Ino}, nil //nolint:unconvert // uint32 on 32-bit MIPS
	case unix.S_IFBLK:
		return Info{Kind: Block, Dev: uint64(st.Rdev)}, nil //nolint:unconvert // uint32 on 32-bit MIPS
	}
	return Info{Kind: Other}, nil
}

// Flags returns the flags that fd was opened with, of F_GETFL, or 0.
func Flags(fd int) int {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		return 0
	}
	return flags
}

// kept are the flags of a descriptor that its reopening must have too. O_APPEND is
// not among them: a direct write at a size that is not aligned is refused.
const kept = unix.O_ACCMODE | unix.O_SYNC | unix.O_DSYNC | unix.O_NOATIME

// Open opens the direct twin of fd. It fails where there is none to be had: EINVAL
// and EOPNOTSUPP where the filesystem has no direct I/O, EACCES for a file that its
// creator may not open again, ENOENT without /proc, EMFILE, and where /proc leads to
// another file. A failure closes no
// descriptor: that would end the process's fcntl(2) locks of the file.
func Open(fd int) (*Twin, error) {
	limits, err := limitsOf(fd)
	if err != nil {
		return nil, err
	}
	twin, err := reopen(fd, kept, unix.O_DIRECT)
	if err != nil {
		return nil, err
	}
	return &Twin{Fd: twin, Limits: limits}, nil
}

// Adopt makes fd, a direct descriptor, a twin. It fails, and leaves fd alone, where the
// kernel does not tell the rules of direct I/O on it.
func Adopt(fd int) (*Twin, error) {
	limits, err := limitsOf(fd)
	if err != nil {
		return nil, err
	}
	return &Twin{Fd: fd, Limits: limits}, nil
}

// OpenPlain opens fd, a direct descriptor, once more without O_DIRECT.
func OpenPlain(fd int) (int, error) { return reopen(fd, kept|unix.O_APPEND, 0) }

// CopyOffset sets the file offset of to to that of from.
func CopyOffset(to, from int) error {
	off, err := unix.Seek(from, 0, unix.SEEK_CUR)
	if err == nil {
		_, err = unix.Seek(to, off, unix.SEEK_SET)
	}
	return err
}

// Errors of a second descriptor that cannot be trusted.
var (
	errNotProcfs   = errors.New("/proc is not a procfs")
	errAnotherFile = errors.New("/proc leads to another file")
)

// reopen opens the file of fd once more, with the flags of fd that are in keep, and add.
//
// The way to it is proc_pid_fd(5), and is not taken on trust: the program may run in a directory
// tree of other people's making (chroot(2)), whose /proc leads anywhere. So the directory must be
// of a procfs, and the file that of fd. That is seen before it is opened, since to open a FIFO
// may block and to open a device may do anything, and again after that. thread-self, because a
// thread may have a descriptor table of its own (CLONE_FILES, unshare(2)).
func reopen(fd, keep, add int) (int, error) {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		return -1, err
	}
	if flags&unix.O_PATH != 0 {
		return -1, unix.EBADF // as any read or write of it; opened again, it would be readable
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
	if err := sameFile(fd, func(st *unix.Stat_t) error { return unix.Fstatat(dir, name, st, 0) }); err != nil {
		return -1, err
	}
	again, err := open(dir, name, flags&keep|add)
	if err != nil {
		return -1, err
	}
	if err := sameFile(fd, func(st *unix.Stat_t) error { return unix.Fstat(again, st) }); err != nil {
		unix.Close(again)
		return -1, err
	}
	return again, nil
}

// open is openat(2) of what exists, with O_CLOEXEC.
func open(dir int, name string, flags int) (fd int, err error) {
	err = ignoringEINTR(func() (err error) {
		fd, err = unix.Openat(dir, name, flags|unix.O_CLOEXEC, 0)
		return err
	})
	return fd, err
}

// sameFile returns nil if stat tells of the file of fd.
func sameFile(fd int, stat func(*unix.Stat_t) error) error {
	var want, st unix.Stat_t
	if err := ignoringEINTR(func() error { return unix.Fstat(fd, &want) }); err != nil {
		return err
	}
	if err := ignoringEINTR(func() error { return stat(&st) }); err != nil {
		return err
	}
	if st.Dev != want.Dev || st.Ino != want.Ino || st.Rdev != want.Rdev || (st.Mode^want.Mode)&unix.S_IFMT != 0 {
		return errAnotherFile
	}
	return nil
}

// Close closes the descriptor. It must not be in use.
func (t *Twin) Close() error { return unix.Close(t.Fd) }

// Size returns the size in bytes of a regular file, and an error for a block device.
func (t *Twin) Size() (int64, error) {
	var st unix.Stat_t
	for {
		err := unix.Fstat(t.Fd, &st)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return 0, err
		case st.Mode&unix.S_IFMT != unix.S_IFREG:
			return 0, unix.ENOTSUP
		default:
			return st.Size, nil
		}
	}
}

// Tags returns the number of requests that the block device dev takes at a time, or 0 where that
// is not known: there is no such device (btrfs and overlayfs have numbers of their own), or
// it passes what it gets on to others (device mapper). A partition's are those of its disk.
func Tags(dev uint64) int {
	dir := fmt.Sprintf("/sys/dev/block/%d:%d", unix.Major(dev), unix.Minor(dev))
	if _, err := os.Stat(dir + "/partition"); err == nil {
		dir += "/.."
	}
	queues, err := os.ReadDir(dir + "/mq") // of the hardware; a file or folder for each
	if err != nil {
		return 0
	}
	text, err := os.ReadFile(dir + "/queue/nr_requests") // for each of these
	if err != nil {
		return 0
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || n < 0 || n > maxTags {
		return 0
	}
	return min(n*len(queues), maxTags)
}

// maxTags is more than a Config lets into the kernel at a time.
const maxTags = 1 << 20

// Pread is pread(2).
func Pread(fd int, p []byte, off int64) (int, error) {
	for {
		n, err := unix.Pread(fd, p, off)
		if err != unix.EINTR {
			return max(n, 0), err
		}
	}
}

// Preadv is preadv(2), of at most 1024 buffers.
func Preadv(fd int, bufs [][]byte, off int64) (int, error) {
	for {
		n, err := unix.Preadv(fd, bufs, off)
		if err != unix.EINTR {
			return max(n, 0), err
		}
	}
}

// waits remembers the filesystems, by device number, that refused RWF_NOWAIT.
var waits sync.Map

// PreadCached is preadv2(2) with RWF_NOWAIT (Linux 4.14) on a descriptor without O_DIRECT: it
// returns how much of the beginning of bufs is in the page cache. That is 0 where the filesystem
// does not know the flag, as overlayfs, from the second time on without a system call. dev is
// the file's device number.
func PreadCached(fd int, dev uint64, bufs [][]byte, off int64) int {
	if _, refused := waits.Load(dev); refused || off < 0 {
		return 0 // to preadv2(2) an offset of -1 is the file's own
	}
	n, err := unix.Preadv2(fd, bufs, off, unix.RWF_NOWAIT)
	if err == unix.EOPNOTSUPP || err == unix.ENOSYS {
		waits.Store(dev, struct{}{})
	}
	if err != nil {
		return 0 // EAGAIN: not there; what else there is, a direct read meets too
	}
	return n
}

// Pwrite is pwrite(2).
func Pwrite(fd int, p []byte, off int64) (int, error) {
	for {
		n, err := unix.Pwrite(fd, p, off)
		if err != unix.EINTR {
			return max(n, 0), err
		}
	}
}

// Pwritev is pwritev(2), of at most 1024 buffers.
func Pwritev(fd int, bufs [][]byte, off int64) (int, error) {
	for {
		n, err := unix.Pwritev(fd, bufs, off)
		if err != unix.EINTR {
			return max(n, 0), err
		}
	}
}

// keepsCache remembers the filesystems, by device number, that refused RWF_DONTCACHE.
var keepsCache sync.Map

// PwriteUncached is pwritev2(2) with RWF_DONTCACHE (Linux 6.14): the pages go to the
// disk at once and leave the cache after that. dev is the file's device number. Where
// the filesystem does not know the flag the error is EOPNOTSUPP, from the second time
// on without a system call.
func PwriteUncached(fd int, dev uint64, bufs [][]byte, off int64) (int, error) {
	if _, refused := keepsCache.Load(dev); refused || off < 0 {
		return 0, unix.EOPNOTSUPP // to pwritev2(2) an offset of -1 is the file's own
	}
	for {
		n, err := unix.Pwritev2(fd, bufs, off, unix.RWF_DONTCACHE)
		switch err {
		case unix.EINTR:
		case unix.EOPNOTSUPP, unix.ENOSYS, unix.EINVAL:
			// EINVAL is also for a bad offset; a plain pwrite will tell.
			if err != unix.EINVAL {
				keepsCache.Store(dev, struct{}{})
			}
			return 0, unix.EOPNOTSUPP
		default:
			return max(n, 0), err
		}
	}
}

// Fdatasync is fdatasync(2).
func Fdatasync(fd int) error {
	return ignoringEINTR(func() error { return unix.Fdatasync(fd) })
}

// Allocate is fallocate(2) with no flags, which reserves space for n bytes at off and extends
// the file to their end.
func Allocate(fd int, off, n int64) error {
	return ignoringEINTR(func() error { return unix.Fallocate(fd, 0, off, n) })
}

// PunchHole is fallocate(2) with FALLOC_FL_PUNCH_HOLE (Linux 2.6.38), which gives back the
// space of n bytes at off and leaves zeros there.
func PunchHole(fd int, off, n int64) error {
	return ignoringEINTR(func() error {
		return unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
	})
}

// limitsOf asks the kernel for the rules of direct I/O on the file of fd.
// They are never found by trial: a misaligned read of a hole succeeds.
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
		if st.Dio_mem_align == 0 || st.Dio_offset_align == 0 {
			return Limits{}, unix.EOPNOTSUPP
		}
		l = Limits{Mem: int(st.Dio_mem_align), Read: int(st.Dio_offset_align), Writes: true}
		l.Write = l.Read
		if st.Mask&unix.STATX_DIO_READ_ALIGN != 0 && st.Dio_read_offset_align != 0 { // Linux 6.14
			l.Read = int(st.Dio_read_offset_align)
		}
	case uint32(fs.Type) == unix.BTRFS_SUPER_MAGIC: // on 32-bit systems Type is an int32, and the number is not
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

// maxAlign bounds the alignments that we can give a buffer.
const maxAlign = 4096

// check refuses rules that the rest of the library is not made for.
func (l Limits) check() error {
	for _, a := range []int{l.Mem, l.Read, l.Write} {
		if a <= 0 || a&(a-1) != 0 {
			return unix.EOPNOTSUPP
		}
	}
	if l.Mem > maxAlign || l.Read > 64<<10 {
		return unix.EOPNOTSUPP
	}
	return nil
}

// noCopyOnWrite reports whether a file of btrfs is exempt from checksums, chattr(1) +C;
// only then are its direct writes direct. The flag changes only while a file is empty.
func noCopyOnWrite(fd int) bool {
	const noCow = 0x00800000 // FS_NOCOW_FL, linux/fs.h
	flags, err := unix.IoctlGetUint32(fd, unix.FS_IOC_GETFLAGS)
	return err == nil && flags&noCow != 0
}

// ignoringEINTR is os.ignoringEINTR: signal handlers are installed with SA_RESTART, but
// not every system call and not every handler honours it (golang/go#38033).
func ignoringEINTR(fn func() error) error {
	for {
		if err := fn(); err != unix.EINTR {
			return err
		}
	}
}
