package concurrency

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/internal/aiotest/aiofile"
)

// blocksAndBytes alternates blocks for direct writes and bytes for buffered ones, in one large
// folio. Only within one process are they kept apart. Enough direct writes are in flight to go by
// io_submit(2), which holds the inode's lock only during that call. pwrite(2) would keep them apart
// by itself on ext4.
var blocksAndBytes = layout{"blocks and bytes in one folio", row(93, 32<<10, 100, 32<<10-100), 4}

// TestBlocksBesideBytes makes direct and buffered writes in one large folio. The kernel alone loses
// bytes there, or fails the next Sync with EIO.
func TestBlocksBesideBytes(t *testing.T) {
	conditions(t, func(t *testing.T) {
		testBlocksAndBytes(t, newFolio(t))
	})
}

// common lies behind the stripes, in the same folio. There direct and buffered writes meet in one
// block, but all write the same bytes.
var common = span{int64(blocksAndBytes.size()), 64 << 10}

func newFolio(t *testing.T) string {
	return aiofile.Put(t, aiotest.Dir(t), "file", content()[:common.end()])
}

// share writes part of the common bytes: whole blocks, if unit is 4096.
func share(f aiotest.File, random *rand.Rand, unit int) error {
	s := span{n: unit * (1 + random.IntN(8))}
	s.off = common.off + int64(unit*random.IntN((common.n-s.n)/unit))
	_, err := f.WriteAt(atShift(s, 0), s.off)
	return err
}

// testBlocksAndBytes runs writers that do not wait for one another, by all names of the file, and
// Sync beside them. Each writer reads its bytes back by another File.
func testBlocksAndBytes(t *testing.T, names ...string) {
	l, rounds := blocksAndBytes, 3*aiotest.Scaled(blocksAndBytes.rounds)
	var files []aiotest.File
	for i := range 4 {
		files = append(files, ways[1+i%2].open(t, names[i/2%len(names)], os.O_RDWR))
	}
	reader := byOS.open(t, names[0], os.O_RDONLY)
	var writers, syncing sync.WaitGroup
	for w, p := range l.buffers() {
		got := aiotest.Buffer(len(p), 0)
		writers.Go(func() {
			for round := range rounds {
				if err := l.writeAndRead(files[(w+round)%4], w, round, p, reader, got); err != nil {
					t.Errorf("round %d: %v", round, err)
					return
				}
			}
		})
	}
	for i := range 16 {
		random := rand.New(rand.NewPCG(uint64(i), 5))
		writers.Go(func() {
			for round := range rounds {
				if err := share(files[(i+round)%4], random, []int{4096, 100}[i%2]); err != nil {
					t.Error(err)
				}
			}
		})
	}
	var quit atomic.Bool
	syncing.Go(func() {
		for i := 0; !quit.Load(); i++ {
			if err := files[i%4].Sync(); err != nil {
				t.Errorf("Sync: %v", err)
				return
			}
		}
	})
	writers.Wait()
	quit.Store(true)
	syncing.Wait()
	got := aiotest.Buffer(l.size(), 0)
	for _, f := range append(files, reader) {
		l.check(t, f, got, rounds-1)
		p := aiotest.Buffer(common.n, 0)
		if n, err := f.ReadAt(p, common.off); n != len(p) || !bytes.Equal(p, atShift(common, 0)) {
			t.Errorf("%T: the common bytes: %d, %v: %s", f, n, err, firstDifference(p, atShift(common, 0)))
		}
	}
}

// writeAndRead writes a stripe by f and reads it by another file.
func (l layout) writeAndRead(f aiotest.File, writer, round int, p []byte, by aiotest.File, got []byte) error {
	if err := l.write(f, writer, round, p); err != nil {
		return err
	}
	if n, err := by.ReadAt(got, l.spans[writer].off); n != len(got) {
		return fmt.Errorf("%d, %w", n, err)
	}
	if !bytes.Equal(got, p) {
		return fmt.Errorf("stripe %d as %T reads it: %s", writer, by, firstDifference(got, p))
	}
	return nil
}
