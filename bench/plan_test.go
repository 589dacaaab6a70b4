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

func TestRows(t *testing.T) {
	type key struct{ depth, computing, rate int }
	for _, tt := range []struct {
		name string
		plan plan
		w    workload
		want []key
	}{
		{"plain", plan{Depths: []int{1, 2}}, readWork, []key{{1, 0, 0}, {2, 0, 0}}},
		{"busy", plan{Depths: []int{1, 2}, Computing: []int{0, 4}}, readWork, []key{{1, 0, 0}, {2, 0, 0}, {1, 4, 0}, {2, 4, 0}}},
		{"busy, depths by default", plan{Computing: []int{4}}, syncWork, []key{{1, 4, 0}, {8, 4, 0}, {32, 4, 0}, {128, 4, 0}}},
		{"busy batch", plan{Computing: []int{4}}, batchReadWork, []key{{32, 4, 0}}},
		{"rate", plan{Depths: []int{1, 2}, Rates: []int{25, 90}}, readWork, []key{{1, 0, 0}, {1, 0, 25}, {1, 0, 90}, {2, 0, 0}, {2, 0, 25}, {2, 0, 90}}},
		{"rate, depths by default", plan{Rates: []int{25}}, readWork, []key{{32, 0, 0}, {32, 0, 25}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []key
			for _, r := range tt.plan.rows(tt.w) {
				got = append(got, key{r.Depth, r.Computing, r.Rate})
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}
