// Zip reads members of a zip archive, one and 32 at a time, stored and deflated ones.
//
// Lessons:
//
//   - Package compress/flate reads 4 KiB at a time, unless it is given an io.ByteReader, and
//     io.Copy of a stored member 32 KiB. Through the page cache each is a copy. With direct I/O
//     each is a request to the disk, of bytes that are not aligned.
//   - [zip.Reader.RegisterDecompressor] is the place for a larger buffer, or for a [stream.Reader],
//     which reads ahead, in whole blocks: the reader that zip passes to it knows the file and the
//     offset.
//   - To inflate takes longer than to read. The saved processor time is then the only gain of
//     direct I/O.
package main

import (
	"archive/zip"
	"bufio"
	"compress/flate"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/examples/internal/compare"
	"github.com/go-aio/aio/stream"
)

// members of each method are in the archive.
const members = 32

var program = compare.Program{
	Name: "members.zip",
	Make: write,
	Cases: []compare.Case{
		{Name: "1 stored member, as is", Run: reading(1, zip.Store, nil)},
		{Name: "1 stored member, buffer of 1 MiB", Run: reading(1, zip.Store, buffered)},
		{Name: "1 stored member, stream.Reader", Run: reading(1, zip.Store, ahead)},
		{Name: "1 deflated member, as is", Run: reading(1, zip.Deflate, nil)},
		{Name: "1 deflated member, buffer of 1 MiB", Run: reading(1, zip.Deflate, buffered)},
		{Name: "1 deflated member, stream.Reader", Run: reading(1, zip.Deflate, ahead)},
		{Name: "32 stored members, as is", Run: reading(members, zip.Store, nil)},
		{Name: "32 stored members, buffers of 1 MiB", Run: reading(members, zip.Store, buffered)},
		{Name: "32 stored members, stream.Readers", Run: reading(members, zip.Store, ahead)},
		{Name: "32 deflated members, as is", Run: reading(members, zip.Deflate, nil)},
		{Name: "32 deflated members, buffers of 1 MiB", Run: reading(members, zip.Deflate, buffered)},
		{Name: "32 deflated members, stream.Readers", Run: reading(members, zip.Deflate, ahead)},
	},
}

func main() { compare.Main(program) }

// buffered reads the stored bytes of a member by requests of 1 MiB.
func buffered(member io.Reader) io.ReadCloser {
	return io.NopCloser(bufio.NewReaderSize(member, 1<<20))
}

// ahead reads it by a stream.Reader, if it is in a direct File; for others the kernel reads ahead.
func ahead(member io.Reader) io.ReadCloser {
	section, ok := member.(*io.SectionReader) // the reader that package zip makes of the member
	if !ok {
		return buffered(member)
	}
	in, off, n := section.Outer()
	f, ok := in.(*aio.File)
	if !ok || !f.Direct() {
		return buffered(member)
	}
	return stream.NewReader(f, stream.ReaderOptions{Offset: off, Length: n, BlockSize: 256 << 10})
}

// inflate returns a decompressor of the bytes that by reads.
func inflate(by func(io.Reader) io.ReadCloser) zip.Decompressor {
	return func(member io.Reader) io.ReadCloser {
		r := by(member)
		return inflater{flate.NewReader(bufio.NewReader(r)), r}
	}
}

// An inflater also closes the reader of its input.
type inflater struct {
	io.Reader
	io.Closer
}

// reading reads the first n members of a method at a time, and before that the directory.
func reading(n int, method uint16, by func(io.Reader) io.ReadCloser) func(compare.File) (compare.Result, error) {
	return func(f compare.File) (compare.Result, error) {
		fi, err := f.Stat()
		if err != nil {
			return compare.Result{}, err
		}
		z, err := zip.NewReader(f, fi.Size())
		if err != nil {
			return compare.Result{}, err
		}
		if by != nil {
			z.RegisterDecompressor(zip.Store, by)
			z.RegisterDecompressor(zip.Deflate, inflate(by))
		}
		return compare.Parallel(n, func(i int) (compare.Result, error) {
			r, err := z.Open(memberName(method, i))
			if err != nil {
				return compare.Result{}, err
			}
			defer r.Close()
			return compare.Checksum(r)
		})
	}
}

func memberName(method uint16, i int) string { return fmt.Sprintf("%d/%d", method, i) }

// write makes an archive of text that deflates to half of its size.
func write(w io.Writer, size int64) error {
	z := zip.NewWriter(w)
	random := rand.NewChaCha8([32]byte{})
	for method, length := range map[uint16]int64{zip.Store: size / members / 2, zip.Deflate: size / members} {
		for i := range members {
			member, err := z.CreateHeader(&zip.FileHeader{Name: memberName(method, i), Method: method})
			if err != nil {
				return err
			}
			if _, err := io.CopyN(hex.NewEncoder(member), random, length/2); err != nil {
				return err
			}
		}
	}
	return z.Close()
}
