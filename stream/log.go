package stream

import (
	"io"
	"math"
	"sync"

	"github.com/go-aio/aio"
)

// An exclusive Writer writes the last unit again and again, each time with more bytes in it. Other
// Writers leave that to the page cache.

// claim truncates the file to the offset where the Writer begins, and reads the bytes of the first
// unit before that offset.
func (w *Writer) claim() error {
	regular := w.size != math.MaxInt64
	if regular && w.size > w.off {
		if err := w.f.Truncate(w.off); err != nil {
			return err
		}
		w.size = w.off
	}
	b, err := w.current()
	if err != nil {
		return err
	}
	if head := b.buf[w.down(b.lo):b.lo]; len(head) > 0 {
		n, err := w.f.ReadAt(head, w.off-int64(len(head)))
		clear(head[n:]) // behind the end of the file
		if err != nil && err != io.EOF {
			return err
		}
	}
	w.claimed = regular
	return nil
}

// cut sets the exact size of the file. After writes that failed it may have to try again: btrfs
// waits for one such write each time, and fails with its error before it truncates anything
// (btrfs_wait_ordered_range, seen on Linux 6.18).
func (w *Writer) cut() error {
	err := w.f.Truncate(w.off)
	for tries := 0; err != nil && w.err != nil && tries < w.depth; tries++ {
		err = w.f.Truncate(w.off)
	}
	return err
}

// writeUnits writes the units of b whole, with zeros behind the last byte.
func (w *Writer) writeUnits(b *writeBlock) (n int, err error) {
	lo, hi := w.down(b.lo), w.up(b.hi)
	clear(b.buf[b.hi:hi]) // if b is not full it is a copy, see tail
	if _, err := w.f.WriteAt(b.buf[lo:hi], b.base+int64(lo)); err != nil {
		return 0, err
	}
	return b.hi - b.lo, nil
}

// The numbers of zeros that reserve writes first, and, doubling it each time, at most.
const (
	minZeros = 64 << 10
	maxZeros = 1 << 20
)

// zeros returns maxZeros zeros. No call writes to them, so they all are the kernel's zero page.
var zeros = sync.OnceValue(func() []byte { return aio.AlignedBuffer(maxZeros) })

// reserve writes zeros behind b, if b extends the file and the caller expects more Syncs. An
// fdatasync(2) after a write into these zeros writes no journal: the write changes neither the size
// nor the state of an extent.
func (w *Writer) reserve(b *writeBlock) {
	if !b.reserve || b.end() <= w.size || w.zeros < 0 {
		return
	}
	// b is the first block in flight, see mustWait. All others wait for the new size.
	n := min(max(2*w.zeros, minZeros), maxZeros)
	end := b.base + int64(w.up(b.hi))
	w.mu.Unlock()
	_, err := w.f.WriteAt(zeros()[:n], end)
	w.mu.Lock()
	if err != nil {
		// The filesystem is full. The zeros that did fit have the room that b needs.
		_ = w.f.Truncate(w.size)
		w.zeros = -1
		return
	}
	w.zeros, w.size = n, end+n
	w.changed.Broadcast()
}
