//go:build interleave

// Explore runs the queue in all orders of small programs. The command above it makes the rest of
// this package from internal/queue.
package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/go-aio/aio/internal/aiotest/trials/interleave/control"
)

func main() {
	only := flag.String("only", "", "run programs whose name has this `text`")
	each := flag.Duration("each", 10*time.Second, "the longest that orders of one program are tried")
	random := flag.Duration("random", time.Second, "then try random orders for so long, unless all were tried")
	seed := flag.Uint64("seed", 1, "the first of the random orders")
	whole := flag.Bool("whole", false, "try all orders at once, not first those with few preemptions")
	exact := flag.Bool("exact", false, "leave out nothing but states that are the same to the last bit")
	first := flag.Bool("first", false, "end with the first failure")
	flag.Parse()
	failed := false
	for i := range programs {
		p := &programs[i]
		if !strings.Contains(p.name, *only) || failed && *first {
			continue
		}
		run := func(x *control.Execution) control.World { return newWorld(p, x) }
		complete, ok := systematic(p, run, *each, *whole, *exact)
		if ok && !complete {
			ok = show(p.name, "random orders", control.Random(run, control.Limits{Time: *random, Seed: *seed}))
		}
		failed = failed || !ok
	}
	if failed {
		os.Exit(1)
	}
}

// bounds are tried one after the other. The last is none.
var bounds = []int{0, 1, 2, 3, 4, 5, -1}

// longest is how much longer all orders of a program may take, if they are few enough.
const longest = 10

// systematic tries all orders with few preemptions, and then with more, for so long. It returns
// whether these were all orders that there are.
func systematic(p *program, run control.Program, most time.Duration, whole, exact bool) (complete, ok bool) {
	tried := bounds
	if p.all || whole {
		tried, most = bounds[len(bounds)-1:], longest*most
	}
	for _, n := range tried {
		r := control.Explore(run, control.Limits{Time: most, Preemptions: n, Exact: exact})
		ok = show(p.name, bound(n), r)
		if !ok || !r.Complete {
			return false, ok
		}
		most -= r.Took
	}
	return true, true
}

func bound(n int) string {
	if n < 0 {
		return "all orders"
	}
	return fmt.Sprintf("%d preemptions", n)
}

// mostLines bounds what is shown of a schedule.
const mostLines = 300

func show(name, how string, r control.Report) (ok bool) {
	end := ""
	if !r.Complete {
		end = " so far"
	}
	fmt.Printf("%s: %s: %d executions, %d states, %d shared, %d steps, %d timeouts, %.1f s%s\n", name, how,
		r.Executions, r.States, r.Shared, r.Steps, r.Expiries, r.Took.Seconds(), end)
	if r.Err == nil {
		return true
	}
	if over := len(r.Schedule) - mostLines; over > 0 {
		r.Schedule = append(r.Schedule[:mostLines], fmt.Sprintf("and %d more", over))
	}
	fmt.Printf("FAIL %s: %v\n\t%s\n", name, r.Err, strings.Join(r.Schedule, "\n\t"))
	return false
}
