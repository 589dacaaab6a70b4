package aiotest

import (
	"fmt"
	"math"
	"os"
)

// What os.File lacks has its oracle here: the methods of a File that has them, and what they
// should do of one that has not.

type vectored interface {
	ReadvAt(bufs [][]byte, off int64) (int, error)
	WritevAt(bufs [][]byte, off int64) (int, error)
}

// ReadvAt is f's, or ReadAt of as many bytes as bufs have together.
func ReadvAt(f File, bufs [][]byte, off int64) (int, error) {
	if f, ok := f.(vectored); ok {
		return f.ReadvAt(bufs, off)
	}
	p := make([]byte, Total(bufs))
	n, err := f.ReadAt(p, off)
	rest := p[:n]
	for _, b := range bufs {
		rest = rest[copy(b, rest):]
	}
	return n, err
}

// WritevAt is f's, or WriteAt of what bufs have together.
func WritevAt(f File, bufs [][]byte, off int64) (int, error) {
	if f, ok := f.(vectored); ok {
		return f.WritevAt(bufs, off)
	}
	return f.WriteAt(Join(bufs), off)
}

// Join returns the bytes of bufs in one slice.
func Join(bufs [][]byte) []byte {
	p := make([]byte, 0, Total(bufs))
	for _, b := range bufs {
		p = append(p, b...)
	}
	return p
}

// Total returns the number of bytes in bufs.
func Total(bufs [][]byte) (n int) {
	for _, b := range bufs {
		n += len(b)
	}
	return n
}

// Split makes buffers of those lengths, each at an address so far beyond a multiple of
// 4096, and nil for a length of -1.
func Split(shift int, lengths ...int) [][]byte {
	bufs := make([][]byte, len(lengths))
	for i, n := range lengths {
		if n >= 0 {
			bufs[i] = Buffer(n, shift)
		}
	}
	return bufs
}

// same returns n lengths that are equal.
func same(n, length int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = length
	}
	return all
}

// fillVector puts a pattern into all of bufs.
func fillVector(bufs [][]byte, seed byte) [][]byte {
	p := Pattern(Total(bufs), seed)
	for _, b := range bufs {
		p = p[copy(b, p):]
	}
	return bufs
}

func readvAt(f File, bufs [][]byte, off int64) []any {
	n, err := ReadvAt(f, bufs, off)
	return []any{n, err, Join(bufs)[:n]}
}

// Vectors of buffers where what the kernel takes as it is ends: more than it takes at once,
// odd lengths and addresses, lengths that are aligned in sum only.
var vectors = []struct {
	name    string
	shift   int
	lengths []int
}{
	{"nothing", 0, nil},
	{"empty ones", 0, []int{0, -1, 0}},
	{"one block", 0, []int{4096}},
	{"two blocks", 0, []int{4096, 4096}},
	{"blocks between empty ones", 0, []int{0, 4096, -1, 8192, 0}},
	{"blocks between empty ones, odd addresses", 1, []int{0, 4096, -1, 8192, 0}},
	{"sectors", 0, same(16, 512)},
	{"sectors at addresses of sectors", 512, same(24, 512)},
	{"sectors that are no block", 0, same(9, 512)},
	{"odd lengths, a block in sum", 0, []int{1, 4000, 95}},
	{"an odd length in the end", 0, []int{4096, 8192, 100}},
	{"an odd length in the beginning", 0, []int{100, 4096, 3996}},
	{"odd addresses", 1, []int{4096, 4096}},
	{"a page of bytes", 0, same(4096, 1)},
	{"large", 0, []int{1 << 20, 4096, 1 << 20}},
	{"large at odd addresses", 3, []int{1 << 20, 4096, 1 << 20}},
	{"large, an odd length in the end", 0, []int{2 << 20, 17}},
	{"as many blocks as the kernel takes", 0, same(1024, 4096)},
	{"more blocks than the kernel takes", 0, same(1025, 4096)},
	{"more sectors than the kernel takes", 512, same(2056, 512)},
	{"more odd lengths than the kernel takes", 0, same(3000, 77)},
}

func vectoredCalls(s *Side) {
	const size = 5<<20 + 123
	s.Put("file", Pattern(size, 1))
	f := s.MustOpen("file", os.O_RDWR)
	for i, v := range vectors {
		for _, off := range []int64{0, 1, 512, 4096, 1 << 20, size - 8192, size - 123, size, size + 5000, 6 << 20} {
			what := fmt.Sprintf("%s at %d", v.name, off)
			s.Note("ReadvAt of "+what, readvAt(f, Split(v.shift, v.lengths...), off)...)
			s.Note("WritevAt of "+what, results(WritevAt(f, fillVector(Split(v.shift, v.lengths...), byte(i)), off))...)
			s.Note("ReadvAt of "+what, readvAt(f, Split(v.shift, v.lengths...), off)...)
			if off >= size-8192 {
				s.State(f)
				s.Note("Truncate", f.Truncate(size))
			}
		}
		s.State(f)
	}
	s.Note("Sync", f.Sync())
}

func vectoredImpossible(s *Side) {
	s.Put("file", Pattern(10000, 1))
	for _, flag := range []int{os.O_RDWR, os.O_RDONLY, os.O_WRONLY, os.O_RDWR | os.O_APPEND} {
		f := s.MustOpen("file", flag)
		for _, off := range []int64{-1, -4096, math.MinInt64, 1 << 62, math.MaxInt64, math.MaxInt64 - 4095, math.MaxInt64 - 8191, 0} {
			for _, v := range vectors[:7] {
				what := fmt.Sprintf("%s at %d", v.name, off)
				s.Note("ReadvAt of "+what, readvAt(f, Split(v.shift, v.lengths...), off)...)
				s.Note("WritevAt of "+what, results(WritevAt(f, Split(v.shift, v.lengths...), off))...)
			}
			s.State(f)
			s.Note("Truncate", f.Truncate(10000))
		}
	}
}
