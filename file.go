// Package aio is os.File with asynchronous direct I/O.
//
// An [*File] has every method of [*os.File], with the same results, the same errors and the same
// file afterwards. Most programs swap the type and nothing else; docs/guarantees.md of the
// repository lists what does not hold yet. Opened with [O_DIRECT] it does its ReadAt, WriteAt and
// Sync by Linux kernel AIO (io_submit(2)): the goroutine waits on a channel, not a thread in the
// kernel. The first few requests in flight on a device, about one per processor, are ordinary
// system calls: at that depth a thread is cheaper; see [Config]. Opened without, the File uses the
// page cache as os.File does, with a bound on the threads that wait there.
//
//	f, err := aio.OpenFile("data", os.O_RDWR|aio.O_DIRECT, 0)
//	...
//	n, err := f.ReadAt(p, off) // from any number of goroutines; p and off need not be aligned
//
// Direct I/O does not fill or use the page cache. It is for programs that keep a cache of their
// own, or read more than memory holds.
//
// Where there is no kernel AIO (another system, a seccomp filter, /proc/sys/fs/aio-max-nr used up)
// or no direct I/O (some filesystems), the same calls run as system calls; that is never an error.
// [File.Direct] tells, and [ReadStats] why.
//
// # Errors
//
// Errors are those of os.File: [io.EOF] as it is, and otherwise an [*fs.PathError] whose Err is
// [fs.ErrClosed] or the kernel's syscall.Errno. The errors of direct I/O alone do not reach the
// caller: what the kernel refuses for its form (EINVAL, EOPNOTSUPP) or for want of space (ENOSPC,
// EDQUOT, EFBIG) goes through the page cache, if nothing of it has been transferred. For a call
// whose context ended see [File.ReadAtContext].
//
// # Concurrency
//
// All methods may be called concurrently. Concurrent writes to disjoint bytes never lose one
// another, whether they come through one File, several, an os.File or another process. A write that
// overlaps another has the result that os.File would give.
//
// A disk that hangs holds up no other: the limits of [Config] are those of one device.
//
// # Buffers
//
// A buffer belongs to the call it is passed to until that returns, as in package os, or to an [Op]
// until that is done. The kernel may write to the buffer of a ReadAt at any time before that, also
// past the bytes that it reports in the end.
//
// # POSIX AIO
//
//	aio_read(3)     [File.StartReadAt]
//	aio_write(3)    [File.StartWriteAt]
//	aio_fsync(3)    [File.StartSync]
//	aio_suspend(3)  [Op.Done] in a select, [Op.Wait]
//	aio_error(3)    [Op.Err]
//	aio_return(3)   [Op.Wait]
//	aio_cancel(3)   not supported; [File.ReadAtContext] is the nearest equivalent
//
// # Deadlocks
//
// At most [Config].Depth requests and [Config].Threads system calls of one device are under way at
// a time; others wait. A program that serves a FUSE filesystem from the very process
// that reads it through aio must leave room for its own backing files: use os.File for them.
package aio

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"syscall"
	"time"

	"github.com/go-aio/aio/internal/fd"
	"github.com/go-aio/aio/internal/sched"
)

// A File is an open file. Its zero value and a nil *File answer os.ErrInvalid.
//
// All methods may be called concurrently.
type File struct {
	// file is opened as os would, but for O_DIRECT. It is not embedded: the methods of an embedded
	// one would panic on a nil *File.
	file    *os.File
	fd      *fd.FD // nil if it is no regular file or block device: every method is that of file
	appends bool   // opened with O_APPEND
}

// Open opens the named file for reading, as os.Open does.
func Open(name string) (*File, error) { return OpenFile(name, os.O_RDONLY, 0) }

// Create creates or truncates the named file and opens it for reading and writing, as os.Create
// does.
func Create(name string) (*File, error) {
	return OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o666)
}

// OpenFile opens the named file as os.OpenFile does, with the same flags and errors. With
// [O_DIRECT] in flag the File is direct if the filesystem can; that it cannot is not an error, see
// [File.Direct].
func OpenFile(name string, flag int, perm fs.FileMode) (*File, error) {
	file, err := os.OpenFile(name, flag&^O_DIRECT, perm)
	if err != nil {
		return nil, err
	}
	return newFile(file, fd.New(file, flag&O_DIRECT != 0), flag), nil
}

// OpenInRoot opens name in the directory dir for reading, as os.OpenInRoot does.
func OpenInRoot(dir, name string) (*File, error) { return opened(os.OpenInRoot(dir, name)) }

