//go:build interleave

package main

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/go-aio/aio/internal/aiotest/trials/interleave/control"
	"github.com/go-aio/aio/libaio"
)

// A world is a queue on a kernel that the scheduler controls, and the calls that are made of it.
type world struct {
	x       *control.Execution
	program *program
	q       *Queue
	k       *sim
	groups  []*Group
	opened  int // times that the kernel was
	calls   int // that have not returned
	errors  int // that calls have returned
	waiting map[string]bool
}

// A submission is a goroutine's call of push, and what Lane.pushes was before.
type submission struct {
	lane   *Lane
	before uint64
}

// submissions are those under way, by the number of the goroutine.
var submissions map[uint64]submission

// pushes notes that the goroutine that runs is about to call push.
func pushes(l *Lane, before uint64) uint64 {
	submissions[control.Self()] = submission{l, before}
	return 0
}

// pushed notes that it has returned, and that the lane's lock is held again.
func pushed() uint64 {
	delete(submissions, control.Self())
	return 0
}

// none stands for a number of requests that no program has.
const none = math.MaxInt64

// buffer is the number of bytes of each request.
const buffer = 8

func newWorld(p *program, x *control.Execution) *world {
	x.Procs, x.Early, slots.Reuse = max(p.procs, 1), p.early, p.reuse
	collectFrom, collectUntil, gatherFrom = none, none, none
	if p.collects {
		collectFrom, collectUntil = 1, 1
	}
	if p.gathers {
		gatherFrom = 1
	}
	w := &world{x: x, program: p, waiting: make(map[string]bool)}
	w.k = &sim{faults: p.faults, submitted: make(map[*Lane]int64), taken: make(map[*Lane]int64)}
	submissions = make(map[uint64]submission)
	w.k.past, w.k.entered = make(map[*slot]bool), make(map[*slot]bool)
	w.q = newQueue(64, func(int) (kernel, error) {
		w.opened++
		return w.k, nil
	})
	w.k.late = w.late
	x.Name("kernel", w.k)
	x.Name("queue", w.q)
	w.q.wakes.Omit() // they are for Stats only
	w.q.collects.Omit()
	w.q.hungNoted.Omit()    // see Hash
	w.q.dog.set.Store(true) // neither the watchdog nor looks at processors
	w.q.busy.set.Store(true)
	for range p.lanes() {
		w.lane()
	}
	if !p.cold {
		w.q.ready()
	}
	for i, c := range p.callers {
		w.calls++
		name := callerName(i)
		w.waiting[name] = true
		r := Request{Op: Read, Bufs: One(make([]byte, buffer)), Off: int64(i)}
		run := w.doer(c, r)
		if c.group > 0 {
			run = w.owner(c, r)
		}
		start := x.Start
		if i > 0 && c == p.callers[i-1] {
			start = x.StartAlike
		}
		start(name, func() {
			for range max(c.times, 1) {
				run()
			}
			w.calls--
			delete(w.waiting, name)
		})
	}
	return w
}

func (w *world) lane() {
	l := w.q.Lane()
	w.x.Name(fmt.Sprintf("lane%d", len(w.q.lanes)), l)
	l.refused.Omit()
	l.mu.Guard(func() uint64 { return hashLane(l) })
}

// doer returns a function that makes a Do.
func (w *world) doer(c caller, r Request) func() {
	l := w.q.lanes[c.lane]
	return func() {
		n, err := l.Do(r)
		w.expect(n, err)
	}
}

// owner returns a function that runs a Group.
func (w *world) owner(c caller, r Request) func() {
	l, g := w.q.lanes[c.lane], new(Group)
	w.x.Name(fmt.Sprintf("group%d", len(w.groups)+1), g)
	w.groups = append(w.groups, g)
	return func() {
		for range c.group {
			g.Add(r)
		}
		l.Run(g)
		for i := range c.group {
			w.expect(g.Result(i))
		}
		g.Free()
	}
}

// expect checks a result. Each answer of the kernel that is an error is that of one request.
func (w *world) expect(n int, err error) {
	if err == nil && n == buffer {
		return
	}
	w.errors++
	if f, left := w.program.faults, w.k.faults; w.errors > f.again-left.again+f.invalid-left.invalid {
		panic(fmt.Sprintf("a request returned %d, %v", n, err))
	}
}

func (w *world) Actions() int { return w.k.completions() }

func (w *world) Name(i int) uint64 { return w.k.like(w.k.next(i)) }

func (w *world) Objects(i int) [2]*control.Object {
	objects := [2]*control.Object{&w.k.events}
	if armed(w.k.next(i)) {
		objects[1] = &w.k.eventfd
	}
	return objects
}

func (w *world) Act(i int) { w.k.complete(i) }

func (w *world) Describe(i int) string {
	return "the request of " + callerOf(w.k.next(i)) + " is complete"
}

func (w *world) Waits() bool { return w.calls > 0 }

// slots returns all slots that there are.
func (w *world) slots(yield func(*slot) bool) {
	for _, s := range slots.All() {
		if !yield(s.(*slot)) {
			return
		}
	}
}

func (w *world) Hash() uint64 {
	h := w.k.hash()
	// Whether a device hangs depends on the time since this was looked at.
	h = control.Mix(h, uint64(min(w.x.Now()-w.q.hungNoted.Load(), int64(hungAfter))))
	sum := uint64(0)
	for s := range w.slots {
		sum += control.Mix(w.k.like(s), uint64(s.res))
	}
	h = control.Mix(h, sum)
	h = control.Mix(h, uint64(w.errors)<<8+uint64(w.opened))
	for _, l := range w.q.lanes {
		h = control.Mix(h, uint64(w.k.submitted[l])<<8+uint64(w.k.taken[l]))
		h = control.Mix(h, hashLane(l))
	}
	for _, g := range w.groups {
		h = control.Mix(h, truth(g.given)+2*truth(g.quiet)+4*truth(g.relies))
	}
	return h
}

