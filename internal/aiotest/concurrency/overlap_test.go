package concurrency

import (
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"

	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/internal/aiotest/aiofile"
)

// An overlap lists the bytes that the writers write; several write the same.
type overlap struct {
	name  string
	spans []span // writer i writes spans[i%len(spans)]
}

// overlaps are ranges of all sizes, up to several bounce buffers of 1 MiB, whole blocks and not,
// equal and overlapping by half.
func overlaps() (all []overlap) {
	for _, n := range []int{100, 4096, 64 << 10} {
		for _, off := range []int64{4096, 4099} {
			all = append(all,
				overlap{fmt.Sprintf("%d bytes at %d", n, off), []span{{off, n}}},
				overlap{fmt.Sprintf("%d bytes at %d, and half way", n, off), []span{{off, n}, {off + int64(n/2), n}}})
		}
	}
	const mib = 1 << 20
	return append(all,
		overlap{"1 MiB at 4099", []span{{4099, mib}}},
		overlap{"3 MiB", []span{{0, 3 * mib}}},
		overlap{"2 MiB, and half way", []span{{0, 2 * mib}, {mib, 2 * mib}}},
		overlap{"blocks and bytes", []span{{8192, 256 << 10}, {8192 + 100, 256 << 10}, {8192 + 65536, 4096}}})
}

// TestOverlap runs writers of the same bytes at the same time. The bytes common to two writes must
// then all be from one of them. write(2) is atomic to other writes, by the inode's lock (i_rwsem)
// in ext4, xfs, btrfs, tmpfs and FUSE. Writes of aio are too, also where the kernel runs direct
// writes side by side.
func TestOverlap(t *testing.T) {
	for _, opened := range [][]way{{byOS}, {byBuffered}, {byDirect}, {byBuffered, byDirect}} {
		t.Run(wayNames(opened), func(t *testing.T) {
			conditions(t, func(t *testing.T) {
				name := aiofile.Put(t, aiotest.Dir(t), "file", nil)
				for i, o := range overlaps() {
					if !aiotest.SomeOrFull(i) {
						continue
					}
					testOverlap(t, o, opened, name)
				}
			})
		})
	}
}

func wayNames(list []way) (names string) {
	for i, w := range list {
		if i > 0 {
			names += " and "
		}
		names += w.name
	}
	return names
}

const overlapWriters = 6

// testOverlap opens the file in each way by each of its names.
func testOverlap(t *testing.T, o overlap, opened []way, names ...string) {
	t.Helper()
	size := int64(0)
	for _, s := range o.spans {
		size = max(size, s.end())
	}
	aiofile.Must(os.Truncate(names[0], size))
	var files []aiotest.File
	for i := range 2 * len(opened) * len(names) {
		files = append(files, opened[i%len(opened)].open(t, names[i/len(opened)%len(names)], os.O_RDWR))
	}
	defer closeAll(files)
	buffers := make([][]byte, overlapWriters)
	for w := range buffers {
		buffers[w] = aiotest.Buffer(o.spans[w%len(o.spans)].n, w%3/2)
	}
	got := aiotest.Buffer(int(size), 0)
	for round := range o.rounds() {
		start := make(chan struct{})
		var wg sync.WaitGroup
		for w, p := range buffers {
			for i := range p {
				p[i] = fill(round, w)
			}
			wg.Go(func() {
				<-start
				if _, err := files[(w+round)%len(files)].WriteAt(p, o.spans[w%len(o.spans)].off); err != nil {
					t.Error(err)
				}
			})
		}
		close(start)
		wg.Wait()
		reader := files[round%len(files)]
		if n, err := reader.ReadAt(got, 0); n != len(got) {
			t.Fatal(n, err)
		}
		if what := o.mixture(got, round); what != "" {
			t.Errorf("%s, round %d: %s", o.name, round, what)
			return
		}
	}
	for _, f := range files {
		if err := f.Sync(); err != nil {
			t.Errorf("%s: Sync: %v", o.name, err)
		}
	}
}

// rounds returns the number of rounds, fewer for long writes.
func (o overlap) rounds() int {
	if o.spans[0].n > 64<<10 {
		return 2
	}
	return 3 * aiotest.Scaled(4)
}

func closeAll(files []aiotest.File) {
	for _, f := range files {
		f.Close()
	}
}

// mixture describes common bytes of spans that come from several writers, or from none of them.
func (o overlap) mixture(p []byte, round int) string {
	edges := []int64{}
	for _, s := range o.spans {
		edges = append(edges, s.off, s.end())
	}
	slices.Sort(edges)
	edges = slices.Compact(edges)
	for i, lo := range edges[:len(edges)-1] {
		part := p[lo:edges[i+1]]
		if writer := o.writer(part[0], lo, round); writer < 0 {
			return fmt.Sprintf("the byte at %d is %d, which no writer wrote there", lo, part[0])
		}
		for j, b := range part {
			if b != part[0] {
				return fmt.Sprintf("bytes from %d are %d, and from %d %d", lo, part[0], lo+int64(j), b)
			}
		}
	}
	return ""
}

// writer returns the writer of b at off, or -1.
func (o overlap) writer(b byte, off int64, round int) int {
	for w := range overlapWriters {
		s := o.spans[w%len(o.spans)]
		if fill(round, w) == b && s.off <= off && off < s.end() {
			return w
		}
	}
	return -1
}
