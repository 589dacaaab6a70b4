// Package control runs goroutines one at a time, and decides at each operation on shared memory
// which of them goes on. It has stand-ins for what a concurrent package uses of sync, sync/atomic,
// time and runtime, under the same names. The functions Explore and Random run a program again and
// again, in all orders or in many.
package control

import (
	"errors"
	"fmt"
	"slices"
	"unsafe"
)

// A World is what surrounds the goroutines of one execution: the kernel, and what is expected.
type World interface {
	// Actions returns the number of things that may happen in the environment now.
	Actions() int
	// Name returns a number that names one of them, whatever else there is.
	Name(action int) uint64
	// Act makes it happen.
	Act(action int)
	// Objects returns what it changes.
	Objects(action int) [2]*Object
	// Describe describes it.
	Describe(action int) string
	// Hash returns a hash of all plain memory, and of the environment.
	Hash() uint64
	// Check returns an error if an invariant does not hold. No goroutine runs meanwhile.
	Check() error
	// Waits reports whether a call has not returned yet.
	Waits() bool
	// Expired is called when a timer runs because nothing else could go on.
	Expired(*Timer) error
	// End returns an error if something is left over. Nothing can go on any more.
	End() error
}

// An Execution is one run of a program.
type Execution struct {
	Procs     int // as GOMAXPROCS(0) returns it
	Early     int // times that a timeout may pass although something else can go on
	Expiry    int // times that a timeout has passed because nothing else could go on
	world     World
	tasks     []*task
	timers    []*Timer
	areas     []area
	classes   map[uint64]*class
	every     bool // no operation goes on at once for its class
	current   *task
	last      *task // the latest that took a step that matters to others
	spawned   int
	made      int
	now       int64
	sum       uint64 // of the contributions of all objects
	moves     []move
	trail     []choice // that the execution follows
	at        int      // in trail
	retracing bool
	window    bool // since the latest timeout no other goroutine has been able to go on
	idle      bool // no goroutine can go on, and the environment has nothing to do
	changed   bool // a class is not what earlier executions took it for
	err       error
	trace     func(line string)
	steps     int
}

// running is the execution under way. There is one at a time.
var running *Execution

// A task is a goroutine.
type task struct {
	id       uint64
	name     string
	parent   *Execution
	worker   *worker
	killed   bool
	alike    bool // another may have had the same id
	op       op
	outcome  int
	deadline int64 // of op; never if it has none
	expired  bool
	stuckAt  int    // Expiry when op began, if it is stuck
	history  uint64 // a hash of what the goroutine has seen, see Enter
	base     uint64 // history when the function began that it is in
	bare     uint64 // history after the latest Forget, without what mutexes guard
	dressed  uint64 // and with that
	holds    []*Mutex
	locks    int // mutexes that it has locked so far
	spawned  int
	made     int
	ended    bool
	where    string // of op in the program, if there is a trace
}

const never = 1<<63 - 1

// An op is what a goroutine is about to do.
type op struct {
	kind     kind
	object   *object
	value    int64
	mutex    *Mutex
	channel  waiter
	ready    func() bool // nil: always
	outcomes func() uint // the set of outcomes among which the scheduler chooses; nil: {0}
	last     bool        // only when nothing else can go on, be it time
	what     string
}

type kind uint8

const (
	opNone kind = iota // concerns no other goroutine
	opLoad
	opAdd // the result is not used
	opStore
	opWrite // what it writes depends on the value
	opLock
	opUnlock
	opSend
	opReceive
	opLen
	opSleep
	opCall
)

var kinds = [...]string{
	"start or yield", "load", "add", "store", "write", "lock", "unlock", "send", "receive", "len", "sleep", "call",
}

// A waiter is a channel of any type.
type waiter interface {
	empty() bool
	full() bool
}

// A move is what the scheduler may do next: it lets a task go on, makes the environment act, or
// lets time pass.
type move struct {
	task    *task
	outcome int
	action  int
	time    bool
	early   bool // something else can go on
}

// Go starts a goroutine.
func Go(fn func()) { spawn("", fn) }

// GoAt starts a goroutine that runs *fn, which is memory that has a name (Execution.Name). The name
// of the goroutine says nothing of the one that has started it, which makes no difference.
func GoAt(fn *func()) {
	x := running
	o := object{}
	x.nameAt(&o, uintptr(unsafe.Pointer(fn)))
	spawn("", *fn).rename(o.id, o.String())
}

