//go:build interleave

// Explore runs the queue in all orders of small programs. The command above it makes the rest of
// this package from internal/queue.
package main

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/go-aio/aio/internal/aiotest/trials/interleave/control"
)

var (
	only   = flag.String("only", "", "run programs whose name matches this `regexp`")
	list   = flag.Bool("list", false, "list the programs")
	most   = flag.Duration("most", time.Hour, "the longest that all orders of a small program take")
	each   = flag.Duration("each", 10*time.Second, "how long orders of one larger program are tried")
	random = flag.Duration("random", time.Second, "how long random orders of one larger program are tried")
	seed   = flag.Uint64("seed", 1, "the first of the random orders")
	first  = flag.Bool("first", false, "end with the first failure")
	exact  = flag.Bool("exact", false, "try all orders of small programs that lead to different states, "+
		"and all orders of independent steps; count the states of shared memory")
	shared = flag.Bool("shared", false, "count the states of shared memory")
)

func main() {
	flag.Parse()
	pattern := regexp.MustCompile(*only)
	failed := false
	for i := range programs {
		p := &programs[i]
		switch {
		case !pattern.MatchString(p.name) || failed && *first:
		case *list:
			fmt.Println(p.name)
		default:
			run := func(x *control.Execution) control.World { return newWorld(p, x) }
			failed = !try(p, run) || failed
		}
	}
	if failed {
		os.Exit(1)
	}
}

// try tries the orders of p.
func try(p *program, run control.Program) (ok bool) {
	switch {
	case p.all:
		return all(p, run)
	case p.large:
		return some(p, run)
	}
	complete, ok := bounded(p, run)
	if ok && !complete {
		ok = some(p, run)
	}
	return ok
}

// all tries all orders of p, and fails if there is not the time.
func all(p *program, run control.Program) (ok bool) {
	limits := control.Limits{Time: *most, Preemptions: -1, Exact: *exact, Shared: *shared || *exact}
	r := control.Explore(run, limits)
	ok = show(p.name, "all orders", r)
	if ok && !r.Complete {
		fmt.Printf("FAIL %s: these are not all orders\n", p.name)
	}
	return ok && r.Complete
}

// some tries random orders of p.
func some(p *program, run control.Program) (ok bool) {
	return show(p.name, "random orders", control.Random(run, control.Limits{Time: *random, Seed: *seed}))
}

// bounds are tried one after the other. The last is none.
var bounds = []int{0, 1, 2, 3, 4, 5, -1}

// bounded tries all orders with few preemptions, and then with more, as long as there is time. It
// returns whether these were all orders that there are.
func bounded(p *program, run control.Program) (complete, ok bool) {
	left := *each
	for _, n := range bounds {
		r := control.Explore(run, control.Limits{Time: left, Preemptions: n})
		ok = show(p.name, bound(n), r)
		if !ok || !r.Complete {
			return false, ok
		}
		left -= r.Took
	}
	return true, true
}

func bound(n int) string {
	if n < 0 {
		return "all orders"
	}
	return fmt.Sprintf("all orders with %d preemptions", n)
}

// mostLines bounds what is shown of a schedule.
const mostLines = 300

func show(name, how string, r control.Report) (ok bool) {
	if !r.Complete {
		how = strings.Replace(how, "all orders", "not all orders", 1)
	}
	fmt.Printf("%s: %s: %d executions, %d states, %d steps, %d timeouts, %.1f s\n", name, how,
		r.Executions, r.States, r.Steps, r.Expiries, r.Took.Seconds())
	if r.Shared > 0 {
		fmt.Printf("%s: %d states of shared memory\n", name, r.Shared)
	}
	if r.Err == nil {
		return true
	}
	if over := len(r.Schedule) - mostLines; over > 0 {
		r.Schedule = append(r.Schedule[:mostLines], fmt.Sprintf("and %d more", over))
	}
	fmt.Printf("FAIL %s: %v\n\t%s\n", name, r.Err, strings.Join(r.Schedule, "\n\t"))
	return false
}
