//go:build linux

package main

import (
	"slices"
)

// A spread describes numbers of unknown distribution.
type spread struct {
	N      int     `json:"n"`
	Median float64 `json:"median"`
	Q1     float64 `json:"q1"`
	Q3     float64 `json:"q3"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// spreadOf of no values is the zero spread.
func spreadOf(values []float64) spread {
	if len(values) == 0 {
		return spread{}
	}
	sorted := slices.Sorted(slices.Values(values))
	return spread{
		N:      len(sorted),
		Median: quantile(sorted, 0.5),
		Q1:     quantile(sorted, 0.25),
		Q3:     quantile(sorted, 0.75),
		Min:    sorted[0],
		Max:    sorted[len(sorted)-1],
	}
}

// quantile interpolates between the two nearest of sorted, which has at least one value (R's type
// 7, as in spreadsheets).
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	low := int(at)
	if low+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[low] + (at-float64(low))*(sorted[low+1]-sorted[low])
}

// ratios divides the common rounds of both sides, round by round: a disturbance of the disk affects
// both. A round without a denominator has no ratio.
func ratios(num, den []round, value func(round) float64) []float64 {
	byIndex := make(map[int]round, len(den))
	for _, d := range den {
		byIndex[d.Index] = d
	}
	var rs []float64
	for _, n := range num {
		d, ok := byIndex[n.Index]
		if !ok || value(d) == 0 {
			continue
		}
		rs = append(rs, value(n)/value(d))
	}
	return rs
}

// A verdict is the conclusion that the rounds of a comparison allow.
type verdict string

const (
	faster  verdict = "faster"
	slower  verdict = "slower"
	even    verdict = "even"    // no difference that matters, as far as the rounds show
	unclear verdict = "unclear" // there may be one
)

// Two equal engines must rarely be told apart. With ten rounds, nine on one side happen to equals
// one time in fifty. A few rounds cannot give such odds, so they must all show a gap that is wide;
// a single round proves nothing.
const (
	fewRounds = 6
	wideGap   = 1.10
	closeGap  = 1.05 // the tolerance of an even median
)

// judge compares throughput, from the ratio of every round.
func judge(each []float64) verdict {
	gap, strays := 1.0, len(each)/10
	if len(each) < fewRounds {
		gap = wideGap
	}
	above, below := 0, 0
	for _, r := range each {
		if r > gap {
			above++
		}
		if r < 1/gap {
			below++
		}
	}
	median := spreadOf(each).Median
	switch {
	case len(each) < 2:
		return unclear
	case above >= len(each)-strays:
		return faster
	case below >= len(each)-strays:
		return slower
	case median < closeGap && median > 1/closeGap:
		return even
	default:
		return unclear
	}
}
