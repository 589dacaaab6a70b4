// Package aio is os.File with asynchronous direct I/O.
//
// An [*File] has every method of [*os.File], with the same results, the same errors
// and the same file afterwards. Most programs swap the type and nothing else;
// docs/guarantees.md of the repository lists what does not hold yet. Opened
// with [O_DIRECT] it does its ReadAt, WriteAt and Sync by Linux kernel AIO
// (io_submit(2)): the goroutine waits on a channel, not a thread in the kernel, and
// alignment is the library's business. (The first few in flight, about as many as there are
// processors, are plain system calls, which take less time; see [Config].) Opened without, it uses the page cache as
// os.File does, with a bound on the threads that wait there.
//
//	f, err := aio.OpenFile("data", os.O_RDWR|aio.O_DIRECT, 0)
//	...
//	n, err := f.ReadAt(p, off) // from any number of goroutines; p and off need not be aligned
//
// Direct I/O does not fill or use the page cache. It is for programs that keep a cache of
// their own, or read more than memory holds; what fits in memory and is read again and
// again should be opened without O_DIRECT.
//
// Where there is no kernel AIO (another system, a seccomp filter,
// /proc/sys/fs/aio-max-nr used up) or no direct I/O (some filesystems), the same calls
// run as plain system calls; that is never an error. [File.Direct] tells, and [ReadStats] why.
//
// # Concurrency
//
// All methods may be called concurrently. Concurrent writes to disjoint bytes never lose
// one another, whether they come through one File, several, an os.File or another
// process. A write that overlaps another has the result that os.File would give.
//
// # Buffers
//
// A buffer belongs to the call it is passed to until that returns, as in package os.
// The kernel may write to the buffer of a ReadAt at any time before that, also past the
// bytes that it reports in the end.
//
// A call whose context has ended has given its buffer back, see [File.ReadAtContext]; an [Op] has
// its buffer until it is done.
//
// # POSIX AIO
//
//	aio_read(3)     [File.StartReadAt]
//	aio_write(3)    [File.StartWriteAt]
//	aio_fsync(3)    [File.StartSync]
//	aio_suspend(3)  [Op.Done] in a select, [Op.Wait]
//	aio_error(3)    [Op.Err]
//	aio_return(3)   [Op.Wait]
//	aio_cancel(3)   not to be had: see [File.ReadAtContext] for what comes nearest
//
// Nothing has to be polled, nothing is limited to a process, and there are no signals.
//
// # Deadlocks
//
// At most [Config].Depth requests and [Config].Threads plain system calls of the process
// are under way at a time; others wait their turn. A program that serves a FUSE
// filesystem from the very process that reads it through aio must leave room for its own
// backing files: use os.File for them.
package aio

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/go-aio/aio/internal/dio"
	"github.com/go-aio/aio/internal/inode"
)

// O_DIRECT in the flags of [OpenFile] asks for direct, asynchronous I/O. It is
// syscall.O_DIRECT on Linux and 0, no flag, on other systems.
const O_DIRECT = dio.O_DIRECT

// A File is an open file. Its zero value and a nil *File answer os.ErrInvalid.
//
// All methods may be called concurrently.
type File struct {
	// plain is opened exactly as os would, but for O_DIRECT. It is a field, not
	// embedded: the methods of an embedded one would panic on a nil *File.
	plain *os.File
	conn  syscall.RawConn // of plain

	// h is nil if the file is not a regular file or block device: then every method
	// is that of plain.
	h *handle

	appends bool // opened with O_APPEND

	// cursor makes a stream call of a direct file, which moves the offset of plain
	// before and after, one step to the others; the kernel's f_pos_lock does that for
	// os.File.
	cursor sync.Mutex
}

// Open opens the named file for reading, as os.Open does.
func Open(name string) (*File, error) { return OpenFile(name, os.O_RDONLY, 0) }

