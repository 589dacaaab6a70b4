package control

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// A plain world has no environment.
type plain struct {
	calls int
	check func() error
	end   func() error
}

func (w *plain) Actions() int           { return 0 }
func (w *plain) Act(int)                {}
func (w *plain) Name(int) uint64        { return 0 }
func (w *plain) Objects(int) [2]*Object { return [2]*Object{} }
func (w *plain) Describe(int) string    { return "" }
func (w *plain) Hash() uint64           { return 0 }
func (w *plain) Check() error           { return call(w.check) }
func (w *plain) Waits() bool            { return w.calls > 0 }
func (w *plain) Expired(*Timer) error   { return nil }
func (w *plain) End() error             { return call(w.end) }

func call(fn func() error) error {
	if fn == nil {
		return nil
	}
	return fn()
}

// start starts a call.
func (w *plain) start(x *Execution, name string, fn func()) {
	w.calls++
	x.Start(name, func() {
		fn()
		w.calls--
	})
}

var unbounded = Limits{Preemptions: -1, Time: time.Minute}

// TestOutcomes checks that all outcomes of a small program are found, and no others.
func TestOutcomes(t *testing.T) {
	found := make(map[string]bool)
	r := Explore(func(x *Execution) World {
		w := new(plain)
		var n, m Int64
		w.end = func() error {
			found[fmt.Sprint(n.Load(), m.Load())] = true
			return nil
		}
		w.start(x, "A", func() { n.Store(1); m.Store(n.Load()) })
		w.start(x, "B", func() { n.Store(2); m.AddOnly(10) })
		return w
	}, unbounded)
	if r.Err != nil || !r.Complete {
		t.Fatalf("the report is %+v", r)
	}
	// A's load sees 1 or 2, and B's addition comes before or after A's second store.
	want := []string{"1 1", "2 1", "2 2", "1 11", "2 11", "2 12"}
	for _, s := range want {
		if !found[s] {
			t.Errorf("the outcome %s has not been found", s)
		}
	}
	if len(found) != len(want) {
		t.Errorf("the outcomes are %v", found)
	}
}

func lostUpdate(x *Execution) World {
	w, n := new(plain), new(Int64)
	for _, name := range []string{"A", "B"} {
		w.start(x, name, func() { n.Store(n.Load() + 1) })
	}
	w.end = func() error {
		if n.Load() != 2 {
			return errors.New("an update is lost")
		}
		return nil
	}
	return w
}

func TestLostUpdate(t *testing.T) {
	for _, preemptions := range []int{-1, 1} {
		limits := unbounded
		limits.Preemptions = preemptions
		if r := Explore(lostUpdate, limits); r.Err == nil || len(r.Schedule) == 0 {
			t.Errorf("%d preemptions: the error has not been found", preemptions)
		}
	}
	limits := unbounded
	limits.Preemptions = 0
	if r := Explore(lostUpdate, limits); r.Err != nil {
		t.Errorf("no preemptions: %v", r.Err)
	}
	limits = Limits{Time: time.Second, Seed: 1}
	if r := Random(lostUpdate, limits); r.Err == nil {
		t.Error("random orders do not find the error")
	}
}

func TestDeadlock(t *testing.T) {
	r := Explore(func(x *Execution) World {
		w, a, b := new(plain), new(Mutex), new(Mutex)
		lock := func(first, second *Mutex) func() {
			return func() {
				first.Lock()
				defer first.Unlock()
				second.Lock()
				defer second.Unlock()
			}
		}
		w.start(x, "A", lock(a, b))
		w.start(x, "B", lock(b, a))
		return w
	}, unbounded)
	if r.Err == nil || !strings.Contains(r.Err.Error(), "deadlock") {
		t.Errorf("the error is %v", r.Err)
	}
}

// TestMutex checks that a mutex excludes, and that all orders of who has it are tried.
func TestMutex(t *testing.T) {
	orders := make(map[string]bool)
	r := Explore(func(x *Execution) World {
		w, mu, order := new(plain), new(Mutex), ""
		for _, name := range []string{"A", "B", "C"} {
			w.start(x, name, func() {
				mu.Lock()
				order += name
				Gosched()
				order += name
				mu.Unlock()
			})
		}
		w.end = func() error {
			orders[order] = true
			return nil
		}
		return w
	}, unbounded)
	if r.Err != nil || len(orders) != 6 || !orders["BBCCAA"] {
		t.Errorf("the orders are %v, the report is %+v", orders, r)
	}
}

// TestTimer checks that a timer runs only when nothing else can.
func TestTimer(t *testing.T) {
	r := Explore(func(x *Execution) World {
		w, done, fired := new(plain), NewChan[int](1), false
		timer := AfterFunc(Second, func() { fired = true; done.Send(1) })
		w.start(x, "A", func() {
			for range 3 {
				Gosched()
			}
			if fired {
				panic("the timer ran too early")
			}
			done.Receive()
		})
		w.end = func() error {
			if x.Expiry != 1 || timer.Pending() {
				return fmt.Errorf("%d timeouts", x.Expiry)
			}
			return nil
		}
		return w
	}, unbounded)
	if r.Err != nil || !r.Complete {
		t.Errorf("the report is %+v", r)
	}
}
