package sqlite

import (
	"math/bits"

	"github.com/go-aio/aio"
)

// A workingSet tells from the last pages that a connection has read whether it reads few of them over and over. Its own cache is
// too small for them then, or is dropped by the writes of others, or what it reads are blocks of a cipher with several pages in each. The page cache
// would have had these, in a hundredth of the time of the disk.
//
// Direct reads are ahead as long as fewer than 7 in 10 would be answered by the page cache, see docs/embedding.md.
type workingSet struct {
	// block is the length in bytes from which I/O of a direct File goes past the page cache. A
	// shorter write goes through it, so a shorter read does too. It is one of the header of the
	// database, of a page of an old database, or of a sector of package xts, which has eight to a
	// page.
	block int64

	seen  [4 * window / 64]uint64 // a bit for each page read, the more of them are different the more are set
	reads int
	small bool
}

const (
	window = 4096       // reads after which it is decided anew
	few    = window / 4 // different pages in a window: at most these are small, 4 MiB with pages of 4096 bytes
	many   = window / 2 // from these on it is large again
)

// newWorkingSet returns a workingSet of a direct File.
func newWorkingSet(f *aio.File) *workingSet {
	a := f.Alignment()
	return &workingSet{block: int64(max(a.Read, a.Write))}
}

// read takes note of a page that is read, and reports whether the page cache should be asked for it.
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
