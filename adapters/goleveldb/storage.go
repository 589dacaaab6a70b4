// Package goleveldb is the storage of a github.com/syndtr/goleveldb database on [aio.File]:
//
//	stor, err := goleveldb.Open("path/to/db", goleveldb.Options{})
//	...
//	db, err := leveldb.Open(stor, nil)
//
// Databases are the same on disk, and may be opened by either. The lock on the directory, CURRENT
// and its replacement, LOG, the list of files, renaming and removing are goleveldb's own storage,
// [storage.OpenFile], which a Storage of this package holds. Journals, manifests and tables, which
// it opens and creates, are aio.Files.
//
// # Which calls become which requests
//
// By default every file is buffered: reads and writes go through the page cache, as those of
// storage.OpenFile do, with a bound on the threads that wait there ([aio.Config]), and Sync is
// asynchronous when many are in flight.
//
// With [Options.Direct] the tables, and no other files, are direct. A table is written in requests
// of 1 MiB, several at a time, and read in requests of goleveldb's size, a block of about 4 KiB. A
// sequential reader, such as a compaction or an iterator, is detected. It gets 512 KiB at a time,
// and the next requests are in flight meanwhile. Blocks are as long as compression makes them, so a
// read is widened to the alignment of the disk and goes through a bounce buffer.
//
// With [Options.JournalAhead] a Sync of a journal is fdatasync(2), and seldom has metadata to
// write.
//
// # Concurrency
//
// All methods of a Storage and of its files may be called concurrently.
package goleveldb

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/stream"
	"github.com/syndtr/goleveldb/leveldb/storage"
)

// Options are the options of Open. The zero value is a storage for reading and writing, through the
// page cache.
type Options struct {
	// ReadOnly opens an existing database, and writes nothing. Any number of processes may do that
	// at a time, if none has it open for writing.
	ReadOnly bool
	// Direct reads and writes tables past the page cache, where the filesystem supports it. It is
	// for a database that is larger than memory and read by many goroutines. goleveldb's own cache
	// of blocks (opt.Options.BlockCacheCapacity, 8 MiB by default) is then the only one: give it
	// the memory that the page cache had.
	//
	// With opt.Options.NoSync an error of a table's last megabytes is returned by its Close only,
	// and goleveldb ignores that; it is in LOG.
	Direct bool
	// JournalAhead writes zeros ahead of a journal, up to 1 MiB, so that most Puts with Sync change
	// nothing but data on the disk. After a crash the journal ends in zeros. goleveldb drops them
	// when it opens the database, and reports that in LOG; with opt.StrictJournal it takes them for
	// corruption.
	JournalAhead bool
}

// open is a variable because the program upstream replaces storage.OpenFile by Open, and this must
// stay goleveldb's.
var open = storage.OpenFile

// Open opens the database directory path, creates it if necessary, and locks it until Close. Errors
// are those of storage.OpenFile: syscall.EWOULDBLOCK if the database is open elsewhere,
// *fs.PathError for errors of the filesystem.
func Open(path string, o Options) (storage.Storage, error) {
	own, err := open(path, o.ReadOnly)
	if err != nil {
		return nil, err
	}
	s := &files{Storage: own, path: path, readOnly: o.ReadOnly, ahead: o.JournalAhead}
	if o.Direct {
		s.tables = aio.O_DIRECT
	}
	return s, nil
}

// files is a storage.Storage. Its other methods are goleveldb's own.
type files struct {
	storage.Storage
	path     string
	readOnly bool
	tables   int  // the flag to open tables with
	ahead    bool // Options.JournalAhead

	mu     sync.Mutex
	open   int // files
	closed bool
}

func (s *files) flags(fd storage.FileDesc) int {
	if fd.Type == storage.TypeTable {
		return s.tables
	}
	return 0
}

// name returns the path of fd. A FileDesc as a string is its name.
func (s *files) name(fd storage.FileDesc) string { return filepath.Join(s.path, fd.String()) }

