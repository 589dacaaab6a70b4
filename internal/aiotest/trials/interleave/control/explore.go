package control

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// A Program begins an execution: it starts goroutines.
type Program func(x *Execution) World

// Limits bound an exploration.
type Limits struct {
	Preemptions int           // switches away from a goroutine that could go on; negative: any
	Time        time.Duration // for all
	Seed        uint64        // of Random
	Exact       bool          // goroutines forget nothing, and nothing sleeps: for tests of these
	Shared      bool          // count Report.Shared
}

// Any as a bound on preemptions is none.
const Any = -1

// A Report says what has been explored.
type Report struct {
	Executions int
	States     int // that differ
	Shared     int // of States, as far as other goroutines can tell
	Steps      int
	Took       time.Duration
	Expiries   int  // timeouts that passed because nothing else could go on
	Complete   bool // nothing within the bound is left to explore
	Err        error
	Schedule   []string // that led to Err
}

// mostSteps bounds an execution.
const mostSteps = 50_000

// begin begins an execution. Without classes each operation lets the scheduler choose.
func begin(p Program, classes map[uint64]*class, trace func(string)) *Execution {
	x := &Execution{Procs: 1, every: classes == nil, classes: classes, trace: trace}
	if x.every {
		x.classes = make(map[uint64]*class)
	}
	running = x
	x.world = p(x)
	return x
}

// check returns the first error of x so far.
func (x *Execution) check() error {
	switch {
	case x.err != nil:
		return x.err
	case x.steps > mostSteps:
		return errors.New("livelock")
	}
	return x.world.Check()
}

// An explorer goes through all executions, depth first. It does not go on from a state that it has
// seen.
//
// Moves that are independent lead to the same state in either order, and one order is enough. So
// there is a sleep set at each state: moves that need not be tried, because what they lead to is
// tried elsewhere. It has the moves that were tried before, at this state and at those that led to
// it, as far as they are independent of all moves since. A state may be reached again with another
// sleep set. What slept the first time, and does not now, is tried then (Godefroid, Holzmann and
// Pirottin, "State-space caching revisited", 1992). So each state is still reached, and Check sees
// all of them.
//
// With a bound on preemptions nothing sleeps: what a move leads to may have been tried elsewhere
// with more preemptions, and so not as far.
type explorer struct {
	program Program
	limits  Limits
	classes map[uint64]*class
	fewest  map[uint64]uint8  // states seen with a bound, with the fewest preemptions
	slept   map[uint64]uint32 // states seen without a bound, with the number of their sleep set
	shared  map[uint64]struct{}
	sets    sets
	path    []branch
	trail   []choice // of all moves, up to the last branch
	report  Report
}

// A branch is a state with several moves, of which those before next have been tried.
type branch struct {
	moves       []choice
	next        int
	sleep       []choice
	at          int // in trail
	preemptions uint8
}

// Explore runs p in all orders within the limits, until there is an error.
func Explore(p Program, limits Limits) Report {
	e := &explorer{program: p, limits: limits, classes: make(map[uint64]*class)}
	started := time.Now()
	exact = limits.Exact
	defer func() { running, exact = nil, false }()
	for {
		e.shared = make(map[uint64]struct{})
		e.fewest, e.slept = make(map[uint64]uint8), make(map[uint64]uint32)
		e.sets, e.path, e.trail = sets{}, nil, nil
		again := e.all(started)
		e.report.States = len(e.fewest) + len(e.slept)
		e.report.Shared = len(e.shared)
		if e.report.Took = time.Since(started); !again {
			return e.report
		}
	}
}

// all goes through all executions. It returns true if it must begin anew.
func (e *explorer) all(started time.Time) (again bool) {
	for {
		x := begin(e.program, e.classes, nil)
		err := e.one(x)
		x.end()
		e.report.Executions++
		e.report.Steps += x.steps
		e.report.Expiries += x.Expiry
		if err != nil {
			e.report.Err = err
			e.report.Schedule = e.replay()
			return false
		}
		if x.changed {
			return true
		}
		if !e.back() {
			e.report.Complete = true
			return false
		}
		if e.report.Executions&0xff == 0 && time.Since(started) > e.limits.Time {
			return false
		}
	}
}

