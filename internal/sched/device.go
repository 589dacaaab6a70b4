package sched

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-aio/aio/internal/dio"
)

// A Device is what all direct files on one device share: how many requests it takes at a time, and
// how promptly.
type Device struct {
	// places bounds the requests that kernel AIO has for it; it is nil if the device does not say
	// how many it takes.
	places *Semaphore

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
	// A request beyond these waits in io_submit(2) for a tag, and with it the thread, whatever
	// else is to be submitted, and the runtime's monitor: 1024 reads at a time cost half as much
	// again as 128 do (blk_mq_get_tag). Three quarters, because mq-deadline leaves writes no
	// more than that (dd_limit_depth), and others use the device too.
	places := 0
	if tags := dio.Tags(dev); tags > 0 {
		places = max(tags*3/4, 1)
	}
	known, _ := devices.LoadOrStore(dev, NewDevice(places))
	return known.(*Device)
}

// NewDevice returns a Device that takes so many requests at a time, or any number with 0.
func NewDevice(places int) *Device {
	d := new(Device)
	if places > 0 {
		d.places = NewSemaphore(places)
	}
	return d
}

// acquire waits for a place of the device.
func (d *Device) acquire() {
	if d.places != nil {
		d.places.Acquire(1)
	}
}

// TryAcquire takes a place for a request of a Group. It returns false if none is free.
func (d *Device) TryAcquire() bool { return d.places == nil || d.places.TryAcquire(1) }

// Release gives a place back.
func (d *Device) Release() {
	if d.places != nil {
		d.places.Release(1)
	}
}

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
