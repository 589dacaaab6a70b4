package apart

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/internal/aiotest"
)

// floor is the least ratio of the rates on disk B with and without a disk that hangs. The ratio is
// near 1. A machine that is busy with something else comes down to floor in one measurement, and
// not in as many as attempts.
const (
	floor    = 0.5
	attempts = 3
)

// A scene is disks that may hang, and one that does not.
type scene struct {
	frozen, stalled, b *disk
}

func newScene(t *testing.T) *scene {
	t.Helper()
	aiotest.NeedsMounts(t)
	// The calls that hang have more goroutines than the memory of short tests has room for.
	debug.SetMemoryLimit(math.MaxInt64)
	k := newKeeper(t, filesystem.Size)
	s := &scene{frozen: newFrozen(t, k), stalled: newStalled(t, k), b: newOrdinary(t)}
	// A process that ends while its threads hang in the kernel does not come to its end.
	aiotest.GuardWith(t, func() { s.frozen.release(); s.stalled.release() })
	return s
}

// newOrdinary returns a disk that does not hang. What goes through the page cache finds its pages
// there.
func newOrdinary(t *testing.T) *disk {
	t.Helper()
	dir, _ := filesystem.NewDir(t)
	d := newDisk(t, &disk{dir: dir})
	write(t, d.cached)
	for i := range int64(slots) {
		if _, err := d.odd.WriteAt(contents()[i][:100], i*slot+odd); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

// TestHungDisk measures disk B without and with calls that hang on disk A: one, and thousands.
func TestHungDisk(t *testing.T) {
	s := newScene(t)
	var all summary
	for _, on := range []struct {
		name  string
		d     *disk
		calls []call
	}{{"frozen", s.frozen, writes}, {"stalled", s.stalled, reads}} {
		for i, c := range on.calls {
			if aiotest.Brief() && i%3 != 0 {
				continue
			}
			t.Run(on.name+"/"+c.name, func(t *testing.T) {
				tr := trial{jobs: []job{{on.d, []call{c}}}, b: s.b, numbers: numbers()}
				tr.run(t, &all)
			})
		}
	}
	all.log(t)
}

// numbers returns how many calls hang, one number after the other. The ratios of none tell what the
// machine makes of them.
func numbers() []int {
	switch {
	case !aiotest.FullLength():
		return []int{2000}
	case aiotest.InChild():
		return []int{0, 300, 2000}
	}
	return []int{0, 1, 32, 300, 2000}
}

// TestHungDisks is TestHungDisk with two disks that hang, with calls of all kinds, and with one
// beside a slow disk that has as many requests as it may.
func TestHungDisks(t *testing.T) {
	s := newScene(t)
	var all summary
	frozen, stalled := job{s.frozen, writes}, job{s.stalled, reads[:together]}
	t.Run("one beside a slow one", func(t *testing.T) {
		if err := s.stalled.slow(); err != nil {
			t.Fatal(err)
		}
		defer s.stalled.release()
		tr := trial{jobs: []job{frozen}, b: s.b, numbers: []int{2000}, slow: s.stalled}
		tr.run(t, &all)
	})
	t.Run("two", func(t *testing.T) {
		tr := trial{jobs: []job{frozen, stalled}, b: s.b, numbers: []int{2000}}
		tr.run(t, &all)
	})
	all.log(t)
}

// A job is calls on a disk that hangs. Call i is one of calls, in turn.
type job struct {
	d     *disk
	calls []call
}

func (j job) do(i int) error { return j.calls[i%len(j.calls)].do(j.d, i/len(j.calls)) }

// left returns how many of n calls return while the disk hangs.
func (j job) left(n int) (left int64) {
	for i := range n {
		if j.calls[i%len(j.calls)].left {
			left++
		}
	}
	return left
}

func (j job) prepare(t *testing.T) {
	t.Helper()
	for _, c := range j.calls {
		if c.prepare != nil {
			c.prepare(t, j.d)
		}
	}
}

// check compares what n calls have left. Abandoned ones may be under way still.
func (j job) check(t *testing.T, n int) {
	t.Helper()
	for k, c := range j.calls {
		if c.check == nil {
			continue
		}
		own := (n + len(j.calls) - 1 - k) / len(j.calls)
		var err error
		if !aiotest.Eventually(func() bool {
			err = c.check(j.d, own)
			return err == nil || !c.left
		}) || err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// A trial has calls hang on disks, and measures disk b.
type trial struct {
	jobs    []job
	b       *disk
	numbers []int // of calls on each, ascending
	slow    *disk // nil, or one that has as many requests as it may, all the time
}

// run measures until each ratio has been above the floor, or the attempts are used up.
func (tr trial) run(t *testing.T, all *summary) {
	aiotest.Guard(t)
	list := works
	best := make(map[string][]float64) // by name of the work, for each number
	for range attempts {
		for name, ratios := range tr.measure(t, list) {
			for i, was := range best[name] {
				ratios[i] = max(ratios[i], was)
			}
			best[name] = ratios
		}
		list = slices.DeleteFunc(slices.Clone(list), func(w work) bool {
			return slices.Min(best[w.name]) >= floor
		})
		if len(list) == 0 || t.Failed() {
			break
		}
	}
	for _, w := range list {
		t.Errorf("%s on the disk that does not hang: %.2f of what it was, want %v", w.name, best[w.name], floor)
	}
	tr.log(t, best)
	all.add(best)
}

// measure returns the ratios of one measurement.
func (tr trial) measure(t *testing.T, list []work) map[string][]float64 {
	t.Helper()
	for _, j := range tr.jobs {
		j.prepare(t)
	}
	if tr.slow != nil {
		defer keepBusy(t, tr.slow)()
	}
	alone := rates(t, tr.b, list)
	for _, j := range tr.jobs {
		if err := j.d.hang(); err != nil {
			t.Fatal(err)
		}
		defer j.d.release() // harmless if it has been released
	}
	hung := make([]hanging, len(tr.jobs))
	ratios := make(map[string][]float64)
	begun := 0
	for _, n := range tr.numbers {
		for ; begun < n; begun++ {
			for k := range hung {
				hung[k].start(t, tr.jobs[k], begun)
			}
		}
		settle(t)
		for i, rate := range rates(t, tr.b, list) {
			ratios[list[i].name] = append(ratios[list[i].name], rate/alone[i])
		}
		if got, limit := tasks(t), tr.mostThreads(); got > limit {
			t.Errorf("%d calls that hang: %d threads, want at most %d", n, got, limit)
		}
	}
	for k, j := range tr.jobs {
		if n := hung[k].returned.Load(); n > j.left(begun) {
			t.Errorf("%d of %d calls have returned from a disk that hangs", n, begun)
		}
		if err := j.d.release(); err != nil {
			t.Error(err)
		}
	}
	for k, j := range tr.jobs {
		if !within(longest, hung[k].all.Wait) {
			t.Fatalf("calls do not return from a disk that answers again\n%s", stacks())
		}
		j.check(t, begun)
	}
	return ratios
}

// mostThreads returns how many threads the process may have. A disk that hangs, or is slow, has so
// many system calls at a time, submitters, and requests that are sync.
func (tr trial) mostThreads() int {
	const submitters, sync, others = 66, 32, 48
	disks := len(tr.jobs)
	if tr.slow != nil {
		disks++
	}
	return disks*(threads+submitters+sync) + others
}

// keepBusy makes requests on d, more than the kernel takes at a time, until stop.
func keepBusy(t *testing.T, d *disk) (stop func()) {
	t.Helper()
	var stopped atomic.Bool
	var all sync.WaitGroup
	for range 300 {
		all.Go(func() {
			for p := aio.AlignedBuffer(slot); !stopped.Load(); {
				if _, err := d.direct.ReadAt(p, anywhere()); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	return func() {
		stopped.Store(true)
		all.Wait()
	}
}

// A hanging is calls on a disk that hangs.
type hanging struct {
	all      sync.WaitGroup
	returned atomic.Int64
}

// start makes call i of j, in a goroutine.
func (h *hanging) start(t *testing.T, j job, i int) {
	h.all.Go(func() {
		if err := j.do(i); err != nil {
			t.Errorf("call %d: %v", i, err)
		}
		h.returned.Add(1)
	})
}

// log writes a table of the ratios, with a line for each number of calls.
func (tr trial) log(t *testing.T, ratios map[string][]float64) {
	t.Helper()
	table := "\n" + line("calls that hang", "", names())
	for i, n := range tr.numbers {
		cells := make([]string, len(works))
		for k, w := range works {
			cells[k] = fmt.Sprintf("%.2f", ratios[w.name][i])
		}
		table += line("", n, cells)
	}
	t.Log(table)
}

func names() []string {
	all := make([]string, len(works))
	for i, w := range works {
		all[i] = w.name
	}
	return all
}

// A summary has the ratios of several trials, by name of the work.
type summary struct {
	ratios map[string][]float64
}

func (s *summary) add(ratios map[string][]float64) {
	if s.ratios == nil {
		s.ratios = make(map[string][]float64)
	}
	for name, list := range ratios {
		s.ratios[name] = append(s.ratios[name], list...)
	}
}

// log writes the least ratio and the median of each work.
func (s *summary) log(t *testing.T) {
	t.Helper()
	least, median := make([]string, len(works)), make([]string, len(works))
	n := 0
	for i, w := range works {
		list := slices.Sorted(slices.Values(s.ratios[w.name]))
		if n = len(list); n == 0 {
			return
		}
		least[i], median[i] = fmt.Sprintf("%.2f", list[0]), fmt.Sprintf("%.2f", list[n/2])
	}
	t.Logf("GOMAXPROCS=%d, Config.Threads %d, %d threads:\n%s", runtime.GOMAXPROCS(0), threads, tasks(t),
		strings.Join([]string{line("measurements", n, names()), line("least", "", least), line("median", "", median)}, ""))
}

// TestBatchOverBoth runs a Batch over a disk that hangs and one that does not: the locks of the
// latter are released when its own writes are done.
func TestBatchOverBoth(t *testing.T) {
	s := newScene(t)
	for name, a := range map[string]*disk{"frozen": s.frozen, "stalled": s.stalled} {
		t.Run(name, func(t *testing.T) {
			aiotest.Guard(t)
			clean(t, a.direct, slots*slot)
			clean(t, s.b.direct, slots*slot)
			if err := a.hang(); err != nil {
				t.Fatal(err)
			}
			defer a.release()
			done := make(chan error, 1)
			go func() {
				var b aio.Batch
				for i := range 2 * batch {
					f := []*disk{a, s.b}[i%2].direct
					b.WriteAt(f, contents()[i/2], int64(i/2)*slot)
				}
				done <- b.Do(context.Background())
			}()
			aiotest.Until(t, "the writes on B are done", func() bool { return written(s.b.direct, batch, 0, slot) == nil })
			if !within(stuckAfter, func() { must(s.b.direct.Truncate(slots * slot)) }) {
				t.Errorf("Truncate on B waits for the Batch\n%s", stacks())
			}
			if len(done) > 0 {
				t.Error("the Batch is done while A hangs")
			}
			if err := errors.Join(a.release(), <-done, written(a.direct, batch, 0, slot)); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestWritersBesideHungWrites starts writes on a frozen disk one by one, while many goroutines
// write to another: none of these gets into an io_submit(2) that hangs.
func TestWritersBesideHungWrites(t *testing.T) {
	s := newScene(t)
	const (
		writers = 64
		calls   = 40
		tooLong = 2 * time.Second
	)
	clean(t, s.frozen.direct, slots*slot)
	if err := s.frozen.hang(); err != nil {
		t.Fatal(err)
	}
	defer s.frozen.release()
	begin := time.Now()
	var stopped atomic.Bool
	var longestWrite atomic.Int64
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			for p := aio.AlignedBuffer(slot); !stopped.Load(); {
				from := time.Now()
				if _, err := s.b.direct.WriteAt(p, anywhere()); err != nil {
					t.Error(err)
				}
				for took := int64(time.Since(from)); ; {
					was := longestWrite.Load()
					if took <= was || longestWrite.CompareAndSwap(was, took) {
						break
					}
				}
			}
		})
	}
	var hung hanging
	j := job{s.frozen, writes[:1]}
	for i := range calls {
		hung.start(t, j, i)
		time.Sleep(20 * time.Millisecond)
	}
	time.Sleep(tooLong)
	stopped.Store(true)
	if !within(stuckAfter, all.Wait) {
		t.Errorf("writes to the disk that does not hang are stuck\n%s", stacks())
	} else if d := time.Duration(longestWrite.Load()); d > tooLong {
		t.Errorf("a write to the disk that does not hang took %v", d)
	}
	t.Logf("%v: the longest write took %v", time.Since(begin), time.Duration(longestWrite.Load()))
	if n := hung.returned.Load(); n > 0 {
		t.Errorf("%d calls have returned from a disk that hangs", n)
	}
	if err := s.frozen.release(); err != nil {
		t.Error(err)
	}
	hung.all.Wait()
	j.check(t, calls)
}
