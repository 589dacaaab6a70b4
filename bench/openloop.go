//go:build linux

package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// mostUnderWay bounds the operations of an open loop that are under way.
const mostUnderWay = 10_000

// An openLoop begins operations at times that are set beforehand, whether earlier ones are done or
// not. Each is made by a lane of its own. Lanes are kept, and one is added if all are at work.
type openLoop struct {
	interval time.Duration // mean time from one intended start to the next
	poisson  *rand.Rand    // draws the times; nil: all are the interval
	limit    int           // of lanes
	wait     func(until time.Time) error
	newLane  func(i int) *lane

	underWay atomic.Int64 // operations that have been handed out and are not done
}

// newOpenLoop offers j.Offered operations a second.
func newOpenLoop(w *worker, j job, wait func(time.Time) error) *openLoop {
	// Go ends a program that has more threads, and an operation may hold one.
	debug.SetMaxThreads(2 * mostUnderWay)
	o := &openLoop{
		interval: time.Duration(float64(time.Second) / j.Offered),
		limit:    mostUnderWay,
		wait:     wait,
		newLane:  func(i int) *lane { return newLane(w, j, uint64(i), samplesPerPooledLane) },
	}
	if j.Poisson {
		o.poisson = rand.New(rand.NewPCG(j.Seed, 0))
	}
	return o
}

// gap returns the time from one intended start to the next.
func (o *openLoop) gap() time.Duration {
	if o.poisson == nil {
		return o.interval
	}
	return time.Duration(o.poisson.ExpFloat64() * float64(o.interval))
}

// run offers operations for d, and waits for those that it began. It returns all lanes, and the
// number of operations that it offered. Those that found all lanes at work were not begun.
func (o *openLoop) run(lanes []*lane, d time.Duration) (_ []*lane, offered int64, err error) {
	starts := make(chan time.Time, o.limit) // a lane that is free may not be waiting yet
	var serving sync.WaitGroup
	defer serving.Wait()
	defer close(starts)
	for _, l := range lanes {
		l.ops, l.err = 0, nil
		serving.Go(func() { o.serve(l, starts) })
	}
	begin := time.Now()
	for at := time.Duration(0); at < d; at += o.gap() {
		intended := begin.Add(at)
		if err := o.wait(intended); err != nil {
			return lanes, offered, err
		}
		offered++
		if o.underWay.Load() == int64(o.limit) {
			continue
		}
		if o.underWay.Add(1) > int64(len(lanes)) {
			l := o.newLane(len(lanes))
			lanes = append(lanes, l)
			serving.Go(func() { o.serve(l, starts) })
		}
		starts <- intended
	}
	return lanes, offered, nil
}

// samplesPerPooledLane is small, because there may be ten thousand lanes.
const samplesPerPooledLane = 64

func (o *openLoop) serve(l *lane, starts <-chan time.Time) {
	for intended := range starts {
		l.operate(intended)
		o.underWay.Add(-1)
	}
}

// operate makes one operation, whose latency counts from its intended start.
func (l *lane) operate(intended time.Time) {
	begun := time.Now()
	if err := l.do(l); err != nil {
		if l.err == nil {
			l.err = err
		}
		return
	}
	l.samples = append(l.samples, time.Since(intended))
	l.delays = append(l.delays, begun.Sub(intended))
	l.ops += l.weight
	if len(l.samples) == cap(l.samples) {
		l.flush()
	}
}

// An alarm waits for a time more exactly than time.Sleep. Without work the runtime sleeps in
// epoll_wait(2), which counts milliseconds. A timerfd(2) wakes it like a packet on a socket.
type alarm struct {
	f    *os.File
	conn syscall.RawConn
}

// shortestRest bounds the wake-ups to ten thousand a second, because each costs about 20 µs of the
// processors. Operations that are due sooner begin late together, in every engine.
const shortestRest = 100 * time.Microsecond

func newAlarm() (*alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("timerfd_create: %w", err)
	}
	a := &alarm{f: os.NewFile(uintptr(fd), "timerfd")}
	if a.conn, err = a.f.SyscallConn(); err != nil {
		return nil, err
	}
	return a, nil
}

// wait returns at once if the time has passed.
func (a *alarm) wait(until time.Time) error {
	for {
		left := time.Until(until)
		if left <= 0 {
			return nil
		}
		if err := a.sleep(max(left, shortestRest)); err != nil {
			return err
		}
	}
}

// sleep may return early. Setting the timer again withdraws what an earlier expiry left to read.
func (a *alarm) sleep(d time.Duration) error {
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))}
	set := false
	var failed error
	// The poller must expect the expiry before the timer is set, so Read's function sets it.
	err := a.conn.Read(func(fd uintptr) (done bool) {
		if set {
			return true
		}
		set = true
		failed = unix.TimerfdSettime(int(fd), 0, &spec, nil)
		return failed != nil
	})
	if failed != nil {
		return fmt.Errorf("timerfd_settime: %w", failed)
	}
	return err
}

func (a *alarm) close() { _ = a.f.Close() }
