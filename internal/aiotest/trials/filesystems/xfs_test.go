package filesystems

import (
	"os"
	"testing"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/internal/aiotest/aiofile"
)

// TestReadPastReservedSpace reads beyond the end of a file for which xfs has reserved more space
// than its size. A direct read there fails with EIO, once fallocate(2) has taken some of that
// space.
func TestReadPastReservedSpace(t *testing.T) {
	aiotest.Guard(t)
	dir, _ := aiotest.XFS.NewDir(t)
	aiotest.Compare(t, dir, aiofile.Package(t, aio.O_DIRECT), func(s *aiotest.Side) {
		f := s.MustOpen("file", os.O_RDWR|os.O_CREATE)
		n, err := f.WriteAt(aiotest.Pattern(122_061, 1), 0)
		s.Note("WriteAt", n, err, f.Sync())
		n, err = f.WriteAt(aiotest.Pattern(65_361, 2), 122_061)
		s.Note("WriteAt at the end", n, err, aiotest.Allocate(f, 187_422, 11_933))
		p := aiotest.Buffer(1<<20, 0)
		n, err = f.ReadAt(p, 0)
		s.Note("ReadAt", n, err, p[:n])
		n, err = aiotest.ReadvAt(f, [][]byte{p[:4096], p[4096:]}, 0)
		s.Note("ReadvAt", n, err, p[:n])
		s.Note("Sync", f.Sync())
	})
}
