package control

import (
	"slices"
	"unsafe"
)

// A Mutex is a sync.Mutex.
type Mutex struct {
	object
	locked bool
	guards func() uint64
}

// Guard says that fn returns a hash of what the mutex guards.
func (m *Mutex) Guard(fn func() uint64) { m.guards = fn }

// Locked reports whether a goroutine has locked m.
func (m *Mutex) Locked() bool { return m.locked }

// Holds returns the number of mutexes that the goroutine that runs has locked.
func Holds() int {
	if t := here(); t != nil {
		return len(t.holds)
	}
	return 0
}

// Lock locks m.
func (m *Mutex) Lock() {
	t := here()
	if t == nil {
		m.locked = true
		return
	}
	t.point(op{kind: opLock, object: m.init(), mutex: m})
	m.locked = true
	t.holds = append(t.holds, m)
	t.locks++
	t.see(m.guarded())
	m.set(t.id | 1)
}

// Unlock unlocks m.
func (m *Mutex) Unlock() {
	t := here()
	if t == nil {
		m.locked = false
		return
	}
	t.point(op{kind: opUnlock, object: m.init(), mutex: m})
	if !m.locked {
		panic("unlock of an unlocked mutex")
	}
	m.locked = false
	t.holds = slices.DeleteFunc(t.holds, func(h *Mutex) bool { return h == m })
	if m.guards != nil {
		m.set(0)
	} else {
		m.set(t.history)
	}
}

// guarded returns a hash of what m guards. Without guards that is what its last holder had seen.
func (m *Mutex) guarded() uint64 {
	if m.guards != nil {
		return m.guards()
	}
	return m.value
}

// A Pool is a sync.Pool. It gives back the latest item if Reuse is set, and else none.
type Pool struct {
	New   func() any
	Reuse bool

	object
	items []any
	all   []any
}

// All returns all items that have been made in this execution.
func (p *Pool) All() []any {
	if p.in != running {
		return nil
	}
	return p.all
}

func (p *Pool) begin(what string) *task {
	if p.in != running {
		p.items, p.all, p.value, p.class = nil, nil, 0, nil
		// It is a global variable, which has its address for the life of the process.
		p.in, p.id, p.name = running, mix(6, uint64(uintptr(unsafe.Pointer(p)))), "pool"
	}
	t := here()
	if t != nil && p.Reuse {
		t.point(op{kind: opWrite, object: &p.object, what: what})
	}
	return t
}

// Get returns an item.
func (p *Pool) Get() any {
	p.begin("get of pool")
	if n := len(p.items); n > 0 {
		item := p.items[n-1]
		p.items = p.items[:n-1]
		p.note()
		return item
	}
	item := p.New()
	p.all = append(p.all, item)
	return item
}

// Put gives an item back.
func (p *Pool) Put(item any) {
	t := p.begin("put of pool")
	if t == nil || !p.Reuse {
		return
	}
	p.items = append(p.items, item)
	p.note()
}

// note makes the items that p has part of the state.
func (p *Pool) note() {
	h := uint64(0)
	for _, item := range p.items {
		for i := range p.all {
			if p.all[i] == item {
				h = mix(h, uint64(i)+1)
			}
		}
	}
	p.set(h)
	Observe(h)
}

// A Chan is a channel.
type Chan[T any] struct {
	object
	items    []T
	capacity int
}

// NewChan makes a channel.
func NewChan[T any](capacity int) *Chan[T] {
	c := &Chan[T]{capacity: capacity}
	c.init()
	return c
}

// ID returns a number that names c.
func (c *Chan[T]) ID() uint64 { return c.id }

func (c *Chan[T]) empty() bool { return len(c.items) == 0 }
func (c *Chan[T]) full() bool  { return len(c.items) >= c.capacity }

// Send sends v.
func (c *Chan[T]) Send(v T) {
	if t := here(); t != nil {
		t.point(op{kind: opSend, object: c.init(), channel: c})
	}
	c.items = append(c.items, v)
	c.init().set(uint64(len(c.items)))
}

// Receive receives.
func (c *Chan[T]) Receive() (v T) {
	if t := here(); t != nil {
		t.point(op{kind: opReceive, object: c.init(), channel: c})
	}
	if c.empty() {
		return v
	}
	v, c.items = c.items[0], c.items[1:]
	c.init().set(uint64(len(c.items)))
	return v
}

// Len returns the number of items in c.
func (c *Chan[T]) Len() int {
	if t := here(); t != nil {
		t.point(op{kind: opLen, object: c.init()})
		t.see(uint64(len(c.items)))
	}
	return len(c.items)
}
