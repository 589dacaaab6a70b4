//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"time"
)

// A report is everything that is known in the end. -json writes it as it is.
type report struct {
	Environment environment `json:"environment"`
	Plan        plan        `json:"plan"`
	Interrupted bool        `json:"interrupted"`
	Rows        []*row      `json:"rows"`
}

// A row is one workload at one number of goroutines. In an open loop it has as many as it takes,
// and Depth is that of the closed loop which it offers a share of.
type row struct {
	Workload workload `json:"workload"`
	Depth    int      `json:"goroutines"`

	Computing int     `json:"computing,omitempty"`          // goroutines that compute beside these
	Rate      int     `json:"rate_percent,omitempty"`       // of the closed loop; 0: this is one
	Offered   float64 `json:"offered_per_second,omitempty"` // operations, in an open loop

	Engines []*result `json:"engines"`
	Ratios  []ratio   `json:"ratios"`
	Submits *submits  `json:"io_submit,omitempty"` // aio.File's, with -trace-submit
	Error   string    `json:"error,omitempty"`     // why it has fewer rounds than planned
}

// A result is what one engine did in a row.
type result struct {
	Engine engine `json:"engine"`
	Direct bool   `json:"direct"` // what the file says of itself

	OpsPerSecond spread       `json:"ops_per_second"`
	Latency      *percentiles `json:"latency,omitempty"` // of all rounds together
	CPUPerOp     float64      `json:"cpu_us_per_op"`     // of all rounds together
	PeakThreads  int          `json:"peak_threads"`
	Rounds       []round      `json:"rounds"`
	Cached       spread       `json:"cached_bytes,omitzero"` // left in the page cache by a round

	Work          spread       `json:"work_per_second,omitzero"` // steps of the goroutines that compute
	BusyShare     spread       `json:"busy_share,omitzero"`      // see busyShare
	Served        spread       `json:"served_share,omitzero"`    // of the operations that were offered
	MedianLatency *percentiles `json:"median_latency,omitempty"` // medians of the rounds
	MedianDelay   *percentiles `json:"median_delay,omitempty"`   // from intended to actual start

	merged latency
}

// A round is one engine at work for a moment.
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

	Work      float64      `json:"work_per_second,omitempty"` // steps of the goroutines that compute
	BusyShare float64      `json:"busy_share,omitempty"`      // see busyShare
	Served    float64      `json:"served_share,omitempty"`    // of the operations that were offered
	Delay     *percentiles `json:"start_delay,omitempty"`     // from intended to actual start

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
	Work    spread    `json:"work,omitzero"` // above 1: more is computed beside aio.File
}

// condition says what is particular about the row, after its name.
func (r *row) condition() string {
	s := ""
	if r.Computing > 0 {
		s += fmt.Sprintf(", beside %d that compute", r.Computing)
	}
	if r.Rate > 0 {
		s += fmt.Sprintf(", offered %d%%", r.Rate)
	}
	return s
}

// closedLoop returns the operations a second of the slower of os.File and aio.File in the closed
// loop of w, or 0 if one of them is missing.
func (rep *report) closedLoop(w workload, depth int) float64 {
	i := slices.IndexFunc(rep.Rows, func(r *row) bool {
		return r.Workload == w && r.Depth == depth && r.Rate == 0
	})
	if i < 0 {
		return 0
	}
	slowest, engines := math.Inf(1), 0
	for _, res := range rep.Rows[i].Engines {
		if res.Engine != fioEngine {
			slowest = min(slowest, res.OpsPerSecond.Median)
			engines++
		}
	}
	if engines < 2 {
		return 0
	}
	return slowest
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

// finish works out all that depends on more than one round.
func (r *row) finish() {
	slices.SortFunc(r.Engines, func(a, b *result) int {
		return slices.Index(allEngines, a.Engine) - slices.Index(allEngines, b.Engine)
	})
	for _, res := range r.Engines {
		res.finish()
		res.MedianLatency = res.medians(func(x round) *percentiles { return x.Latency })
		if r.Rate > 0 {
			res.Served = res.spread(func(x round) float64 { return x.Served })
			res.MedianDelay = res.medians(func(x round) *percentiles { return x.Delay })
		}
		if r.Computing > 0 {
			res.Work = res.spread(func(x round) float64 { return x.Work })
			res.BusyShare = res.spread(func(x round) float64 { return x.BusyShare })
		}
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
		ra.Work = spreadOf(ratios(aio.Rounds, other.Rounds, func(x round) float64 { return x.Work }))
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

func (res *result) spread(value func(round) float64) spread {
	var each []float64
	for _, rd := range res.Rounds {
		each = append(each, value(rd))
	}
	return spreadOf(each)
}

// medians returns the median of each percentile over the rounds, or nil if no round has any.
func (res *result) medians(of func(round) *percentiles) *percentiles {
	var p50, p99, p999, longest []float64
	for _, rd := range res.Rounds {
		if p := of(rd); p != nil {
			p50, p99 = append(p50, p.P50), append(p99, p.P99)
			p999, longest = append(p999, p.P999), append(longest, p.Max)
		}
	}
	if len(p50) == 0 {
		return nil
	}
	return &percentiles{
		P50: spreadOf(p50).Median, P99: spreadOf(p99).Median,
		P999: spreadOf(p999).Median, Max: spreadOf(longest).Median,
	}
}

// failed tells whether some row has fewer rounds than it should for another reason than Ctrl-C.
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
