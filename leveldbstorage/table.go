package leveldbstorage

import (
	"sync"
	"weak"

	"github.com/go-aio/aio"
)

// A tableWriter writes a table in large requests. goleveldb reads a table after its Close only.
type tableWriter struct {
	*file
	w *aio.Writer
}

func (t *tableWriter) Write(p []byte) (int, error) { return t.w.Write(p) }
func (t *tableWriter) Sync() error                 { return t.w.Sync() }

func (t *tableWriter) Close() error {
	return t.close(func() error {
		err := t.w.Close()
		if e := t.f.Close(); err == nil {
			err = e
		}
		return err
	})
}

// Lengths of windows in bytes. The first is short: nothing is done until it is there.
const (
	first = 64 << 10
	ahead = 512 << 10
)

// A tableReader reads a direct File, and ahead of who reads one block after the other.
type tableReader struct {
	*file
	size int64 // of the file

	// mu is tried, never waited for: who does not get it reads for himself.
	mu   sync.Mutex
	next int64 // where the last read ended
	// w is what has been read ahead. goleveldb keeps hundreds of tables open and does not say when it
	// is done with one, so the collector may take it.
	w weak.Pointer[windows]
}

// windows are two parts of a file, one after the other.
type windows struct {
	now, then *window
}

// A window is a part of a file that is in memory, or on its way there.
type window struct {
	buf  []byte
	base int64
	want int     // bytes, of which the last window of a file has fewer
	op   *aio.Op // nil once it is there
	n    int     // bytes that are there
}

func (t *tableReader) ReadAt(p []byte, off int64) (int, error) {
	if !t.mu.TryLock() {
		return t.f.ReadAt(p, off)
	}
	ok := t.readAhead(p, off)
	t.mu.Unlock()
	if ok {
		return len(p), nil
	}
	return t.f.ReadAt(p, off)
}

// readAhead fills p if all of it is in a window, after it has moved these where it
// sees fit. Errors, and the end of the file, it leaves to who reads without.
func (t *tableReader) readAhead(p []byte, off int64) bool {
	end := off + int64(len(p))
	// Whoever begins at the beginning goes on, most of the time. So it is with a compaction.
	follows := off == t.next || off == 0
	t.next = end
	if off < 0 || len(p) > ahead/2 {
		return false
	}
	w := t.w.Value()
	if w == nil {
		if !follows {
			return false
		}
		w = &windows{now: new(window), then: new(window)}
		w.begin(t, off)
		t.w = weak.Make(w)
	}
	if off >= w.then.base && w.then.holds(off) {
		w.now, w.then = w.then, w.now
		w.then.start(t, w.now.end(), ahead)
	} else if !w.now.holds(off) {
		if !follows {
			return false
		}
		w.begin(t, off)
	}
	n := w.now.copy(p, off)
	if n < len(p) && w.now.base+int64(w.now.n) == w.then.base {
		n += w.then.copy(p[n:], off+int64(n))
	}
	return n == len(p)
}

// begin has the windows read from off on.
func (w *windows) begin(t *tableReader, off int64) {
	w.now.start(t, off&^4095, first)
	w.then.start(t, w.now.end(), ahead)
}

// start has n bytes read from base on into the window, both multiples of 4096, as far as the file goes.
func (w *window) start(t *tableReader, base int64, n int) {
	w.wait() // the buffer is in use until then
	w.base, w.want, w.n = base, n, 0
	left := t.size - base
	if left <= 0 {
		return
	}
	// A table is opened for its index first, which is at the end, and most often a few kilobytes.
	if room := int(min(ahead, left)); len(w.buf) < room {
		w.buf = aio.AlignedBuffer((room + 4095) &^ 4095)
	}
	w.op = t.f.StartReadAt(w.buf[:min(n, len(w.buf))], base)
}

// end is where the next window begins.
func (w *window) end() int64 { return w.base + int64(w.want) }

func (w *window) wait() {
	if w.op != nil {
		w.n, _ = w.op.Wait()
		w.op = nil
	}
}

// holds reports whether off is in the window, or will be.
func (w *window) holds(off int64) bool {
	return w.base <= off && off < w.end()
}

// copy fills as much of p as the window has from off on.
func (w *window) copy(p []byte, off int64) int {
	w.wait()
	if off < w.base || off >= w.base+int64(w.n) {
		return 0
	}
	return copy(p, w.buf[off-w.base:w.n])
}