// rename gives t the first free number of those of a kind.
func (t *task) rename(kind uint64, name string) {
	x := t.parent
	for n := uint64(1); ; n++ {
		id := mix(kind, n)
		if !slices.ContainsFunc(x.tasks, func(u *task) bool { return u.id == id }) {
			t.id, t.history, t.alike = id, id, true
			t.name = fmt.Sprintf("%s %d", name, n)
			return
		}
	}
}

// Start starts a goroutine that has a name.
func (x *Execution) Start(name string, fn func()) { spawn(name, fn) }

// StartAlike starts a goroutine that does the same as the one that was started before it, and is
// after that to lock its first mutex. The orders in which it is before lead to the same, with the
// names exchanged.
func (x *Execution) StartAlike(name string, fn func()) {
	before := x.tasks[len(x.tasks)-1]
	spawn(name, func() {
		here().point(op{ready: func() bool { return before.locks > 0 || before.ended }})
		fn()
	})
}

func spawn(name string, fn func()) *task {
	x := running
	t := &task{parent: x, deadline: never}
	if by := x.current; by != nil {
		by.spawned++
		t.id = mix(by.id, uint64(by.spawned))
		t.name = fmt.Sprintf("%s.%d", by.name, by.spawned)
	} else {
		x.spawned++
		t.id = mix(1, uint64(x.spawned))
		t.name = fmt.Sprintf("go%d", x.spawned)
	}
	if name != "" {
		t.name = name
	}
	t.history = t.id
	t.worker = begins(t, fn)
	x.tasks = append(x.tasks, t)
	return t
}

func (x *Execution) fail(err error) {
	if x.err == nil {
		x.err = err
	}
}

// here returns the goroutine that runs, or nil outside of all.
func here() *task {
	if running == nil {
		return nil
	}
	return running.current
}

// point lets the scheduler decide when the goroutine goes on with o.
func (t *task) point(o op) {
	t.op, t.expired = o, false
	if t.parent.trace != nil {
		t.where = caller()
	}
	if !t.parent.next(t) {
		t.worker.yield(struct{}{})
	}
	if t.killed {
		panic(killed{})
	}
	t.deadline = never
	t.see(uint64(o.kind))
	if o.object != nil {
		t.see(o.object.id)
		t.parent.classify(t, o)
	}
}

// see adds v to what the goroutine has seen.
func (t *task) see(v uint64) { t.history = mix(t.history, v) }

// Observe adds v to what the goroutine that runs has seen.
func Observe(v uint64) {
	if t := here(); t != nil {
		t.see(v)
	}
}

// Running returns the name of the goroutine that runs.
func Running() string {
	if t := here(); t != nil {
		return t.name
	}
	return ""
}

// Self returns the number of the goroutine that runs, or 0.
func Self() uint64 {
	if t := here(); t != nil {
		return t.id
	}
	return 0
}

// Yielding is a call that a World makes of its own: it goes on once ready returns true, or the
// timeout has passed if it is not negative. It returns the outcome that the scheduler has chosen,
// and whether the timeout has passed.
func (o *Object) Yielding(
	what string, ready func() bool, timeout Duration, outcomes func() uint,
) (outcome int, expired bool) {
	t := here()
	if timeout >= 0 {
		t.deadline = t.parent.now + int64(timeout)
	}
	t.point(op{kind: opCall, object: o.init(), ready: ready, outcomes: outcomes, what: what})
	t.see(uint64(t.outcome))
	return t.outcome, t.expired
}

// Stuck goes on when nothing else can.
func (o *Object) Stuck(what string) {
	t := here()
	t.stuckAt = t.parent.Expiry
	t.point(op{kind: opCall, object: o.init(), last: true, what: what})
}

func (t *task) enabled() bool {
	switch {
	case t.op.last:
		return false // possible looks after it
	case t.expired:
		return true
	case t.op.kind == opLock:
		return !t.op.mutex.locked
	case t.op.kind == opReceive:
		return !t.op.channel.empty()
	case t.op.kind == opSend:
		return !t.op.channel.full()
	case t.op.kind == opSleep:
		return false
	}
	return t.op.ready == nil || t.op.ready()
}