// back goes back to the last branch that has a move left. It returns false if there is none.
func (e *explorer) back() bool {
	for n := len(e.path); n > 0; n-- {
		if b := &e.path[n-1]; b.next < len(b.moves) {
			e.path, e.trail = e.path[:n], e.trail[:b.at]
			return true
		}
	}
	return false
}

// one runs one execution: along the trail, and then on to a state that has been seen, or to the
// end.
func (e *explorer) one(x *Execution) error {
	x.retrace(e.trail)
	var sleep []choice
	var preemptions uint8
	if n := len(e.path); n > 0 {
		sleep, preemptions = e.choose(x, &e.path[n-1])
		if err := x.check(); err != nil {
			return err
		}
	}
	for {
		moves := x.possible()
		if len(moves) == 0 {
			return x.ending()
		}
		if len(moves) == 1 {
			c := x.choice(moves[0])
			if c.in(sleep) {
				return nil
			}
			sleep = awake(sleep, c)
			e.trail = append(e.trail, c)
			x.make(moves[0])
		} else {
			b := e.branch(x, moves, sleep, preemptions)
			if b == nil {
				return nil
			}
			sleep, preemptions = e.choose(x, b)
		}
		if err := x.check(); err != nil {
			return err
		}
	}
}

// branch returns a new branch at the state of x, or nil if there is nothing to try.
func (e *explorer) branch(x *Execution, moves []move, sleep []choice, preemptions uint8) *branch {
	b := branch{at: len(e.trail), preemptions: preemptions}
	bounded := e.limits.Preemptions >= 0
	for _, m := range moves {
		c := x.choice(m)
		c.branch = true
		if bounded && x.preempts(m) {
			if int(preemptions) == e.limits.Preemptions {
				continue
			}
			c.preempts = true
		}
		b.moves = append(b.moves, c)
	}
	if len(b.moves) == 0 {
		return nil // all ways on are beyond the bound
	}
	if bounded && e.known(x, preemptions) || !bounded && e.asleep(x, &b, sleep) {
		return nil
	}
	e.path = append(e.path, b)
	return &e.path[len(e.path)-1]
}

// choose makes the next move of b. It returns what sleeps then, and the number of preemptions.
func (e *explorer) choose(x *Execution, b *branch) (sleep []choice, preemptions uint8) {
	c := b.moves[b.next]
	if e.limits.Preemptions < 0 && !e.limits.Exact {
		sleep = awake(b.sleep, c)
		sleep = append(sleep, awake(b.moves[:b.next], c)...)
	}
	preemptions = b.preemptions
	if c.preempts {
		preemptions++
	}
	b.next++
	e.trail = append(e.trail, c)
	x.follow(c)
	return sleep, preemptions
}

// preempts reports whether m takes the processor from a goroutine that could go on.
func (x *Execution) preempts(m move) bool {
	return m.task != nil && m.task != x.last && x.last != nil && !x.last.ended && x.last.enabled()
}

// known reports whether the state of x has been seen with no more preemptions, and notes it.
func (e *explorer) known(x *Execution, preemptions uint8) bool {
	h := x.hash()
	if x.last != nil {
		h = mix(h, x.last.id)
	}
	fewest, ok := e.fewest[h]
	if ok && fewest <= preemptions {
		return true
	}
	e.fewest[h] = preemptions
	return false
}

// asleep leaves in b the moves that need to be tried at the state of x. It returns true if there
// are none.
func (e *explorer) asleep(x *Execution, b *branch, sleep []choice) bool {
	h := x.hash()
	if e.limits.Shared {
		e.shared[x.shared()] = struct{}{}
	}
	number, seen := e.slept[h]
	stored := e.sets.of(number)
	left := b.moves[:0]
	for _, c := range b.moves {
		if !c.in(sleep) && (!seen || slices.Contains(stored, c.key)) {
			left = append(left, c)
		}
	}
	b.moves = left
	for _, c := range sleep {
		if !seen || slices.Contains(stored, c.key) {
			b.sleep = append(b.sleep, c)
		}
	}
	e.slept[h] = e.sets.number(b.sleep)
	return len(left) == 0
}

