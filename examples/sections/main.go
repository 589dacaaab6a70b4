// Sections computes the checksums of 32 sections of a file, one after the other and all at a time.
//
// Lessons:
//
//   - io.Copy asks for 32 KiB at a time. Through the page cache that costs little, since the kernel
//     reads ahead. A direct read of 32 KiB is a request to the disk, without readahead. A buffer of
//     1 MiB (bufio) makes it one for each MiB.
//   - A [stream.Reader] reads ahead, in blocks that do not depend on the size of its caller's
//     reads. Its blocks are new memory, which takes time too: for sections of a few MiB a Reader of
//     4 blocks of 256 KiB is enough.
//   - With many sections at a time there is always another request to make, and the disk is busy
//     either way. The processor time of the page cache remains.
package main

import (
	"bufio"
	"io"
	"math/rand/v2"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/examples/internal/compare"
	"github.com/go-aio/aio/stream"
)

const sections = 32

var program = compare.Program{
	Name: "sections.bin",
	Make: func(w io.Writer, size int64) error {
		_, err := io.CopyN(w, rand.NewChaCha8([32]byte{}), size)
		return err
	},
	Cases: []compare.Case{
		{Name: "1 section, io.Copy", Run: reading(1, copying)},
		{Name: "1 section, buffer of 1 MiB", Run: reading(1, buffered)},
		{Name: "1 section, stream.Reader", Run: reading(1, ahead)},
		{Name: "32 sections, io.Copy", Run: reading(sections, copying)},
		{Name: "32 sections, buffers of 1 MiB", Run: reading(sections, buffered)},
		{Name: "32 sections, stream.Readers", Run: reading(sections, ahead)},
	},
}

func main() { compare.Main(program) }

// A way reads n bytes of f at off.
type way func(f compare.File, off, n int64) (compare.Result, error)

// reading reads the first n sections at a time.
func reading(n int, by way) func(compare.File) (compare.Result, error) {
	return func(f compare.File) (compare.Result, error) {
		fi, err := f.Stat()
		if err != nil {
			return compare.Result{}, err
		}
		length := fi.Size() / sections
		return compare.Parallel(n, func(i int) (compare.Result, error) {
			return by(f, int64(i)*length, length)
		})
	}
}

func copying(f compare.File, off, n int64) (compare.Result, error) {
	return compare.Checksum(io.NewSectionReader(f, off, n))
}

func buffered(f compare.File, off, n int64) (compare.Result, error) {
	return compare.Checksum(bufio.NewReaderSize(io.NewSectionReader(f, off, n), 1<<20))
}

// ahead is buffered for files that are not direct, since for those the kernel reads ahead.
func ahead(f compare.File, off, n int64) (compare.Result, error) {
	a, ok := f.(*aio.File)
	if !ok || !a.Direct() {
		return buffered(f, off, n)
	}
	r := stream.NewReader(a, stream.ReaderOptions{Offset: off, Length: n, BlockSize: 256 << 10})
	defer r.Close()
	return compare.Checksum(r)
}
