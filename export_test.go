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

// A Vector is what is left of some buffers.
type Vector struct {
	*vector
	Counted bool // their bytes can be counted
}

// VectorOf returns a vector of bufs.
func VectorOf(bufs [][]byte) Vector {
	v, ok := vectorOf(bufs)
	return Vector{v, ok}
}

// What a vector does.
func (v Vector) Bufs() [][]byte { return v.bufs }
func (v Vector) Len() int       { return v.n }
func (v Vector) Advance(n int)  { v.advance(n) }
func (v Vector) Direct(off int64, unit, mem int) (bufs [][]byte, n int) {
	return v.direct(off, unit, mem)
}
func (v Vector) Gather(p []byte)      { v.gather(p) }
func (v Vector) Scatter(p []byte) int { return v.scatter(p) }
func (v Vector) Free()                { v.free() }

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

// KeepsSize reports whether a direct write up to byte end goes to kernel AIO.
func KeepsSize(f *File, end int64) bool { return f.h.keepsSize(end) }

// Recent reports whether ReadAt would look for [lo, hi) in the page cache first.
func Recent(f *File, lo, hi int64) bool { return f.h.inode.Recent(lo, hi) }

// WritesDirect reports whether a write of whole blocks goes past the page cache.
func WritesDirect(f *File) bool { return f.h.twin.Writes }