// Create creates or truncates the named file and opens it for reading and writing, as
// os.Create does.
func Create(name string) (*File, error) {
	return OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o666)
}

// OpenFile opens the named file as os.OpenFile does, with the same flags and errors.
// With [O_DIRECT] in flag the File is direct if the filesystem can; that it cannot is
// not an error, see [File.Direct].
func OpenFile(name string, flag int, perm fs.FileMode) (*File, error) {
	plain, err := os.OpenFile(name, flag&^O_DIRECT, perm)
	if err != nil {
		return nil, err
	}
	f := newFile(plain, flag&O_DIRECT != 0)
	f.appends = flag&os.O_APPEND != 0
	return f, nil
}

// OpenInRoot opens name in the directory dir for reading, as os.OpenInRoot does.
func OpenInRoot(dir, name string) (*File, error) { return wrapped(os.OpenInRoot(dir, name)) }

// CreateTemp creates a new temporary file in the directory dir, as os.CreateTemp does.
func CreateTemp(dir, pattern string) (*File, error) { return wrapped(os.CreateTemp(dir, pattern)) }

func wrapped(plain *os.File, err error) (*File, error) {
	if err != nil {
		return nil, err
	}
	return newFile(plain, false), nil
}

// NewFile returns a File on the descriptor fd, which it takes over, or nil if fd is not
// valid, as os.NewFile does. If fd was opened with O_DIRECT the File is direct; then it
// has a second descriptor of its own, which [File.Fd] returns, and a file offset of its
// own, which starts where that of fd is.
func NewFile(fd uintptr, name string) *File {
	flags := dio.Flags(int(fd))
	var f *File
	if flags&O_DIRECT != 0 {
		f = adopt(int(fd), name)
	}
	if f == nil {
		plain := os.NewFile(fd, name)
		if plain == nil {
			return nil
		}
		f = newFile(plain, false)
	}
	f.appends = flags&os.O_APPEND != 0
	return f
}

// adopt makes a direct descriptor the twin of a new plain one, or returns nil.
func adopt(fd int, name string) *File {
	twin, err := dio.Adopt(fd)
	if err != nil {
		return nil
	}
	again, err := dio.OpenPlain(fd)
	if err != nil {
		return nil
	}
	f := newFile(os.NewFile(uintptr(again), name), false)
	if f.h == nil || dio.CopyOffset(again, fd) != nil {
		f.Close()
		return nil
	}
	f.h.attach(twin)
	return f
}

// newFile makes the File of plain, with a twin if direct.
func newFile(plain *os.File, direct bool) *File {
	f := &File{plain: plain}
	var err error
	if f.conn, err = plain.SyscallConn(); err != nil {
		return f
	}
	// Control, because Fd would make a pipe blocking.
	f.conn.Control(func(fd uintptr) { f.h = newHandle(int(fd), plain, direct) })
	if f.h != nil {
		// For a File that is dropped without Close. A request in flight has a reference
		// to the handle too, so its descriptor outlives the File.
		runtime.AddCleanup(f, (*handle).close, f.h)
	}
	return f
}

func newHandle(fd int, plain *os.File, direct bool) *handle {
	info, err := dio.Stat(fd)
	if errors.Is(err, errors.ErrUnsupported) {
		// No direct I/O on this system, but a bound on threads.
		if fi, err := plain.Stat(); err == nil && fi.Mode().IsRegular() {
			return &handle{left: new(inode.Leftovers)}
		}
		return nil
	}
	if err != nil || info.Kind == dio.Other {
		return nil
	}
	h := &handle{
		dev:   info.Dev,
		inode: inode.Open(inode.Key{Dev: info.Dev, Ino: info.Ino, Block: info.Kind == dio.Block}),
	}
	h.left = &h.inode.Leftovers
	if !direct {
		return h
	}
	if twin, err := dio.Open(fd); err == nil {
		h.attach(twin)
	}
	return h
}

