package concurrency

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/internal/aiotest/aiofile"
)

// contentLimit is the largest file of this content, in bytes.
const contentLimit = 4 << 20

// content holds the byte at each offset of a file whose bytes depend on neither writer nor time.
// None is zero, and none lies outside this content.
var content = sync.OnceValue(func() []byte {
	p := make([]byte, contentLimit)
	for i := range p {
		p[i] = byte(1 + (i+i>>12*37)%251)
	}
	return p
})

// atShift returns the content of s in a buffer at an address that is shift beyond a block: direct
// I/O takes it as it is if shift is 0.
func atShift(s span, shift int) []byte {
	p := aiotest.Buffer(s.n, shift)
	copy(p, content()[s.off:])
	return p
}

// lengths are the sizes by which the writers extend a file, in turn. All writes are at the end.
var lengths = []struct {
	name string
	n    []int
	flag int
}{
	{"blocks", []int{4096, 8192, 65536, 4096, 16384}, 0},
	{"bytes", []int{100, 4000, 1, 70001, 511, 4096}, 0},
	{"blocks and bytes", []int{4096, 8192, 100, 3996, 65536, 4096, 70000, 3728}, 0},
	{"blocks and bytes, O_APPEND", []int{4096, 8192, 100, 3996, 65536, 4096, 70000, 3728}, os.O_APPEND},
}

// TestReadersBesideExtension reads a growing file in all ways. Every byte read was written before,
// and an io.EOF was at the end of that moment.
func TestReadersBesideExtension(t *testing.T) {
	for _, l := range lengths {
		t.Run(l.name, func(t *testing.T) {
			conditions(t, func(t *testing.T) {
				name := aiofile.Put(t, aiotest.Dir(t), "file", nil)
				var quit atomic.Bool
				var readers sync.WaitGroup
				for i, way := range ways {
					at, stream := way.open(t, name, os.O_RDONLY), way.open(t, name, os.O_RDONLY)
					readers.Go(func() { readEnd(t, at, uint64(i), &quit) })
					readers.Go(func() { follow(t, stream, &quit) })
				}
				extend(t, byDirect.open(t, name, os.O_RDWR|l.flag), byBuffered.open(t, name, os.O_RDWR), l.n)
				quit.Store(true)
				readers.Wait()
			})
		})
	}
}

// extend writes at the end of f, and rewrites bytes before the end, by another File too.
func extend(t *testing.T, f, again aiotest.File, lengths []int) {
	next := span{}
	for i := range 3 * aiotest.Scaled(40) {
		if next.n = lengths[i%len(lengths)]; next.end() > contentLimit {
			return
		}
		_, err := f.Seek(next.off, io.SeekStart)
		if err == nil {
			_, err = f.Write(atShift(next, i%2))
		}
		if err != nil {
			t.Error(err)
			return
		}
		if _, err := again.WriteAt(atShift(next, 0)[:next.n/2], next.off); err != nil {
			t.Error(err)
			return
		}
		next.off = next.end()
		if fi, err := again.Stat(); err != nil || fi.Size() != next.off {
			t.Errorf("size %d after %d bytes: %v", fi.Size(), next.off, err)
			return
		}
	}
}

// readEnd reads around the end of f.
func readEnd(t *testing.T, f aiotest.File, seed uint64, quit *atomic.Bool) {
	random := rand.New(rand.NewPCG(seed, 1))
	p := aiotest.Buffer(128<<10, 0)
	for last := int64(0); !quit.Load(); {
		before := size(t, f)
		if before < last {
			t.Errorf("%T: the size was %d and is %d", f, last, before)
			return
		}
		s := span{max(0, before-random.Int64N(70000)), 1 + random.IntN(len(p))}
		if random.IntN(3) == 0 {
			s.off, s.n = s.off&^4095, (s.n+4095)&^4095
		}
		n, err := f.ReadAt(p[:s.n], s.off)
		last = size(t, f)
		if what := checkRead(p[:s.n], s.off, n, err, before, last); what != "" {
			t.Errorf("%T: ReadAt %d bytes at %d: %s", f, s.n, s.off, what)
			return
		}
	}
}

// checkRead describes an error in a read of a file that only grew, from size before to size after,
// or returns "".
func checkRead(p []byte, off int64, n int, err error, before, after int64) string {
	end := off + int64(n)
	switch {
	case n == len(p) && err != nil && err != io.EOF, n < len(p) && err != io.EOF:
		return fmt.Sprintf("%d, %v", n, err)
	case n < len(p) && end < before:
		return fmt.Sprintf("the end at %d, and the size was %d before", end, before)
	case end > after:
		return fmt.Sprintf("bytes up to %d, and the size is %d", end, after)
	case !bytes.Equal(p[:n], content()[off:end]):
		return "other bytes than were written: " + firstDifference(p[:n], content()[off:end])
	}
	return ""
}

func firstDifference(got, want []byte) string {
	for i := range got {
		if got[i] != want[i] {
			return fmt.Sprintf("byte %d of %d is %d; want %d", i, len(got), got[i], want[i])
		}
	}
	return "none"
}

// follow reads f from its beginning to the current end, again and again.
func follow(t *testing.T, f aiotest.File, quit *atomic.Bool) {
	p := aiotest.Buffer(10000, 0)
	for off := 0; ; {
		ending := quit.Load()
		n, err := f.Read(p)
		if n == 0 && err == io.EOF {
			if !ending {
				runtime.Gosched()
				continue
			}
			if int64(off) != size(t, f) {
				t.Errorf("%T: Read to the end at %d, and the size is %d", f, off, size(t, f))
			}
			return
		}
		if err != nil || !bytes.Equal(p[:n], content()[off:off+n]) {
			t.Errorf("%T: Read at %d: %d, %v; %s", f, off, n, err, firstDifference(p[:n], content()[off:off+n]))
			return
		}
		off += n
	}
}

func size(t *testing.T, f aiotest.File) int64 {
	fi, err := f.Stat()
	if err != nil {
		t.Error(err)
		return 0
	}
	return fi.Size()
}

// TestSize watches the size of a file that grows through direct Files. The size is exact after each
// write and never goes back, and the bytes before it are those that were written.
func TestSize(t *testing.T) {
	aiotest.Guard(t)
	dir := aiotest.Dir(t)
	for _, flag := range []int{0, os.O_APPEND} {
		t.Run(fmt.Sprintf("O_APPEND=%t", flag != 0), func(t *testing.T) {
			name := aiofile.Put(t, dir, "file", nil)
			f := aiofile.Open(t, name, os.O_RDWR|flag|aio.O_DIRECT)
			defer aiotest.WatchSize(t, aiofile.OpenOS(t, name, os.O_RDONLY))()
			size := int64(0)
			for i := range aiotest.Scaled(2000) {
				// Every other write begins at a block.
				n := []int{100, 3996, 4096, 8192, 1, 4095, 70000, 4096 - 70000%4096}[i%8]
				p := aiotest.Pattern(n, byte(i))
				_, err := f.Seek(size, io.SeekStart)
				if err == nil && (i%3 != 0 || flag != 0) {
					_, err = f.Write(p)
				} else if err == nil {
					_, err = f.WriteAt(p, size)
				}
				size += int64(n)
				fi, err2 := os.Stat(name)
				if err != nil || err2 != nil || fi.Size() != size {
					t.Fatal(err, err2, fi.Size(), size)
				}
			}
		})
	}
}
