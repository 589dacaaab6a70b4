package aio

import (
	"reflect"
	"sync/atomic"
	"unsafe"

	"github.com/go-aio/aio/internal/inode"
	"github.com/go-aio/aio/internal/sched"
)

// field returns a pointer to a field of type T of the struct that p points to.
func field[T any](p any, name string) *T {
	return (*T)(unsafe.Pointer(reflect.ValueOf(p).Elem().FieldByName(name).UnsafeAddr()))
}

// device returns the address of the device in the FD of f.
func device(f *File) **sched.Device { return field[*sched.Device](f.fd, "device") }

// Hold counts a call on f, like one in flight. release ends it.
func Hold(f *File) (release func()) {
	whole, ok := f.fd.BeginCopy()
	if !ok {
		panic("cannot hold the File")
	}
	return func() { f.fd.EndCopy(whole) }
}

// DirectFd returns the direct descriptor of f.
func DirectFd(f *File) int {
	return int(reflect.ValueOf(f.fd).Elem().FieldByName("direct").Elem().FieldByName("Fd").Int())
}

// Extends reports whether a direct write up to byte end would extend the file, and so be sync.
func Extends(f *File, end int64) bool { return f.fd.Extends(end) }

// DirectWrite locks [lo, hi) like a direct write by a File on the inode of f. over ends it.
func DirectWrite(f *File, lo, hi int64) (over func()) {
	n, r := inodeOf(f), inode.Range{Class: inode.Direct, Lo: lo, Hi: hi}
	n.Lock(r)
	return func() { n.Unlock(r) }
}

// Recent reports whether ReadAt would look for [lo, hi) in the page cache first.
func Recent(f *File, lo, hi int64) bool { return inodeOf(f).Recent(lo, hi) }

func inodeOf(f *File) *inode.Inode { return *field[*inode.Inode](f.fd, "inode") }

// SetScore sets the promptness score of the device of f, and Score returns it.
func SetScore(f *File, n int32) { field[atomic.Int32](*device(f), "score").Store(n) }
func Score(f *File) int32       { return field[atomic.Int32](*device(f), "score").Load() }

// LimitDevice puts f on a device of its own that takes n requests at a time.
func LimitDevice(f *File, n int) { *device(f) = sched.NewDevice(n) }

// SameDevice reports whether two Files share a device.
func SameDevice(f, g *File) bool { return *device(f) == *device(g) }

// share returns what the device of f has of a semaphore.
func share(f *File, name string) *sched.Share { return *field[*sched.Share](*device(f), name) }

// DevicePlaces returns how many requests of kernel AIO the device of f takes at a time, and how
// many there are or wait.
func DevicePlaces(f *File) (limit int, taken int64) {
	used, waiting := share(f, "requests").Load()
	return share(f, "requests").Limit(), used + waiting
}

// HoldThreads takes all threads of the device of f, so that its system calls wait until release.
func HoldThreads(f *File) (release func()) {
	t := share(f, "threads")
	t.Acquire(t.Limit())
	return func() { t.Release(t.Limit()) }
}

// Detached returns how many bytes calls with a context count for that are not over, on the device
// of f, and how many at most.
func Detached(f *File) (used, limit int64) {
	used, _ = share(f, "copies").Load()
	return used, int64(share(f, "copies").Limit())
}

// Grouped returns how many members the last groups of b have had.
func Grouped(b *Batch) (n int) {
	for _, r := range b.runs {
		n += len(r.grouped)
	}
	return n
}
