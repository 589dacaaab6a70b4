package aiotest

import (
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
)

// This file has the oracle of the methods that os.File lacks: each function calls the method if f
// has it, and does the same by other calls if not.

type vectored interface {
	ReadvAt(bufs [][]byte, off int64) (int, error)
	WritevAt(bufs [][]byte, off int64) (int, error)
}

type spacious interface {
	Allocate(off, n int64) error
	PunchHole(off, n int64) error
}

// ReadvAt is f.ReadvAt, or a ReadAt of the total length of bufs.
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

// WritevAt is f.WritevAt, or a WriteAt of the bytes of bufs.
func WritevAt(f File, bufs [][]byte, off int64) (int, error) {
	if f, ok := f.(vectored); ok {
		return f.WritevAt(bufs, off)
	}
	return f.WriteAt(Join(bufs), off)
}

// Allocate is f.Allocate, or fallocate(2) on its descriptor.
func Allocate(f File, off, n int64) error {
	if f, ok := f.(spacious); ok {
		return f.Allocate(off, n)
	}
	return fallocate(f, "allocate", false, off, n)
}

// PunchHole is f.PunchHole, or fallocate(2) on its descriptor.
func PunchHole(f File, off, n int64) error {
	if f, ok := f.(spacious); ok {
		return f.PunchHole(off, n)
	}
	return fallocate(f, "punchhole", true, off, n)
}

func fallocate(f File, op string, hole bool, off, n int64) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	if conn.Control(func(fd uintptr) { err = Fallocate(fd, hole, off, n) }) != nil {
		err = fs.ErrClosed
	}
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: f.Name(), Err: err}
}

// Join returns the bytes of bufs in one slice.
func Join(bufs [][]byte) []byte {
	p := make([]byte, 0, Total(bufs))
	for _, b := range bufs {
		p = append(p, b...)
	}
	return p
}

// readInParts is ReadvAt of p in parts, of which one is more than 1 GiB.
func readInParts(f File, p []byte, off int64) (int, error) {
	if f, ok := f.(vectored); ok {
		return f.ReadvAt(hugeParts(p), off)
	}
	return f.ReadAt(p, off) // no second buffer of that size
}

func writeInParts(f File, p []byte, off int64) (int, error) {
	if f, ok := f.(vectored); ok {
		return f.WritevAt(hugeParts(p), off)
	}
	return f.WriteAt(p, off)
}

func hugeParts(p []byte) [][]byte {
	return [][]byte{p[:4096], p[4096 : 1<<30+8192], p[1<<30+8192:]}
}

// Total returns the number of bytes in bufs.
func Total(bufs [][]byte) (n int) {
	for _, b := range bufs {
		n += len(b)
	}
	return n
}

// Split makes buffers of those lengths, and nil for a length of -1. Each is at an address that is
// shift beyond a multiple of 4096, or of 512 if the buffer is shorter than 4096.
func Split(shift int, lengths ...int) [][]byte {
	bufs := make([][]byte, len(lengths))
	at := make([]int, len(lengths))
	end := 0
	for i, n := range lengths {
		unit := 512
		if n >= 4096 {
			unit = 4096
		}
		at[i] = (end+unit-1)&^(unit-1) + shift
		end = at[i] + max(n, 0)
	}
	slab := Buffer(end, 0)
	for i, n := range lengths {
		if n >= 0 {
			bufs[i] = slab[at[i]:][:n:n]
		}
	}
	return bufs
}

// same returns n equal lengths.
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