// replay returns the schedule of e.trail, and of what follows from it.
func (e *explorer) replay() (lines []string) {
	x := begin(e.program, e.classes, func(line string) { lines = append(lines, line) })
	defer x.end()
	x.retrace(e.trail)
	return lines
}

// Random runs p in random orders. The goroutine that has the highest priority goes on, and a few
// times in each execution the one that runs gets the lowest (probabilistic concurrency testing).
//
// A seed stands for the same order each time.
func Random(p Program, limits Limits) (report Report) {
	defer func() { running = nil }()
	started := time.Now()
	length := steps(p)
	for seed := limits.Seed; report.Took < limits.Time; seed++ {
		x := begin(p, nil, nil)
		err := x.random(seed, length)
		x.end()
		report.Executions++
		report.Steps += x.steps
		report.Expiries += x.Expiry
		if err != nil {
			report.Err = fmt.Errorf("seed %d: %w", seed, err)
			x := begin(p, nil, func(line string) { report.Schedule = append(report.Schedule, line) })
			x.random(seed, length)
			x.end()
			break
		}
		report.Took = time.Since(started)
	}
	return report
}

// steps returns about how many steps an execution of p has.
func steps(p Program) (most int) {
	for seed := range uint64(8) {
		x := begin(p, nil, nil)
		x.random(seed, 100)
		x.end()
		most = max(most, x.steps)
	}
	return most
}

// lowered is how often the goroutine that runs gets the lowest priority.
const lowered = 5

func (x *Execution) random(seed uint64, length int) error {
	r := rand.New(rand.NewPCG(seed, 0))
	priorities := make(map[uint64]int)
	var changes [lowered]int
	for i := range changes {
		changes[i] = r.IntN(length)
	}
	lowest := 0
	for step := 0; ; step++ {
		moves := x.possible()
		if len(moves) == 0 {
			return x.ending()
		}
		best, top := 0, 0
		for i, m := range moves {
			id := uint64(0)
			if m.task != nil {
				id = m.task.id
			}
			if priorities[id] == 0 {
				priorities[id] = 1 + r.IntN(1<<20)
			}
			if p := priorities[id]; i == 0 || p > top || p == top && r.IntN(2) == 0 {
				best, top = i, p
			}
		}
		m := moves[best]
		for _, at := range changes {
			if at == step && m.task != nil {
				lowest--
				priorities[m.task.id] = lowest
			}
		}
		x.make(m)
		if err := x.check(); err != nil {
			return err
		}
	}
}

// describe describes m before it is made.
func (x *Execution) describe(m move) string {
	switch {
	case m.time:
		return "time passes"
	case m.task == nil:
		return "kernel: " + x.world.Describe(m.action)
	}
	return x.about(m.task, m.outcome)
}

// about describes what t is about to do.
func (x *Execution) about(t *task, outcome int) string {
	o := t.op
	text := t.name + ": " + kinds[o.kind]
	if o.what != "" {
		text = t.name + ": " + o.what
	}
	if o.object != nil && o.kind != opCall {
		text += " " + o.object.String()
	}
	if o.value != 0 {
		text += fmt.Sprintf(" by or to %d", o.value)
	}
	if o.outcomes != nil {
		text += fmt.Sprintf(", outcome %d", outcome)
	}
	return text + t.where
}

// caller returns the place in the program that called a stand-in.
func caller() string {
	pcs := make([]uintptr, 12)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs)])
	for {
		f, more := frames.Next()
		if !strings.Contains(f.Function, "/control.") {
			name := f.Function[strings.LastIndex(f.Function, "/")+1:]
			return fmt.Sprintf(" (%s, %s:%d)", name, filepath.Base(f.File), f.Line)
		}
		if !more {
			return ""
		}
	}
}
