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
	// ahead and minAhead bound the blocks that are written ahead of an append, in bytes. Between
	// these they are as long as the log.
	ahead, minAhead = 1 << 20, 16 << 10
	// large is the length in bytes from which an append gains nothing by blocks ahead.
	large = 64 << 10
)

// A file is a segment that may be written to.
type file struct {
	f    *aio.File
	r    *aio.File // for reading, buffered
	size int64     // at the time of opening
	unit int64     // bytes; writes of whole units go direct, or change whole pages

	dir   string      // to be synced with the file, once; "" if not
	named atomic.Bool // dir is synced

	mu    sync.Mutex // guards the following fields, and is held across writes
	buf   []byte     // aligned; for writes
	high  int64      // only zeros follow it
	ready int64      // blocks before it have been written
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

// ReadAt is that of a buffered aio.File. A direct write drops its pages from the page cache.
func (f *file) ReadAt(p []byte, off int64) (int, error) { return f.r.ReadAt(p, off) }

// Close lets calls in flight complete, as that of aio.File does.
func (f *file) Close() error {
	err := f.f.Close()
	if f.r != f.f {
		f.r.Close()
	}
	return err
}

// Sync makes all writes durable, and the first time also the name of a new file.
func (f *file) Sync() error {
	if f.dir == "" || f.named.Load() {
		// The size was durable before, or fdatasync(2) makes it so.
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

// WriteAt writes p at off, as that of aio.File does. If whole units around p are within the file,
// it writes these, with the file's bytes around p.
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
	if err != nil && to > hi { // no room for the optional blocks?
		to = hi
		n, err = f.f.WriteAt(f.buf[:to-lo], lo)
	}
	n = min(max(n-int(off-lo), 0), len(p))
	if err != nil {
		f.high = max(f.high, to) // bytes up to it may be there now
		return n, err
	}
	f.ready = max(f.ready, to)
	f.high = max(f.high, end)
	f.base = hi - unit
	copy(f.last, f.buf[f.base-lo:])
	return n, nil
}

// maxBuf is the longest write in bytes that is made of units, which must be copied.
const maxBuf = 4 << 20

// fill fills buf with the bytes from lo to to.
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

// shrink frees a buffer that most appends do not use: a process may have many logs.
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

// content fills p with the file's bytes at off.
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
