//go:build linux

package queue

import (
	"math/bits"
	"sync/atomic"
	"syscall"
	"time"
)

// Beside goroutines that compute on all processors, a goroutine that becomes ready waits for a
// slice of 10 ms of each of them, and the runtime asks its poller only every 10 ms. A completion
// that kernel AIO delivers to another goroutine then comes that late, while a system call on the
// caller's own thread mostly keeps its processor. It is much the same beside other processes that
// compute. So while requests are under way, the queue looks every few milliseconds how long a
// goroutine that yields has to wait. If that is long, time and again, processors are busy, and
// callers had better make system calls. See Queue.Busy.
//
// Such a yield takes long itself. It is not needed if the process has used all of its processors
// since the last look, and made few requests.
//
// How long a goroutine yields tells nothing while many make system calls: each of these keeps a
// processor for a while too. So processors stop being busy for a trial, after a time that doubles
// with each trial that finds them busy still.
//
// A crowd of goroutines that make requests has a long way to go round, too: a yield is late only
// if few requests have been made meanwhile.
//
// Measured with 32 readers on two processors: without goroutines that compute, 98 in 100 yields
// took less than 0.3 ms; with two of them one in three took 20 ms, with four all took 40 ms.
const (
	lookEvery  = 10 * time.Millisecond
	lateFrom   = 4 * time.Millisecond  // a yield that takes longer is late
	flowEvery  = 50 * time.Microsecond // unless there has been a request for each of these
	lateOf     = 4                     // processors are busy if of so many yields
	lateEnough = 2                     // so many are late, or one in a trial
	fullFrom   = 90                    // percent of all processors that are all of them
	trialAfter = time.Millisecond      // by then the system calls under way are over
	leastBusy  = 200 * time.Millisecond
	fullBusy   = time.Second // the least if the process has used all processors
	mostBusy   = 2 * time.Second
)

// A busyState is what one look at the processors leaves for the next. All but the atomic fields
// belongs to the goroutine that looks, of which there is one at a time.
type busyState struct {
	on     atomic.Bool
	yields atomic.Int64 // when the yield under way began or was due, since epoch; or 0
	from   atomic.Int64 // requests made by then

	set   atomic.Bool // a look is due, or under way
	timer *time.Timer // runs lookBusy

	arranged time.Duration // when the look was, since epoch
	spent    time.Duration // processor time that the process had used when the look was arranged

	late  uint8         // a bit for each of the last looks, whether it was late
	looks int           // since the trial began
	seen  int64         // requests made, as of the last look
	busy  time.Duration // how long processors are busy, until the next trial
	trial time.Time     // the last trial, or zero

	gosched func()               // runtime.Gosched, but for tests
	used    func() time.Duration // processorTime, but for tests
	procs   func() int32         // GOMAXPROCS
}

// Busy reports whether processors are busy, so that a request is done sooner as a system call of
// its caller's thread.
func (q *Queue) Busy() bool {
	if q.busy.on.Load() {
		return true
	}
	began := q.busy.yields.Load()
	if began == 0 {
		return false
	}
	took := sinceEpoch() - time.Duration(began)
	return took >= lateFrom && isLate(took, q.made()-q.busy.from.Load())
}

// isLate reports whether a yield is late that took so long, while so many requests were made.
func isLate(took time.Duration, requests int64) bool {
	return took >= lateFrom && requests < int64(took/flowEvery)
}

// watchBusy looks at the processors from time to time from now on, until no request is under way.
func (q *Queue) watchBusy() {
	b := &q.busy
	if !b.set.Load() && b.set.CompareAndSwap(false, true) {
		b.arrange(lookEvery)
	}
}

// arrange makes the timer run the next look, and notes what full compares.
func (b *busyState) arrange(after time.Duration) {
	b.arranged, b.spent = sinceEpoch(), b.used()
	b.timer.Reset(after)
}

// full reports whether the process has used all of its processors since arrange, and has made few
// requests since the last look.
func (b *busyState) full(made int64) bool {
	took, used := sinceEpoch()-b.arranged, b.used()-b.spent
	return isLate(took, made-b.seen) && used >= took*time.Duration(b.procs())*fullFrom/100
}

// processorTime returns the processor time that the process has used, by getrusage(2).
func processorTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// lookBusy is what the timer runs.
func (q *Queue) lookBusy() {
	again := q.busy.look(q.made, q.underWay(), time.Now())
	if again == 0 {
		q.busy.set.Store(false)
		return
	}
	q.busy.arrange(again)
}

// look looks once, and returns after how long to look again, or 0 for not at all. made
// returns the number of requests that have ever been made, and active is that of those under way.
func (b *busyState) look(made func() int64, active int64, now time.Time) time.Duration {
	before := made()
	if b.on.Load() {
		return b.try(before, active, now)
	}
	if before == b.seen {
		b.late = 0 // what was seen before is over
		b.yields.Store(0)
		return 0
	}
	full := b.full(before)
	b.seen = before
	if full {
		return b.enter(now, fullBusy)
	}
	b.looks++
	b.late <<= 1
	if took := b.yield(before); isLate(took, made()-b.from.Load()) {
		b.late |= 1
	}
	enough := lateEnough
	if b.looks <= lateOf && !b.trial.IsZero() {
		enough = 1
	}
	if bits.OnesCount8(b.late&(1<<lateOf-1)) < enough {
		return lookEvery
	}
	return b.enter(now, leastBusy)
}

// try begins a trial. Its first yield is late from when it is due, because timers are late too.
// If nothing is under way, it is the next request that begins one.
func (b *busyState) try(made, active int64, now time.Time) time.Duration {
	defer b.on.Store(false)
	b.late, b.looks, b.trial = 0, 0, now
	if active == 0 {
		b.seen = made
		return 0
	}
	b.seen = made - 1
	b.from.Store(made)
	b.yields.Store(int64(sinceEpoch() + trialAfter))
	return trialAfter
}

// enter makes processors busy, and returns for how long: at least the given time.
func (b *busyState) enter(now time.Time, least time.Duration) time.Duration {
	if b.trial.IsZero() || now.Sub(b.trial) > mostBusy {
		b.busy = least
	} else {
		b.busy = min(max(2*b.busy, least), mostBusy)
	}
	b.on.Store(true)
	return b.busy
}

// yield returns how long a goroutine that yields twice waits for its processor. Once is not
// enough: another processor takes the first goroutine that it finds, which is this one. made
// is the number of requests by now.
func (b *busyState) yield(made int64) time.Duration {
	began := time.Duration(b.yields.Load())
	if began == 0 {
		began = sinceEpoch()
		b.from.Store(made)
		b.yields.Store(int64(began))
	}
	b.gosched()
	b.gosched()
	b.yields.Store(0)
	return sinceEpoch() - began
}

func sinceEpoch() time.Duration { return time.Since(epoch) }
