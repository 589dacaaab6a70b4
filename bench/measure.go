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
	job    job    // of every worker, but for engine, workload, depth and seed
	fresh  string // the file of workloads that have one of their own
	fio    fio
	trace  *submitTrace // or nil
	report *report
	bar    *bar
	warn   func(format string, args ...any)
}

// run adds rows to the report until the plan is done or ctx is. A row that fails is reported and
// the next one tried.
func (m *measurer) run(ctx context.Context) {
	for _, w := range m.plan.Workloads {
		for _, depth := range m.plan.depths(w) {
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
			m.bar.advance(before + m.plan.rowSteps(w) - m.bar.done)
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
	for _, e := range m.plan.engines(r.Workload) {
		if e == fioEngine {
			continue // a process for each round
		}
		j := m.job
		j.Engine, j.Workload, j.Depth, j.Seed = e, r.Workload, r.Depth, rand.Uint64()
		if r.Workload.spec().fresh {
			j.File = m.fresh
		}
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
		for _, e := range m.plan.turn(r.Workload, i) {
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
		rd, err = m.measureTraced(ctx, r, c, index)
	}
	if err != nil {
		return err
	}
	r.add(e, direct, rd)
	return nil
}

// measureTraced is a round of a worker, with its calls of io_submit(2) if they are asked for.
func (m *measurer) measureTraced(ctx context.Context, r *row, c *child, index int) (round, error) {
	if m.trace == nil || c.engine != aioEngine {
		return c.measure(ctx, index, m.plan.RoundTime)
	}
	if r.Submits == nil {
		r.Submits = newSubmits()
	}
	if err := m.trace.begin(); err != nil {
		return round{}, err
	}
	rd, err := c.measure(ctx, index, m.plan.RoundTime)
	return rd, errors.Join(err, m.trace.end(c.cmd.Process.Pid, r.Submits))
}