// Vectors at the limits of the kernel: more buffers than it takes at once, odd lengths and
// addresses, lengths that are aligned in sum only.
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
	const size = 2<<20 + 123
	s.Put("file", Pattern(size, 1))
	f := s.MustOpen("file", os.O_RDWR)
	for i, v := range vectors {
		bufs := Split(v.shift, v.lengths...)
		for j, off := range []int64{0, 1, 512, 4096, 1 << 20, size - 8192, size - 123, size, size + 5000} {
			if !Some(i + j) {
				continue
			}
			what := fmt.Sprintf("%s at %d", v.name, off)
			for _, p := range bufs {
				clear(p)
			}
			s.Note("ReadvAt of "+what, readvAt(f, bufs, off)...)
			s.Note("WritevAt of "+what, results(WritevAt(f, fillVector(bufs, byte(i)), off))...)
			s.Note("ReadAt of it", readAt(f, Buffer(8192, 0), off)...)
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

func allocations(s *Side) {
	s.Put("file", Pattern(20000, 1))
	f := s.MustOpen("file", os.O_RDWR)
	s.Note("Seek", results(f.Seek(10000, io.SeekStart))...)
	for i, r := range []struct{ off, n int64 }{
		{0, 1},
		{0, 20000},
		{0, 20001},
		{19999, 10000},
		{4096, 4096},
		{8191, 4098},
		{100, 200},
		{65536, 4096},
		{1 << 20, 1 << 20},
		{3, 3 << 20},
		{0, 0},
		{-1, 1},
		{1, -1},
		{math.MaxInt64, 1},
		{1 << 62, 4096},
	} {
		for _, do := range []struct {
			name string
			call func(f File, off, n int64) error
		}{{"Allocate", Allocate}, {"PunchHole", PunchHole}} {
			s.Note(fmt.Sprintf("%s of %d bytes at %d", do.name, r.n, r.off), do.call(f, r.off, r.n))
			s.State(f)
			p := Buffer(12288, i%2)
			s.Note("ReadAt", readAt(f, p, 4096)...)
			s.Note("WriteAt blocks", results(f.WriteAt(alignedPattern(8192, byte(i)), 4096))...)
			s.Note("WriteAt bytes", results(f.WriteAt(Pattern(100, byte(i)), 9000))...)
			s.Note("ReadAt bytes", readAt(f, p[:50], 9020)...) // from the page cache
			s.Note("PunchHole in the midst of it", PunchHole(f, 9030, 20))
			s.Note("ReadAt bytes", readAt(f, p[:50], 9020)...)
			s.State(f)
		}
		s.Note("Truncate", f.Truncate(20000))
	}
	r := s.MustOpen("file", os.O_RDONLY)
	s.Note("Allocate in a file open for reading", Allocate(r, 0, 30000), PunchHole(r, 0, 4096))
	a := s.MustOpen("file", os.O_RDWR|os.O_APPEND)
	s.Note("Allocate in a file open for appending", Allocate(a, 0, 30000), PunchHole(a, 0, 4096))
	s.State(a)
	s.Note("Sync", f.Sync())
}

// resize is an operation of programs.
func (m *Machine) resize(i, k int) {
	off := m.offset()
	if k%4 < 2 {
		m.both(fmt.Sprintf("Truncate to %d", off), i, func(_ *half, f File) ([]byte, []any) {
			return nil, []any{f.Truncate(off)}
		})
		return
	}
	n := m.length()
	what, do := "Allocate", Allocate
	if k%4 == 3 {
		what, do = "PunchHole", PunchHole
	} else {
		m.allocated = true
	}
	m.both(fmt.Sprintf("%s of %d bytes at %d", what, n, off), i, func(_ *half, f File) ([]byte, []any) {
		return nil, []any{do(f, off, int64(n))}
	})
	m.wrote.off, m.wrote.n = off, n
}

// writev and readv are operations of programs.
func (m *Machine) writev(i int) {
	off, n := m.span()
	v := m.cut(min(n, mostInVector), m.address())
	m.both(fmt.Sprintf("WritevAt %v at %d", v, off), i, func(_ *half, f File) (_ []byte, r []any) {
		m.guardedVector(v, func(bufs [][]byte) {
			p := make([]byte, v.total())
			m.fill(p)
			for _, b := range bufs {
				p = p[copy(b, p):]
			}
			r = results(WritevAt(f, bufs, off))
		})
		return nil, r
	})
	m.wrote.off, m.wrote.n = off, v.total()
}

func (m *Machine) readv(i int) {
	off, n := m.span()
	v := m.cut(min(n, mostInVector), m.address())
	m.both(fmt.Sprintf("ReadvAt %v at %d", v, off), i, func(_ *half, f File) (b []byte, r []any) {
		m.guardedVector(v, func(bufs [][]byte) {
			k, err := ReadvAt(f, bufs, off)
			all := Join(bufs)
			b, r = all[:k], results(k, err)
			m.untouched(all[k:])
		})
		return b, r
	})
}

// A cut lists the places of a vector's buffers in the slab.
type cut []struct{ at, n int }

func (v cut) total() (n int) {
	for _, b := range v {
		n += b.n
	}
	return n
}

// String is short if there are many buffers.
func (v cut) String() string {
	if len(v) <= 8 {
		return fmt.Sprintf("%d bytes of {address length} %v", v.total(), []struct{ at, n int }(v))
	}
	return fmt.Sprintf("%d bytes of {address length} %v and so on, %d", v.total(), []struct{ at, n int }(v[:8]), len(v))
}

const (
	mostInVector = 400 << 10 // bytes: there is room in the slab
	guard        = 64        // bytes beside each buffer that must not change
)

// cut lays out buffers of n bytes together, the first of them at an address.
func (m *Machine) cut(n, shift int) (v cut) {
	length := []int{4096, 512, 0, max(n/1100, 1)}[m.next()%4]
	align := []int{4096, 512, 1}[m.next()%3]
	for at := 4096 + shift; n > 0; {
		k := length
		if k == 0 && len(v) < 20 {
			k = m.next() * 16 // also none
		}
		if k = min(k, n); len(v) >= 20 && length == 0 || at > 1<<20 {
			k = n
		}
		v = append(v, struct{ at, n int }{at, k})
		n -= k
		at = (at+k+guard+align-1)&^(align-1) + shift%align
	}
	return v
}

// guardedVector calls do with buffers whose surroundings must not change.
func (m *Machine) guardedVector(v cut, do func(bufs [][]byte)) {
	bufs := make([][]byte, 0, len(v))
	for _, b := range v {
		bufs = append(bufs, m.slab[b.at:][:b.n]) // with the capacity to write past the length
		for j := b.at - guard; j < b.at+b.n+guard; j++ {
			m.slab[j] = canary
		}
	}
	do(bufs)
	for _, b := range v {
		for j := range guard {
			if m.slab[b.at-1-j] != canary || m.slab[b.at+b.n+j] != canary {
				m.Errorf("a byte beside the buffer at %d has changed", b.at)
				return
			}
		}
	}
}
