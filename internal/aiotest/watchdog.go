package aiotest

import (
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A bug in this library shows as a request that nothing wakes, so every test has a guard. A machine
// may be slow, and busy with other work, so guards do not use the clock. The watchdog ends the
// process if nothing in it has moved at many looks in a row.

const (
	// looks is the number of looks in a row without movement before the watchdog barks. It counts
	// looks and not seconds: a process that does not run does not look either.
	looks = 20
	// untilLooks is the number for [Until], which fails one test and leaves the others alone.
	untilLooks = looks * 3 / 4
	// trifle is processor time that is no progress: that of the watchdog, of timers, and of the
	// collector, which the runtime starts every two minutes.
	trifle = 20 * time.Millisecond
	// margin is the part of go test's time limit (-timeout) that is kept for writing the stacks.
	margin = 10 * time.Second
)

// patienceEnv shortens the minute in tests of the watchdog.
const patienceEnv = "AIOTEST_PATIENCE"

// patience is how long nothing moves in a process that hangs.
var patience = func() time.Duration {
	if d, err := time.ParseDuration(os.Getenv(patienceEnv)); err == nil {
		return d
	}
	return time.Minute
}()

// A watchdog looks at the process as long as a test is guarded.
type watchdog struct {
	mu     sync.Mutex
	timer  *time.Timer
	tests  []*guarded
	others map[int]bool // processes whose time counts as this one's
	waits  int          // the number of children with watchdogs of their own
	ticks  int64        // calls of Moved

	last  state
	still int // looks without movement
}

// A guarded is a test, or a process without one.
type guarded struct {
	name     string
	deadline time.Time // zero: none
	hang     func()    // nil, or called before the process ends
}

// A state holds the numbers whose change is movement.
type state struct {
	cpu   time.Duration
	ticks int64
}

var dog = watchdog{others: make(map[int]bool)}

// Guard ends the process, with the stacks of all goroutines, if nothing in it has moved for a
// minute, or if the time limit of go test is near. Movement is processor time of the process and of
// those that it follows, and calls of [Moved].
func Guard(t testing.TB) { t.Helper(); GuardWith(t, nil) }

// GuardWith is Guard, but calls hang before it ends the process.
func GuardWith(t testing.TB, hang func()) {
	t.Helper()
	g := &guarded{name: t.Name(), hang: hang}
	if t, ok := t.(interface{ Deadline() (time.Time, bool) }); ok {
		if at, ok := t.Deadline(); ok {
			g.deadline = at.Add(-min(margin, time.Until(at)/10))
		}
	}
	t.Cleanup(dog.guard(g))
}

// GuardProcess is Guard for a process without tests.
func GuardProcess(name string) (stop func()) { return dog.guard(&guarded{name: name}) }

// Moved tells the watchdog that there is progress.
func Moved() {
	dog.mu.Lock()
	defer dog.mu.Unlock()
	dog.ticks++
}

// Follow adds the processor time of another process, for which this one waits, to its own.
func Follow(pid int) (stop func()) {
	dog.mu.Lock()
	defer dog.mu.Unlock()
	dog.others[pid] = true
	return func() {
		dog.mu.Lock()
		defer dog.mu.Unlock()
		delete(dog.others, pid)
		dog.still = 0
	}
}

// rely suspends the watchdog while this process waits for a child that has its own.
func (d *watchdog) rely() (stop func()) {
	count := func(n int) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.waits += n
		d.still = 0
	}
	count(1)
	return func() { count(-1) }
}

func (d *watchdog) guard(g *guarded) (stop func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tests = append(d.tests, g)
	d.still = 0 // a test that begins is progress
	if len(d.tests) == 1 {
		if d.timer == nil {
			d.timer = time.AfterFunc(patience/looks, d.look)
		}
		d.timer.Reset(patience / looks)
	}
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.still = 0
		i := slices.Index(d.tests, g)
		d.tests = slices.Delete(d.tests, i, i+1)
	}
}

func (d *watchdog) look() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.tests) == 0 {
		return // until the next guard
	}
	d.timer.Reset(patience / looks)
	now := time.Now()
	for _, g := range d.tests {
		if !g.deadline.IsZero() && now.After(g.deadline) {
			d.bark("the time limit of go test is near")
		}
	}
	if s, moved := d.moved(d.last); moved {
		d.last, d.still = s, 0
	} else if d.still++; d.still >= looks && d.waits == 0 {
		d.bark(fmt.Sprintf("nothing has moved for %v", patience))
	}
}

// moved returns the state, and whether it differs from before.
func (d *watchdog) moved(before state) (state, bool) {
	s := state{cpu: processorTime(), ticks: d.ticks}
	for pid := range d.others {
		s.cpu += processorTimeOf(pid)
	}
	// Less is progress as well: another process has ended.
	return s, s.ticks != before.ticks || s.cpu < before.cpu || s.cpu > before.cpu+trifle
}

// bark ends the process.
func (d *watchdog) bark(why string) {
	var names []string
	for _, g := range d.tests {
		names = append(names, g.name)
		if g.hang != nil {
			g.hang()
		}
	}
	debug.SetTraceback("all")
	panic(fmt.Sprintf("%s: %s", strings.Join(names, ", "), why))
}

// Until waits until ok returns true, as long as anything moves.
func Until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	if !Eventually(ok) {
		t.Fatalf("timed out until %s\n%s", what, Stacks())
	}
}

// Eventually waits until ok returns true, as long as anything moves, and reports whether it did. It
// calls ok less and less often, or its own calls would be the movement.
func Eventually(ok func() bool) bool {
	start := time.Now()
	var last state
	still, next := 0, start.Add(patience/looks)
	for !ok() {
		time.Sleep(min(max(time.Since(start)/16, time.Microsecond), 500*time.Millisecond))
		if time.Now().Before(next) {
			continue
		}
		next = time.Now().Add(patience / looks)
		dog.mu.Lock()
		now, moved := dog.moved(last)
		relies := dog.waits > 0
		dog.mu.Unlock()
		if moved || relies {
			last, still = now, 0
		} else if still++; still >= untilLooks {
			return ok()
		}
	}
	return true
}
