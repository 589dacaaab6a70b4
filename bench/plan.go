//go:build linux

package main

import (
	"slices"
	"time"
)

// A plan is the measurement that the flags ask for.
type plan struct {
	Workloads []workload    `json:"workloads"`
	Depths    []int         `json:"goroutines,omitempty"` // empty: the default of each workload
	Rounds    int           `json:"rounds"`
	FioRounds int           `json:"fio_rounds"` // the number of Rounds in which fio has a turn
	RoundTime time.Duration `json:"round_time_ns"`
}

// depths returns the numbers of goroutines for w. A workload that passes through the file has one.
func (p plan) depths(w workload) []int {
	if len(p.Depths) > 0 && !w.spec().once {
		return p.Depths
	}
	return w.spec().depths
}

// turn returns the engines of round i of a row, in order. The order is reversed every time. So a
// disk that gets slower or faster affects all engines alike, and none always follows the same
// other.
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

// engines returns the engines in the rows of w.
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

// steps returns the number of rounds of all engines in all rows.
func (p plan) steps() int {
	n := 0
	for _, w := range p.Workloads {
		n += len(p.depths(w)) * p.rowSteps(w)
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
