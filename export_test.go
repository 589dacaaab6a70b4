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

// DevicePlaces returns how many async requests the device of f takes at a time, or 0 if there is no
// limit, and how many places are taken or waited for.
func DevicePlaces(f *File) (limit int, taken int64) {
	if !f.Direct() {
		return 0, 0
	}
	places := *field[*sched.Semaphore](*device(f), "places")
	if places == nil {
		return 0, 0
	}
	used, waiting := places.Load()
	return places.Limit(), used + int64(waiting)
}

// HoldThreads takes all threads, so that system calls wait until release.
func HoldThreads() (release func()) {
	t := sched.AcquireThread()
	t.Acquire(t.Limit() - 1)
	return func() {
		t.Release(1)
		t.Release(t.Limit() - 1)
	}
}

// Detached returns the memory in bytes of calls with a context that are not done, and its limit.
func Detached() (used, limit int64) {
	used, _ = detached.Load()
	return used, int64(detached.Limit())
}

// Grouped returns the number of members of the last group of b.
func Grouped(b *Batch) int { return len(b.grouped) }
