package control

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// A plain world has no environment.
type plain struct {
	calls   int
	outcome func() string
	check   func() error
	end     func() error
}

func (w *plain) Actions() int           { return 0 }
func (w *plain) Act(int)                {}
func (w *plain) Name(int) uint64        { return 0 }
func (w *plain) Objects(int) [2]*Object { return [2]*Object{} }
func (w *plain) Describe(int) string    { return "" }
func (w *plain) Check() error           { return call(w.check) }
func (w *plain) Waits() bool            { return w.calls > 0 }
func (w *plain) Expired(*Timer) error   { return nil }
func (w *plain) End() error             { return call(w.end) }

// Hash returns a hash of the outcome so far, which is what goroutines leave behind that have ended.
func (w *plain) Hash() (h uint64) {
	if w.outcome != nil {
		for _, c := range []byte(w.outcome()) {
			h = mix(h, uint64(c))
		}
	}
	return h
}

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
	// A's load sees 1 or 2, and B's addition comes before or after A's second store.
	want := []string{"1 1", "2 1", "2 2", "1 11", "2 11", "2 12"}
	checkOutcomes(t, want, func(x *Execution, w *plain) func() string {
		var n, m Int64
		w.start(x, "A", func() { n.Store(1); m.Store(n.Load()) })
		w.start(x, "B", func() { n.Store(2); m.AddOnly(10) })
		return func() string { return fmt.Sprint(n.Load(), m.Load()) }
	})
}

// checkOutcomes runs a program in all orders. It starts goroutines, and returns what returns the
// outcome. The outcomes must be those, whether orders are left out or not.
func checkOutcomes(t *testing.T, want []string, p func(*Execution, *plain) func() string) (few Report) {
	t.Helper()
	slices.Sort(want)
	var reports [2]Report
	for i, exact := range []bool{false, true} {
		found := make(map[string]bool)
		limits := unbounded
		limits.Exact, limits.Shared = exact, true
		r := Explore(func(x *Execution) World {
			w := new(plain)
			outcome := p(x, w)
			w.outcome = outcome
			w.end = func() error {
				found[outcome()] = true
				return nil
			}
			return w
		}, limits)
		if r.Err != nil || !r.Complete {
			t.Errorf("exact %t: the report is %+v", exact, r)
		}
		if got := slices.Sorted(maps.Keys(found)); !slices.Equal(got, want) {
			t.Errorf("exact %t: the outcomes are %q, want %q", exact, got, want)
		}
		reports[i] = r
	}
	if reports[0].Shared != reports[1].Shared {
		t.Errorf("%d states of shared memory, and %d if nothing is left out", reports[0].Shared,
			reports[1].Shared)
	}
	if reports[0].Executions > reports[1].Executions {
		t.Errorf("%d executions, and %d if nothing is left out", reports[0].Executions,
			reports[1].Executions)
	}
	return reports[0]
}

// TestSleep checks that steps that are independent are tried in few orders, also if the same state
// is reached with different sleep sets.
func TestSleep(t *testing.T) {
	var want []string
	for i := range 16 {
		want = append(want, fmt.Sprintf("%04b", i))
	}
	r := checkOutcomes(t, want, func(x *Execution, w *plain) func() string {
		var values [4]Int64
		var seen [4]int64
		for i := range values {
			w.start(x, fmt.Sprintf("A%d", i), func() { values[i].Store(1) })
			w.start(x, fmt.Sprintf("B%d", i), func() { seen[i] = values[i].Load() })
		}
		return func() (s string) {
			for _, v := range seen {
				s += fmt.Sprint(v)
			}
			return s
		}
	})
	if r.Executions > 300 {
		t.Errorf("%d executions", r.Executions)
	}
}

// TestForget checks that a goroutine forgets what a function has seen that has returned, and keeps
// what it has returned.
func TestForget(t *testing.T) {
	want := []string{"false 0", "false 1", "true 0", "true 1"}
	checkOutcomes(t, want, func(x *Execution, w *plain) func() string {
		var n, m Int64
		var set bool
		reads := func() (result bool) {
			defer Leave(Enter(), &result)
			for i := range uint64(3) {
				Forget(1, i)
				n.Load()
			}
			return n.Load() == 7
		}
		var last int64
		w.start(x, "A", func() {
			set = reads()
			last = m.Load()
		})
		w.start(x, "B", func() {
			for i := range int64(8) {
				n.Store(i)
			}
			m.Store(1)
		})
		return func() string { return fmt.Sprint(set, last) }
	})
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

// TestMutex checks that a mutex excludes, and that all orders of its holders are tried.
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
