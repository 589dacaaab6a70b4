package sqlite

import (
	"errors"
	"io"
	"syscall"

	"github.com/go-aio/aio"
	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/util/vfsutil"
	"github.com/ncruces/go-sqlite3/vfs"
)

// A file is a file of the VFS "os", and an aio.File on the same inode. The methods that aio.File
// lacks are the former's: Lock, Unlock, CheckReservedLock, Size, SectorSize and the file controls.
type file struct {
	vfs.File
	aio    *aio.File
	pages  *workingSet // nil unless the aio.File is direct
	newDir bool        // the file's name may not be durable yet
}

var (
	_ vfs.FileUnwrap             = (*file)(nil)
	_ vfs.FileLockState          = (*file)(nil)
	_ vfs.FilePersistWAL         = (*file)(nil)
	_ vfs.FilePowersafeOverwrite = (*file)(nil)
	_ vfs.FileSizeHint           = (*file)(nil)
	_ vfs.FileHasMoved           = (*file)(nil)
	_ vfs.FileBatchAtomicWrite   = (*file)(nil)
	_ vfs.FileSharedMemory       = (*file)(nil)
	_ vfs.FileMemoryMapper       = (*file)(nil)
)

func (f *file) Close() error {
	// The aio.File is closed first, so that no call on it is in flight when the locks go.
	err := f.aio.Close()
	return errors.Join(err, f.File.Close())
}

func (f *file) ReadAt(p []byte, off int64) (n int, err error) {
	if f.pages != nil && f.cached(len(p), off) {
		n, err = f.File.ReadAt(p, off)
	} else {
		n, err = f.aio.ReadAt(p, off)
	}
	if err != nil && err != io.EOF {
		err = corrupt(err)
	}
	return n, err
}

// cached reports whether a read of n bytes of a direct file goes through the page cache.
func (f *file) cached(n int, off int64) bool {
	// Each transaction reads 16 bytes of the first block. An encrypting VFS reads a block of its
	// cipher for them.
	block := f.pages.block
	return int64(n) < block || off+int64(n) <= block || f.pages.read(off)
}

// corrupt translates the error that a broken filesystem returns for a read into SQLite's.
func corrupt(err error) error {
	for _, errno := range []syscall.Errno{syscall.EIO, syscall.ERANGE, syscall.ENXIO} {
		if errors.Is(err, errno) {
			return vfs.SystemError(err, sqlite3.IOERR_CORRUPTFS)
		}
	}
	return err
}

func (f *file) WriteAt(p []byte, off int64) (int, error) {
	write := f.aio.WriteAt
	if f.pages != nil && f.pages.small {
		write = f.File.WriteAt // it is read again soon
	}
	n, err := write(p, off)
	return n, full(err)
}

func (f *file) Truncate(size int64) error { return f.aio.Truncate(size) }

func (f *file) Sync(flags vfs.SyncFlag) error {
	if f.newDir {
		// The first sync of a journal also syncs its directory.
		err := f.File.Sync(flags)
		f.newDir = err != nil
		return err
	}
	return f.aio.Datasync()
}

// SizeHint reserves space up to size, so that the following writes do not extend the file: those
// would block.
func (f *file) SizeHint(size int64) error {
	end, err := f.Size()
	if err != nil || end >= size {
		return err
	}
	err = f.aio.Allocate(end, size-end)
	if errors.Is(err, errors.ErrUnsupported) {
		err = f.aio.Truncate(size)
	}
	return full(err)
}

// full translates ENOSPC into SQLite's error.
func full(err error) error {
	if errors.Is(err, syscall.ENOSPC) {
		return vfs.SystemError(err, sqlite3.FULL)
	}
	return err
}

func (f *file) DeviceCharacteristics() vfs.DeviceCharacteristic {
	c := f.File.DeviceCharacteristics()
	if f.pages != nil {
		// A read of part of a page would read whole blocks anyway, and F2FS has no direct writes
		// within an atomic one.
		c &^= vfs.IOCAP_SUBPAGE_READ | vfs.IOCAP_BATCH_ATOMIC
	}
	return c
}

func (f *file) Unwrap() vfs.File                { return f.File }
func (f *file) LockState() vfs.LockLevel        { return vfsutil.WrapLockState(f.File) }
func (f *file) PersistWAL() bool                { return vfsutil.WrapPersistWAL(f.File) }
func (f *file) SetPersistWAL(keep bool)         { vfsutil.WrapSetPersistWAL(f.File, keep) }
func (f *file) PowersafeOverwrite() bool        { return vfsutil.WrapPowersafeOverwrite(f.File) }
func (f *file) SetPowersafeOverwrite(psow bool) { vfsutil.WrapSetPowersafeOverwrite(f.File, psow) }
func (f *file) HasMoved() (bool, error)         { return vfsutil.WrapHasMoved(f.File) }
func (f *file) BeginAtomicWrite() error         { return vfsutil.WrapBeginAtomicWrite(f.File) }
func (f *file) CommitAtomicWrite() error        { return vfsutil.WrapCommitAtomicWrite(f.File) }
func (f *file) RollbackAtomicWrite() error      { return vfsutil.WrapRollbackAtomicWrite(f.File) }
func (f *file) SharedMemory() vfs.SharedMemory  { return vfsutil.WrapSharedMemory(f.File) }
func (f *file) MemoryMapper() vfs.MemoryMapper  { return vfsutil.WrapMemoryMapper(f.File) }
