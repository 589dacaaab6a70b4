package fd

import (
	"context"
	"math/bits"
	"sync"

	"github.com/go-aio/aio/internal/sched"
)

const (
	minBlockBits = 12
	maxBlockBits = 20
	// maxBounce bounds a request on a bounce buffer, in bytes.
	maxBounce = 1 << maxBlockBits
	// maxBounceRead does so for a read: 1 MiB at any offset, with the blocks at its edges, is one
	// request. Buffered readers ask for as much; what is left over would be a request that waits
	// for the first and for a place behind all others.
	maxBounceRead = maxBounce + minPage
)

// A Block is aligned memory of the library: a bounce buffer, for a request whose own memory is not
// aligned, or the copy of a buffer whose caller may leave.
//
// What a Block held before is never written to a file, because writes are bounced in whole blocks
// that the caller's bytes fill, and never handed to a reader, because no more is copied out than
// the kernel says it has read.
type Block struct {
	Bytes []byte
	class int
}

// blocks keep Blocks that are not in use, in classes of powers of two from a page to maxBounce, of
// which the last has maxBounceRead bytes. What is in use is bounded by the device, see
// sched.Device; what is not is the collector's.
var blocks [maxBlockBits - minBlockBits + 1]sync.Pool

// NewBlock returns a Block of n bytes, aligned to a page. Its contents are those of an earlier use.
func NewBlock(n int) *Block {
	if n > maxBounceRead {
		return &Block{Bytes: AlignedBuffer(n), class: -1}
	}
	class, size := blockSize(n)
	b, ok := blocks[class].Get().(*Block)
	if !ok {
		b = &Block{Bytes: AlignedBuffer(size), class: class}
	}
	b.Bytes = b.Bytes[:n]
	return b
}

// blockSize returns the class of Blocks of n bytes, at most maxBounceRead, and its size in bytes.
func blockSize(n int) (class, size int) {
	class = min(max(bits.Len(uint(max(n, 1)-1)), minBlockBits), maxBlockBits) - minBlockBits
	if size = 1 << (minBlockBits + class); size == maxBounce {
		size = maxBounceRead
	}
	return class, size
}

// Free gives b back.
func (b *Block) Free() {
	if b.class < 0 {
		return
	}
	b.Bytes = b.Bytes[:cap(b.Bytes)]
	blocks[b.class].Put(b)
}

// bounce waits until n bytes of bounce buffers are free, and returns a Block of n bytes. It is held
// during I/O only, so one always becomes free, unless the device hangs.
func bounce(d *sched.Device, n int) *Block {
	counts.bounced.Add()
	counts.bouncedBytes.Add(int64(n))
	_, size := blockSize(n)
	d.AcquireBounce(size)
	return NewBlock(n)
}

// unbounce gives back what bounce returned.
func unbounce(d *sched.Device, b *Block) {
	d.ReleaseBounce(cap(b.Bytes))
	b.Free()
}

// MaxCopy is the length of the largest copy that NewBlock keeps memory for.
const MaxCopy = maxBounce

// copyDevice returns the device whose calls that may be abandoned fd counts with. fd may be nil.
func (fd *FD) copyDevice() *sched.Device {
	if fd == nil {
		return sched.DeviceOf(0)
	}
	return fd.device
}

// AcquireCopy waits, as long as ctx lasts, until a call that may be abandoned may use n bytes of
// the library's memory. It returns false if ctx ends first. ReleaseCopy gives them back.
// fd may be nil.
func (fd *FD) AcquireCopy(ctx context.Context, n int) bool {
	return fd.copyDevice().AcquireCopy(ctx, n)
}

// ReleaseCopy gives back the bytes of a call that may have been abandoned.
func (fd *FD) ReleaseCopy(n int) { fd.copyDevice().ReleaseCopy(n) }