// A handle is what a File on a regular file or block device has beside its os.File. It
// counts the calls that use it, so that the twin's descriptor is closed, and its number
// may be used again, only after the last of them.
type handle struct {
	dev    uint64
	inode  *inode.Inode // nil on systems without direct I/O
	left   *inode.Leftovers
	twin   *dio.Twin // nil in a plain File
	device *device   // of the twin

	// seen is a size that the file had, in bytes. It is a hint, see keepsSize; it may be
	// out of date either way.
	seen atomic.Int64

	// leftSyncs are the Syncs that nobody waits for any more, and syncErr is the error of one,
	// until another returns it. The others wait for them, because the kernel tells only one of
	// two that fsync(2) at the same time.
	leftSyncs inode.Leftovers
	syncErr   atomic.Pointer[error]

	// state is twice the number of calls, plus 1 once the File is closed.
	state atomic.Int64
}

// attach makes h direct. It comes before the first use.
func (h *handle) attach(t *dio.Twin) {
	h.twin, h.device = t, deviceOf(h.dev)
	h.inode.AddDirect()
}

// takeSyncErr returns the error of a Sync that nobody waited for, once.
func (h *handle) takeSyncErr() error {
	if h.syncErr.Load() == nil { // as nearly always, and nobody writes to that
		return nil
	}
	if err := h.syncErr.Swap(nil); err != nil {
		return *err
	}
	return nil
}

// acquire counts a call. It returns false once the File is closed; then the methods of
// plain answer, as those of a closed os.File.
func (h *handle) acquire() bool {
	for {
		s := h.state.Load()
		if s&1 != 0 {
			return false
		}
		if h.state.CompareAndSwap(s, s+2) {
			return true
		}
	}
}

// acquireWrite is acquire for a call that writes to bytes [lo, hi). It waits for writes there
// that were given up.
func (h *handle) acquireWrite(lo, hi int64) bool {
	if !h.acquire() {
		return false
	}
	h.left.Wait(lo, hi)
	return true
}

// release ends a call that acquire counted.
func (h *handle) release() {
	if h.state.Add(-2) == 1 {
		h.finish()
	}
}

// close lets no call begin. It may be called again.
func (h *handle) close() {
	if old := h.state.Or(1); old == 0 {
		h.finish()
	}
}

// finish runs once, when the File is closed and no call uses h.
func (h *handle) finish() {
	if h.twin != nil {
		h.twin.Close()
		h.inode.RemoveDirect()
	}
	if h.inode != nil {
		h.inode.Close()
	}
}

// Direct reports whether f has a direct descriptor, so that ReadAt and WriteAt may go
// past the page cache. It is false if f was opened without [O_DIRECT], if its filesystem
// has no direct I/O, or if the kernel does not tell its alignment (before Linux 6.1).
func (f *File) Direct() bool { return f != nil && f.h != nil && f.h.twin != nil }

// Config is what [Configure] sets. A field of 0 stands for its default.
type Config struct {
	// Depth is the largest number of requests in the kernel at a time, 1 to 65536
	// events; 1024 by default. It counts against /proc/sys/fs/aio-max-nr, a limit of
	// the whole host.
	Depth int
	// Threads is the largest number of plain system calls under way at a time, each of
	// which may hold a thread, 1 to 10000; 256 by default.
	Threads int
	// Synchronous is the number of direct requests in flight up to which the next one is
	// made as a plain system call, by the thread of its caller; 1 to 10000, or negative for
	// none. By default it is GOMAXPROCS for reads and twice that for writes and syncs, and
	// no more than 8: with so few, that takes less time than kernel AIO.
	Synchronous int
}

// Largest values of a Config.
const (
	maxDepth   = 65536 // the default of /proc/sys/fs/aio-max-nr
	maxThreads = 10000 // runtime/debug.SetMaxThreads' default
)

