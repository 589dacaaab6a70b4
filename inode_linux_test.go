package aio_test

import (
	"syscall"
	"testing"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/internal/inode"
)

// inodeOf opens the inode of f until the test ends.
func inodeOf(t *testing.T, f *aio.File) *inode.Inode {
	t.Helper()
	fi, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	st := fi.Sys().(*syscall.Stat_t)
	n := inode.Open(inode.Key{Dev: uint64(st.Dev), Ino: st.Ino}) //nolint:unconvert // uint32 on 32-bit MIPS
	t.Cleanup(n.Close)
	return n
}

// directWrite has a direct write of [lo, hi) as if it were under way, of some File of the inode of
// f. over ends it.
func directWrite(t *testing.T, f *aio.File, lo, hi int64) (over func()) {
	n, r := inodeOf(t, f), inode.Range{Class: inode.Direct, Lo: lo, Hi: hi}
	n.Lock(r)
	return func() { n.Unlock(r) }
}

// recent reports whether ReadAt would look for [lo, hi) in the page cache first.
func recent(t *testing.T, f *aio.File, lo, hi int64) bool { return inodeOf(t, f).Recent(lo, hi) }
