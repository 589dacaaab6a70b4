//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// A measurer executes a plan.
type measurer struct {
	plan   plan
	job    job    // of every worker, without engine, workload, depth and seed
	fresh  string // the file of workloads that need a new one
	fio    fio
	trace  *submitTrace // or nil
	report *report
	bar    *bar
	warn   func(format string, args ...any)
}

// run adds rows to the report until the plan is done or ctx is. It reports a row that fails, and
// tries the next one.
func (m *measurer) run(ctx context.Context) {
	for _, w := range m.plan.Workloads {
		for _, r := range m.plan.rows(w) {
			m.bar.describe(fmt.Sprintf("%-12s × %-4d%s", w.call(), r.Depth, r.condition()))
			before := m.bar.done
			err := m.measureRow(ctx, r)
			if ctx.Err() != nil {
				err = nil // not an error of the row
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
	m.warn("%s, %d goroutines%s: %v", r.Workload.call(), r.Depth, r.condition(), err)
	if hang, ok := errors.AsType[*hangError](err); ok {
		m.warn("stacks of %s:\n%s", hang.engine, strings.TrimSpace(hang.stacks))
	}
}

// measureRow runs the engines in turns. Every round is a process of its own. The processor of that
// process, and the disk interrupts it disturbs, make a difference of a tenth at one goroutine, and
// must not stay the same in all rounds.
func (m *measurer) measureRow(ctx context.Context, r *row) error {
	if r.Rate > 0 {
		r.Offered = m.report.closedLoop(r.Workload, r.Depth) * float64(r.Rate) / 100
		if r.Offered == 0 {
			return errors.New("the closed loop has no rate to offer a share of")
		}
	}
	for i := range m.plan.Rounds {
		for _, e := range m.plan.turn(r.Workload, i) {
			if err := m.measureRound(ctx, r, e, i); err != nil {
				return err
			}
			m.bar.advance(1)
		}
	}
	return nil
}

func (m *measurer) measureRound(ctx context.Context, r *row, e engine, index int) error {
	if e == fioEngine {
		rd, err := m.fio.measure(ctx, r, index, m.plan.RoundTime)
		if err == nil {
			r.add(e, m.job.Direct, rd)
		}
		return err
	}
	c, err := m.start(ctx, r, e)
	if err != nil {
		return err
	}
	rd, err := m.measureTraced(ctx, r, c, index)
	if ctx.Err() != nil {
		c.kill()
	} else {
		c.close()
	}
	if err != nil {
		return err
	}
	r.add(e, c.direct, rd)
	return nil
}

// warmUp is how long a worker works before the measurement: it starts threads, sets up the context
// and fills pools.
const warmUp = 50 * time.Millisecond

// busyWarmUp is that beside goroutines that compute: aio.File has to notice that processors are
// busy.
const busyWarmUp = 400 * time.Millisecond

func (m *measurer) start(ctx context.Context, r *row, e engine) (*child, error) {
	j := m.job
	j.Engine, j.Workload, j.Depth, j.Seed = e, r.Workload, r.Depth, rand.Uint64()
	j.Computing, j.Offered, j.Poisson = r.Computing, r.Offered, m.plan.Poisson
	if r.Workload.spec().fresh {
		j.File = m.fresh
	}
	c, err := startChild(ctx, workerCommand(), j)
	if err != nil || r.Workload.spec().once {
		return c, err
	}
	warmUp := warmUp
	if r.Computing > 0 {
		warmUp = busyWarmUp
	}
	if _, err := c.measure(ctx, -1, min(warmUp, m.plan.RoundTime)); err != nil {
		c.kill()
		return nil, err
	}
	return c, nil
}

// measureTraced runs a round of a worker, and counts its calls of io_submit(2) if requested.
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
