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
	only = flag.String("only", "", "run programs whose name matches this `regexp`")
	list = flag.Bool("list", false, "list the programs")
	most = flag.Duration("most", time.Hour, "the longest that all orders of one program take")
	each = flag.Duration("each", 10*time.Second, "how long orders of one long program are tried; "+
		"from a minute on, all of them")
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

// long is how long the orders of one program are tried if those of long programs are to be all.
const long = time.Minute

// try tries the orders of p.
func try(p *program, run control.Program) (ok bool) {
	switch {
	case p.all || p.long && *each >= long:
		return all(p, run)
	case p.large:
		return some(p, run)
	}
	return bounded(p, run) && some(p, run)
}

// all tries all orders of p, and fails if there is not the time.
func all(p *program, run control.Program) (ok bool) {
	limits := control.Limits{Time: *most, Preemptions: control.Any, Exact: *exact, Shared: *shared || *exact}
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

// bounded tries all orders with few preemptions, and then with more, as long as there is time.
func bounded(p *program, run control.Program) (ok bool) {
	left := *each
	for n := 0; ; n++ {
		r := control.Explore(run, control.Limits{Time: left, Preemptions: n})
		ok = show(p.name, fmt.Sprintf("all orders with %d preemptions", n), r)
		if !ok || !r.Complete {
			return ok
		}
		left -= r.Took
	}
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
		r.Schedule = append([]string{fmt.Sprintf("after %d more", over)}, r.Schedule[over:]...)
	}
	fmt.Printf("FAIL %s: %v\n\t%s\n", name, r.Err, strings.Join(r.Schedule, "\n\t"))
	return false
}
