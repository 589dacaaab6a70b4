//go:build linux

package main

import (
	"slices"
	"time"
)

// blockSize is the size of every operation, and the alignment of its offset and of its memory.
const blockSize = 4096

// A workload is one operation, repeated by every goroutine at random offsets of one file.
type workload string

const (
	readWork  workload = "read"
	writeWork workload = "write"
	syncWork  workload = "sync"
)

var allWorkloads = []workload{readWork, writeWork, syncWork}

// call is the operation as a Go programmer writes it.
func (w workload) call() string {
	switch w {
	case readWork:
		return "ReadAt"
	case writeWork:
		return "WriteAt"
	default:
		return "WriteAt+Sync"
	}
}

func (w workload) describe() string {
	switch w {
	case readWork:
		return "4 KiB at random offsets"
	case writeWork:
		return "4 KiB at random offsets, into allocated space"
	default:
		return "4 KiB at a random offset, then Sync: one operation is both"
	}
}

// An engine is one way to do a workload.
type engine string

const (
	osEngine  engine = "os.File"
	aioEngine engine = "aio.File"
	fioEngine engine = "fio libaio"
)

var allEngines = []engine{osEngine, aioEngine, fioEngine}

// defaultDepths are the numbers of goroutines, and of fio's requests in flight.
var defaultDepths = []int{1, 2, 4, 8, 32, 128, 1024}

// A plan says what is measured; it is what the flags come down to.
type plan struct {
	Workloads []workload    `json:"workloads"`
	Depths    []int         `json:"goroutines"`
	Rounds    int           `json:"rounds"`
	FioRounds int           `json:"fio_rounds"` // of Rounds, those in which fio has a turn
	RoundTime time.Duration `json:"round_time_ns"`
}

// turn is who is measured in round i, in order. The order is turned round every time, so that a
// disk that gets slower or faster does it to all of them alike, and so that nobody always runs in
// the wake of the same other.
func (p plan) turn(i int) []engine {
	engines := []engine{osEngine, aioEngine}
	if p.fioTurn(i) {
		engines = append(engines, fioEngine)
	}
	if i%2 == 1 {
		slices.Reverse(engines)
	}
	return engines
}

// fioTurn spreads fio's rounds evenly over all of them.
func (p plan) fioTurn(i int) bool {
	return (i+1)*p.FioRounds/p.Rounds > i*p.FioRounds/p.Rounds
}

// steps is the number of rounds of all engines in all rows, those for warming up included.
func (p plan) steps() int {
	return len(p.Workloads) * len(p.Depths) * p.rowSteps()
}

func (p plan) rowSteps() int {
	return 2 + 2*p.Rounds + p.FioRounds
}
