package sched

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-aio/aio/internal/dio"
	"github.com/go-aio/aio/internal/queue"
)

// A Device is what all files on one device, or one filesystem without a device, share: its way to
// the kernel, and its shares of what the process bounds. Whatever waits for a device that hangs
// holds nothing of another.
type Device struct {
	lane     *queue.Lane
	requests *Share // in the kernel's queue
	threads  *Share // system calls, each of which may hold a thread
	bounce   *Share // bytes of bounce buffers
	copies   *Share // bytes of calls that may be abandoned

	// score is positive if system calls have lately returned promptly.
	score atomic.Int32
}

// devices has them by device number, for the life of the process: there are only a few.
var devices sync.Map

// DeviceOf returns the Device with that number.
func DeviceOf(dev uint64) *Device {
	if d, ok := devices.Load(dev); ok {
		return d.(*Device)
	}
	// A request beyond these waits in io_submit(2) for a tag, and with it the thread, whatever else
	// is to be submitted, and the runtime's monitor: 1024 reads at a time cost half as much again
	// as 128 do (blk_mq_get_tag). Three quarters, because mq-deadline leaves writes no more than
	// that (dd_limit_depth), and others use the device too.
	places := unknownDepth
	if tags := dio.Tags(dev); tags > 0 {
		places = max(tags*3/4, 1)
	}
	known, _ := devices.LoadOrStore(dev, NewDevice(places))
	return known.(*Device)
}

// unknownDepth bounds the requests of a device that does not say how many it takes.
const unknownDepth = 256

// NewDevice returns a Device that takes so many requests at a time.
func NewDevice(places int) *Device {
	return &Device{
		lane:     process.queue.Lane(),
		requests: process.requests.Share(places),
		threads:  process.threads.Share(0),
		bounce:   process.bounce.Share(0),
		copies:   process.copies.Share(0),
	}
}

// Thread waits for one of the bounded number of threads, for a system call. The caller holds its
// locks by then, and waits for nothing but I/O until it releases the one unit that it has of the
// Share.
func (d *Device) Thread() *Share {
	use()
	d.threads.Acquire(1)
	return d.threads
}

// PageCache is Thread for a call through the page cache.
func (d *Device) PageCache() *Share {
	use().pageCache.Add()
	d.threads.Acquire(1)
	return d.threads
}

// AcquireBounce waits until n bytes of bounce buffers are free. ReleaseBounce gives them back.
func (d *Device) AcquireBounce(n int) { d.bounce.Acquire(n) }

// ReleaseBounce gives back n bytes of bounce buffers.
func (d *Device) ReleaseBounce(n int) { d.bounce.Release(n) }

// AcquireCopy waits, as long as ctx lasts, until a call that may be abandoned may use n bytes of
// the library's memory. ReleaseCopy gives them back.
func (d *Device) AcquireCopy(ctx context.Context, n int) bool {
	return d.copies.AcquireContext(ctx, max(n, leastCopy))
}

// ReleaseCopy gives back the bytes of a call that may have been abandoned.
func (d *Device) ReleaseCopy(n int) { d.copies.Release(max(n, leastCopy)) }

// leastCopy is what such a call counts for at least, in bytes: its goroutine and what belongs to
// that.
const leastCopy = 16 << 10

// A call that returns promptly keeps its P: the runtime takes it from a thread after 20 us at the
// earliest (runtime.sysmon). So on a device that is memory, or as good as that, a system call is
// the shortest way however many are in flight.
const (
	promptly = 20 * time.Microsecond
	// maxScore bounds the score either way, so that a few samples change it. slowPenalty is how
	// far one slow call lowers it. At 4 to 1, a preempted call (1 in 100) is forgiven; a disk that
	// misses its cache now and then is not.
	maxScore    = 8
	slowPenalty = 4
	// One call in sampleEvery is timed, if it transfers sampledUpTo bytes at most: more take their
	// time to be copied, wherever they are.
	sampleEvery = 8
	sampledUpTo = 16 << 10
	// promptLimit is the syncLimit of such a device: it bounds calls that were preempted, and
	// those of the time until the device is found to have become slow.
	promptLimit = 32
)

// syncLimit returns how many requests may be in flight before the next one goes to kernel AIO.
// disk is the limit for an ordinary disk; 0 disables synchronous calls.
func (d *Device) syncLimit(disk int) int {
	if disk > 0 && d.score.Load() > 0 {
		return max(disk, promptLimit)
	}
	return disk
}

// timed makes the system call, and times it now and then.
func (d *Device) timed(r Request) (int, error) {
	if _, one := r.Bufs.First(); !one || r.Bufs.Len() > sampledUpTo || rand.Uint32()%sampleEvery != 0 {
		return Transfer(r)
	}
	start := time.Now()
	n, err := Transfer(r)
	d.sample(time.Since(start))
	return n, err
}

// sample adds the duration of a system call to the score.
func (d *Device) sample(took time.Duration) {
	was := d.score.Load()
	now := min(was+1, maxScore)
	if took >= promptly {
		now = max(was-slowPenalty, -maxScore)
	}
	if now != was {
		d.score.CompareAndSwap(was, now) // or another sample counts
	}
}
