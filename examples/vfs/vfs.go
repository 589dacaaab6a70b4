//go:build unix

// Package vfs has the files of a small database as [aio.File]s: pages, a log, and small files that
// are replaced as a whole. It is a template to copy and change; docs/embedding.md explains it.
//
// Pages and the log are direct, small files buffered. Errors are those of package os. All methods
// may be called concurrently.
package vfs

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/stream"
	"golang.org/x/sys/unix"
)

// PageSize is the length of a page in bytes. A multiple of 4096 fits the alignment of every disk,
// so a page in an [aio.AlignedBuffer] goes to the disk as it is.
const PageSize = 8192

// A Dir is the directory of a database, locked against other processes.
type Dir struct {
	name string
	lock *os.File
}

// Open locks the directory, which must exist.
func Open(name string) (*Dir, error) {
	lock, err := os.OpenFile(filepath.Join(name, "LOCK"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	// fcntl(2) will not do: its lock goes as soon as the process closes any descriptor of the file,
	// and a direct File has two. A lock of flock(2) belongs to this descriptor.
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	return &Dir{name, lock}, nil
}

// Close unlocks the directory.
func (d *Dir) Close() error { return d.lock.Close() }

// Sync makes names durable: those that were created, renamed and removed.
func (d *Dir) Sync() error {
	f, err := os.Open(d.name)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// create makes a direct file with size bytes of zeros, allocated on the disk, and makes its name
// durable.
func (d *Dir) create(name string, size int64) (*aio.File, error) {
	path := filepath.Join(d.name, name)
	// The file gets a new inode: open descriptors, and links of another name, keep the old one.
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	f, err := aio.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL|aio.O_DIRECT, 0o644)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(allocate(f, size), f.Sync(), d.Sync()); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// allocate reserves the first size bytes. Writes there do not extend the file, so they are
// asynchronous, and they do not meet a full disk.
func allocate(f *aio.File, size int64) error {
	if size == 0 {
		return nil
	}
	err := f.Allocate(0, size)
	if errors.Is(err, errors.ErrUnsupported) {
		return f.Truncate(size) // filesystems without fallocate(2): the size only
	}
	return err
}

// CreatePages makes a file of n pages of zeros. Its ReadAt and WriteAt of whole pages are direct,
// from any number of goroutines.
func (d *Dir) CreatePages(name string, n int64) (*aio.File, error) { return d.create(name, n*PageSize) }

// Commit writes pages by their numbers, and returns when they are durable. After an error any of
// them may be durable or not; a later Sync that succeeds does not tell either.
func Commit(ctx context.Context, f *aio.File, pages map[int64][]byte) error {
	var b aio.Batch
	for number, page := range pages {
		b.WriteAt(f, page, number*PageSize)
	}
	b.Barrier()
	b.Datasync(f)
	return b.Do(ctx)
}

// A Log is a file of records.
type Log struct {
	f *aio.File
	w *stream.Writer
}

// CreateLog makes an empty log. Nothing else may change its file.
func (d *Dir) CreateLog(name string) (*Log, error) {
	f, err := d.create(name, 0)
	if err != nil {
		return nil, err
	}
	return &Log{f, stream.NewWriter(f, stream.WriterOptions{Exclusive: true})}, nil
}

// headerSize is the size of the header before a record: its length and checksum.
const headerSize = 8

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Append returns when the record, of one byte or more, is durable. Appends that wait at the same
// time share a sync.
func (l *Log) Append(record []byte) error {
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(record)))
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(record, castagnoli))
	if _, err := l.w.Write(append(b, record...)); err != nil { // one Write for both
		return err
	}
	return l.w.Sync()
}

// Close ends the log. Appended records are durable already.
func (l *Log) Close() error { return errors.Join(l.w.Close(), l.f.Close()) }

// Replay calls visit with each record of a log. The first incomplete record is the end: a crash
// leaves zeros there, or a part of a record.
func (d *Dir) Replay(name string, visit func(record []byte) error) error {
	f, err := aio.OpenFile(filepath.Join(d.name, name), os.O_RDONLY|aio.O_DIRECT, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	r := stream.NewReader(f, stream.ReaderOptions{Length: fi.Size()})
	defer r.Close()
	header := make([]byte, headerSize)
	for left := fi.Size(); left > headerSize; {
		if _, err := io.ReadFull(r, header); err != nil {
			return err
		}
		n := int64(binary.LittleEndian.Uint32(header))
		if left -= headerSize + n; n == 0 || left < 0 {
			return nil
		}
		record := make([]byte, n)
		if _, err := io.ReadFull(r, record); err != nil {
			return err
		}
		if crc32.Checksum(record, castagnoli) != binary.LittleEndian.Uint32(header[4:]) {
			return nil
		}
		if err := visit(record); err != nil {
			return err
		}
	}
	return nil
}

// Replace gives a small file new content. After a crash it has the old or the new one.
func (d *Dir) Replace(name string, content []byte) error {
	path := filepath.Join(d.name, name)
	f, err := aio.Create(path + ".new") // buffered: a file of any length is not whole blocks
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return d.Sync()
}
