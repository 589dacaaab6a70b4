package sqlite

import (
	"math/bits"

	"github.com/go-aio/aio"
)

// A workingSet looks at the last pages that a connection has read, and tells whether it reads few
// of them over and over. Then its own cache is too small for them, or the writes of others drop it,
// or its reads are blocks of a cipher with several pages in each. The page cache would return these
// in a hundredth of the time of the disk.
//
// Direct reads are faster as long as the page cache would answer fewer than 7 in 10 of them, see
// docs/embedding.md.
type workingSet struct {
	// block is the length in bytes from which I/O of a direct File bypasses the page cache. A
	// shorter write goes through it, so a shorter read does too. Short reads are of the header of
	// the database, of a page of an old database, or of a sector of package xts, which has eight to
	// a page.
	block int64

	seen  [4 * window / 64]uint64 // a bit for each page read: the more different pages, the more bits
	reads int
	small bool
}

const (
	window = 4096       // reads between two decisions
	few    = window / 4 // different pages in a window: up to this number they are few, 4 MiB with pages of 4096 bytes
	many   = window / 2 // from this number on they are many again
)

// newWorkingSet returns a workingSet of a direct File.
func newWorkingSet(f *aio.File) *workingSet {
	a := f.Alignment()
	return &workingSet{block: int64(max(a.Read, a.Write))}
}

// read records the read of a page, and reports whether the page cache should be asked for it.
func (w *workingSet) read(off int64) bool {
	bit := off / w.block % int64(64*len(w.seen))
	w.seen[bit/64] |= 1 << (bit % 64)
	if w.reads++; w.reads == window {
		w.decide()
	}
	return w.small
}

func (w *workingSet) decide() {
	different := 0
	for _, word := range w.seen {
		different += bits.OnesCount64(word)
	}
	switch {
	case different <= few:
		w.small = true
	case different >= many:
		w.small = false
	}
	w.seen, w.reads = [len(w.seen)]uint64{}, 0
}
