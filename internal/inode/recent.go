package inode

import "sync/atomic"

// recent remembers which pages buffered writes have put into the page cache lately. There
// they are read in a microsecond, where a direct read has the kernel write them to the disk
// first. It is a hint, but for one thing: who has seen the bytes of a direct write must not
// find older ones in the cache after that, so a direct write has its pages forgotten before
// it begins.
type recent struct {
	pages [recentPages]atomic.Uint64 // number of the page, plus 1, at the place that its low bits give
}

const (
	recentPage  = 4096 // bytes; larger pages of the system count as several
	recentPages = 256
	// recentMost is the most pages of one write or read. Larger ones gain little.
	recentMost = 16
)

// pagesOf returns the pages that hold bytes of [lo, hi), which is not empty.
func pagesOf(lo, hi int64) (first, last uint64) {
	return uint64(lo) / recentPage, uint64(hi-1) / recentPage
}

// Wrote takes note that a buffered write has put [lo, hi) into the page cache. Its lock is
// still held.
func (n *Inode) Wrote(lo, hi int64) {
	first, last := pagesOf(lo, hi)
	if lo >= hi || last-first >= recentMost {
		return
	}
	r := n.recent.Load()
	if r == nil {
		n.recent.CompareAndSwap(nil, new(recent))
		r = n.recent.Load()
	}
	for page := first; page <= last; page++ {
		r.pages[page%recentPages].Store(page + 1)
	}
}

// Recent reports whether all of [lo, hi), which is not empty, is probably in the page cache.
func (n *Inode) Recent(lo, hi int64) bool {
	r := n.recent.Load()
	if r == nil {
		return false
	}
	first, last := pagesOf(lo, hi)
	if last-first >= recentMost {
		return false
	}
	for page := first; page <= last; page++ {
		if r.pages[page%recentPages].Load() != page+1 {
			return false
		}
	}
	return true
}

// Forget takes back what Wrote said of any page of [lo, hi), which is not empty. A direct
// write calls it with its lock held, before it begins.
func (n *Inode) Forget(lo, hi int64) {
	r := n.recent.Load()
	if r == nil {
		return
	}
	first, last := pagesOf(lo, hi)
	for i := range min(last-first, recentPages-1) + 1 {
		p := &r.pages[(first+i)%recentPages]
		if page := p.Load(); page > first && page <= last+1 {
			p.CompareAndSwap(page, 0)
		}
	}
}
