// Package sqlite runs SQLite (github.com/ncruces/go-sqlite3) over [aio.File].
//
// Importing it registers two VFSes:
//
//	import _ "github.com/go-aio/aio/adapters/sqlite"
//
//	sql.Open("sqlite3", "file:demo.db?vfs=aio")        // through the page cache
//	sql.Open("sqlite3", "file:demo.db?vfs=aio-direct") // past it
//
// # What direct costs
//
// SQLite relies on the page cache. Each connection has a cache of its own, of 2 MB by default, and
// drops it whenever another connection has written. With direct I/O each page that is not in there
// is a read of the disk, one at a time. SQLite's speed test at its default size reads 3.3 GiB that
// way. Choose "aio" unless the database is much larger than memory and read at random, or must
// leave the page cache to others. Then give each connection a large cache (PRAGMA cache_size), and
// write in large transactions. Keep pages at a block of the filesystem or more (PRAGMA page_size;
// a block has 4096 bytes on most filesystems).
//
// # What goes where
//
// "aio" is SQLite's own VFS, except that a buffered aio.File makes its reads, writes, truncations,
// allocations and syncs (fdatasync(2)). That bounds the threads that wait for the disk, see
// [aio.Config], and a sync is a request of kernel AIO when many are in flight.
//
// "aio-direct" is that with a direct aio.File for the main database:
//
//	a page is read                        direct
//	less, or the first block              page cache: each transaction reads 16 bytes of it
//	whole blocks are written              direct
//	less is written                       page cache
//	either, while few pages are read      page cache
//	over and over
//	sync                                  fdatasync(2)
//
// A block is that of [aio.File.Alignment]. So a database whose pages are smaller than a block
// gains nothing, nor does one that package xts of go-sqlite3 encrypts, 512 bytes at a time.
//
// If at most 1024 of the last 4096 pages read by a connection are different, its cache is too
// small for them, and it would ask the disk for the same pages again and again. Then whole pages
// go through the page cache too, until 2048 of them are different again.
//
// Journals, write-ahead logs and temporary files stay in the page cache: SQLite writes records of
// odd lengths to them, and reads them back soon.
//
// Locks, shared memory (the WAL-index), memory mapping (PRAGMA mmap_size) and file controls are
// those of the VFS "os" of go-sqlite3, on the descriptor that it opens. So its build tags have the
// same meaning here. A buffered aio.File has a duplicate of that descriptor; a direct one has two
// that are opened again. The locks are open file description locks (fcntl(2)), which the close of
// another descriptor does not release. Connections by "os", "aio" and "aio-direct", and those of
// other processes, may share a database.
//
// # Errors
//
// Errors are those of the VFS "os", with two exceptions. A full disk is sqlite3.FULL, as in SQLite
// itself. A read that fails with EIO is sqlite3.IOERR_CORRUPTFS. With "os" of v0.37.0 these are
// sqlite3.IOERR_WRITE and IOERR_READ.
//
// # Concurrency
//
// As with any VFS, one goroutine at a time uses a connection, and any number of connections may be
// in use at once.
//
// On other systems than Linux both VFSes are the same as "os".
package sqlite

import (
	"errors"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/util/vfsutil"
	"github.com/ncruces/go-sqlite3/vfs"
)

func init() {
	vfs.Register("aio", VFS{})
	vfs.Register("aio-direct", VFS{Direct: true})
}

// base opens the descriptors that have the locks.
var base = vfs.Find("os")

// VFS is a VFS for SQLite over aio.File. It may be registered under further names, and wrapped by
// the encrypting VFSes of go-sqlite3:
//
//	vfs.Register("aio-xts", xts.Wrap(sqlite.VFS{}, nil))
type VFS struct {
	// Direct asks for direct I/O on main databases. It is not an error if the filesystem has none.
	Direct bool
}

var _ vfs.VFSFilename = VFS{}

// Open is for VFSes that wrap this one. SQLite calls OpenFilename.
func (v VFS) Open(name string, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	f, flags, err := vfsutil.WrapOpen(base, name, flags)
	return v.wrap(f, flags, err)
}

// OpenFilename opens a file of SQLite as the VFS "os" does, with aio.File for its I/O.
func (v VFS) OpenFilename(name *vfs.Filename, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	f, flags, err := vfsutil.WrapOpenFilename(base, name, flags)
	return v.wrap(f, flags, err)
}

func (v VFS) wrap(f vfs.File, flags vfs.OpenFlag, err error) (vfs.File, vfs.OpenFlag, error) {
	if err != nil {
		return nil, flags, err
	}
	opened, err := again(f, flags, v.Direct && flags&vfs.OPEN_MAIN_DB != 0)
	if errors.Is(err, errors.ErrUnsupported) {
		return f, flags, nil
	}
	if err != nil {
		f.Close()
		return nil, flags, vfs.SystemError(err, sqlite3.CANTOPEN)
	}
	const journals = vfs.OPEN_MAIN_JOURNAL | vfs.OPEN_SUPER_JOURNAL | vfs.OPEN_WAL
	wrapped := &file{File: f, aio: opened, newDir: flags&vfs.OPEN_CREATE != 0 && flags&journals != 0}
	if opened.Direct() {
		wrapped.pages = newWorkingSet(opened)
	}
	return wrapped, flags, nil
}

// Delete deletes a file. If syncDir it also makes that durable.
func (VFS) Delete(name string, syncDir bool) error { return base.Delete(name, syncDir) }

// Access reports whether a file exists, or may be read or written.
func (VFS) Access(name string, flags vfs.AccessFlag) (bool, error) { return base.Access(name, flags) }

// FullPathname returns the absolute path of a file, without symbolic links.
func (VFS) FullPathname(name string) (string, error) { return base.FullPathname(name) }
