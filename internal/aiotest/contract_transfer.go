package aiotest

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"testing/iotest"
)

// Offsets and lengths at the borders of alignments, bounce buffers and pages.
var (
	edges   = []int{0, 1, 511, 512, 513, 4095, 4096, 4097, 65535, 65536, 65537, 1 << 20, 1<<20 + 1, 2 << 20}
	offsets = []int64{0, 1, 511, 512, 513, 4095, 4096, 4097, 65536, 1 << 20, 1<<20 + 1, 1<<20 + 4096}
)

func anyAlignment(s *Side) {
	s.Put("file", Pattern(3<<20+123, 1))
	f := s.MustOpen("file", os.O_RDWR)
	all := Pattern(4<<20, 2)
	for _, shift := range []int{0, 1, 512} {
		for i, n := range edges {
			p := Buffer(n, shift)
			for j, off := range offsets {
				if !Some(i + j + shift) {
					continue
				}
				clear(p)
				k, err := f.ReadAt(p, off)
				s.Note(fmt.Sprintf("ReadAt %d bytes at %d, address %d", n, off, shift), k, err, p)
				copy(p, all[i*1000+j*100+shift:])
				k, err = f.WriteAt(p, off)
				s.Note(fmt.Sprintf("WriteAt %d bytes at %d, address %d", n, off, shift), k, err)
			}
		}
		s.State(f)
	}
	whole := Buffer(3<<20+123, 0)
	k, err := f.ReadAt(whole, 0)
	s.Note("ReadAt of it all", k, err, whole)
	s.Note("Sync", f.Sync())
}

var sizes = []int{0, 1, 300, 511, 512, 513, 4095, 4096, 4097, 8192, 10000, 1<<20 - 1, 1 << 20, 1<<20 + 1}

func readsAroundEnd(s *Side) {
	for i, size := range sizes {
		if !Some(i) {
			continue
		}
		s.Put("file", Pattern(size, byte(size)))
		f := s.MustOpen("file", os.O_RDONLY)
		for _, back := range []int{0, 1, 511, 512, 513, 4096, size, size / 2, -1, -511, -512, -4096, -1 << 20, -3 << 20} {
			off := int64(size - back)
			for _, n := range []int{1, 512, 4096, 4097, 65536, 1<<20 + 4096} {
				p := Buffer(n, 0)
				k, err := f.ReadAt(p, off)
				s.Note(fmt.Sprintf("size %d: ReadAt %d bytes at %d", size, n, off), k, err, p[:k])
				if n > 1 {
					k, err = f.ReadAt(p[1:], off)
					s.Note("to an odd address", k, err, p[1:][:k])
				}
			}
		}
		s.Note("Close", f.Close())
	}
}

func writesAroundEnd(s *Side) {
	for i, size := range sizes[:11] {
		if !Some(i + 2) {
			continue
		}
		for _, off := range []int{size - 1, size, size + 1, size + 511, size + 8192, size &^ 4095, (size + 4095) &^ 4095, 0} {
			for _, n := range []int{1, 512, 4096, 8192, 70000} {
				s.Put("file", Pattern(size, byte(size)))
				f := s.MustOpen("file", os.O_RDWR)
				k, err := f.WriteAt(Pattern(n, 2), int64(off))
				s.Note(fmt.Sprintf("size %d: WriteAt %d bytes at %d", size, n, off), k, err)
				s.State(f)
				p := Buffer(100000, 0)
				k, err = f.ReadAt(p, 0)
				s.Note("ReadAt", k, err, p[:max(k, 0)])
				f.Close()
			}
		}
	}
}

// nearLast is a little more than 1 MiB below the largest offset. A longer transfer there is refused
// as a whole, although its first bounce buffer, or the first 1024 of several buffers, would be
// allowed alone.
const nearLast = math.MaxInt64 - (1<<20 + 4096) + 1

