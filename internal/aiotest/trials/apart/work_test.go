package apart

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/internal/aiotest"
)

// A work is what goroutines do on a disk all the time.
type work struct {
	name       string
	goroutines int
	// worker returns what one goroutine does again and again. ctx may end, and does not.
	worker func(ctx context.Context, d *disk, g int) func() error
}

var works = []work{
	{"reads", 8, func(_ context.Context, d *disk, _ int) func() error {
		p := aio.AlignedBuffer(slot)
		return func() error { return second(d.direct.ReadAt(p, anywhere())) }
	}},
	{"writes", 8, func(_ context.Context, d *disk, _ int) func() error {
		p := aio.AlignedBuffer(slot)
		return func() error { return second(d.direct.WriteAt(p, anywhere())) }
	}},
	{"bounced", 4, func(_ context.Context, d *disk, _ int) func() error {
		p := aio.AlignedBuffer(slot + 1)[1:]
		return func() error { return second(d.direct.ReadAt(p, anywhere())) }
	}},
	{"cached", 4, func(_ context.Context, d *disk, _ int) func() error {
		p := make([]byte, slot)
		return func() error { return second(d.cached.ReadAt(p, anywhere())) }
	}},
	{"odd", 4, func(_ context.Context, d *disk, _ int) func() error {
		p := make([]byte, 100)
		return func() error { return second(d.odd.WriteAt(p, anywhere()+odd)) }
	}},
	{"Truncate", 1, func(_ context.Context, d *disk, _ int) func() error {
		return func() error { return d.small[0].Truncate(slot) }
	}},
	{"Sync", 2, func(_ context.Context, d *disk, g int) func() error {
		f := d.small[g]
		return func() error { return f.Sync() }
	}},
	{"Batch", 1, func(_ context.Context, d *disk, _ int) func() error {
		var b aio.Batch
		memory := aio.AlignedBuffer(batch * slot)
		return func() error {
			b.Reset()
			for i := range batch {
				if p := memory[i*slot:][:slot]; i%2 == 0 {
					b.ReadAt(d.direct, p, anywhere())
				} else {
					b.WriteAt(d.direct, p, anywhere())
				}
			}
			return b.Do(context.Background())
		}
	}},
	{"context", 2, func(ctx context.Context, d *disk, _ int) func() error {
		p := aio.AlignedBuffer(slot)
		return func() error { return second(d.direct.ReadAtContext(ctx, p, anywhere())) }
	}},
}

func second(_ int, err error) error { return err }

// anywhere returns the offset of some slot.
func anywhere() int64 { return int64(rand.IntN(slots)) * slot }

// stuckAfter is how long after its time a worker is stuck. Each call takes a few milliseconds.
const stuckAfter = 10 * time.Second

// rate returns how many times a second w is done on d. It fails the test if a call gets stuck.
func (w work) rate(t *testing.T, d *disk, during time.Duration) float64 {
	t.Helper()
	var n atomic.Int64
	var all sync.WaitGroup
	begin := time.Now()
	for g := range w.goroutines {
		all.Go(func() {
			for do := w.worker(t.Context(), d, g); time.Since(begin) < during; n.Add(1) {
				if err := do(); err != nil {
					t.Errorf("%s: %v", w.name, err)
					return
				}
			}
		})
	}
	if !within(during+stuckAfter, all.Wait) {
		t.Errorf("%s: a call is stuck\n%s", w.name, stacks())
		return 0
	}
	return float64(n.Load()) / time.Since(begin).Seconds()
}

// rates returns the rate of each.
func rates(t *testing.T, d *disk, list []work) []float64 {
	t.Helper()
	all := make([]float64, len(list))
	for i, w := range list {
		all[i] = w.rate(t, d, span())
	}
	return all
}

// span is how long a rate is measured.
func span() time.Duration {
	if aiotest.FullLength() {
		return 200 * time.Millisecond
	}
	return 100 * time.Millisecond
}

// within reports whether wait returns in time. It runs in a goroutine.
func within(limit time.Duration, wait func()) bool {
	done := make(chan struct{})
	go func() {
		wait()
		close(done)
	}()
	select {
	case <-done:
		return true
	case <-time.After(limit):
		return false
	}
}

// stacks returns the stacks of all goroutines, each once with its number.
func stacks() string {
	var text strings.Builder
	pprof.Lookup("goroutine").WriteTo(&text, 1)
	return text.String()
}

// settle waits until the calls that have been started are where they hang, and the process is idle
// but for trifles. It waits for a few seconds at most.
func settle(t *testing.T) {
	t.Helper()
	const look, trifle = 50 * time.Millisecond, 5 * time.Millisecond
	for range 60 {
		before := processorTime(t)
		time.Sleep(look)
		if processorTime(t)-before < trifle {
			return
		}
	}
	t.Logf("the process is not idle while calls hang")
}

// processorTime returns the processor time of the process, that in the kernel included.
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var use unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &use); err != nil {
		t.Fatal(err)
	}
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}

// tasks returns the number of threads of the process.
func tasks(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// line formats a row of a table.
func line(name string, n any, cells []string) string {
	s := fmt.Sprintf("%-24s %5v", name, n)
	for _, c := range cells {
		s += fmt.Sprintf(" %8s", c)
	}
	return s + "\n"
}