// CreateTemp creates a new temporary file in the directory dir, as os.CreateTemp does.
func CreateTemp(dir, pattern string) (*File, error) { return opened(os.CreateTemp(dir, pattern)) }

// FromOS returns a File in place of f, which it takes over: f must not be used or closed any more,
// but by [File.OSFile]. It is for files that another package opens, such as an [os.Root]. With
// direct, or if f itself was opened with O_DIRECT, the File is direct if the filesystem can, as
// with [OpenFile]. A nil f gives [os.ErrInvalid], and a closed one an error that is [fs.ErrClosed].
func FromOS(f *os.File, direct bool) (*File, error) {
	if f == nil {
		return nil, os.ErrInvalid
	}
	d, err := fd.FromOS(f, direct)
	if err != nil {
		return nil, (&File{file: f}).wrapErr("open", err)
	}
	flag := fd.FlagsOf(f)
	if d != nil {
		f = d.OSFile()
	}
	return newFile(f, d, flag), nil
}

func opened(file *os.File, err error) (*File, error) {
	if err != nil {
		return nil, err
	}
	return newFile(file, fd.New(file, false), 0), nil
}

// NewFile returns a File on the descriptor n, which it takes over, or nil if n is not valid, as
// os.NewFile does. If n was opened with O_DIRECT the File is direct; then it has a second
// descriptor of its own, which [File.Fd] returns, and a file offset of its own, which starts where
// that of n is.
func NewFile(n uintptr, name string) *File {
	flag := fd.Flags(n)
	if flag&O_DIRECT != 0 {
		if file, d := fd.Adopt(n, name); d != nil {
			return newFile(file, d, flag)
		}
	}
	file := os.NewFile(n, name)
	if file == nil {
		return nil
	}
	return newFile(file, fd.New(file, false), flag)
}

func newFile(file *os.File, d *fd.FD, flag int) *File {
	f := &File{file: file, fd: d, appends: flag&os.O_APPEND != 0}
	if d != nil {
		// For a File that is dropped without Close. A call in flight has a reference to the FD
		// too, so its descriptors outlive the File.
		runtime.AddCleanup(f, (*fd.FD).Close, d)
	}
	return f
}

// Direct reports whether f has a direct descriptor, so that ReadAt and WriteAt may go past the page
// cache. It is false if f was opened without [O_DIRECT], if its filesystem has no direct I/O, or if
// the kernel does not tell its alignment (before Linux 6.1).
func (f *File) Direct() bool { return f != nil && f.fd != nil && f.fd.Direct() }

// WhyNotDirect returns nil if f is direct, and otherwise the reason: that it was opened without
// [O_DIRECT], that it is neither a regular file nor a block device, or what the kernel answered,
// such as EACCES for a file that may not be opened a second time. It returns [os.ErrInvalid] for a
// nil File.
func (f *File) WhyNotDirect() error {
	d := f.engine()
	switch {
	case f.inner() == nil:
		return os.ErrInvalid
	case d == nil:
		return f.wrapErr("direct", fd.ErrNotFile)
	}
	return f.wrapErr("direct", d.WhyNotDirect())
}

// OSFile returns the os.File inside of f, or nil for a nil File. It is for code that demands one,
// such as an exec.Cmd. It is good until f is closed, and must not be closed itself.
//
// It has the descriptor of [File.Fd], without O_DIRECT, and the same file offset as f. What is read
// and written through it goes through the page cache, without the locks of f: beside direct writes
// of f it is as another process.
func (f *File) OSFile() *os.File { return f.inner() }

// Config has the limits of one device, which is all files with one device number. [Configure] sets
// them. A field of 0 stands for its default.
//
// All devices together have twice Depth and twice Threads. A device has at most half of what the
// others leave. So a device that hangs leaves half to the others.
type Config struct {
	// Depth is the largest number of requests in the kernel at a time, 1 to 65536; 1024 by default.
	// A device also has no more than three quarters of its tags, or 256 if it tells none. Twice
	// Depth counts against /proc/sys/fs/aio-max-nr, a limit of the whole host.
	Depth int
	// Threads is the largest number of system calls under way at a time, each of which may hold a
	// thread, 1 to 10000; 256 by default. The transfers of SyncLimit do not count.
	Threads int
	// SyncLimit bounds the direct requests in flight that are system calls on the thread of their
	// caller: while fewer are in flight, the next is one. It is 1 to 10000, or negative for none.
	// By default it is GOMAXPROCS for reads and twice that for writes and syncs, and no more than
	// 8. A device that answers within 20 microseconds has at least 32, unless SyncLimit is negative.
	SyncLimit int
}

