package aio

import (
	"io"
	"math"
	"sync"
)

// What a Writer does that has the file to itself: it writes the last unit again and again,
// each time with more in it, where others have to leave that to the page cache.

// claim cuts the file where the Writer begins, and reads what the first unit has before that.
func (w *Writer) claim() error {
	if regular := w.size != math.MaxInt64; regular && w.size > w.start {
		if err := w.f.Truncate(w.start); err != nil {
			return err
		}
		w.size = w.start
	}
	b, err := w.current()
	if err != nil {
		return err
	}
	head := b.buf[w.down(b.lo):b.lo]
	if len(head) > 0 {
		n, err := w.f.ReadAt(head, w.start-int64(len(head)))
		clear(head[n:]) // where the file ends before
		if err != nil && err != io.EOF {
			return err
		}
	}
	w.claimed = w.size != math.MaxInt64
	return nil
}

// writeUnits is write of whole units, with zeros behind the last byte.
func (w *Writer) writeUnits(b *writeBlock) (n int, err error) {
	lo, hi := w.down(b.lo), w.up(b.hi)
	clear(b.buf[b.hi:hi]) // of a block that is not full it is a copy, see tail
	if _, err := w.f.WriteAt(b.buf[lo:hi], b.base+int64(lo)); err != nil {
		return 0, err
	}
	return b.hi - b.lo, nil
}

// Bytes that reserve writes at a time: twice as many each time.
const (
	leastZeros = 64 << 10
	mostZeros  = 1 << 20
)

// zeros are mostZeros of them. Nobody writes to them, so they are one page of the kernel's.
var zeros = sync.OnceValue(func() []byte { return AlignedBuffer(mostZeros) })

// reserve writes zeros behind b, if that is beyond what has been written of the file and more
// Syncs are to be expected. An fdatasync(2) after a write into them has no journal to write:
// neither the size changes nor does a block become one that has been written.
func (w *Writer) reserve(b *writeBlock) {
	if !b.ahead || b.end() <= w.size || w.zeros < 0 {
		return
	}
	// b is the first of those on their way, see waits; all others wait for the new size.
	n := min(max(2*w.zeros, leastZeros), mostZeros)
	end := b.base + int64(w.up(b.hi))
	w.mu.Unlock()
	_, err := w.f.WriteAt(zeros()[:n], end)
	w.mu.Lock()
	if err != nil {
		w.zeros = -1 // no room for more than is needed; what is, has its own error
		return
	}
	w.zeros, w.size = n, end+n
	w.ended.Broadcast()
}
