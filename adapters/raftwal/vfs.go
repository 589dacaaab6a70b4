// Package raftwal is the types.VFS of github.com/hashicorp/raft-wal, the files of a Raft log, on
// [aio.File]:
//
//	vfs := raftwal.New(raftwal.Options{})
//	w, err := wal.Open(dir, wal.WithSegmentFiler(segment.NewFiler(dir, vfs)))
//
// Logs are the same on disk, and may be opened with either VFS. The database of metadata (bbolt) is
// not opened through a VFS.
//
// # Which calls become which requests
//
// raft-wal appends records of any length to a segment of a fixed size, 64 MiB by default, whose
// space is reserved when it is created, and syncs after each. A VFS of this package writes whole
// units: 4096 bytes, or a block of the filesystem if that is larger. It writes all units that an
// append touches, with the bytes around the append, which it remembers. Now and then it also writes
// up to 1 MiB of the units after the append, unchanged. So an append never extends the file, and
// seldom changes its metadata: the sync after it, fdatasync(2), has nothing for the journal of the
// filesystem. The first Sync of a new segment is fsync(2) of it and of its directory.
//
// By default this goes through the page cache. With [Options.Direct] it does not, and in a crowd of
// logs an append waits in kernel AIO. Reads are through the page cache in either case: raft-wal
// reads 64 KiB for each record, and uses the first.
//
// The bytes around an append are written again unchanged. So a crash in mid-write does not change
// them.
//
// # Concurrency
//
// All methods may be called concurrently. If several Files are open for writing to one name, only
// one of them may be used, as raft-wal does.
package raftwal

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"

	"github.com/go-aio/aio"
	"github.com/hashicorp/raft-wal/types"
)

// Options are the options of New. The zero value is a VFS that writes through the page cache.
type Options struct {
	// Direct makes appends bypass the page cache, where the filesystem supports it. It is for a
	// process with many logs, whose appends then wait in kernel AIO and not on threads. A read soon
	// after an append then goes to the disk.
	Direct bool
}

// A VFS is a types.VFS. All methods may be called concurrently.
type VFS struct {
	direct int // the flag to open writers with
}

var _ types.VFS = (*VFS)(nil)

// New returns a VFS, which keeps no state: there may be any number.
func New(o Options) *VFS {
	v := new(VFS)
	if o.Direct {
		v.direct = aio.O_DIRECT
	}
	return v
}

// ListDir returns the names of the files in dir, in lexical order. Like raft-wal's own it returns
// an empty name for a directory in dir; raft-wal looks at suffixes only.
func (v *VFS) ListDir(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		if !e.IsDir() {
			names[i] = e.Name()
		}
	}
	return names, nil
}

// Create creates a file of size bytes, at most 2 GiB - 1, with space for them on the disk where the
// filesystem can reserve some. It is an error if the name exists. The first Sync of the file makes
// its name durable too.
func (v *VFS) Create(dir, name string, size uint64) (types.WritableFile, error) {
	f, err := aio.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_EXCL|os.O_RDWR|v.direct, 0o644)
	if err != nil {
		return nil, err
	}
	if err := preallocate(f, size); err != nil {
		f.Close()
		return nil, err
	}
	return newFile(f, dir, 0)
}

func preallocate(f *aio.File, size uint64) error {
	if size == 0 {
		return nil
	}
	if size > math.MaxInt32 {
		return fmt.Errorf("maximum file size is %d bytes", math.MaxInt32)
	}
	err := f.Allocate(0, int64(size))
	if errors.Is(err, errors.ErrUnsupported) {
		return f.Truncate(int64(size))
	}
	return err
}

// Delete removes a file. The removal is durable when it returns.
func (v *VFS) Delete(dir, name string) error {
	if err := os.Remove(filepath.Join(dir, name)); err != nil {
		return err
	}
	return syncDir(dir)
}

// OpenReader opens a file for reading, through the page cache in any mode.
func (v *VFS) OpenReader(dir, name string) (types.ReadableFile, error) {
	f, err := aio.Open(filepath.Join(dir, name))
	if err != nil {
		return nil, err
	}
	return f, nil
}

// OpenWriter opens a file for reading and writing.
func (v *VFS) OpenWriter(dir, name string) (types.WritableFile, error) {
	f, err := aio.OpenFile(filepath.Join(dir, name), os.O_RDWR|v.direct, 0)
	if err != nil {
		return nil, err
	}
	return newFile(f, "", math.MaxInt64)
}

func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // has no such call
	}
	d, err := aio.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if e := d.Close(); err == nil {
		err = e
	}
	return err
}
