package control

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime"
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
}

// A Report says what has been explored.
type Report struct {
	Executions int
	States     int // that differ
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

// A branch is a state with several moves, of which one has been chosen.
type branch struct{ chosen, of int }

// An explorer goes through all executions, depth first. It does not go on from a state that it has
// seen.
type explorer struct {
	program Program
	limits  Limits
	classes map[uint64]*class
	seen    map[uint64]uint8 // with the fewest preemptions
	path    []branch
	report  Report
}

// Explore runs p in all orders within the limits, until there is an error.
func Explore(p Program, limits Limits) Report {
	e := &explorer{program: p, limits: limits, classes: make(map[uint64]*class)}
	started := time.Now()
	defer func() { running = nil }()
	for {
		e.seen, e.path = make(map[uint64]uint8), nil
		again := e.all(started)
		e.report.States = len(e.seen)
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
		n := len(e.path)
		for n > 0 && e.path[n-1].chosen+1 == e.path[n-1].of {
			n--
		}
		e.path = e.path[:n]
		if n == 0 {
			e.report.Complete = true
			return false
		}
		if e.report.Executions&0xff == 0 && time.Since(started) > e.limits.Time {
			return false
		}
		e.path[n-1].chosen++
	}
}

// one runs one execution: along e.path, and then on to a state that has been seen, or to the end.
func (e *explorer) one(x *Execution) error {
	var preemptions uint8
	for at := 0; ; {
		moves := x.possible()
		if len(moves) == 0 {
			return x.ending()
		}
		if len(moves) == 1 {
			x.make(moves[0])
			if at < len(e.path) {
				continue
			}
			if err := x.check(); err != nil {
				return err
			}
			continue
		}
		if moves = e.bounded(x, moves, preemptions); len(moves) == 0 {
			return nil // all ways on are beyond the bound
		}
		if at == len(e.path) {
			if e.known(x, preemptions) {
				return nil
			}
			e.path = append(e.path, branch{0, len(moves)})
		}
		m := moves[e.path[at].chosen]
		at++
		if e.limits.Preemptions >= 0 && x.preempts(m) {
			preemptions++
		}
		if m.task != nil {
			x.last = m.task
		}
		x.make(m)
		if at < len(e.path) {
			continue
		}
		if err := x.check(); err != nil {
			return err
		}
	}
}

// preempts reports whether m takes the processor from a goroutine that could go on.
func (x *Execution) preempts(m move) bool {
	return m.task != nil && m.task != x.last && x.last != nil && !x.last.ended && x.last.enabled()
}

// bounded returns those of the moves that the bound on preemptions allows.
func (e *explorer) bounded(x *Execution, moves []move, preemptions uint8) []move {
	if e.limits.Preemptions < 0 || int(preemptions) < e.limits.Preemptions {
		return moves
	}
	kept := moves[:0]
	for _, m := range moves {
		if !x.preempts(m) {
			kept = append(kept, m)
		}
	}
	return kept
}

// known reports whether the state of x has been seen, and notes it.
func (e *explorer) known(x *Execution, preemptions uint8) bool {
	h := x.hash()
	if e.limits.Preemptions >= 0 && x.last != nil {
		h = mix(h, x.last.id)
	}
	fewest, ok := e.seen[h]
	if ok && fewest <= preemptions {
		return true
	}
	e.seen[h] = preemptions
	return false
}

// replay returns the schedule of e.path, and of what follows from it.
func (e *explorer) replay() (lines []string) {
	x := begin(e.program, e.classes, func(line string) { lines = append(lines, line) })
	defer x.end()
	e.one(x)
	return lines
}

// Random runs p in random orders. The goroutine that has the highest priority goes on, and a few
// times in each execution the one that runs gets the lowest (probabilistic concurrency testing).
func Random(p Program, limits Limits) (report Report) {
	defer func() { running = nil }()
	started := time.Now()
	length := 100
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
		length = max(length, x.steps)
		report.Took = time.Since(started)
	}
	return report
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
