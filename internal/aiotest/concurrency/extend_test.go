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

// content is what is at each offset of a file whose bytes do not depend on who wrote
// them, or when. None is zero, and none is strange.
var content = sync.OnceValue(func() []byte {
	p := make([]byte, contentLimit)
	for i := range p {
		p[i] = byte(1 + (i+i>>12*37)%251)
	}
	return p
})

// buffered returns the content at off in a buffer that direct I/O can use, or not.
func buffered(s span, shift int) []byte {
	p := aiotest.Buffer(s.n, shift)
	copy(p, content()[s.off:])
	return p
}

// lengths are how much the writers add to a file, in turns. All are at the end.
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

// TestReadersBesideExtension reads a file that grows, in all ways: no byte is read that
// was not written, and what looks like the end was the end.
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
				extend(t, byDirect.open(t, name, os.O_RDWR|l.flag), byPlain.open(t, name, os.O_RDWR), l.n)
				quit.Store(true)
				readers.Wait()
			})
		})
	}
}

// extend writes at the end of f, and what is there already once more, by another File
// too.
func extend(t *testing.T, f, again aiotest.File, lengths []int) {
	next := span{}
	for i := range 3 * aiotest.Scaled(40) {
		if next.n = lengths[i%len(lengths)]; next.end() > contentLimit {
			return
		}
		_, err := f.Seek(next.off, io.SeekStart)
		if err == nil {
			_, err = f.Write(buffered(next, i%2))
		}
		if err != nil {
			t.Error(err)
			return
		}
		if _, err := again.WriteAt(buffered(next, 0)[:next.n/2], next.off); err != nil {
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

// checkRead says what is wrong with a read of a file that had the size before ahead of
// it and the size after later, and only grew.
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
		return "not what was written: " + firstDifference(p[:n], content()[off:end])
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

// follow reads f from its beginning, again and again at what is its end so far.
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

// TestSize watches the size of a file that grows through direct Files: it is exact after
// each write and never goes back, and behind it are the bytes that were written.
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
				// Every other one begins at a block.
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
