package control

import "fmt"

// What a goroutine will do depends on the memory that it shares, and on what it has seen of it. A
// hash of all that it has seen tells goroutines apart that will do the same: one that has read a
// counter and gone on whatever it was, say. So a goroutine forgets.
//
//   - A function that has returned has left nothing behind but its results, and what it has
//     written. [Enter] and [Leave] stand around the functions of which that is so.
//   - At the beginning of a loop, say, only a few variables matter. [Forget] names them.
//
// What is written to memory that no other goroutine knows must be a result or be named. Memory that
// goroutines share is in the hash of the state, and so is what [World.Hash] adds. A goroutine may
// look at what a mutex guards for as long as it holds it, so it does not forget that.

// A Frame is what a goroutine had seen when a function began.
type Frame struct {
	task          *task
	history, base uint64
}

// exact makes goroutines forget nothing.
var exact bool

// Enter begins a function.
func Enter() Frame {
	t := here()
	if t == nil || exact {
		return Frame{}
	}
	if t.history == t.dressed {
		t.history = t.bare
	}
	f := Frame{t, t.history, t.base}
	t.base = t.history
	t.seeGuarded()
	return f
}

// Leave ends the function that f began. The results are pointers.
func Leave(f Frame, results ...any) {
	t := f.task
	if t == nil {
		return
	}
	t.base, t.history = f.base, mix(f.history, 1)
	for _, r := range results {
		t.see(valueOf(r))
	}
	t.seeGuarded()
}

// Forget says that nothing matters of what the goroutine has seen since its function began, but for
// the place, which has a number, and the values. A function that is called next may look at what a
// mutex guards that is locked, but its caller does not depend on what that was.
func Forget(place uint64, values ...uint64) {
	t := here()
	if t == nil || exact {
		return
	}
	t.history = mix(t.base, place+2)
	for _, v := range values {
		t.see(v)
	}
	t.bare = t.history
	t.seeGuarded()
	t.dressed = t.history
}

func (t *task) seeGuarded() {
	for _, m := range t.holds {
		t.see(m.guarded())
	}
}

// valueOf returns a number that stands for *r.
func valueOf(r any) uint64 {
	switch r := r.(type) {
	case *bool:
		return truth(*r)
	case *int:
		return uint64(*r)
	case *int64:
		return uint64(*r)
	case *Duration:
		return uint64(*r)
	case *error:
		if *r == nil {
			return 0
		}
		h := uint64(1)
		for _, c := range []byte((*r).Error()) {
			h = mix(h, uint64(c))
		}
		return h
	}
	panic(fmt.Sprintf("no number stands for a %T", r))
}
