package aio

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-aio/aio/internal/dio"
	"github.com/go-aio/aio/internal/queue"
	"github.com/go-aio/aio/internal/sched"
)

// A device is what all direct Files on one device share: how many requests it takes at a
// time, and how promptly.
type device struct {
	// places bounds the requests that kernel AIO has for it; nil if the device does not
	// say how many it takes.
	places *sched.Semaphore
	// prompt is positive if plain calls have lately returned promptly.
	prompt atomic.Int32
}

// devices has them by device number, for the life of the process: there are only a few.
var devices sync.Map

func deviceOf(dev uint64) *device {
	if d, ok := devices.Load(dev); ok {
		return d.(*device)
	}
	d := new(device)
	// A request beyond these waits in io_submit(2) for a tag, and with it the thread, whatever
	// else is to be submitted, and the runtime's monitor: 1024 reads at a time cost half as much
	// again as 128 do (blk_mq_get_tag). Three quarters, because mq-deadline leaves writes no
	// more than that (dd_limit_depth), and others use the device too.
	if tags := dio.Tags(dev); tags > 0 {
		d.places = sched.NewSemaphore(tags * 3 / 4)
	}
	known, _ := devices.LoadOrStore(dev, d)
	return known.(*device)
}

// devicePlaces returns how many requests wait for a place of a device, and how many have had to.
func devicePlaces() (queued, waits int64) {
	devices.Range(func(_, d any) bool {
		if places := d.(*device).places; places != nil {
			_, waiting := places.Load()
			queued += int64(waiting)
			waits += places.Waits()
		}
		return true
	})
	return queued, waits
}

// do makes a request by the kernel's queue when the device has a place for it.
func (d *device) do(q *queue.Queue, op queue.Op, fd int, p []byte, bufs [][]byte, off int64) (int, error) {
	if d.places == nil {
		return q.DoVec(op, fd, p, bufs, off)
	}
	d.places.Acquire(1)
	n, err := q.DoVec(op, fd, p, bufs, off)
	d.places.Release(1)
	return n, err
}

// enter takes a place for a request, and leave gives it back. enter returns false if none is free.
func (d *device) enter() bool { return d.places == nil || d.places.TryAcquire(1) }

func (d *device) leave() {
	if d.places != nil {
		d.places.Release(1)
	}
}

// A call that returns promptly keeps its P: the runtime takes it from a thread after 20 us at the
// earliest (runtime.sysmon). So on a device that is memory, or as good as that, a plain call is
// the shortest way however many are in flight.
const (
	promptly = 20 * time.Microsecond
	// mostPrompt bounds device.prompt either way, so that a device which changes is noticed
	// after a few samples. tardy is what a call counts for that takes longer: calls that
	// were preempted, one in a hundred, shall not matter, but those of a disk whose cache
	// has only some of what is read shall.
	mostPrompt = 8
	tardy      = 4
	// One plain call in so many is timed, if it is for no more than so many bytes: more take
	// their time to be copied, wherever they are.
	sampleEvery = 8
	sampledUpTo = 16 << 10
	// fewPrompt is what few is on such a device: it bounds calls that were preempted, and
	// those of the time until it is noticed that the device has become slow.
	fewPrompt = 32
)

// few returns the number of requests in flight up to which the next is a plain call, given what
// it is on a disk. Who wants none of these gets none.
func (d *device) few(disk int) int {
	if disk > 0 && d.prompt.Load() > 0 {
		return max(disk, fewPrompt)
	}
	return disk
}

// transfer makes the plain system call on fd, and times it now and then.
func (d *device) transfer(op queue.Op, fd int, p []byte, bufs [][]byte, off int64) (int, error) {
	if rand.Uint32()%sampleEvery != 0 || len(p) > sampledUpTo || bufs != nil {
		return transfer(op, fd, p, bufs, off)
	}
	start := time.Now()
	n, err := transfer(op, fd, p, nil, off)
	d.sample(time.Since(start))
	return n, err
}

// sample takes note of how long a plain call took.
func (d *device) sample(took time.Duration) {
	was := d.prompt.Load()
	now := min(was+1, mostPrompt)
	if took >= promptly {
		now = max(was-tardy, -mostPrompt)
	}
	if now != was {
		d.prompt.CompareAndSwap(was, now) // or another sample counts
	}
}
