package aio

// Arithmetic that is tested against a naive model.
var (
	Widen     = widen
	InUnits   = inUnits
	Aligned   = aligned
	ClassOf   = classOf
	End       = end
	NewBounce = newPool
)

// Get and Put are the bounce buffers' get and put.
func (b *pool) Get(n int) []byte { return b.get(n) }
func (b *pool) Put(p []byte)     { b.put(p) }

// Sizes of bounce buffers.
const (
	MinBounce = 1 << minBounceBits
	MaxBounce = maxBounce
)

// Hold counts a call on f as if it were under way. release ends it.
func Hold(f *File) (release func()) {
	if f.h == nil || !f.h.acquire() {
		panic("cannot hold the File")
	}
	return f.h.release
}

// TwinFd returns the direct descriptor of f.
func TwinFd(f *File) int { return f.h.twin.Fd }

// Alignments returns what direct I/O on f wants of a buffer's address, of a read and of
// a write.
func Alignments(f *File) (mem, read, write int) {
	t := f.h.twin
	return t.Mem, t.Read, t.Write
}

// NewSpans returns the functions of a set of parts of a file.
func NewSpans() (cover func(lo, hi int64) bool, add func(lo, hi int64), forget func()) {
	s := new(spans)
	return s.cover, s.add, s.forget
}

// Allocated asks whether a direct write of [lo, hi) would find its blocks.
func Allocated(f *File, lo, hi int64) bool {
	f.h.untilAsked.Store(0)
	return f.h.allocated(lo, hi)
}

// Worth asks that only if it has not been in vain too often.
func Worth(f *File, lo, hi int64) bool { return f.h.allocated(lo, hi) }

// Remembered reports whether that is known without asking.
func Remembered(f *File, lo, hi int64) bool { return f.h.written.cover(lo, hi) }
