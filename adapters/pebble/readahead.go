package aiopebble

import (
	"io"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/go-aio/aio"
)

const (
	// spanBytes is the longest request of a reader ahead, in bytes.
	spanBytes = 256 << 10
	// spansAhead is the number of spans kept in flight ahead of a sequential reader.
	spansAhead = 2
	// spansKept is the number of buffers kept when no reader reads ahead.
	spansKept = 32
)

// A reader is a direct file, open for reading, with the bytes read ahead in it.
type reader struct {
	vfs.File // f

	f          *file
	ahead      *readahead
	sequential bool
	size       int64
	unit       int64 // bytes; spans begin and end at multiples of it, so that they go direct

	spans  []*span      // by offset; guarded by ahead.mu
	closed bool         // no new spans; guarded by ahead.mu
	some   atomic.Int64 // the number of spans, for a look without the lock

	cursor sync.Mutex // guards the following fields
	off    int64      // of Read
}

func newReader(f *file, ahead *readahead, sequential bool) (*reader, error) {
	fi, err := f.File.Stat()
	if err != nil {
		return nil, err
	}
	unit := int64(f.Alignment().Read)
	return &reader{File: f, f: f, ahead: ahead, sequential: sequential, size: fi.Size(), unit: unit}, nil
}

// ReadAt takes the bytes read ahead, and reads the rest.
func (r *reader) ReadAt(p []byte, off int64) (n int, err error) {
	if r.sequential && off >= 0 {
		r.ahead.follow(r, off)
	}
	for n < len(p) && r.some.Load() > 0 {
		m := r.ahead.take(r, p[n:], off+int64(n))
		if m == 0 {
			break
		}
		n += m
	}
	if n == len(p) && n > 0 {
		return n, nil
	}
	m, err := r.f.ReadAt(p[n:], off+int64(n))
	return n + m, err
}

// Read is ReadAt at an offset of its own.
func (r *reader) Read(p []byte) (int, error) {
	r.cursor.Lock()
	defer r.cursor.Unlock()
	n, err := r.ReadAt(p, r.off)
	r.off += int64(n)
	if n > 0 && err == io.EOF {
		err = nil
	}
	return n, err
}

// WriteTo writes the rest of the file to w.
func (r *reader) WriteTo(w io.Writer) (int64, error) {
	buf := aio.AlignedBuffer(spanBytes)
	return io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{r}, buf)
}

// Prefetch reads length bytes at offset into memory in few requests, as far as there is room, for a
// later ReadAt: that one starts the first 128 KiB, and Prefetch the rest.
func (r *reader) Prefetch(offset, length int64) error {
	r.ahead.fetch(r, offset, min(offset+length, r.size))
	return nil
}

// Close closes the file. Reads ahead end by themselves.
func (r *reader) Close() error {
	r.ahead.drop(r)
	return r.f.Close()
}

// A span is a part of a file, in memory or in flight.
type span struct {
	r      *reader
	lo, hi int64
	buf    []byte
	users  int  // goroutines that copy or fill buf; guarded by readahead.mu
	gone   bool // removed from its reader's spans; guarded by readahead.mu
	filled sync.Once
	n      int // bytes read, once filled is closed
}

// A readahead is the memory into which the readers of an FS read ahead.
type readahead struct {
	most int // spans

	mu   sync.Mutex
	used []*span // those of readers, the oldest first
	made int     // number of buffers, without the free ones
	free [][]byte
}

func newReadahead(most int) *readahead { return &readahead{most: most} }

// buffer returns a buffer for a span.
func (a *readahead) buffer() []byte {
	last := len(a.free) - 1
	if last < 0 {
		return aio.AlignedBuffer(spanBytes)
	}
	buf := a.free[last]
	a.free = a.free[:last]
	return buf
}

// follow keeps spans ahead of a reader at off, and drops those behind it.
func (a *readahead) follow(r *reader, off int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for len(r.spans) > 0 && (r.spans[0].hi <= off || off < r.spans[0].lo) {
		a.remove(r.spans[0])
	}
	next := off &^ (r.unit - 1)
	if last := len(r.spans) - 1; last >= 0 {
		next = r.spans[last].hi
	}
	for len(r.spans) <= spansAhead && next < r.size {
		s := a.add(r, next, next+spanBytes)
		if s == nil {
			return
		}
		if len(r.spans) > 1 { // this goroutine reads the first one
			a.start(s)
		}
		next = s.hi
	}
}

