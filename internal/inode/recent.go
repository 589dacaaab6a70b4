package inode

import "sync/atomic"

// recent remembers which pages buffered writes have put into the page cache lately: page number
// plus 1, at the index of its low bits. A read from there takes a microsecond, while a direct read
// makes the kernel write the pages to the disk first.
//
// One thing is more than a hint. A reader that has seen a direct write must not later see older
// cached bytes. So a direct write forgets its pages before it starts.
type recent [recentPages]atomic.Uint64

const (
	recentPage  = 4096 // bytes; a larger page of the system counts as several
	recentPages = 256
	maxRecent   = 16 // pages of one write or read; a larger one gains little
)

// pagesOf returns the first and the last page of the bytes [lo, hi), which is not empty.
func pagesOf(lo, hi int64) (first, last uint64) {
	return uint64(lo) / recentPage, uint64(hi-1) / recentPage
}

// Wrote records that a buffered write has put [lo, hi) into the page cache. The caller still holds
// the lock of the write.
func (n *Inode) Wrote(lo, hi int64) {
	first, last := pagesOf(lo, hi)
	if lo >= hi || last-first >= maxRecent {
		return
	}
	r := n.recent.Load()
	if r == nil {
		n.recent.CompareAndSwap(nil, new(recent))
		r = n.recent.Load()
	}
	for page := first; page <= last; page++ {
		r[page%recentPages].Store(page + 1)
	}
}

// Recent reports whether all of [lo, hi), which is not empty, is probably in the page cache.
func (n *Inode) Recent(lo, hi int64) bool {
	r := n.recent.Load()
	first, last := pagesOf(lo, hi)
	if r == nil || last-first >= maxRecent {
		return false
	}
	for page := first; page <= last; page++ {
		if r[page%recentPages].Load() != page+1 {
			return false
		}
	}
	return true
}

// Forget removes all pages of [lo, hi), which is not empty. A direct write calls it before it
// starts, with its lock held.
func (n *Inode) Forget(lo, hi int64) {
	r := n.recent.Load()
	if r == nil {
		return
	}
	first, last := pagesOf(lo, hi)
	for i := range min(last-first, recentPages-1) + 1 {
		p := &r[(first+i)%recentPages]
		if page := p.Load(); page > first && page <= last+1 {
			p.CompareAndSwap(page, 0)
		}
	}
}