// possible returns the moves that there are.
func (x *Execution) possible() []move {
	x.moves = x.moves[:0]
	for _, t := range x.tasks {
		if !t.enabled() {
			continue
		}
		if x.free(t) {
			x.moves = append(x.moves[:0], move{task: t})
			return x.moves
		}
		x.moves = t.appendMoves(x.moves)
	}
	for i := range x.world.Actions() {
		x.moves = append(x.moves, move{action: i})
	}
	d, _ := x.earliest()
	passes := d != never
	x.idle = len(x.moves) == 0
	if x.idle {
		x.moves = x.appendLast(x.moves, patience)
	}
	if x.idle && len(x.moves) > 0 {
		return x.moves
	}
	if passes && (x.idle || x.Early > 0) {
		x.moves = append(x.moves, move{time: true, early: !x.idle})
	}
	if len(x.moves) == 0 {
		x.moves = x.appendLast(x.moves, 0)
	}
	return x.moves
}

// patience is the number of timeouts after which a call that is stuck goes on, too: other
// goroutines may look every now and then whether it does.
const patience = 16

// appendLast appends the moves of calls that are stuck since at least so many timeouts.
func (x *Execution) appendLast(moves []move, timeouts int) []move {
	for _, t := range x.tasks {
		if t.op.last && x.Expiry-t.stuckAt >= timeouts {
			moves = t.appendMoves(moves)
		}
	}
	return moves
}

func (t *task) appendMoves(moves []move) []move {
	if t.op.outcomes == nil {
		return append(moves, move{task: t})
	}
	for i, set := 0, t.op.outcomes(); set != 0; i, set = i+1, set>>1 {
		if set&1 != 0 {
			moves = append(moves, move{task: t, outcome: i})
		}
	}
	return moves
}

// earliest returns the next deadline, and its timer, or nil if a goroutine waits for it. Once all
// calls have returned, timers do not matter.
func (x *Execution) earliest() (int64, *Timer) {
	var timer *Timer
	d := int64(never)
	for _, t := range x.tasks {
		if t.deadline < d && !t.expired {
			d = t.deadline
		}
	}
	if !x.world.Waits() {
		return d, nil
	}
	for _, t := range x.timers {
		if t.armed && t.deadline < d {
			d, timer = t.deadline, t
		}
	}
	return d, timer
}

// pass lets time pass until the next deadline.
func (x *Execution) pass(early bool) {
	d, timer := x.earliest()
	x.now = d
	if early {
		x.Early--
	} else {
		x.Expiry++
	}
	if timer == nil {
		for _, t := range x.tasks {
			if t.deadline == d {
				t.expired = true
				return
			}
		}
	}
	if !early {
		if err := x.world.Expired(timer); err != nil {
			x.fail(err)
		}
	}
	timer.run()
}

// make makes a move.
func (x *Execution) make(m move) {
	x.step(m.task)
	if x.trace != nil {
		x.trace(x.describe(m))
	}
	switch {
	case m.time:
		x.pass(m.early)
		x.window = !m.early
	case m.task == nil:
		x.world.Act(m.action)
	default:
		m.task.outcome = m.outcome
		x.resume(m.task)
	}
}

func (x *Execution) resume(t *task) {
	x.current = t
	t.worker.next()
	x.current = nil
	if !t.ended {
		return
	}
	for i := range x.tasks {
		if x.tasks[i] == t {
			x.tasks = append(x.tasks[:i], x.tasks[i+1:]...)
			break
		}
	}
}

// end ends all goroutines.
func (x *Execution) end() {
	x.current = nil
	for _, t := range x.tasks {
		t.killed = true
		t.worker.next()
	}
	x.tasks = nil
}

// ending returns the error of an execution in which nothing can go on.
func (x *Execution) ending() error {
	if !x.world.Waits() {
		return x.world.End()
	}
	text := "deadlock:"
	for _, t := range x.tasks {
		text += "\n\t" + x.about(t, 0)
	}
	return errors.New(text)
}

// Blocked calls fn for each goroutine that has not ended, with its name and that of its call.
func (x *Execution) Blocked(fn func(name, what string)) {
	for _, t := range x.tasks {
		fn(t.name, t.op.what)
	}
}

// HeldTogether returns the most mutexes that a goroutine has locked.
func (x *Execution) HeldTogether() (most int) {
	for _, t := range x.tasks {
		most = max(most, len(t.holds))
	}
	return most
}

// Adding returns the sum of what goroutines are just about to add to v and do not look at.
func (x *Execution) Adding(v *Int64) (sum int64) {
	for _, t := range x.tasks {
		if t.op.kind == opAdd && t.op.object == &v.object {
			sum += t.op.value
		}
	}
	return sum
}

// Now returns the virtual time.
func (x *Execution) Now() int64 { return x.now }
