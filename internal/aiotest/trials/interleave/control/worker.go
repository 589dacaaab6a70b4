package control

import (
	"fmt"
	"iter"
	"runtime/debug"
)

// A worker is a coroutine that runs one task after another. To make one for each task, and to grow
// its stack, took a third of the time.
type worker struct {
	next  func() (struct{}, bool)
	yield func(struct{}) bool
	task  *task // the current one
	fn    func()
}

// idle are the workers without a task.
var idle []*worker

// begins returns a worker that will run fn as t.
func begins(t *task, fn func()) *worker {
	if len(idle) == 0 {
		w := new(worker)
		w.next, _ = iter.Pull(func(yield func(struct{}) bool) {
			w.yield = yield
			for {
				w.run()
				yield(struct{}{})
			}
		})
		idle = append(idle, w)
	}
	w := idle[len(idle)-1]
	idle = idle[:len(idle)-1]
	w.task, w.fn = t, fn
	return w
}

type killed struct{}

// run runs the task until it has ended, or has been killed.
func (w *worker) run() {
	t := w.task
	defer func() {
		if r := recover(); r != nil && r != any(killed{}) {
			t.parent.fail(fmt.Errorf("panic: %v\n%s", r, debug.Stack()))
		}
		t.ended = true
		w.task, w.fn = nil, nil
		idle = append(idle, w)
	}()
	if !t.killed {
		w.fn()
	}
}