func impossibleOffsets(s *Side) {
	s.Put("file", Pattern(5000, 1))
	f := s.MustOpen("file", os.O_RDWR)
	for _, off := range []int64{
		-1, -512, -4096, math.MinInt64, math.MinInt64 + 4096,
		math.MaxInt64, math.MaxInt64 - 1, math.MaxInt64 - 511, math.MaxInt64 - 4095, math.MaxInt64 - 4096,
		math.MaxInt64 - 8191, math.MaxInt64 - 1<<20 + 1, 1 << 62,
		1<<44 - 4096, 1<<44 - 8192, 1<<44 - 8193, 1<<44 - 12288, 1 << 44, // the largest file of ext4, and around it
	} {
		for _, n := range []int{0, 1, 512, 4096, 8192, 1 << 20} {
			p := Buffer(n, 0)
			k, err := f.ReadAt(p, off)
			s.Note(fmt.Sprintf("ReadAt %d bytes at %d", n, off), k, err, p)
			k, err = f.WriteAt(p, off)
			s.Note(fmt.Sprintf("WriteAt %d bytes at %d", n, off), k, err)
			s.State(f)
			s.Note("Truncate", f.Truncate(5000))
		}
		at, err := f.Seek(off, io.SeekStart)
		s.Note(fmt.Sprintf("Seek to %d", off), at, err)
		s.Note("Read there", results(f.Read(Buffer(4096, 0)))...)
		s.Note("Write there", results(f.Write(Buffer(4096, 0)))...)
		s.State(f)
		s.Note("Truncate", f.Truncate(5000))
		s.Note("Seek back", results(f.Seek(0, io.SeekStart))...)
		if off < 0 || off >= 1<<44 {
			s.Note(fmt.Sprintf("Truncate to %d", off), f.Truncate(off))
			s.Note("Truncate back", f.Truncate(5000))
		}
		s.State(f)
	}
	p := Buffer(1<<20+8192, 1)
	k, err := f.ReadAt(p, nearLast)
	s.Note("ReadAt to beyond all offsets", k, err, p)
	s.Note("WriteAt to beyond all offsets", results(f.WriteAt(p, nearLast))...)
	s.Note("ReadvAt to beyond all offsets", readvAt(f, Split(0, same(1100, 1024)...), nearLast)...)
	s.Note("WritevAt to beyond all offsets", results(WritevAt(f, Split(0, same(1100, 1024)...), nearLast))...)
	s.Note("Seek to near the last", results(f.Seek(nearLast, io.SeekStart))...)
	s.Note("Read to beyond all offsets", results(f.Read(p))...)
	s.Note("Write to beyond all offsets", results(f.Write(p))...)
	s.State(f)
}

func transfersOfNothing(s *Side) {
	s.Put("file", Pattern(5000, 1))
	for _, flag := range []int{os.O_RDWR, os.O_RDONLY, os.O_WRONLY} {
		f := s.MustOpen("file", flag)
		for _, off := range []int64{0, 1, 4096, 5000, 9999, -1} {
			for _, p := range [][]byte{nil, {}, Buffer(4096, 0)[:0], Buffer(4096, 1)[:0]} {
				s.Note("ReadAt", results(f.ReadAt(p, off))...)
				s.Note("WriteAt", results(f.WriteAt(p, off))...)
			}
			s.Note("Seek", results(f.Seek(off, io.SeekStart))...)
			s.Note("Read", results(f.Read(nil))...)
			s.Note("Write", results(f.Write(nil))...)
			s.Note("WriteString", results(f.WriteString(""))...)
			s.Note("ReadFrom", results(f.ReadFrom(new(bytes.Buffer)))...)
			s.State(f)
		}
	}
}

