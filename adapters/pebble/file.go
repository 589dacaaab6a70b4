package aiopebble

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/go-aio/aio"
	"github.com/go-aio/aio/stream"
)

// A file is an aio.File, with the other methods of vfs.File. All transfers are the aio.File's, and
// so are the shortcuts of io.Copy.
type file struct {
	*aio.File
	base vfs.FS
	fd   uintptr
	conn syscall.RawConn

	device func() (vfs.DeviceID, error)
	// rangeSync reports whether sync_file_range(2) works on the filesystem.
	rangeSync bool
}

var _ vfs.File = (*file)(nil)

func (s *FS) newFile(f *aio.File) *file {
	v := &file{File: f, base: s.FS, fd: f.Fd()}
	v.conn, _ = f.SyscallConn() // fails only for a nil File
	v.rangeSync = hasRangeSync(v.fd)
	v.device = sync.OnceValues(v.deviceID)
	return v
}

// Fd returns the descriptor, of a direct file the one without O_DIRECT: advice on it changes
// nothing for direct reads. It is the same after Close.
func (f *file) Fd() uintptr { return f.fd }

// SyncData is fdatasync(2).
func (f *file) SyncData() error { return f.Datasync() }

// SyncTo starts the write-back of the first length bytes, where sync_file_range(2) is reliable
// (ext4). Elsewhere it is SyncData, and returns true.
func (f *file) SyncTo(length int64) (fullSync bool, err error) {
	if !f.rangeSync {
		err := f.SyncData()
		return err == nil, err
	}
	return false, f.control("sync_file_range", func(fd uintptr) error { return syncRange(fd, length) })
}

// Preallocate reserves space for length bytes at offset, and keeps the size of the file
// (fallocate(2)).
func (f *file) Preallocate(offset, length int64) error {
	return f.control("fallocate", func(fd uintptr) error { return preallocate(fd, offset, length) })
}

// Prefetch starts a read of length bytes at offset into the page cache (readahead(2)).
func (f *file) Prefetch(offset, length int64) error {
	return f.control("readahead", func(fd uintptr) error { return prefetch(fd, offset, length) })
}

// control runs a system call on the descriptor, which stays open meanwhile.
func (f *file) control(op string, call func(fd uintptr) error) error {
	var err error
	if closed := f.conn.Control(func(fd uintptr) { err = call(fd) }); closed != nil {
		return closed
	}
	return os.NewSyscallError(op, err)
}

// Stat returns the FileInfo of the file.
func (f *file) Stat() (vfs.FileInfo, error) {
	fi, err := f.File.Stat()
	if err != nil {
		return nil, err
	}
	id, err := f.device()
	if err != nil {
		return nil, err
	}
	return fileInfo{fi, id, fi.Size()}, nil
}

// deviceID asks Pebble's own FS: there is no other way to make a vfs.DeviceID. It asks by the
// descriptor, because the name may be another file's by now, or, without /proc, by the name.
func (f *file) deviceID() (vfs.DeviceID, error) {
	fi, err := f.base.Stat(fmt.Sprintf("/proc/self/fd/%d", f.fd))
	if err != nil {
		fi, err = f.base.Stat(f.Name())
	}
	if err != nil {
		return vfs.DeviceID{}, err
	}
	return fi.DeviceID(), nil
}

type fileInfo struct {
	fs.FileInfo
	id   vfs.DeviceID
	size int64
}

func (fi fileInfo) DeviceID() vfs.DeviceID { return fi.id }
func (fi fileInfo) Size() int64            { return fi.size }

const (
	// tableBlock is the length of a direct write, in bytes.
	tableBlock = 512 << 10
	// logBlock is the size of an exclusive log's buffers, in bytes: longer writes go out in pieces.
	logBlock = 128 << 10
)

// A writerFile is a file that a stream.Writer writes from one end to the other: a direct table, or
// an exclusive log.
type writerFile struct {
	vfs.File // f; not embedded as a *file, whose ReadFrom would bypass the Writer

	f     *file
	w     *stream.Writer
	o     stream.WriterOptions
	bytes atomic.Int64 // given to w
}

func newWriterFile(f *file, o stream.WriterOptions) *writerFile {
	return &writerFile{File: f, f: f, w: stream.NewWriter(f.File, o), o: o}
}

// Write appends p. The bytes of a log are in the page cache when Write returns.
func (f *writerFile) Write(p []byte) (int, error) {
	n, err := f.w.Write(p)
	f.bytes.Add(int64(n))
	if err == nil && f.o.Exclusive {
		err = f.w.Flush()
	}
	return n, err
}

// Sync is fsync(2), after all written bytes are in the file.
func (f *writerFile) Sync() error {
	if err := f.w.Flush(); err != nil {
		return err
	}
	return f.File.Sync()
}

// SyncData is fdatasync(2), after all written bytes are in the file.
func (f *writerFile) SyncData() error { return f.w.Sync() }

// SyncTo starts the write-back of the first length bytes. In a direct file only the last block is
// left.
func (f *writerFile) SyncTo(length int64) (fullSync bool, err error) {
	if f.o.Exclusive {
		return f.f.SyncTo(length)
	}
	if bytes := f.bytes.Load(); length > bytes-bytes%int64(f.o.BlockSize) {
		return false, f.w.Flush()
	}
	return false, nil
}

// Prefetch does nothing, because the writer of a file does not read it.
func (f *writerFile) Prefetch(offset, length int64) error { return nil }

// Stat returns the FileInfo of the file, with the size of all written bytes.
func (f *writerFile) Stat() (vfs.FileInfo, error) {
	if err := f.w.Flush(); err != nil {
		return nil, err
	}
	fi, err := f.f.Stat()
	if err != nil {
		return nil, err
	}
	return fileInfo{fi, fi.DeviceID(), f.bytes.Load()}, nil
}

// Read is always at the end of the written bytes.
func (f *writerFile) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	return 0, io.EOF
}

// ReadAt reads the written bytes.
func (f *writerFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.w.Flush(); err != nil {
		return 0, err
	}
	left := max(f.bytes.Load()-off, 0)
	if off < 0 || int64(len(p)) <= left {
		return f.File.ReadAt(p, off)
	}
	n, err := f.File.ReadAt(p[:left], off)
	if err == nil {
		err = io.EOF
	}
	return n, err
}

// WriteAt is not supported, as vfs.File allows for a file that was not opened by OpenReadWrite.
func (f *writerFile) WriteAt(p []byte, off int64) (int, error) { return 0, vfs.ErrUnsupported }

// Close writes the remaining bytes, gives a log its exact size, and closes the file. It does not
// sync.
func (f *writerFile) Close() error { return errors.Join(f.w.Close(), f.f.Close()) }