// Open opens a file for reading.
func (s *files) Open(fd storage.FileDesc) (storage.Reader, error) {
	if !storage.FileDescOk(fd) {
		return nil, storage.ErrInvalidFile
	}
	f, err := s.add(fd, os.O_RDONLY)
	if fd.Type == storage.TypeTable && errors.Is(err, fs.ErrNotExist) {
		// Before LevelDB 1.14 tables had another name. The error is that of the new name.
		if f, err := s.addNamed(filepath.Join(s.path, fmt.Sprintf("%06d.sst", fd.Num)), fd, os.O_RDONLY); err == nil {
			return f.reader(), nil
		}
	}
	if err != nil {
		return nil, err
	}
	return f.reader(), nil
}

// Create creates a file, or truncates it, for writing.
func (s *files) Create(fd storage.FileDesc) (storage.Writer, error) {
	if s.readOnly || !storage.FileDescOk(fd) {
		return s.Storage.Create(fd) // which returns an error for that
	}
	f, err := s.add(fd, os.O_WRONLY|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return nil, err
	}
	return f.writer(), nil
}

func (s *files) add(fd storage.FileDesc, flag int) (*file, error) {
	return s.addNamed(s.name(fd), fd, flag)
}

func (s *files) addNamed(name string, fd storage.FileDesc, flag int) (*file, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, storage.ErrClosed
	}
	f, err := aio.OpenFile(name, flag|s.flags(fd), 0o644)
	if err != nil {
		return nil, err
	}
	s.open++
	return &file{f: f, s: s, fd: fd}, nil
}

// Close unlocks the directory. Open files stay open.
func (s *files) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return storage.ErrClosed
	}
	s.closed = true
	if s.open > 0 {
		s.Log(fmt.Sprintf("close: warning, %d files still open", s.open))
	}
	return s.Storage.Close()
}

// A file is open for reading or writing.
type file struct {
	f  *aio.File
	s  *files
	fd storage.FileDesc

	closed bool // guarded by s.mu
}

func (f *file) reader() storage.Reader {
	if !f.f.Direct() {
		return f
	}
	t := &tableReader{file: f}
	if info, err := f.f.Stat(); err == nil { // or nothing is read ahead
		t.size = info.Size()
	}
	return t
}

func (f *file) writer() storage.Writer {
	if f.f.Direct() {
		return &tableWriter{file: f, w: stream.NewWriter(f.f, stream.WriterOptions{})}
	}
	if f.s.ahead && f.fd.Type == storage.TypeJournal {
		return &journalWriter{file: f}
	}
	return f
}

func (f *file) Read(p []byte) (int, error)                   { return f.f.Read(p) }
func (f *file) ReadAt(p []byte, off int64) (int, error)      { return f.f.ReadAt(p, off) }
func (f *file) Seek(offset int64, whence int) (int64, error) { return f.f.Seek(offset, whence) }
func (f *file) Write(p []byte) (int, error)                  { return f.f.Write(p) }

// Sync is fsync(2). For a manifest it also syncs the directory, which makes new journals and tables
// durable.
func (f *file) Sync() error {
	if err := f.f.Sync(); err != nil {
		return err
	}
	if f.fd.Type != storage.TypeManifest {
		return nil
	}
	err := syncDir(f.s.path)
	if err != nil {
		f.s.Log(fmt.Sprintf("syncDir: %v", err))
	}
	return err
}

// Close closes the file. A second one returns storage.ErrClosed.
func (f *file) Close() error { return f.close(f.f.Close) }

// close calls how, once.
func (f *file) close(how func() error) error {
	f.s.mu.Lock()
	closed := f.closed
	if !closed {
		f.closed = true
		f.s.open--
	}
	f.s.mu.Unlock()
	if closed {
		return storage.ErrClosed
	}
	err := how()
	if err != nil {
		f.s.Log(fmt.Sprintf("close %s: %v", f.fd, err))
	}
	return err
}

// syncDir is fsync(2) of a directory. Some filesystems return EINVAL, and Windows has no such call.
func syncDir(name string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := aio.Open(name)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) {
		return err
	}
	return nil
}