func streamCalls(s *Side) {
	s.Put("file", Pattern(20000, 1))
	f := s.MustOpen("file", os.O_RDWR)
	for _, n := range []int{1, 100, 411, 512, 3072, 4096, 5000} {
		p := Buffer(n, 0)
		k, err := f.Read(p)
		s.Note(fmt.Sprintf("Read %d bytes", n), k, err, p[:k], Offset(f.Fd()))
		s.Note("Write", results(f.Write(Pattern(n, byte(n))))...)
		s.State(f)
	}
	for _, at := range []struct {
		off    int64
		whence int
	}{
		{0, io.SeekStart},
		{4096, io.SeekStart},
		{-96, io.SeekCurrent},
		{-1, io.SeekEnd},
		{100, io.SeekEnd},
		{-1, io.SeekStart},
		{-100000, io.SeekCurrent},
		{0, 3},
		{0, -1},
		{0, 99},
		{8192, io.SeekStart},
	} {
		s.Note(fmt.Sprint("Seek ", at), results(f.Seek(at.off, at.whence))...)
		p := Buffer(8192, 0)
		k, err := f.Read(p)
		s.Note("Read", k, err, p[:k], Offset(f.Fd()))
	}
	if err := SetOffset(f.Fd(), 7); err != nil && Linux {
		s.Fatal(err)
	}
	s.Note("WriteString where lseek(2) on Fd went", results(f.WriteString("text"))...)
	s.State(f)
	s.Note("Seek to the end", results(f.Seek(0, io.SeekEnd))...)
	s.Note("Read at the end", results(f.Read(Buffer(1, 0)))...)
	s.Note("Write blocks at the end", results(f.Write(Buffer(8192, 0)))...)
	s.State(f)
	s.Note("Seek beyond the end", results(f.Seek(1<<20, io.SeekStart))...)
	s.Note("Read", results(f.Read(Buffer(4096, 0)))...)
	s.Note("Write", results(f.Write(Pattern(4096, 9)))...)
	s.State(f)
	s.Note("Seek", results(f.Seek(3, io.SeekStart))...)
	var all bytes.Buffer
	s.Note("WriteTo", results(f.WriteTo(&all))...)
	s.Note("the bytes written", all.Bytes())
	s.Note("WriteTo at the end", results(f.WriteTo(&all))...)
	s.State(f)
	s.Note("Seek", results(f.Seek(4096, io.SeekStart))...)
	s.Note("ReadFrom", results(f.ReadFrom(bytes.NewReader(Pattern(10000, 5))))...)
	s.State(f)
	s.Note("ReadFrom with an error", results(f.ReadFrom(io.MultiReader(strings.NewReader("some"), iotest.ErrReader(io.ErrNoProgress))))...)
	s.State(f)
	// The read position after a failed writer is not specified.
	s.Note("WriteTo with an error", results(f.WriteTo(failing{}))...)
}

// failing takes some bytes and fails.
type failing struct{}

func (failing) Write(p []byte) (int, error) { return min(len(p), 10), io.ErrClosedPipe }

func truncations(s *Side) {
	s.Put("file", Pattern(20000, 1))
	f := s.MustOpen("file", os.O_RDWR)
	s.Note("Seek", results(f.Seek(10000, io.SeekStart))...)
	for _, size := range []int64{19999, 8192, 8193, 4096, 4095, 0, 1, 512, 100000, -1, 1 << 20, 5000} {
		s.Note(fmt.Sprintf("Truncate to %d", size), f.Truncate(size))
		s.State(f)
		p := Buffer(4096, 0)
		k, err := f.ReadAt(p, 4096)
		s.Note("ReadAt", k, err, p[:k])
		s.Note("Read", results(f.Read(p))...)
		s.Note("WriteAt blocks", results(f.WriteAt(p, 4096))...)
		s.Note("WriteAt bytes", results(f.WriteAt(p[:100], 9000))...)
		s.State(f)
	}
	r := s.MustOpen("file", os.O_RDONLY)
	s.Note("Truncate a file open for reading", r.Truncate(1))
	s.State(r)
}

