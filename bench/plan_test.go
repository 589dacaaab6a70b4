//go:build linux

package main

import (
	"slices"
	"testing"
)

func TestTurns(t *testing.T) {
	p := plan{Workloads: defaultWorkloads, Depths: []int{1, 2}, Rounds: 10, FioRounds: 3}
	count := make(map[engine]int)
	first := make(map[engine]int)
	total := 0
	for i := range p.Rounds {
		turn := p.turn(readWork, i)
		first[turn[0]]++
		for _, e := range turn {
			count[e]++
			total++
		}
	}
	if count[osEngine] != 10 || count[aioEngine] != 10 || count[fioEngine] != 3 {
		t.Errorf("turns: %v", count)
	}
	if first[osEngine] != 5 {
		t.Errorf("os.File is first in %d rounds of 10", first[osEngine])
	}
	if want := 6 * total; p.steps() != want {
		t.Errorf("steps: got %d, want %d", p.steps(), want)
	}
}

func TestNoFioTurns(t *testing.T) {
	p := plan{Rounds: 7}
	for i := range p.Rounds {
		if slices.Contains(p.turn(readWork, i), fioEngine) {
			t.Errorf("fio has a turn in round %d", i)
		}
	}
}