// Configure sets limits of the process. It must be called before the first read, write or
// sync of any File, at most once; later it returns an error and changes nothing, as it
// does for values out of range.
func Configure(c Config) error {
	if c.Depth < 0 || c.Depth > maxDepth {
		return fmt.Errorf("aio: Config.Depth is %d; it must be from 1 to %d, or 0", c.Depth, maxDepth)
	}
	if c.Threads < 0 || c.Threads > maxThreads {
		return fmt.Errorf("aio: Config.Threads is %d; it must be from 1 to %d, or 0", c.Threads, maxThreads)
	}
	if c.Synchronous > maxThreads {
		return fmt.Errorf("aio: Config.Synchronous is %d; it must be at most %d", c.Synchronous, maxThreads)
	}
	return configure(c)
}

// os returns the os.File whose method is to answer; nil, which answers os.ErrInvalid,
// for a nil File.
func (f *File) os() *os.File {
	if f == nil {
		return nil
	}
	return f.plain
}

// wrapErr makes the error of a transfer what os.File makes it. It is the only place
// that does; errors that come from plain are made already.
func (f *File) wrapErr(op string, err error) error {
	return &fs.PathError{Op: op, Path: f.plain.Name(), Err: err}
}

// Close closes the File, as os.File's Close does. Calls in flight finish; later ones
// return fs.ErrClosed, as does a second Close. The descriptors are closed when the last
// call on them has returned.
func (f *File) Close() error {
	err := f.os().Close()
	if f != nil && f.h != nil {
		f.h.close()
	}
	return err
}

// Name returns the name of the file as it was passed to Open. It may be called after
// Close. Like os.File's it panics on a nil File.
func (f *File) Name() string { return f.os().Name() }

// Fd returns the descriptor, as os.File's Fd does. Of a direct File it is the one
// without O_DIRECT.
func (f *File) Fd() uintptr { return f.os().Fd() }

// SyscallConn returns a raw connection to the descriptor that Fd returns.
func (f *File) SyscallConn() (syscall.RawConn, error) { return f.os().SyscallConn() }

// Stat returns the FileInfo of the file. Its size is exact at every instant.
func (f *File) Stat() (fs.FileInfo, error) { return f.os().Stat() }

// Chdir changes the current working directory to the file, which must be a directory.
func (f *File) Chdir() error { return f.os().Chdir() }

// Chmod changes the mode of the file.
func (f *File) Chmod(mode fs.FileMode) error { return f.os().Chmod(mode) }

// Chown changes the numeric uid and gid of the file.
func (f *File) Chown(uid, gid int) error { return f.os().Chown(uid, gid) }

// ReadDir reads the contents of the directory, as os.File's ReadDir does.
func (f *File) ReadDir(n int) ([]fs.DirEntry, error) { return f.os().ReadDir(n) }

// Readdir reads the contents of the directory, as os.File's Readdir does.
func (f *File) Readdir(n int) ([]fs.FileInfo, error) { return f.os().Readdir(n) }

// Readdirnames reads the names in the directory, as os.File's Readdirnames does.
func (f *File) Readdirnames(n int) ([]string, error) { return f.os().Readdirnames(n) }

// SetDeadline sets the deadlines of Read and Write, for files that have them; regular
// files do not (os.ErrNoDeadline).
func (f *File) SetDeadline(t time.Time) error { return f.os().SetDeadline(t) }

// SetReadDeadline sets the deadline of Read.
func (f *File) SetReadDeadline(t time.Time) error { return f.os().SetReadDeadline(t) }

// SetWriteDeadline sets the deadline of Write.
func (f *File) SetWriteDeadline(t time.Time) error { return f.os().SetWriteDeadline(t) }

// Seek sets the offset of the next Read or Write, as os.File's Seek does.
func (f *File) Seek(offset int64, whence int) (int64, error) {
	if f.Direct() {
		f.cursor.Lock()
		defer f.cursor.Unlock()
	}
	return f.os().Seek(offset, whence)
}
