package fd

import (
	"math"

	"github.com/go-aio/aio/internal/sched"
)

const (
	// maxDirect bounds a request on the caller's memory, in bytes. The kernel cuts at
	// 0x7ffff000; os at 1 GiB, to keep what follows aligned.
	maxDirect = 1 << 30
	// minPage is the smallest size of a page in bytes.
	minPage = 4096
)

// inUnits reports whether off and n are multiples of unit, a power of two.
func inUnits(off int64, n, unit int) bool {
	mask := int64(unit - 1)
	return off&mask == 0 && int64(n)&mask == 0
}

// directPart returns as much of the beginning of b as the kernel can take as it is in one request
// at off: the address and length of each buffer fit mem, and off and all together unit, powers of
// two. It returns nothing if a bounce buffer would hold more of b.
func directPart(b Buffers, off int64, unit, mem int) Buffers {
	if p, one := b.First(); one {
		p = p[:min(len(p), maxDirect)]
		if inUnits(off, len(p), unit) && addressFits(p, mem) {
			return One(p)
		}
		return Buffers{}
	}
	if !inUnits(off, 0, unit) {
		return Buffers{}
	}
	n, sum := 0, 0
	for rest, bufs := b, 0; rest.Len() > 0 && bufs < sched.MaxBuffers; bufs++ {
		p, _ := rest.First()
		p = p[:min(len(p), maxDirect-sum)]
		if len(p) == 0 || !inUnits(0, len(p), mem) || !addressFits(p, mem) {
			break
		}
		rest.Advance(len(p))
		if sum += len(p); inUnits(0, sum, unit) {
			n = sum
		}
	}
	if n < min(b.Len(), maxBounce) {
		return Buffers{}
	}
	return b.Head(n)
}

// widen returns the smallest range [lo, hi) of whole units that holds [off, off+n). It returns
// false if that goes beyond the largest offset. off and n are not negative, n is not zero and unit
// is a power of two.
func widen(off int64, n, unit int) (lo, hi int64, ok bool) {
	mask := int64(unit - 1)
	if off > math.MaxInt64-int64(n)-mask {
		return 0, 0, false
	}
	return off &^ mask, (off + int64(n) + mask) &^ mask, true
}

// Overflows reports whether the kernel refuses to transfer n bytes at off because they go beyond
// the largest offset. It does so before it transfers anything, so such a transfer must not be
// split. n counts as far as os.File has it in one system call.
func Overflows(off int64, n int) bool { return off > math.MaxInt64-int64(min(n, maxDirect)) }

// bounceLen returns how many of the n bytes at off the next bounced read covers: all of them, or
// enough that the rest starts on a unit boundary.
func bounceLen(n int, off int64, unit int) int {
	if lo, hi, ok := widen(off, n, unit); ok && hi-lo <= maxBounceRead {
		return n
	}
	return min(n, maxBounce-int(off)&(unit-1))
}

// end returns off+n, or the largest offset if that is less.
func end(off int64, n int) int64 {
	if off > math.MaxInt64-int64(n) {
		return math.MaxInt64
	}
	return off + int64(n)
}
