// Package aiopebble has a [vfs.FS] for github.com/cockroachdb/pebble that opens files as
// [*aio.File]. Without options it does what Pebble's own FS of the operating system does, with a
// bound on the threads that wait in it. With options, tables are read and written past the page
// cache, and the log is a file that a sync does not have to grow:
//
//	import aiopebble "github.com/go-aio/aio/adapters/pebble"
//
//	db, err := pebble.Open("data", &pebble.Options{
//		FS:    aiopebble.New(aiopebble.Options{DirectReads: true}),
//		Cache: cache, // is all the cache there is, then
//	})
//
// The package is not named pebble, as its directory is, because a program imports it together with
// Pebble's package of that name.
//
// # What goes which way
//
// The name decides. Tables are *.sst and *.blob, the log is *.log; the manifest, OPTIONS,
// markers, LOCK and all else are plain files in the page cache, whatever the options. A file of a
// filesystem that has no direct I/O is plain too; that is not an error.
//
//	                    plain (default)            with the option
//	read a table        pread(2)                   DirectReads: asynchronous direct reads
//	Prefetch            readahead(2)               DirectReads: large requests into memory of the FS
//	read a table with   posix_fadvise(2), the      DirectReads: requests of 256 KiB ahead of
//	SequentialReads     kernel reads ahead         the reader
//	write a table       write(2)                   DirectWrites: direct writes of 512 KiB behind the
//	                                               writer
//	append to the log   write(2)                   ExclusiveWAL: pwrite(2) of whole pages, into zeros
//	                                               that were written ahead
//	Sync, SyncData      fsync(2), fdatasync(2), asynchronous ones where many wait; with all options
//
// Pebble's block cache is in front of all reads of tables but those of compactions, so direct
// reads are for databases much larger than memory, whose page cache would hold each block a
// second time. If the database fits in memory let the page cache have it.
//
// # Errors, concurrency
//
// Errors are those of package os, so errors.Is finds [fs.ErrNotExist] and the errno.
//
// Pebble times the calls of its FS to notice a slow disk ([vfs.WithDiskHealthChecks]). Write to a
// direct table returns at once until four blocks are on their way, so there a slow disk is
// noticed by the Write after these, or by Sync.
//
// ReadAt may be called concurrently, as may everything of an FS. Write, Sync, SyncData, SyncTo and
// Close of one file are for one goroutine at a time, as [vfs.File] has it; a Sync may run beside a
// Write.
package aiopebble

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/go-aio/aio"
	"github.com/go-aio/aio/stream"
)

// Options are what [New] takes. The zero value opens all files plain.
type Options struct {
	// DirectReads reads tables past the page cache. Files that are opened for reading are
	// taken to be complete: what is read ahead of a reader is what was there then.
	DirectReads bool
	// DirectWrites writes tables past the page cache, through a [stream.Writer] that has up to
	// 2.5 MiB of memory. What was written is in the file after Sync, SyncData, Stat or Close, not
	// after each Write. An error of the disk is returned by a later call, and is for ever: who
	// gets ENOSPC cannot try the same Write again, as [vfs.OnDiskFull] does. Pebble begins a
	// table that failed anew.
	DirectWrites bool
	// ExclusiveWAL writes logs that were created, not recycled, through a [stream.Writer] that is
	// Exclusive. Up to 1 MiB of zeros is written ahead of the log, so that a sync finds nothing
	// but data to write. Until Close others see a size that is larger by that, and a crash leaves
	// the zeros behind the last record.
	//
	// Pebble reads such a log as it reads one that was preallocated or recycled: a zeroed chunk
	// ends it, unless a chunk further on tells that it was synced (record.ErrZeroedChunk,
	// package record). A log that was closed ends in a trailer, which is synced before the zeros are
	// cut off. So this is safe with logs of all format versions that Pebble v2 writes.
	//
	// What was written is in the page cache when Write returns, as it is with os.File: a process
	// that is killed loses nothing. Recycled logs need none of this, and are written plain.
	ExclusiveWAL bool
	// Readahead bounds the memory of all reads ahead of direct files, in bytes; 0 stands for 64
	// MiB, and a negative number for none. Beyond it, the oldest that nobody waits for makes room.
	Readahead int64
}

// An FS is a [vfs.FS] of the operating system. What opens no file is done by what vfs.Default was
// when [New] was called: Link, Rename, Lock, OpenDir, GetDiskUsage and so on.
//
// It wraps nothing: Unwrap returns nil, and vfs.Root the FS itself. It may be assigned to
// [vfs.Default].
type FS struct {
	vfs.FS
	o     Options
	ahead *readahead
}

var _ vfs.FS = (*FS)(nil)

// New returns an FS.
func New(o Options) *FS {
	if o.Readahead == 0 {
		o.Readahead = 64 << 20
	}
	return &FS{FS: vfs.Default, o: o, ahead: newReadahead(int(max(o.Readahead, 0) / spanBytes))}
}

// Unwrap returns nil.
func (*FS) Unwrap() vfs.FS { return nil }

// Create creates the named file, as a new inode: what has that name is removed first. category is
// not used.
func (s *FS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	const flags = os.O_RDWR | os.O_CREATE | os.O_EXCL
	kind := kindOf(name)
	direct := 0
	if kind == table && s.o.DirectWrites {
		direct = aio.O_DIRECT
	}
	f, err := aio.OpenFile(name, flags|direct, 0o666)
	for errors.Is(err, fs.ErrExist) { // again if somebody else creates it meanwhile
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		f, err = aio.OpenFile(name, flags|direct, 0o666)
	}
	switch {
	case err != nil:
		return nil, err
	case f.Direct():
		return newWriterFile(s.newFile(f), stream.WriterOptions{BlockSize: tableBlock}), nil
	case kind == wal && s.o.ExclusiveWAL:
		return newWriterFile(s.newFile(f), stream.WriterOptions{BlockSize: logBlock, Depth: 1, Exclusive: true}), nil
	}
	return s.newFile(f), nil
}

// Open opens the named file for reading.
func (s *FS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	direct := 0
	if s.o.DirectReads && kindOf(name) == table {
		direct = aio.O_DIRECT
	}
	f, err := aio.OpenFile(name, os.O_RDONLY|direct, 0)
	if err != nil {
		return nil, err
	}
	var opened vfs.File = s.newFile(f)
	if f.Direct() {
		sequential := slices.Contains(opts, vfs.SequentialReadsOption)
		if opened, err = newReader(s.newFile(f), s.ahead, sequential); err != nil {
			f.Close()
			return nil, err
		}
	}
	for _, o := range opts {
		o.Apply(opened)
	}
	return opened, nil
}

// OpenReadWrite opens the named file for reading and writing, or creates it. It is a plain one.
// category is not used.
func (s *FS) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := aio.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	opened := s.newFile(f)
	for _, o := range opts {
		o.Apply(opened)
	}
	return opened, nil
}

// ReuseForWrite renames oldname to newname and opens it for writing, without truncation. It is a
// plain file: a sync of what is written over does not have to grow it. category is not used.
func (s *FS) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if err := s.Rename(oldname, newname); err != nil {
		return nil, err
	}
	return s.OpenReadWrite(newname, category)
}

// A kind is what Pebble keeps in a file.
type kind int

const (
	other kind = iota
	table
	wal
)

func kindOf(name string) kind {
	switch filepath.Ext(name) {
	case ".sst", ".blob":
		return table
	case ".log":
		return wal
	}
	return other
}
