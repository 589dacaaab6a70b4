package aio

import (
	"time"

	"github.com/go-aio/aio/internal/inode"
	"github.com/go-aio/aio/internal/sched"
)

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
	// MaxBounceRead is that of reads.
	MaxBounceRead = maxBounceRead
)

// Hold counts a call on f as if it were under way. release ends it.
func Hold(f *File) (release func()) {
	if f.h == nil || !f.h.acquire() {
		panic("cannot hold the File")
	}
	return f.h.release
}

// DirectWrite has a direct write of [lo, hi) as if it were under way, of some File of the inode of f. over ends it.
func DirectWrite(f *File, lo, hi int64) (over func()) {
	r := inode.Range{Class: inode.Direct, Lo: lo, Hi: hi}
	f.h.inode.Lock(r)
	return func() { f.h.inode.Unlock(r) }
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

// SetPrompt says how prompt the device of f has been, and Prompt how prompt it is.
func SetPrompt(f *File, n int32) { f.h.device.prompt.Store(n) }
func Prompt(f *File) int32       { return f.h.device.prompt.Load() }

// LimitDevice puts f on a device of its own that takes n requests at a time.
func LimitDevice(f *File, n int) { f.h.device = &device{places: sched.NewSemaphore(n)} }

// SameDevice reports whether two Files share a device.
func SameDevice(f, g *File) bool { return f.h.device == g.h.device }

// DevicePlaces returns how many requests of kernel AIO the device of f has at a time, or 0 if
// it does not say.
func DevicePlaces(f *File) int {
	if f.h.device.places == nil {
		return 0
	}
	return f.h.device.places.Limit()
}

// A Device is one that no file is on.
type Device struct{ device }

// Sample and Few are its sample and few.
func (d *Device) Sample(took time.Duration) { d.sample(took) }
func (d *Device) Few(disk int) int          { return d.few(disk) }

// HoldThreads takes all turns of plain system calls, so that others wait until release.
func HoldThreads() (release func()) {
	t := shared().threads
	t.Acquire(t.Limit())
	return func() { t.Release(t.Limit()) }
}

// Detached returns how many bytes calls with a context count for that are not over, and how many
// at most.
func Detached() (used, limit int64) {
	used, _ = detached.Load()
	return used, int64(detached.Limit())
}

// DeviceCalls returns how many places of the device of f are taken or waited for.
func DeviceCalls(f *File) int64 {
	if !f.Direct() || f.h.device.places == nil {
		return 0
	}
	used, waiting := f.h.device.places.Load()
	return used + int64(waiting)
}

// Grouped returns how many members the last group of b has had.
func Grouped(b *Batch) int { return len(b.grouped) }
