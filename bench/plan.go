//go:build linux

package main

import (
	"slices"
	"time"
)

// A plan says what is measured; it is what the flags come down to.
type plan struct {
	Workloads []workload    `json:"workloads"`
	Depths    []int         `json:"goroutines,omitempty"` // empty: those that suit each workload
	Rounds    int           `json:"rounds"`
	FioRounds int           `json:"fio_rounds"` // of Rounds, those in which fio has a turn
	RoundTime time.Duration `json:"round_time_ns"`

	Computing []int `json:"computing,omitempty"`    // numbers of goroutines beside the others
	Rates     []int `json:"rate_percent,omitempty"` // of the closed loop, offered in open loops
	Poisson   bool  `json:"poisson,omitempty"`      // operations of an open loop begin at random
}

// depths are the numbers of goroutines for w. One that is a pass through the file is for one.
func (p plan) depths(w workload) []int {
	switch {
	case len(p.Depths) > 0 && !w.spec().once:
		return p.Depths
	case len(p.Computing) > 0 && slices.Contains(defaultWorkloads, w):
		return busyDepths
	case len(p.Rates) > 0 && slices.Contains(defaultWorkloads, w):
		return rateDepths
	}
	return w.spec().depths
}

// rows returns the rows of w, in order. Rows of an open loop follow that of the closed loop which
// they offer a share of.
func (p plan) rows(w workload) []*row {
	computing := p.Computing
	if len(computing) == 0 {
		computing = []int{0}
	}
	var rows []*row
	for _, n := range computing {
		for _, depth := range p.depths(w) {
			rows = append(rows, &row{Workload: w, Depth: depth, Computing: n})
			for _, percent := range p.Rates {
				rows = append(rows, &row{Workload: w, Depth: depth, Computing: n, Rate: percent})
			}
		}
	}
	return rows
}

// turn is who is measured in round i of a row, in order. The order is turned round every time, so
// that a disk that gets slower or faster does it to all of them alike, and so that nobody always
// runs in the wake of the same other.
func (p plan) turn(w workload, i int) []engine {
	var engines []engine
	for _, e := range p.engines(w) {
		if e != fioEngine || p.fioTurn(i) {
			engines = append(engines, e)
		}
	}
	if i%2 == 1 {
		slices.Reverse(engines)
	}
	return engines
}

// engines are those that have turns in the rows of w.
func (p plan) engines(w workload) []engine {
	var engines []engine
	for _, e := range allEngines {
		if e == aioEngine || slices.Contains(w.spec().rivals, e) && (e != fioEngine || p.FioRounds > 0) {
			engines = append(engines, e)
		}
	}
	return engines
}

// fioTurn spreads fio's rounds evenly over all of them.
func (p plan) fioTurn(i int) bool {
	return (i+1)*p.FioRounds/p.Rounds > i*p.FioRounds/p.Rounds
}

// steps is the number of rounds of all engines in all rows.
func (p plan) steps() int {
	n := 0
	for _, w := range p.Workloads {
		n += len(p.rows(w)) * p.rowSteps(w)
	}
	return n
}

func (p plan) rowSteps(w workload) int {
	n := 0
	for _, e := range p.engines(w) {
		if e == fioEngine {
			n += p.FioRounds
		} else {
			n += p.Rounds
		}
	}
	return n
}
