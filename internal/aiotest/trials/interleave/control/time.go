package control

import (
	"slices"
	"time"
)

// What follows has the names of package time.
type (
	Duration = time.Duration
	Time     = time.Time
)

// Durations.
const (
	Nanosecond  = time.Nanosecond
	Microsecond = time.Microsecond
	Millisecond = time.Millisecond
	Second      = time.Second
	Minute      = time.Minute
	Hour        = time.Hour
)

// Now returns the virtual time.
func Now() Time {
	if running == nil {
		return time.Unix(0, 0)
	}
	return time.Unix(0, running.now)
}

// Since returns the virtual time since t.
func Since(t Time) Duration { return Now().Sub(t) }

// Sleep sleeps until the scheduler lets that much time pass.
func Sleep(d Duration) {
	if t := here(); t != nil {
		t.deadline = t.parent.now + int64(d)
		t.point(op{kind: opSleep})
	}
}

// A Timer is a time.Timer with a function.
type Timer struct {
	fn       func()
	armed    bool
	deadline int64
	task     *task // that ran fn last
}

// AfterFunc returns a timer that runs fn.
func AfterFunc(d Duration, fn func()) *Timer {
	t := &Timer{fn: fn}
	running.timers = append(running.timers, t)
	t.Reset(d)
	return t
}

// Reset sets the timer. It decides nothing about the next step: the timer runs when nothing else can.
func (t *Timer) Reset(d Duration) bool {
	was := t.armed
	t.armed, t.deadline = true, running.now+int64(d)
	return was
}

// Stop stops the timer.
func (t *Timer) Stop() bool {
	was := t.armed
	t.armed = false
	return was
}

// Pending reports whether the timer is set, or what it runs has not ended.
func (t *Timer) Pending() bool { return t.armed || t.task != nil && !t.task.ended }

func (t *Timer) run() {
	t.armed = false
	t.task = spawn("", t.fn)
	t.task.rename(mix(5, uint64(slices.Index(running.timers, t))), "timer")
}

// Gosched is runtime.Gosched.
func Gosched() {
	if t := here(); t != nil {
		t.point(op{})
	}
}

// GOMAXPROCS is runtime.GOMAXPROCS.
func GOMAXPROCS(int) int {
	if running == nil {
		return 1
	}
	return running.Procs
}
