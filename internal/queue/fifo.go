//go:build linux

package queue

// A fifo is a queue in a ring of memory. The ring grows to the largest length of the queue so
// far. The zero value is ready.
type fifo[T any] struct {
	ring []T // len is 0 or a power of two
	head int // index of the first
	size int
}

func (f *fifo[T]) len() int { return f.size }

func (f *fifo[T]) at(i int) *T { return &f.ring[(f.head+i)&(len(f.ring)-1)] }

func (f *fifo[T]) push(v T) {
	f.grow()
	f.size++
	*f.at(f.size - 1) = v
}

// unpop puts v before all others.
func (f *fifo[T]) unpop(v T) {
	f.grow()
	f.head = (f.head - 1) & (len(f.ring) - 1)
	f.size++
	*f.at(0) = v
}

func (f *fifo[T]) pop() (v T, ok bool) {
	if f.size == 0 {
		return v, false
	}
	var zero T
	v, *f.at(0) = *f.at(0), zero
	f.head = (f.head + 1) & (len(f.ring) - 1)
	f.size--
	return v, true
}

func (f *fifo[T]) grow() {
	if f.size < len(f.ring) {
		return
	}
	ring := make([]T, max(16, 2*len(f.ring)))
	for i := range f.size {
		ring[i] = *f.at(i)
	}
	f.ring, f.head = ring, 0
}
