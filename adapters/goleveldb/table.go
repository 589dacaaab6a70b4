package goleveldb

import (
	"sync"
	"weak"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/stream"
)

// A tableWriter writes a table in large requests. goleveldb reads a table after its Close only.
type tableWriter struct {
	*file
	w *stream.Writer
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

// A tableReader reads a direct File, and ahead of a sequential reader.
type tableReader struct {
	*file
	size int64 // of the file

	// mu is only tried: a goroutine that does not get it reads without the window.
	mu   sync.Mutex
	next int64 // where the last read ended
	// w is the window of bytes read ahead. goleveldb keeps hundreds of tables open and does not
	// close one after its last use, so the collector may free the window.
	w weak.Pointer[window]
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

// readAhead fills p from the bytes read ahead, and reads further ahead, if p begins where the last
// read ended. Errors, and the end of the file, are left to a read without it.
func (t *tableReader) readAhead(p []byte, off int64) bool {
	// A reader that begins at the beginning mostly goes on, as a compaction does.
	follows := off == t.next || off == 0
	t.next = off + int64(len(p))
	if off < 0 || len(p) > largest {
		return false
	}
	w := t.w.Value()
	if w != nil && w.holds(off) {
		return w.read(p, off)
	}
	if !follows {
		return false
	}
	if w != nil {
		w.end()
	}
	w = newWindow(t.f, off, t.size)
	t.w = weak.Make(w)
	return w.read(p, off)
}

// Lengths in bytes.
const (
	ahead    = 1 << 20   // of a window
	piece    = 256 << 10 // of a request
	largest  = 256 << 10 // of a read
	longTail = 64 << 10  // of the rest for which a window keeps no ring
)

// A window is a part of a file, in memory or in flight, that moves with its reader. Its bytes are
// in a ring.
type window struct {
	f    *aio.File
	ring *[]byte // nil once the rest is in tail
	tail []byte  // the last bytes of the file
	size int64   // of the file

	// Offsets in the file. base is that of the first byte of the ring.
	base  int64
	used  int64 // bytes before it have been read by the user
	there int64 // bytes before it are in memory
	asked int64 // bytes before it have been requested
	under []request
}

// A request is in flight, for the bytes up to end.
type request struct {
	op  *aio.Op
	end int64
}

// rings are the rings of windows with nothing more to request.
var rings = sync.Pool{New: func() any {
	ring := aio.AlignedBuffer(ahead)
	return &ring
}}

// newWindow starts to read at off.
func newWindow(f *aio.File, off, size int64) *window {
	base := off &^ int64(f.Alignment().Read-1) // so that requests go direct
	w := &window{f: f, ring: rings.Get().(*[]byte), size: size, base: base, used: off, there: base, asked: base}
	w.ask()
	return w
}

// ask requests as many bytes as the ring has room for.
func (w *window) ask() {
	for w.asked < w.size && w.asked+piece <= w.used+ahead {
		at := (w.asked - w.base) % ahead
		w.under = append(w.under, request{w.f.StartReadAt((*w.ring)[at:at+piece], w.asked), w.asked + piece})
		w.asked += piece
	}
}

// holds reports whether off is in the window, or will be.
func (w *window) holds(off int64) bool {
	return (w.ring != nil || w.tail != nil) && w.used <= off && off < w.asked
}

// read fills p, or returns false.
func (w *window) read(p []byte, off int64) bool {
	end := off + int64(len(p))
	for w.there < end {
		if len(w.under) == 0 || !w.wait() {
			return false
		}
	}
	w.copy(p, off)
	w.used = end
	if w.ring == nil {
		return true
	}
	w.ask()
	if left := w.size - end; w.there == w.size && left <= longTail {
		// The end of a scan is not announced. Its last blocks are before the index, which is read
		// first.
		tail := make([]byte, left)
		w.copy(tail, end)
		w.end()
		w.tail = tail
	}
	return true
}

// copy fills p with bytes in memory.
func (w *window) copy(p []byte, off int64) {
	if w.ring == nil {
		copy(p, w.tail[len(w.tail)-int(w.size-off):])
		return
	}
	at := int((off - w.base) % ahead)
	copy(p[copy(p, (*w.ring)[at:]):], *w.ring)
}

// wait waits for the first request, and reports whether it read all of its bytes.
func (w *window) wait() bool {
	r := w.under[0]
	w.under = w.under[1:]
	n, _ := r.op.Wait()
	if w.there+int64(n) < min(r.end, w.size) {
		w.end()
		return false
	}
	w.there = min(r.end, w.size)
	return true
}

// end gives the ring back. The window holds nothing from then on.
func (w *window) end() {
	if w.ring == nil {
		return
	}
	for _, r := range w.under {
		_, _ = r.op.Wait()
	}
	w.under = nil
	rings.Put(w.ring)
	w.ring = nil
}
