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
	random := flag.Duration("random", 0, "also try random orders of each program for so long")
	seed := flag.Uint64("seed", 1, "the first of the random orders")
	preemptions := flag.Int("preemptions", -2, "bound on preemptions: -1 for none")
	first := flag.Bool("first", false, "end with the first failure")
	flag.Parse()
	failed := false
	for i := range programs {
		p := &programs[i]
		if !strings.Contains(p.name, *only) {
			continue
		}
		limits := control.Limits{Time: *each, Preemptions: p.preemptions, Seed: *seed, Executions: 1 << 40}
		if *preemptions > -2 {
			limits.Preemptions = *preemptions
		}
		run := func(x *control.Execution) control.World { return newWorld(p, x) }
		failed = show(p.name, bound(limits), limits, control.Explore, run) || failed
		if limits.Time = *random; *random > 0 {
			failed = show(p.name, "random", limits, control.Random, run) || failed
		}
		if failed && *first {
			break
		}
	}
	if failed {
		os.Exit(1)
	}
}

func bound(l control.Limits) string {
	if l.Preemptions < 0 {
		return "all orders"
	}
	return fmt.Sprintf("up to %d preemptions", l.Preemptions)
}

func show(
	name, how string, limits control.Limits,
	explore func(control.Program, control.Limits) control.Report, run control.Program,
) (failed bool) {
	began := time.Now()
	r := explore(run, limits)
	end := "complete"
	if !r.Complete {
		end = "not complete"
	}
	fmt.Printf("%s: %s: %s, %d executions, %d states, %d steps, %d timeouts, %.1f s\n", name, how, end,
		r.Executions, r.States, r.Steps, r.Expiries, time.Since(began).Seconds())
	if r.Err == nil {
		return false
	}
	fmt.Printf("FAIL %s: %v\n\t%s\n", name, r.Err, strings.Join(r.Schedule, "\n\t"))
	return true
}
