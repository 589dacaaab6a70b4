//go:build linux

package main

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestSpread(t *testing.T) {
	for _, tt := range []struct {
		name   string
		values []float64
		want   spread
	}{
		{"none", nil, spread{}},
		{"one", []float64{3}, spread{N: 1, Median: 3, Q1: 3, Q3: 3, Min: 3, Max: 3}},
		{"two", []float64{4, 2}, spread{N: 2, Median: 3, Q1: 2.5, Q3: 3.5, Min: 2, Max: 4}},
		{"odd", []float64{5, 1, 3, 2, 4}, spread{N: 5, Median: 3, Q1: 2, Q3: 4, Min: 1, Max: 5}},
		{"even", []float64{4, 3, 2, 1}, spread{N: 4, Median: 2.5, Q1: 1.75, Q3: 3.25, Min: 1, Max: 4}},
		{"outlier", []float64{1, 1, 1, 1, 1000}, spread{N: 5, Median: 1, Q1: 1, Q3: 1, Min: 1, Max: 1000}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := slices.Clone(tt.values)
			if got := spreadOf(tt.values); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
			if !slices.Equal(before, tt.values) {
				t.Error("the argument has been sorted")
			}
		})
	}
}

func TestRatiosPairRounds(t *testing.T) {
	aio := []round{{Index: 0, OpsPerSecond: 20}, {Index: 1, OpsPerSecond: 30}, {Index: 2, OpsPerSecond: 99}, {Index: 3, OpsPerSecond: 8}}
	// fio has a turn in some rounds only. A round without operations has no ratio.
	fio := []round{{Index: 3, OpsPerSecond: 16}, {Index: 1, OpsPerSecond: 10}, {Index: 2}}
	got := ratios(aio, fio, func(r round) float64 { return r.OpsPerSecond })
	if want := []float64{3, 0.5}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestJudge(t *testing.T) {
	for _, tt := range []struct {
		name string
		each []float64
		want verdict
	}{
		{"no rounds", nil, unclear},
		{"one round", []float64{2}, unclear},
		{"few rounds, wide gap", []float64{1.2, 1.3, 1.11}, faster},
		{"few rounds, narrow gap", []float64{1.08, 1.03, 1.04}, even},
		{"few rounds, one narrow", []float64{2.4, 2.4, 1.05}, unclear},
		{"few rounds, slower", []float64{0.5, 0.6, 0.89}, slower},
		{"all of six", []float64{1.01, 1.02, 1.01, 1.02, 1.01, 1.02}, faster},
		{"five of six", []float64{1.01, 1.02, 1.01, 1.02, 1.01, 0.99}, even},
		{"nine of ten", []float64{1.2, 1.2, 1.2, 1.2, 1.2, 1.2, 1.2, 1.2, 1.2, 0.1}, faster},
		{"eight of ten", []float64{1.2, 1.2, 1.2, 1.2, 1.2, 1.2, 1.2, 1.2, 0.9, 0.9}, unclear},
		{"nine of ten, slower", []float64{.9, .9, .9, .9, .9, .9, .9, .9, .9, 5}, slower},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := judge(tt.each); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// TestJudgeOfEquals compares two equal engines, on a disk that varies by a tenth from round to
// round. They must not often be told apart.
func TestJudgeOfEquals(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, rounds := range []int{3, 6, 10, 20} {
		wrong := 0
		const trials = 2000
		for range trials {
			each := make([]float64, rounds)
			for i := range each {
				each[i] = math.Exp(0.1 * rng.NormFloat64())
			}
			if v := judge(each); v == faster || v == slower {
				wrong++
			}
		}
		if share := float64(wrong) / trials; share > 0.05 {
			t.Errorf("%d rounds: told apart %.1f%% of the time", rounds, 100*share)
		}
	}
}

func TestLatency(t *testing.T) {
	if p := newLatency().percentiles(); p != nil {
		t.Errorf("percentiles of nothing: %+v", p)
	}
	if p := (latency{}).percentiles(); p != nil {
		t.Errorf("percentiles of the zero latency: %+v", p)
	}
	l := newLatency()
	l.record(int64(100*time.Microsecond), 990)
	l.record(int64(5*time.Millisecond), 9)
	l.record(int64(time.Hour), 1) // longer than the histogram
	p := l.percentiles()
	for _, c := range []struct {
		name      string
		got, want float64
	}{
		{"p50", p.P50, 100},
		{"p99", p.P99, 100},
		{"p99.9", p.P999, 5000},
		{"max", p.Max, 100e6},
	} {
		if math.Abs(c.got/c.want-1) > 0.01 {
			t.Errorf("%s: got %v, want %v within 1%%", c.name, c.got, c.want)
		}
	}
}

func TestRowFinish(t *testing.T) {
	r := &row{}
	for i := range 4 {
		for _, e := range []engine{aioEngine, osEngine} {
			h := newLatency()
			ops := int64(1000 * (i + 1))
			if e == aioEngine {
				ops *= 3
			}
			h.record(int64(time.Millisecond), ops)
			r.add(e, true, newRound(i, ops, time.Second, 10*time.Millisecond, 5+i, h))
		}
	}
	r.finish()
	if r.Engines[0].Engine != osEngine {
		t.Errorf("the first engine is %s", r.Engines[0].Engine)
	}
	os := r.engine(osEngine)
	if os.OpsPerSecond.Median != 2500 || os.PeakThreads != 8 || os.CPUPerOp != 4 {
		t.Errorf("os.File: %v ops/s, %d threads, %v us/op", os.OpsPerSecond.Median, os.PeakThreads, os.CPUPerOp)
	}
	ra := r.against(osEngine)
	if ra == nil || ra.Ops.Median != 3 || ra.Ops.N != 4 || math.Abs(ra.CPU.Median-1.0/3) > 1e-9 {
		t.Errorf("ratio: %+v", ra)
	}
	if r.against(fioEngine) != nil {
		t.Error("a ratio against fio, which had no turn")
	}
}

// The rate of a closed loop is that of the slower of os.File and aio.File, whatever fio does.
func TestClosedLoop(t *testing.T) {
	rep := &report{}
	if got := rep.closedLoop(readWork, 8); got != 0 {
		t.Errorf("without rows: %v", got)
	}
	r := &row{Workload: readWork, Depth: 8}
	rep.Rows = []*row{{Workload: readWork, Depth: 8, Rate: 50}, {Workload: readWork, Depth: 4}, r}
	r.add(aioEngine, true, newRound(0, 3000, time.Second, 0, 1, newLatency()))
	r.finish()
	if got := rep.closedLoop(readWork, 8); got != 0 {
		t.Errorf("without os.File: %v", got)
	}
	r.add(osEngine, true, newRound(0, 2000, time.Second, 0, 1, newLatency()))
	r.add(fioEngine, true, newRound(0, 1000, time.Second, 0, 1, newLatency()))
	r.finish()
	if got := rep.closedLoop(readWork, 8); got != 2000 {
		t.Errorf("got %v, want 2000", got)
	}
}

func TestMedians(t *testing.T) {
	res := &result{}
	latency := func(rd round) *percentiles { return rd.Latency }
	if got := res.medians(latency); got != nil {
		t.Errorf("of no rounds: %+v", got)
	}
	for _, x := range []float64{1, 9, 2} {
		res.Rounds = append(res.Rounds, round{Latency: &percentiles{P50: x, P99: 10 * x, P999: 100 * x, Max: 1000 * x}})
	}
	res.Rounds = append(res.Rounds, round{})
	if got, want := *res.medians(latency), (percentiles{P50: 2, P99: 20, P999: 200, Max: 2000}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
