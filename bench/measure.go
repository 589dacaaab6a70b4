//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
)

// A measurer goes through a plan.
type measurer struct {
	plan   plan
	job    job // of every worker, but for engine, workload, depth and seed
	fio    fio
	report *report
	bar    *bar
	warn   func(format string, args ...any)
}

// run adds rows to the report until the plan is done or ctx is. A row that fails is reported and
// the next one tried.
func (m *measurer) run(ctx context.Context) {
	for _, w := range m.plan.Workloads {
		for _, depth := range m.plan.Depths {
			r := &row{Workload: w, Depth: depth}
			m.bar.describe(fmt.Sprintf("%-12s × %-4d", w.call(), depth))
			before := m.bar.done
			err := m.measureRow(ctx, r)
			if ctx.Err() != nil {
				err = nil // not the row's fault
			}
			if err != nil {
				r.Error = err.Error()
				m.warnRow(r, err)
			}
			if len(r.Engines) > 0 || err != nil {
				r.finish()
				m.report.Rows = append(m.report.Rows, r)
			}
			if ctx.Err() != nil {
				return
			}
			m.bar.advance(before + m.plan.rowSteps() - m.bar.done)
		}
	}
}

func (m *measurer) warnRow(r *row, err error) {
	m.bar.clear()
	m.warn("%s, %d goroutines: %v", r.Workload.call(), r.Depth, err)
	if hang, ok := errors.AsType[*hangError](err); ok {
		m.warn("stacks of %s:\n%s", hang.engine, strings.TrimSpace(hang.stacks))
	}
}

// measureRow has both workers alive from the first round to the last, the one idle while the other
// is measured.
func (m *measurer) measureRow(ctx context.Context, r *row) error {
	workers := make(map[engine]*child)
	defer func() {
		for _, c := range workers {
			if ctx.Err() != nil {
				c.kill()
			} else {
				c.close()
			}
		}
	}()
	for _, e := range []engine{osEngine, aioEngine} {
		j := m.job
		j.Engine, j.Workload, j.Depth, j.Seed = e, r.Workload, r.Depth, rand.Uint64()
		c, err := startChild(ctx, workerCommand(), j)
		if err != nil {
			return err
		}
		workers[e] = c
		// Warming up starts threads, sets up the context and fills pools. It is not counted.
		if _, err := c.measure(ctx, -1, m.plan.RoundTime); err != nil {
			return err
		}
		m.bar.advance(1)
	}
	for i := range m.plan.Rounds {
		for _, e := range m.plan.turn(i) {
			if err := m.measureRound(ctx, r, workers[e], e, i); err != nil {
				return err
			}
			m.bar.advance(1)
		}
	}
	return nil
}

func (m *measurer) measureRound(ctx context.Context, r *row, c *child, e engine, index int) error {
	var rd round
	var err error
	direct := m.job.Direct
	if e == fioEngine {
		rd, err = m.fio.measure(ctx, r.Workload, r.Depth, index, m.plan.RoundTime)
	} else {
		direct = c.direct
		rd, err = c.measure(ctx, index, m.plan.RoundTime)
	}
	if err != nil {
		return err
	}
	r.add(e, direct, rd)
	return nil
}