// fetch adds the missing spans of [lo, hi), and starts all but the first. The first goroutine that
// needs that one reads it, because Pebble does so at once: a switch to another goroutine and back
// would take longer.
func (a *readahead) fetch(r *reader, lo, hi int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	lo, hi = lo&^(r.unit-1), (hi+r.unit-1)&^(r.unit-1)
	for first := true; lo < hi; {
		end := min(lo+spanBytes, hi)
		i, covered := r.find(lo)
		switch {
		case covered:
			lo = r.spans[i].hi
			continue
		case i < len(r.spans):
			end = min(end, r.spans[i].lo)
		}
		s := a.add(r, lo, end)
		if s == nil {
			return
		}
		if !first {
			a.start(s)
		}
		lo, first = end, false
	}
}

// find returns the index of the span that contains off, or the place for a span that begins there.
func (r *reader) find(off int64) (i int, found bool) {
	for i, s := range r.spans {
		if off < s.hi {
			return i, off >= s.lo
		}
	}
	return len(r.spans), false
}

// add makes a span for [lo, hi), which overlaps none of r. It returns nil if there is no memory for
// it, or r is closed.
func (a *readahead) add(r *reader, lo, hi int64) *span {
	if r.closed {
		return nil
	}
	for i := 0; a.made >= a.most; i++ {
		if i == len(a.used) {
			return nil
		}
		if s := a.used[i]; s.users == 0 && (s.r != r || !r.sequential) {
			a.remove(s)
			i = -1
		}
	}
	a.made++
	s := &span{r: r, lo: lo, hi: hi, buf: a.buffer()[:hi-lo]}
	i, _ := r.find(lo)
	r.spans = slices.Insert(r.spans, i, s)
	r.some.Add(1)
	a.used = append(a.used, s)
	return s
}

// start reads s in a goroutine.
func (a *readahead) start(s *span) {
	s.users++
	go func() {
		s.filled.Do(s.read)
		a.mu.Lock()
		defer a.mu.Unlock()
		a.leave(s)
	}()
}

// read fills s. A reader of bytes that an error has left out makes a ReadAt of its own, which
// returns the error.
func (s *span) read() { s.n, _ = s.r.f.ReadAt(s.buf, s.lo) }

// take copies the beginning of p if that is in a span. It reads a span that was not started, waits
// for one in flight, and drops one whose last byte is taken.
func (a *readahead) take(r *reader, p []byte, off int64) (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	i, found := r.find(off)
	if !found {
		return 0
	}
	s := r.spans[i]
	s.users++
	a.mu.Unlock()
	s.filled.Do(s.read)
	if skip := int(off - s.lo); skip < s.n {
		n = copy(p, s.buf[skip:s.n])
	}
	a.mu.Lock()
	if n == 0 || off+int64(n) == s.hi {
		a.remove(s)
	}
	a.leave(s)
	return n
}

// drop drops all spans of r, for ever.
func (a *readahead) drop(r *reader) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r.closed = true
	for len(r.spans) > 0 {
		a.remove(r.spans[0])
	}
}

// remove takes s from its reader, if it is there.
func (a *readahead) remove(s *span) {
	if s.gone {
		return
	}
	s.gone = true
	i := slices.Index(s.r.spans, s)
	s.r.spans = slices.Delete(s.r.spans, i, i+1)
	s.r.some.Add(-1)
	i = slices.Index(a.used, s)
	a.used = slices.Delete(a.used, i, i+1)
	s.users++
	a.leave(s)
}

// leave ends a use of s. Once s is gone, the last use frees its memory.
func (a *readahead) leave(s *span) {
	if s.users--; s.users == 0 && s.gone {
		a.made--
		if len(a.free) < spansKept {
			a.free = append(a.free, s.buf[:cap(s.buf)])
		}
		s.buf = nil
	}
}
