package raftwal

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"

	"github.com/go-aio/aio"
)

const (
	// minUnit is the smallest size of a page, in bytes.
	minUnit = 4096
	// ahead is how far ahead of an append blocks are written at most, and minAhead at
	// least, in bytes. It is as long as the log is.
	ahead, minAhead = 1 << 20, 16 << 10
	// large is the length in bytes from which on an append gains nothing by that.
	large = 64 << 10
)

// A file is a segment that may be written to.
type file struct {
	f    *aio.File
	r    *aio.File // to read from, plain
	size int64     // when it was opened
	unit int64     // bytes; writes of whole units go direct, or change whole pages

	dir   string      // to be synced with the file, once; "" if not
	named atomic.Bool // that is done

	mu    sync.Mutex // guards what follows, and is held across writes
	buf   []byte     // aligned; what is written
	high  int64      // behind it there are zeros only
	ready int64      // up to here blocks have been written
	last  []byte     // the unit at base, if that is not negative
	base  int64
}

func newFile(f *aio.File, dir string, high int64) (*file, error) {
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	r := f
	if f.Direct() {
		if r, err = aio.Open(f.Name()); err != nil {
			f.Close()
			return nil, err
		}
	}
	unit := max(minUnit, f.Alignment().Write)
	return &file{
		f: f, r: r, size: info.Size(), unit: int64(unit), dir: dir, high: high,
		last: make([]byte, unit), base: -1,
	}, nil
}

// ReadAt is that of a plain aio.File. A direct write takes what it changes out of the page cache.
func (f *file) ReadAt(p []byte, off int64) (int, error) { return f.r.ReadAt(p, off) }

// Close lets calls in flight finish, as that of aio.File does.
func (f *file) Close() error {
	err := f.f.Close()
	if f.r != f.f {
		f.r.Close()
	}
	return err
}

// Sync makes what was written durable, and the first time the name of a file that was created.
func (f *file) Sync() error {
	if f.dir == "" || f.named.Load() {
		// The size is no matter: it was there before, or fdatasync(2) sees to it.
		return f.f.Datasync()
	}
	if err := f.f.Sync(); err != nil {
		return err
	}
	if err := syncDir(f.dir); err != nil {
		return err
	}
	f.named.Store(true)
	return nil
}

// WriteAt writes p at off, as that of aio.File does. It writes whole units, if these are within the file, with
// what the file has around p.
func (f *file) WriteAt(p []byte, off int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	end := off + int64(len(p))
	unit := f.unit
	lo, hi := off&^(unit-1), (end+unit-1)&^(unit-1)
	if off < 0 || len(p) == 0 || hi > f.size || len(p) > maxBuf {
		f.base = -1
		f.high = max(f.high, end)
		return f.f.WriteAt(p, off)
	}
	to := hi
	if hi > f.ready && len(p) < large {
		to = min(hi+min(max(hi, minAhead), ahead), f.size&^(unit-1))
	}
	if err := f.fill(p, off, lo, hi, to); err != nil {
		return 0, err
	}
	defer f.shrink()
	f.base = -1
	n, err := f.f.WriteAt(f.buf[:to-lo], lo)
	if err != nil && to > hi { // no room for what nobody asked for?
		to = hi
		n, err = f.f.WriteAt(f.buf[:to-lo], lo)
	}
	n = min(max(n-int(off-lo), 0), len(p))
	if err != nil {
		f.high = max(f.high, to) // of what may be there now
		return n, err
	}
	f.ready = max(f.ready, to)
	f.high = max(f.high, end)
	f.base = hi - unit
	copy(f.last, f.buf[f.base-lo:])
	return n, nil
}

// maxBuf is the longest write in bytes that is made of units, which has to be copied.
const maxBuf = 4 << 20

// fill makes buf what is to be from lo to to.
func (f *file) fill(p []byte, off, lo, hi, to int64) error {
	if int64(len(f.buf)) < to-lo {
		f.buf = aio.AlignedBuffer(int(to - lo))
	}
	end, unit := off+int64(len(p)), f.unit
	if off > lo {
		if err := f.unitAt(f.buf[:unit], lo); err != nil {
			return err
		}
	}
	if end < hi && (hi-unit > lo || off == lo) {
		if err := f.unitAt(f.buf[hi-unit-lo:hi-lo], hi-unit); err != nil {
			return err
		}
	}
	copy(f.buf[off-lo:], p)
	if to > hi {
		return f.content(f.buf[hi-lo:to-lo], hi)
	}
	return nil
}

// shrink lets go of a buffer that most appends have no use for: a process may have many logs.
func (f *file) shrink() {
	if len(f.buf) > large {
		f.buf = nil
	}
}

// unitAt fills p with a unit of the file.
func (f *file) unitAt(p []byte, base int64) error {
	if base == f.base {
		copy(p, f.last)
		return nil
	}
	return f.content(p, base)
}

// content fills p with what the file has at off.
func (f *file) content(p []byte, off int64) error {
	if off >= f.high {
		clear(p)
		return nil
	}
	_, err := f.r.ReadAt(p, off)
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
