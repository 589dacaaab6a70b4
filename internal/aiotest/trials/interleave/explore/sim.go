//go:build interleave

package main

import (
	"slices"
	"syscall"
	"time"
	"unsafe"

	"github.com/go-aio/aio/internal/aiotest/trials/interleave/control"
	"github.com/go-aio/aio/libaio"
)

// Faults are what the kernel may do besides what is asked, each at most so many times. The
// scheduler decides when.
type faults struct {
	again   int  // io_submit(2) returns EAGAIN
	invalid int  // io_submit(2) returns EINVAL
	short   int  // io_submit(2) takes the first request only
	stuck   int  // io_submit(2) does not return until nothing else can go on
	refuse  bool // io_getevents(2) is refused from some time on
}

// Outcomes of io_submit(2).
const (
	takesAll = iota
	answersAgain
	answersInvalid
	takesOne
	isStuck
)

// A sim is a kernel of which the scheduler decides what it does.
//
// Its parts are objects of their own, so that what concerns different ones may change places.
type sim struct {
	entry   control.Object // of io_submit(2): faults, inside
	events  control.Object // the ring: due
	eventfd control.Object // bell
	faults
	refused   bool // io_getevents(2) is
	bell      bool
	inside    []*slot        // taken and not complete
	due       []*slot        // complete
	past      map[*slot]bool // complete: how they are signalled does not matter any more
	entered   map[*slot]bool // taken at some time
	distinct  []int          // of inside: those that are not like one before
	submitted map[*Lane]int64
	taken     map[*Lane]int64 // events
	late      func([]*slot)   // is called when a stuck io_submit(2) of these returns
}

func (k *sim) Submit(iocbs ...*libaio.IOCB) (int, error) {
	checkCall(iocbs)
	outcome, _ := k.entry.Yielding("io_submit", nil, -1, func() uint { return k.outcomes(len(iocbs)) })
	n := len(iocbs)
	switch outcome {
	case answersAgain:
		k.again--
		return 0, syscall.EAGAIN
	case answersInvalid:
		k.invalid--
		return 0, syscall.EINVAL
	case takesOne:
		k.short--
		n = 1
	case isStuck:
		k.stuck--
		var stuck []*slot
		for _, cb := range iocbs {
			stuck = append(stuck, slotOf(cb))
		}
		k.entry.Stuck("io_submit returns at last")
		k.late(stuck)
	}
	for _, cb := range iocbs[:n] {
		s := slotOf(cb)
		if slices.Contains(k.inside, s) || slices.Contains(k.due, s) {
			panic("a slot is submitted while it is in flight")
		}
		k.inside = append(k.inside, s)
		k.entered[s] = true
		delete(k.past, s)
		k.submitted[s.lane]++
	}
	return n, nil
}

// checkCall checks what one io_submit(2) carries, and that it may be called.
func checkCall(iocbs []*libaio.IOCB) {
	first := slotOf(iocbs[0])
	for _, cb := range iocbs {
		switch s := slotOf(cb); {
		case s.lane != first.lane:
			panic("one io_submit carries requests of two lanes")
		case s.group != first.group:
			panic("one io_submit carries requests of a group and others")
		}
	}
	checkUnlocked()
}

// checkUnlocked checks that a system call is made without a lock.
func checkUnlocked() {
	if control.Holds() > 0 {
		panic("a system call is made with a mutex locked")
	}
}

func (k *sim) outcomes(n int) uint {
	set := uint(1 << takesAll)
	if k.again > 0 {
		set |= 1 << answersAgain
	}
	if k.invalid > 0 {
		set |= 1 << answersInvalid
	}
	if k.short > 0 && n > 1 {
		set |= 1 << takesOne
	}
	if k.stuck > 0 {
		set |= 1 << isStuck
	}
	return set
}

func (k *sim) reap(events []libaio.Event) (int, error) {
	checkUnlocked()
	k.events.Yielding("reap", nil, -1, nil)
	return k.take(events), nil
}

