package fd

import (
	"math/bits"
	"sync"
	"sync/atomic"

	"github.com/go-aio/aio/internal/sched"
)

const (
	minBounceBits = 12
	maxBounceBits = 20
	// maxBounce bounds a request on a bounce buffer, in bytes.
	maxBounce = 1 << maxBounceBits
	// maxBounceRead does so for a read: 1 MiB at any offset, with the blocks at its edges, is one
	// request. Buffered readers ask for as much; what is left over would be a request that waits
	// for the first and for a place behind all others.
	maxBounceRead = maxBounce + minPage
	// classBytes bounds the buffers of one class, and classCount their number, which more would
	// not raise the number of requests in flight.
	classBytes = 16 << 20
	classCount = 1024
)

// A pool keeps bounce buffers: aligned memory for requests whose own is not, in classes of powers
// of two from a page to maxBounce, of which the last has maxBounceRead. Each class is bounded, and
// a caller that finds all its buffers in use waits. Buffers are held during I/O only, so one
// always becomes free.
//
// What a buffer held before is never written to a file, because writes are bounced in whole blocks
// that the caller's bytes fill, and never handed to a reader, because no more is copied out than
// the kernel says it has read.
type pool struct {
	classes [maxBounceBits - minBounceBits + 1]class
}

// bounce is the pool of the process.
var bounce = newPool()

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

// get returns a buffer of n bytes, from 1 to maxBounceRead, aligned to a page. Its contents are
// those of an earlier use.
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

// MaxCopy is the length of the largest copy that GetCopy keeps memory for.
const MaxCopy = maxBounce

// copies keep memory for copies of buffers whose callers may leave, in the classes of pool. They
// are not that pool's: calls on a disk that hangs would leave nothing of it.
var copies [maxBounceBits - minBounceBits + 1]sync.Pool

// GetCopy returns n bytes of memory, of any contents. PutCopy gives it back.
func GetCopy(n int) []byte {
	if n == 0 || n > MaxCopy {
		return AlignedBuffer(n)
	}
	i := classOf(n)
	if p, ok := copies[i].Get().(*[]byte); ok {
		return (*p)[:n]
	}
	return AlignedBuffer(1 << (minBounceBits + i))[:n]
}

// PutCopy gives back what GetCopy returned.
func PutCopy(p []byte) {
	if len(p) == 0 || len(p) > MaxCopy {
		return
	}
	p = p[:cap(p)]
	copies[classOf(len(p))].Put(&p)
}