// hashLane returns a hash of what l.mu guards, but for counts that no goroutine looks at.
func hashLane(l *Lane) uint64 {
	h := control.Mix(uint64(l.submitting), uint64(l.patience)+truth(l.watched))
	// Of pushes it only matters whether it is what it was. If it is not, it will never be.
	h = control.Mix(h, truth(l.watched && l.pushes != l.seen))
	sum := uint64(0)
	for task, s := range submissions {
		if s.lane == l {
			sum += control.Mix(task, truth(l.pushes != s.before))
		}
	}
	h = control.Mix(h, sum)
	h = control.Mix(h, uint64(l.last))
	for i := range l.pending.len() {
		s := *l.pending.at(i)
		h = control.Mix(h, number(s)+truth(armed(s)))
		if s.group != nil {
			h = control.Mix(h, truth(s.group.given))
		}
	}
	return h
}

// hashBatch returns a hash of which slots these are, in which order.
func hashBatch(slots []*slot) (h uint64) {
	for _, s := range slots {
		h = control.Mix(h, number(s))
	}
	return h
}

// hashEvents returns a hash of which requests these are of.
func hashEvents(events []libaio.Event) (h uint64) {
	for _, e := range events {
		if e.Obj != nil {
			h = control.Mix(h, slotOf(e.Obj).lane.q.kernel.(*sim).like(slotOf(e.Obj)))
		}
	}
	return h
}

// Check checks the invariants that stand at Lane, collector and Group.
func (w *world) Check() error {
	for i, l := range w.q.lanes {
		if err := w.checkLane(l); err != nil {
			return fmt.Errorf("lane %d: %w", i+1, err)
		}
	}
	switch {
	case w.opened > 1:
		return fmt.Errorf("the kernel was opened %d times", w.opened)
	case w.x.HeldTogether() > 1:
		return errors.New("a goroutine has locked a mutex while it has another")
	}
	return w.checkCollector()
}

func (w *world) checkLane(l *Lane) error {
	switch n := l.pending.len(); {
	case l.mu.Locked():
	case n > 0 && !l.watched:
		return fmt.Errorf("%d requests are pending, and watched is false", n)
	case n > 0 && !l.relief.Pending():
		return fmt.Errorf("%d requests are pending, and the relief timer is not set", n)
	case l.submitting < 0 || l.submitting > w.x.Procs+maxRelief:
		return fmt.Errorf("%d goroutines submit", l.submitting)
	}
	if n, most := l.taken.Load(), w.k.submitted[l]; n > most {
		return fmt.Errorf("%d requests were taken, and %d are counted", most, n)
	}
	if n, most := l.delivered.Load(), w.k.taken[l]; n > most {
		return fmt.Errorf("%d events were taken, and %d are counted", most, n)
	}
	return nil
}

func (w *world) checkCollector() error {
	word := w.q.collector.word.Load()
	rely := int64(0)
	for s := range w.slots {
		rely += int64(truth(s.quiet))
	}
	for _, g := range w.groups {
		rely += int64(truth(g.relies && g.left.Load() > 0))
	}
	switch {
	case word < 0:
		return fmt.Errorf("the collector's word is %d", word)
	case word > 0 && word&token == 0:
		return fmt.Errorf("%d rely on a goroutine that collects, and none has the token", word/quiet)
	}
	// A goroutine first clears the mark of what relies, and then the count.
	counted := word/quiet + w.x.Adding(&w.q.collector.word)/quiet
	if counted != rely {
		return fmt.Errorf("%d rely on a goroutine that collects, and %d are counted", rely, counted)
	}
	return nil
}

// Expired refuses progress that rests on the relief timer only, unless the kernel has refused
// requests or keeps a submitter.
func (w *world) Expired(t *control.Timer) error {
	if w.program.faults.again > 0 || w.program.faults.stuck > 0 || w.program.early > 0 {
		return nil
	}
	for i, l := range w.q.lanes {
		if l.relief == t && l.pending.len() > 0 {
			return fmt.Errorf("lane %d: %d pending requests go on by the relief timer only", i+1, l.pending.len())
		}
	}
	return nil
}

// End checks that the queue holds on to nothing.
func (w *world) End() error {
	var left []error
	note := func(what string, n int64) {
		if n != 0 {
			left = append(left, fmt.Errorf("%s: %d", what, n))
		}
	}
	q := w.q
	w.x.Blocked(func(name, what string) {
		if what != "the poller" {
			left = append(left, fmt.Errorf("goroutine %s has not ended", name))
		}
	})
	note("requests in the kernel", int64(len(w.k.inside)+len(w.k.due)))
	note("word of the collector", q.collector.word.Load())
	note("queue.inKernel", q.inKernel.Load())
	note("watchdog", q.dog.overlooked.Load())
	for _, l := range q.lanes {
		note("active", l.active.Load())
		note("pending", int64(l.pending.len()))
		note("submitting", int64(l.submitting))
		note("lane.inKernel", l.inKernel())
		note("stalled", int64(truth(l.stalled.Load())))
	}
	return errors.Join(left...)
}

// late checks that a stuck io_submit(2) has kept no caller but those whose requests it has, and the
// one that made the call.
func (w *world) late(stuck []*slot) {
	for i := range w.program.callers {
		name := callerName(i)
		its := slices.ContainsFunc(stuck, func(s *slot) bool { return callerOf(s) == name })
		if w.waiting[name] && !its && name != control.Running() {
			panic("an io_submit that is stuck keeps " + name)
		}
	}
}
