package control

import "slices"

// A choice is a move in a form that another execution can follow.
type choice struct {
	key     uint64 // names the move
	task    uint64 // the id of the goroutine; 0: none
	index   int    // of the goroutine in Execution.tasks, or the action
	outcome int
	kind    kind
	objects [2]uint64 // that it uses
	time    bool
	early   bool
	all     bool // it depends on all others

	branch   bool // there were others
	preempts bool
}

// choice returns m as a choice.
func (x *Execution) choice(m move) choice {
	c := choice{outcome: m.outcome, time: m.time, early: m.early}
	switch {
	case m.time:
		c.key, c.all = 1, true
	case m.task == nil:
		c.index, c.kind = m.action, opCall
		c.key = mix(3, x.world.Name(m.action))
		for i, o := range x.world.Objects(m.action) {
			if o != nil {
				c.objects[i] = o.init().id
			}
		}
	default:
		t := m.task
		c.task, c.kind, c.all = t.id, t.op.kind, t.op.last
		c.key = mix(t.id, uint64(m.outcome)+4)
		c.index = slices.Index(x.tasks, t)
		if t.op.object != nil {
			c.objects[0] = t.op.object.id
		}
	}
	return c
}

// retrace makes the moves of a trail.
func (x *Execution) retrace(trail []choice) {
	x.trail, x.retracing = trail, true
	for x.at < len(trail) {
		x.at++
		x.follow(trail[x.at-1])
	}
	x.retracing = false
}

// next makes the next move of the trail if it is that of t, which runs and goes on then. That is
// quicker than to stop t and to resume it.
func (x *Execution) next(t *task) bool {
	if x.at == len(x.trail) || x.trail[x.at].task != t.id {
		return false
	}
	c := &x.trail[x.at]
	x.at++
	x.step(t)
	t.outcome = c.outcome
	if c.branch {
		x.last = t
	}
	if x.trace != nil {
		x.trace(x.about(t, c.outcome))
	}
	return true
}

// follow makes the move that c stands for.
func (x *Execution) follow(c choice) {
	m := move{outcome: c.outcome, time: c.time, early: c.early}
	switch {
	case c.time:
	case c.task == 0:
		m.action = c.index
	default:
		m.task = x.tasks[c.index]
		if c.branch {
			x.last = m.task
		}
	}
	x.make(m)
}

// in reports whether c is one of set.
func (c *choice) in(set []choice) bool {
	for i := range set {
		if set[i].key == c.key {
			return true
		}
	}
	return false
}

// independent reports whether a and b lead to the same state in either order, and neither keeps the
// other from being possible. What a goroutine does beyond its operation, up to the next, concerns
// no other: there are no races.
func independent(a, b *choice) bool {
	if a.all || b.all || a.task == b.task {
		return false
	}
	for _, o := range a.objects {
		if o != 0 && (o == b.objects[0] || o == b.objects[1]) {
			return a.kind == b.kind && (a.kind == opLoad || a.kind == opAdd)
		}
	}
	return true
}

// awake returns those of set that are independent of c: these sleep on.
func awake(set []choice, c choice) (left []choice) {
	for i := range set {
		if independent(&set[i], &c) {
			left = append(left, set[i])
		}
	}
	return left
}

// Sets are the sleep sets that there are, each once: of many states the sets are the same.
type sets struct {
	numbers map[uint64]uint32
	all     [][]uint64 // keys
}

// of returns the keys of a set.
func (s *sets) of(number uint32) []uint64 {
	if number == 0 {
		return nil
	}
	return s.all[number-1]
}

// number returns the number of a set; 0 is that of the empty one.
func (s *sets) number(set []choice) uint32 {
	if len(set) == 0 {
		return 0
	}
	keys := make([]uint64, len(set))
	for i := range set {
		keys[i] = set[i].key
	}
	slices.Sort(keys)
	h := uint64(len(keys))
	for _, k := range keys {
		h = mix(h, k)
	}
	n, ok := s.numbers[h]
	if !ok {
		if s.numbers == nil {
			s.numbers = make(map[uint64]uint32)
		}
		s.all = append(s.all, keys)
		n = uint32(len(s.all))
		s.numbers[h] = n
	}
	return n
}