// Largest values of a Config.
const (
	maxDepth   = 65536 // the default of /proc/sys/fs/aio-max-nr
	maxThreads = 10000 // runtime/debug.SetMaxThreads' default
)

// Configure sets limits of the process. It must be called before the first read, write or sync of
// any File, at most once. Later, or for values out of range, it returns an error and changes
// nothing.
func Configure(c Config) error {
	if c.Depth < 0 || c.Depth > maxDepth {
		return fmt.Errorf("aio: Config.Depth is %d; it must be from 1 to %d, or 0", c.Depth, maxDepth)
	}
	if c.Threads < 0 || c.Threads > maxThreads {
		return fmt.Errorf("aio: Config.Threads is %d; it must be from 1 to %d, or 0",
			c.Threads, maxThreads)
	}
	if c.SyncLimit > maxThreads {
		return fmt.Errorf("aio: Config.SyncLimit is %d; it must be at most %d", c.SyncLimit, maxThreads)
	}
	return sched.Configure(sched.Config{Depth: c.Depth, Threads: c.Threads, SyncLimit: c.SyncLimit})
}

// inner returns the os.File of f. For a nil File it is nil, whose methods return os.ErrInvalid.
func (f *File) inner() *os.File {
	if f == nil {
		return nil
	}
	return f.file
}

// engine returns the FD of f, or nil if the methods of the os.File are to answer.
func (f *File) engine() *fd.FD {
	if f == nil {
		return nil
	}
	return f.fd
}

// wrapErr makes a bare error of package fd what os.File makes it. It is the only place that does.
func (f *File) wrapErr(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &fs.PathError{Op: op, Path: f.file.Name(), Err: err}
}

// Close closes the File, as os.File's Close does. Calls in flight finish, and then the descriptors
// are closed; later calls return fs.ErrClosed, as does a second Close.
func (f *File) Close() error {
	err := f.inner().Close()
	if d := f.engine(); d != nil {
		d.Close()
	}
	return err
}

// Name returns the name of the file as it was passed to Open, also after Close. Like os.File's it
// panics on a nil File.
func (f *File) Name() string { return f.inner().Name() }

// Fd returns the descriptor, as os.File's Fd does. Of a direct File it is the one without O_DIRECT.
func (f *File) Fd() uintptr { return f.inner().Fd() }

// SyscallConn returns a raw connection to the descriptor that Fd returns.
func (f *File) SyscallConn() (syscall.RawConn, error) { return f.inner().SyscallConn() }

// Stat returns the FileInfo of the file. Its size is exact at every instant.
func (f *File) Stat() (fs.FileInfo, error) { return f.inner().Stat() }

// Chdir changes the current working directory to the file, which must be a directory.
func (f *File) Chdir() error { return f.inner().Chdir() }

// Chmod changes the mode of the file.
func (f *File) Chmod(mode fs.FileMode) error { return f.inner().Chmod(mode) }

// Chown changes the numeric uid and gid of the file.
func (f *File) Chown(uid, gid int) error { return f.inner().Chown(uid, gid) }

// ReadDir reads the contents of the directory, as os.File's ReadDir does.
func (f *File) ReadDir(n int) ([]fs.DirEntry, error) { return f.inner().ReadDir(n) }

// Readdir reads the contents of the directory, as os.File's Readdir does.
func (f *File) Readdir(n int) ([]fs.FileInfo, error) { return f.inner().Readdir(n) }

// Readdirnames reads the names in the directory, as os.File's Readdirnames does.
func (f *File) Readdirnames(n int) ([]string, error) { return f.inner().Readdirnames(n) }

// SetDeadline sets the deadlines of Read and Write. Regular files have none (os.ErrNoDeadline).
func (f *File) SetDeadline(t time.Time) error { return f.inner().SetDeadline(t) }

// SetReadDeadline sets the deadline of Read.
func (f *File) SetReadDeadline(t time.Time) error { return f.inner().SetReadDeadline(t) }

// SetWriteDeadline sets the deadline of Write.
func (f *File) SetWriteDeadline(t time.Time) error { return f.inner().SetWriteDeadline(t) }

// Seek sets the offset of the next Read or Write, as os.File's Seek does.
func (f *File) Seek(offset int64, whence int) (int64, error) {
	d := f.engine()
	if d == nil {
		return f.inner().Seek(offset, whence)
	}
	n, err := d.Seek(offset, whence)
	return n, f.wrapErr("seek", err)
}
