//go:build linux

package main

import (
	"encoding/json"
	"os"
	"slices"
	"time"
)

// A report holds all results. -json writes it unchanged.
type report struct {
	Environment environment `json:"environment"`
	Plan        plan        `json:"plan"`
	Interrupted bool        `json:"interrupted"`
	Rows        []*row      `json:"rows"`
}

// A row is one workload at one number of goroutines.
type row struct {
	Workload workload  `json:"workload"`
	Depth    int       `json:"goroutines"`
	Engines  []*result `json:"engines"`
	Ratios   []ratio   `json:"ratios"`
	Submits  *submits  `json:"io_submit,omitempty"` // aio.File's, with -trace-submit
	Error    string    `json:"error,omitempty"`     // why it has fewer rounds than planned
}

// A result is that of one engine in a row.
type result struct {
	Engine engine `json:"engine"`
	Direct bool   `json:"direct"` // reported by the file

	OpsPerSecond spread       `json:"ops_per_second"`
	Latency      *percentiles `json:"latency,omitempty"` // of all rounds together
	CPUPerOp     float64      `json:"cpu_us_per_op"`     // of all rounds together
	PeakThreads  int          `json:"peak_threads"`
	Rounds       []round      `json:"rounds"`
	Cached       spread       `json:"cached_bytes,omitzero"` // left in the page cache by a round

	merged latency
}

// A round is a short run of one engine.
type round struct {
	Index        int          `json:"round"`
	Ops          int64        `json:"ops"`
	Seconds      float64      `json:"seconds"`
	OpsPerSecond float64      `json:"ops_per_second"`
	Latency      *percentiles `json:"latency,omitempty"`
	CPUSeconds   float64      `json:"cpu_seconds"`
	CPUPerOp     float64      `json:"cpu_us_per_op"`
	PeakThreads  int          `json:"peak_threads"`
	Cached       int64        `json:"cached_bytes,omitempty"` // left in the page cache, where that is measured

	histogram latency
}

func newRound(index int, ops int64, elapsed, cpu time.Duration, threads int, h latency) round {
	r := round{
		Index:       index,
		Ops:         ops,
		Seconds:     elapsed.Seconds(),
		CPUSeconds:  cpu.Seconds(),
		PeakThreads: threads,
		Latency:     h.percentiles(),
		histogram:   h,
	}
	if ops > 0 && elapsed > 0 {
		r.OpsPerSecond = float64(ops) / elapsed.Seconds()
		r.CPUPerOp = cpu.Seconds() * 1e6 / float64(ops)
	}
	return r
}

// A ratio compares aio.File with another engine over the rounds that both have.
type ratio struct {
	Against engine    `json:"aio_against"`
	Ops     spread    `json:"ops"` // above 1: aio.File does more
	CPU     spread    `json:"cpu"` // below 1: aio.File uses less for each operation
	OpsEach []float64 `json:"ops_by_round"`
	CPUEach []float64 `json:"cpu_by_round"`
}

// engine returns the row's result for e, or nil.
func (r *row) engine(e engine) *result {
	i := slices.IndexFunc(r.Engines, func(res *result) bool { return res.Engine == e })
	if i < 0 {
		return nil
	}
	return r.Engines[i]
}

// against returns the comparison of aio.File with e, or nil.
func (r *row) against(e engine) *ratio {
	i := slices.IndexFunc(r.Ratios, func(ra ratio) bool { return ra.Against == e })
	if i < 0 {
		return nil
	}
	return &r.Ratios[i]
}

func (r *row) add(e engine, direct bool, rd round) {
	res := r.engine(e)
	if res == nil {
		res = &result{Engine: e, Direct: direct, merged: newLatency()}
		r.Engines = append(r.Engines, res)
	}
	res.Rounds = append(res.Rounds, rd)
	res.PeakThreads = max(res.PeakThreads, rd.PeakThreads)
	if rd.histogram.Histogram != nil {
		res.merged.Merge(rd.histogram.Histogram)
	}
}

// finish computes all results that depend on several rounds.
func (r *row) finish() {
	slices.SortFunc(r.Engines, func(a, b *result) int {
		return slices.Index(allEngines, a.Engine) - slices.Index(allEngines, b.Engine)
	})
	for _, res := range r.Engines {
		res.finish()
	}
	if r.Submits != nil {
		r.Submits.finish()
	}
	aio := r.engine(aioEngine)
	if aio == nil {
		return
	}
	for _, other := range r.Engines {
		if other == aio {
			continue
		}
		ra := ratio{Against: other.Engine}
		ra.OpsEach = ratios(aio.Rounds, other.Rounds, func(x round) float64 { return x.OpsPerSecond })
		ra.CPUEach = ratios(aio.Rounds, other.Rounds, func(x round) float64 { return x.CPUPerOp })
		ra.Ops, ra.CPU = spreadOf(ra.OpsEach), spreadOf(ra.CPUEach)
		r.Ratios = append(r.Ratios, ra)
	}
}

func (res *result) finish() {
	var each, cached []float64
	var cpu float64
	var ops int64
	for _, rd := range res.Rounds {
		each = append(each, rd.OpsPerSecond)
		cached = append(cached, float64(rd.Cached))
		cpu += rd.CPUSeconds
		ops += rd.Ops
	}
	res.OpsPerSecond = spreadOf(each)
	if slices.Max(append(cached, 0)) > 0 {
		res.Cached = spreadOf(cached)
	}
	res.Latency = res.merged.percentiles()
	if ops > 0 {
		res.CPUPerOp = cpu * 1e6 / float64(ops)
	}
}

// failed reports whether a row has too few rounds for another reason than Ctrl-C.
func (rep *report) failed() bool {
	return slices.ContainsFunc(rep.Rows, func(r *row) bool { return r.Error != "" })
}

func (rep *report) writeJSON(path string) error {
	text, err := json.MarshalIndent(rep, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o666)
}
