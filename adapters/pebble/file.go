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

// A file is an aio.File, with what vfs.File has beyond that. All that transfers data is the
// aio.File's, and so are the shortcuts of io.Copy.
type file struct {
	*aio.File
	base vfs.FS
	fd   uintptr
	conn syscall.RawConn

	device func() (vfs.DeviceID, error)
	// rangeSync is whether sync_file_range(2) does what its name says.
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

// Fd returns the descriptor, of a direct file the one without O_DIRECT: advice that is given to it
// changes nothing for direct reads. It is the same after Close.
func (f *file) Fd() uintptr { return f.fd }

// SyncData is fdatasync(2).
func (f *file) SyncData() error { return f.Datasync() }

// SyncTo has the kernel begin to write the first length bytes, where sync_file_range(2) can be
// relied on (ext4). Elsewhere it is SyncData, and returns true.
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

// Prefetch has the kernel read length bytes at offset into the page cache (readahead(2)).
func (f *file) Prefetch(offset, length int64) error {
	return f.control("readahead", func(fd uintptr) error { return prefetch(fd, offset, length) })
}

// control runs a system call on the descriptor, which is not closed meanwhile.
func (f *file) control(op string, call func(fd uintptr) error) error {
	var err error
	if closed := f.conn.Control(func(fd uintptr) { err = call(fd) }); closed != nil {
		return closed
	}
	return os.NewSyscallError(op, err)
}

// Stat returns what is known of the file.
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

// deviceID asks Pebble's own FS: there is no other way to make a vfs.DeviceID. It asks for the
// descriptor, because the name may be another file's by now, or, without /proc, for the name.
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
	// logBlock is where the memory of an exclusive log ends, in bytes: longer writes go out in
	// pieces.
	logBlock = 128 << 10
)

// A writerFile is a file that is written from one end to the other by a stream.Writer: a direct table,
// or an exclusive log.
type writerFile struct {
	vfs.File // f; not embedded as a *file, whose ReadFrom would go past the Writer

	f     *file
	w     *stream.Writer
	o     stream.WriterOptions
	bytes atomic.Int64 // given to w
}

func newWriterFile(f *file, o stream.WriterOptions) *writerFile {
	return &writerFile{File: f, f: f, w: stream.NewWriter(f.File, o), o: o}
}

// Write appends p. Of a log it is in the page cache when Write returns.
func (f *writerFile) Write(p []byte) (int, error) {
	n, err := f.w.Write(p)
	f.bytes.Add(int64(n))
	if err == nil && f.o.Exclusive {
		err = f.w.Flush()
	}
	return n, err
}

// Sync is fsync(2), after all that was written is in the file.
func (f *writerFile) Sync() error {
	if err := f.w.Flush(); err != nil {
		return err
	}
	return f.File.Sync()
}

// SyncData is fdatasync(2), after all that was written is in the file.
func (f *writerFile) SyncData() error { return f.w.Sync() }

// SyncTo sees to it that the first length bytes are on their way to the disk. They are in a direct
// file, but for the last block.
func (f *writerFile) SyncTo(length int64) (fullSync bool, err error) {
	if f.o.Exclusive {
		return f.f.SyncTo(length)
	}
	if bytes := f.bytes.Load(); length > bytes-bytes%int64(f.o.BlockSize) {
		return false, f.w.Flush()
	}
	return false, nil
}

// Prefetch does nothing: who writes a file does not read it.
func (f *writerFile) Prefetch(offset, length int64) error { return nil }

// Stat returns what is known of the file, with the size of what was written.
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

// Read is at the end of what was written, always.
func (f *writerFile) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	return 0, io.EOF
}

// ReadAt reads what was written.
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

// Close writes what is left, gives a log its exact size, and closes the file. It does not sync.
func (f *writerFile) Close() error { return errors.Join(f.w.Close(), f.f.Close()) }
