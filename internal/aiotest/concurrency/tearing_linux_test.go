package concurrency

import (
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/internal/aiotest/aiofile"
)

// TestReadsOfOverwrites reads bytes while they are overwritten. Every byte must be from one of the
// writes. One read may mix several writes: read(2) of ext4, btrfs and tmpfs takes no lock, and
// os.File may see part of a write there. On xfs it takes the inode's lock, so an os.File sees no
// part, and neither does a buffered File.
func TestReadsOfOverwrites(t *testing.T) {
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			conditions(t, func(t *testing.T) {
				dir := aiotest.Dir(t)
				reads, torn := readOverwrites(t, way, dir)
				t.Logf("%d of %d reads saw parts of two writes", torn, reads)
				if torn > 0 && way.name != byDirect.name && kind(t, dir) == unix.XFS_SUPER_MAGIC {
					t.Errorf("%s: %d of %d reads saw parts of two writes", way.name, torn, reads)
				}
			})
		})
	}
}

// readOverwrites counts the reads, and those that saw more than one write.
func readOverwrites(t *testing.T, way way, dir string) (reads, torn int) {
	const n = 64 << 10
	name := aiofile.Put(t, dir, "file", make([]byte, n))
	writer, reader := way.open(t, name, os.O_RDWR), way.open(t, name, os.O_RDONLY)
	p, got := aiotest.Buffer(n, 0), aiotest.Buffer(n, 0)
	var round atomic.Int64 // of the newest write that has begun
	write := func() {
		round.Add(1)
		for i := range p {
			p[i] = fill(int(round.Load()), 0)
		}
		if _, err := writer.WriteAt(p, 0); err != nil {
			t.Error(err)
		}
	}
	write()
	var quit atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		defer quit.Store(true)
		for range 3 * aiotest.Scaled(60) {
			write()
		}
	})
	for ; !quit.Load(); reads++ {
		first := int(round.Load()) - 1 // the newest one may still be near its beginning
		if k, err := reader.ReadAt(got, 0); k != n {
			t.Fatal(k, err)
		}
		if seen := writes(t, got, first, int(round.Load())); seen > 1 {
			torn++
		}
	}
	wg.Wait()
	return reads, torn
}

// writes returns how many of the writes from first to last p is of. It fails the test if
// a byte is of none.
func writes(t *testing.T, p []byte, first, last int) (seen int) {
	var in [256]bool
	for _, b := range p {
		if !in[b] {
			in[b] = true
			seen++
		}
	}
	for r := first; r <= last; r++ {
		in[fill(r, 0)] = false
	}
	for b, left := range in {
		if left {
			t.Errorf("%d was read, which is of no write from %d to %d", b, first, last)
		}
	}
	return seen
}

// kind is the filesystem's magic number, statfs(2).
func kind(t *testing.T, dir string) int64 {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		t.Fatal(os.NewSyscallError("statfs", err))
	}
	return int64(st.Type) //nolint:unconvert // an int32 on 32-bit systems
}
