// Package aiopebble has a [vfs.FS] for github.com/cockroachdb/pebble that opens files as
// [*aio.File]. Without options it behaves like Pebble's own FS of the operating system, with a
// bound on the threads that wait in it. Options make it read and write tables past the page cache,
// and write a log that a sync does not have to grow:
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
// # Which path a file takes
//
// The name decides. Tables are *.sst and *.blob, the log is *.log. The manifest, OPTIONS, markers,
// LOCK and all other files are buffered, with any options. A file of a filesystem without direct
// I/O is buffered too; that is not an error.
//
//	                    buffered (default)         with the option
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
// Pebble's block cache is in front of all reads of tables except those of compactions. So direct
// reads are for databases much larger than memory, whose page cache would hold each block a second
// time. If the database fits in memory, the page cache is the better place.
//
// # Errors, concurrency
//
// Errors are those of package os, so errors.Is finds [fs.ErrNotExist] and the errno.
//
// Pebble times the calls of its FS to detect a slow disk ([vfs.WithDiskHealthChecks]). A Write to a
// direct table returns at once until four blocks are in flight. So a slow disk is detected in a
// later Write, or in Sync.
//
// ReadAt, and all methods of an FS, may be called concurrently. Write, Sync, SyncData, SyncTo and
// Close of one file are for one goroutine at a time, as [vfs.File] requires; a Sync may run beside
// a Write.
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

// Options are the options of [New]. The zero value opens all files buffered.
type Options struct {
	// DirectReads reads tables past the page cache. A file opened for reading must be complete:
	// bytes read ahead are those of that moment.
	DirectReads bool
	// DirectWrites writes tables past the page cache, through a [stream.Writer] that has up to 2.5
	// MiB of memory. Written bytes are in the file after Sync, SyncData, Stat or Close, not after
	// each Write. An error of the disk is returned by a later call, and is sticky: after ENOSPC a
	// caller cannot try the same Write again, as [vfs.OnDiskFull] does. Pebble begins a table that
	// failed anew.
	DirectWrites bool
	// ExclusiveWAL writes new logs, not recycled ones, through a [stream.Writer] that is Exclusive.
	// It writes up to 1 MiB of zeros ahead of the log, so that a sync writes nothing but data.
	// Until Close the visible size is larger by the zeros, and after a crash they follow the last
	// record.
	//
	// Pebble reads such a log like one that was preallocated or recycled: a zeroed chunk ends it,
	// unless a later chunk shows that it was synced (record.ErrZeroedChunk, package record). A
	// closed log ends in a trailer, which is synced before the zeros are cut off. So this is safe
	// with logs of all format versions that Pebble v2 writes.
	//
	// As with os.File, the bytes are in the page cache when Write returns: a killed process loses
	// nothing. Recycled logs are buffered, since they have their blocks.
	ExclusiveWAL bool
	// Readahead bounds the memory of all reads ahead of direct files, in bytes; 0 stands for 64
	// MiB, and a negative number for none. Beyond it, the oldest unused one makes room.
	Readahead int64
}

// An FS is a [vfs.FS] of the operating system. Link, Rename, Lock, OpenDir, GetDiskUsage and the
// other methods that open no file are those of vfs.Default at the time of [New].
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

// Create creates the named file, as a new inode: it first removes a file of that name. It ignores
// category.
func (s *FS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	const flags = os.O_RDWR | os.O_CREATE | os.O_EXCL
	kind := kindOf(name)
	direct := 0
	if kind == table && s.o.DirectWrites {
		direct = aio.O_DIRECT
	}
	f, err := aio.OpenFile(name, flags|direct, 0o666)
	for errors.Is(err, fs.ErrExist) { // again if another process creates it meanwhile
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

// OpenReadWrite opens the named file for reading and writing, or creates it. The file is buffered.
// It ignores category.
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

// ReuseForWrite renames oldname to newname and opens it for writing, without truncation. The file
// is buffered: a sync of overwritten bytes does not have to grow it. It ignores category.
func (s *FS) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if err := s.Rename(oldname, newname); err != nil {
		return nil, err
	}
	return s.OpenReadWrite(newname, category)
}

// A kind is the use that Pebble makes of a file.
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
