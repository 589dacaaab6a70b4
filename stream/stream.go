// Package stream reads and writes an [aio.File] from one end to the other. It is to aio what bufio
// is to os.
//
// A [Reader] keeps several large reads in flight ahead of its caller, and a [Writer] several large
// writes behind it, as the kernel's readahead and write-back do for the page cache. On a direct
// File only the partial blocks of a Writer go through the page cache. A Writer that is
// [WriterOptions.Exclusive] is for logs.
package stream

// Ranges and defaults of ReaderOptions and WriterOptions.
const (
	minPage          = 4096 // the smallest size of a page, in bytes
	defaultBlockSize = 1 << 20
	maxBlockSize     = 64 << 20
	defaultDepth     = 4
	maxDepth         = 256
)

// blockSize returns the block size for option n, rounded up to a multiple of unit.
func blockSize(n, unit int) int {
	return (option(n, defaultBlockSize, maxBlockSize) + unit - 1) / unit * unit
}

// option returns the value for option n: the default if n <= 0, else n up to most.
func option(n, byDefault, most int) int {
	if n <= 0 {
		n = byDefault
	}
	return min(n, most)
}
