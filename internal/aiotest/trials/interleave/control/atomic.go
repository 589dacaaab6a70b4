package control

type integer interface{ ~int32 | ~int64 | ~uint64 }

// A number is an atomic integer.
type number[T integer] struct {
	object
	v T
}

// An Int64 is an atomic.Int64.
type Int64 struct{ number[int64] }

// An Int32 is an atomic.Int32.
type Int32 struct{ number[int32] }

// A Uint64 is an atomic.Uint64.
type Uint64 struct{ number[uint64] }

func (n *number[T]) change(v T) {
	n.v = v
	n.init().set(uint64(v))
}

func (n *number[T]) point(k kind, value T) *task {
	t := here()
	if t != nil {
		t.point(op{kind: k, object: n.init(), value: int64(value)})
	}
	return t
}

// Omit says that the value is no part of the state: no goroutine looks at it, or World.Hash has
// what matters of it.
func (n *number[T]) Omit() { n.omitted = true }

// Load loads the value.
func (n *number[T]) Load() T {
	if t := n.point(opLoad, 0); t != nil {
		t.see(uint64(n.v))
	}
	return n.v
}

// Store stores v.
func (n *number[T]) Store(v T) {
	n.point(opStore, v)
	n.change(v)
}

// Add adds d and returns the sum.
func (n *number[T]) Add(d T) T {
	t := n.point(opWrite, d)
	n.change(n.v + d)
	if t != nil {
		t.see(uint64(n.v))
	}
	return n.v
}

// AddOnly is an Add whose result is not used.
func (n *number[T]) AddOnly(d T) {
	n.point(opAdd, d)
	n.change(n.v + d)
}

// Swap stores v and returns the value before.
func (n *number[T]) Swap(v T) (old T) {
	t := n.point(opWrite, v)
	old = n.v
	n.change(v)
	if t != nil {
		t.see(uint64(old))
	}
	return old
}

// CompareAndSwap stores v if the value is old.
func (n *number[T]) CompareAndSwap(old, v T) bool {
	t := n.point(opWrite, v)
	ok := n.v == old
	if ok {
		n.change(v)
	}
	if t != nil {
		t.see(truth(ok))
	}
	return ok
}

func truth(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// A Bool is an atomic.Bool.
type Bool struct{ n number[int32] }

// Load loads the value.
func (b *Bool) Load() bool { return b.n.Load() != 0 }

// Store stores v.
func (b *Bool) Store(v bool) { b.n.Store(int32(truth(v))) }

// CompareAndSwap stores v if the value is old.
func (b *Bool) CompareAndSwap(old, v bool) bool {
	return b.n.CompareAndSwap(int32(truth(old)), int32(truth(v)))
}

// A Pointer is an atomic.Pointer. Only whether it is nil is part of the state.
type Pointer[T any] struct {
	n number[int32]
	p *T
}

// Load loads the pointer.
func (p *Pointer[T]) Load() *T {
	p.n.Load()
	return p.p
}

// Store stores v.
func (p *Pointer[T]) Store(v *T) {
	p.n.Store(int32(truth(v != nil)))
	p.p = v
}

// CompareAndSwap stores v if the pointer is old.
func (p *Pointer[T]) CompareAndSwap(old, v *T) bool {
	p.n.point(opWrite, 0)
	if p.p != old {
		return false
	}
	p.p = v
	p.n.change(int32(truth(v != nil)))
	return true
}