// take moves events out of the ring.
func (k *sim) take(events []libaio.Event) int {
	n := min(len(events), len(k.due))
	for i, s := range k.due[:n] {
		events[i] = libaio.Event{Obj: &s.iocb, Res: buffer}
		k.taken[s.lane]++
		control.Observe(k.like(s))
	}
	k.due = slices.Delete(k.due, 0, n)
	return n
}

func (k *sim) collect(least int, events []libaio.Event, timeout time.Duration) (int, error) {
	checkUnlocked()
	outcome, _ := k.events.Yielding("io_getevents", func() bool { return k.refused || len(k.due) >= least },
		timeout, k.refusals)
	if outcome == 1 {
		k.refused = true
		return 0, syscall.EPERM
	}
	return k.take(events), nil
}

func (k *sim) refusals() uint {
	switch {
	case k.refused:
		return 2
	case k.refuse:
		return 3
	}
	return 1
}

// thePoller is a place of control.Forget, as are the numbers from 0 on.
const thePoller = 1000

func (k *sim) watch(fn func()) {
	for {
		control.Forget(thePoller)
		k.eventfd.Yielding("the poller", func() bool { return k.bell }, -1, nil)
		k.bell = false
		fn()
	}
}

func (k *sim) waiting() bool { return len(k.due) > 0 }

func (k *sim) state() string { return "" }

func (k *sim) ring() { k.bell = true }

func (k *sim) arm(cb *libaio.IOCB) {
	cb.SetEventfd(0)
	delete(k.past, slotOf(cb))
}

func (k *sim) close() {}

// completions returns the number of completions that may come next and are not alike.
func (k *sim) completions() int {
	k.distinct = k.distinct[:0]
next:
	for i, s := range k.inside {
		for _, j := range k.distinct {
			if k.like(s) == k.like(k.inside[j]) {
				continue next
			}
		}
		k.distinct = append(k.distinct, i)
	}
	return len(k.distinct)
}

// next returns the request of completion i.
func (k *sim) next(i int) *slot {
	k.completions()
	return k.inside[k.distinct[i]]
}

// complete puts the event of completion i into the ring.
func (k *sim) complete(i int) {
	s := k.next(i)
	i = k.distinct[i]
	k.inside = slices.Delete(k.inside, i, i+1)
	k.due = append(k.due, s)
	k.past[s] = true
	if armed(s) {
		k.bell = true
	}
}

func (k *sim) hash() uint64 {
	h := control.Mix(truth(k.bell)+2*truth(k.refused), uint64(k.again)<<24+uint64(k.invalid)<<16+
		uint64(k.short)<<8+uint64(k.stuck))
	inside := uint64(0) // in no order
	for _, s := range k.inside {
		inside += control.Mix(k.like(s), 5)
	}
	h = control.Mix(h, inside)
	for _, s := range k.due {
		h = control.Mix(h, k.like(s))
	}
	return h
}

// A raw is the part of struct iocb that matters here.
type raw struct {
	_      [40]byte
	offset int64
	_      int64
	flags  uint32
}

func rawOf(s *slot) *raw { return (*raw)(unsafe.Pointer(&s.iocb)) }

// armed reports whether the completion of s raises the eventfd.
func armed(s *slot) bool { return rawOf(s).flags&1 != 0 }

// like returns a number that s has in common with those that may stand in its place. In the kernel
// one request of a group is like another: the queue only counts them.
func (k *sim) like(s *slot) uint64 {
	n := number(s)
	if s.group != nil && k.entered[s] {
		n = number(s.group.slots[0]) + 1
	}
	return control.Mix(n, truth(s.quiet)+2*k.arms(s))
}

// arms returns 1 if the completion of s will raise the eventfd.
func (k *sim) arms(s *slot) uint64 { return truth(armed(s) && !k.past[s]) }

// callerOf returns the name of the goroutine that made the request. The offset is its number.
func callerOf(s *slot) string { return callerName(int(rawOf(s).offset)) }

func callerName(i int) string { return string(rune('A' + i)) }

// number returns a number that names s.
func number(s *slot) uint64 { return s.done.ID() }

func truth(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}