func appending(s *Side) {
	s.Put("file", Pattern(4096, 1))
	f := s.MustOpen("file", os.O_RDWR|os.O_APPEND)
	other := s.MustOpen("file", os.O_RDWR)
	for _, n := range []int{4096, 1, 4095, 512, 100000, 1<<20 + 1} {
		s.Note("Write", results(f.Write(Pattern(n, byte(n))))...)
		s.State(f)
		s.Note("Write of another", results(other.WriteAt(Pattern(100, 7), int64(n)))...)
		s.Note("Seek", results(f.Seek(10, io.SeekStart))...)
		s.Note("ReadFrom", results(f.ReadFrom(strings.NewReader("some text")))...)
		s.State(f)
		s.Note("ReadFrom a file", results(f.ReadFrom(io.LimitReader(s.MustOpen("file", os.O_RDONLY), 1000)))...)
		s.State(f)
		p := Buffer(8192, 0)
		k, err := f.ReadAt(p, 4096)
		s.Note("ReadAt", k, err, p[:k])
		s.Note("WriteAt", results(f.WriteAt(p, 0))...)
		s.Note("WriteAt a negative offset", results(f.WriteAt(p, -1))...)
		s.State(f)
	}
}

// lookAt logs parts of a buffer that is too large to log: those around the ends of a transfer by
// os.File, at 1 GiB, and by the kernel, at 2 GiB less a page.
func (s *Side) lookAt(p []byte) {
	for _, at := range hugeMarks {
		if lo, hi := max(at-4096, 0), min(at+4096, int64(len(p))); lo < hi {
			s.Note(fmt.Sprintf("bytes around %d", at), p[lo:hi])
		}
	}
}

var hugeMarks = []int64{0, 1 << 30, 2<<30 - 4096, 2 << 30}

// HugeLengths returns 2 GiB and a page, and 2 GiB and a byte.
func HugeLengths() (pageMore, byteMore int64) { return 2<<30 + 4096, 2<<30 + 1 }

// HugeSize is the size of the file that HugeReads reads.
const HugeSize = 5 << 30

// HugeReads reads all of p at a time, at offsets of a file of HugeSize bytes that is mostly a hole.
func HugeReads(p []byte, offsets ...int64) func(s *Side) {
	return func(s *Side) {
		f := s.MustOpen("file", os.O_RDWR|os.O_CREATE)
		s.Note("Truncate", f.Truncate(HugeSize))
		for _, at := range hugeMarks {
			s.Note("WriteAt", results(f.WriteAt(Pattern(8193, byte(at>>20)), at))...)
		}
		for _, off := range offsets {
			n, err := f.ReadAt(p, off)
			s.Note(fmt.Sprintf("ReadAt %d bytes at %d", len(p), off), n, err)
			s.lookAt(p[:n])
			clear(p[:4097])
			n, err = readInParts(f, p, off)
			s.Note(fmt.Sprintf("ReadvAt %d bytes at %d", len(p), off), n, err)
			s.lookAt(p[:n])
			s.Note("Seek", results(f.Seek(off, io.SeekStart))...)
			n, err = f.Read(p)
			s.Note(fmt.Sprintf("Read %d bytes", len(p)), n, err, Offset(f.Fd()))
			s.lookAt(p[:n])
		}
	}
}

// HugeWrites writes HugeLengths of p at a time.
func HugeWrites(p []byte) func(s *Side) {
	return func(s *Side) {
		pageMore, byteMore := HugeLengths()
		for _, at := range hugeMarks {
			copy(p[at:], Pattern(4096, byte(at>>20)))
		}
		f := s.MustOpen("file", os.O_RDWR|os.O_CREATE)
		look := func() {
			fi, err := f.Stat()
			s.Note("Stat", fi.Size(), err, Offset(f.Fd()))
			for _, at := range hugeMarks {
				s.Note(fmt.Sprintf("the bytes at %d", at), readAt(f, Buffer(8192, 0), at)...)
			}
		}
		s.Note("WriteAt 2 GiB and a page", results(f.WriteAt(p[:pageMore], 0))...)
		look()
		s.Note("Truncate", f.Truncate(0))
		n, err := writeInParts(f, p[:pageMore], 0)
		s.Note("WritevAt 2 GiB and a page", n, err)
		look()
		s.Note("Truncate", f.Truncate(0))
		s.Note("Seek", results(f.Seek(1, io.SeekStart))...)
		s.Note("Write 2 GiB and a byte", results(f.Write(p[:byteMore]))...)
		look()
	}
}
