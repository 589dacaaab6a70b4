// Zip reads members of a zip archive, one and 32 at a time, stored and deflated ones.
//
// What one learns:
//   - Package compress/flate reads 4 KiB at a time, unless it is given an io.ByteReader. Through the page
//     cache each is a copy; direct, each is a request to the disk, of bytes that are not aligned.
//   - [zip.Reader.RegisterDecompressor] is the place for a larger buffer: two lines, and a member is
//     read in requests of 256 KiB.
//   - Deflate at a hundred MB/s is slower than a disk. What direct I/O saves of the processor is then
//     what is gained.
package main

import (
	"archive/zip"
	"bufio"
	"compress/flate"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"

	"github.com/go-aio/aio/examples/internal/compare"
)

// members of each method are in the archive.
const members = 32

var program = compare.Program{
	Name: "members.zip",
	Make: write,
	Cases: []compare.Case{
		{Name: "1 stored member", Run: reading(1, zip.Store, asIs)},
		{Name: "1 stored member, buffer", Run: reading(1, zip.Store, buffered)},
		{Name: "1 deflated member", Run: reading(1, zip.Deflate, asIs)},
		{Name: "1 deflated member, buffer", Run: reading(1, zip.Deflate, buffered)},
		{Name: "32 stored members", Run: reading(members, zip.Store, asIs)},
		{Name: "32 stored members, buffers", Run: reading(members, zip.Store, buffered)},
		{Name: "32 deflated members", Run: reading(members, zip.Deflate, asIs)},
		{Name: "32 deflated members, buffers", Run: reading(members, zip.Deflate, buffered)},
	},
}

func main() { compare.Main(program) }

// asIs leaves the archive as it is.
func asIs(*zip.Reader) {}

// buffered has members read by requests of 256 KiB.
func buffered(z *zip.Reader) {
	z.RegisterDecompressor(zip.Store, func(r io.Reader) io.ReadCloser { return io.NopCloser(bufio.NewReaderSize(r, 256<<10)) })
	z.RegisterDecompressor(zip.Deflate, func(r io.Reader) io.ReadCloser { return flate.NewReader(bufio.NewReaderSize(r, 256<<10)) })
}

// reading reads the first n members of a method at a time, and the directory before.
func reading(n int, method uint16, with func(*zip.Reader)) func(compare.File) (compare.Result, error) {
	return func(f compare.File) (compare.Result, error) {
		fi, err := f.Stat()
		if err != nil {
			return compare.Result{}, err
		}
		z, err := zip.NewReader(f, fi.Size())
		if err != nil {
			return compare.Result{}, err
		}
		with(z)
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
