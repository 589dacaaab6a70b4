package aio

import (
	"math"
	"math/bits"
	"sync/atomic"
	"unsafe"

	"github.com/go-aio/aio/internal/sched"
	"github.com/ncw/directio"
)

// aligned reports whether off, n and the address of p are multiples of unit, unit and
// mem, powers of two: then the kernel can take p as it is.
func aligned(p []byte, off int64, unit, mem int) bool {
	return inUnits(off, len(p), unit) && addressFits(p, mem)
}

func inUnits(off int64, n, unit int) bool {
	mask := int64(unit - 1)
	return off&mask == 0 && int64(n)&mask == 0
}

func addressFits(p []byte, mem int) bool {
	return uintptr(unsafe.Pointer(unsafe.SliceData(p)))&uintptr(mem-1) == 0
}

// touch sees to it that all of p, whose address is a multiple of 4 bytes, is in memory and
// may be written to. It changes nothing.
func touch(p []byte) {
	for ; len(p) >= 4; p = p[min(len(p), minPage):] {
		atomic.AddInt32((*int32)(unsafe.Pointer(unsafe.SliceData(p))), 0) // an ordinary store of what is there is left out
	}
}

// minPage is the smallest size of a page in bytes.
const minPage = 4096

// widen returns the smallest range [lo, hi) of whole units that holds [off, off+n). It
// returns false if that goes beyond the largest offset. off and n are not negative, n is
// not zero and unit is a power of two.
func widen(off int64, n, unit int) (lo, hi int64, ok bool) {
	mask := int64(unit - 1)
	if off > math.MaxInt64-int64(n)-mask {
		return 0, 0, false
	}
	return off &^ mask, (off + int64(n) + mask) &^ mask, true
}

// overflows reports whether the kernel refuses to transfer n bytes at off because they go beyond the largest offset. It does
// so before it transfers anything, so these must not be split. n counts as far as os.File has it in one system call.
func overflows(off int64, n int) bool { return off > math.MaxInt64-int64(min(n, maxDirect)) }

// bounced returns for how many of n bytes at off there is to be one request on a bounce buffer: for
// all, or so many that the rest begins at a unit.
func bounced(n int, off int64, unit int) int {
	if lo, hi, ok := widen(off, n, unit); ok && hi-lo <= maxBounceRead {
		return n
	}
	return min(n, maxBounce-int(off)&(unit-1))
}

// bytesOf returns the bytes of s, to be read only.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

const (
	// maxDirect bounds a request on the caller's memory, in bytes. The kernel cuts at
	// 0x7ffff000; os at 1 GiB, to keep what follows aligned.
	maxDirect = 1 << 30
	// maxBounce bounds a request on a bounce buffer, in bytes.
	maxBounce = 1 << 20
	// maxBounceRead does so for a read: 1 MiB at any offset, with the blocks at its edges, is one
	// request. It is what buffered readers ask for, and what is left over would be a request that waits
	// for the first and takes its turn behind all others.
	maxBounceRead = maxBounce + minPage
)

// AlignedBuffer returns n bytes of zeroed memory whose address suits direct I/O on any
// file, so that a transfer of whole blocks never needs a bounce buffer.
func AlignedBuffer(n int) []byte {
	if directio.AlignSize == 0 {
		return make([]byte, n) // a system whose direct I/O takes any address
	}
	return directio.AlignedBlock(n)[:n:n]
}

// A pool keeps bounce buffers: aligned memory for requests whose own is not, in classes
// of powers of two from a page to maxBounce, whose last have maxBounceRead. It is bounded: each class has so many
// buffers, and a caller that finds all of them in use waits. Buffers are held during I/O only, so
// one always becomes free.
//
// What a buffer held before is never written to a file, because writes are bounced in
// whole blocks that the caller's bytes fill, and never handed to a reader, because no more
// is copied out than the kernel says it has read.
type pool struct {
	classes [maxBounceBits - minBounceBits + 1]class
}

const (
	minBounceBits = 12
	maxBounceBits = 20
	// classBytes bounds the buffers of one class; classCount their number, which more
	// would not raise the number of requests in flight.
	classBytes = 16 << 20
	classCount = 1024
)

// A class is a stack of buffers of one size, and the bound on those in use.
type class struct {
	using *sched.Semaphore
	free  chan []byte
	// uses counts what get has returned, bytes its length.
	uses, bytes atomic.Int64
}

func newPool() *pool {
	b := new(pool)
	for i := range b.classes {
		count := min(classCount, classBytes>>(minBounceBits+i))
		b.classes[i].using, b.classes[i].free = sched.NewSemaphore(count), make(chan []byte, count)
	}
	return b
}

// classOf returns the class whose buffers have at least n bytes, n from 1 to maxBounceRead.
func classOf(n int) int {
	return min(max(bits.Len(uint(n-1)), minBounceBits), maxBounceBits) - minBounceBits
}

// get returns a buffer of n bytes, from 1 to maxBounceRead, aligned to a page. Its contents
// are those of an earlier use.
func (b *pool) get(n int) []byte {
	c := &b.classes[classOf(n)]
	c.uses.Add(1)
	c.bytes.Add(int64(n))
	c.using.Acquire(1)
	select {
	case p := <-c.free:
		return p[:n]
	default:
	}
	size := 1 << (minBounceBits + classOf(n))
	if size == maxBounce {
		size = maxBounceRead
	}
	return AlignedBuffer(size)[:n]
}

// put gives back what get returned.
func (b *pool) put(p []byte) {
	c := &b.classes[classOf(len(p))]
	c.free <- p[:cap(p)] // has room for all that are in use
	c.using.Release(1)
}

// uses returns how many buffers get has returned, and their bytes.
func (b *pool) uses() (n, bytes int64) {
	for i := range b.classes {
		n += b.classes[i].uses.Load()
		bytes += b.classes[i].bytes.Load()
	}
	return n, bytes
}
