//go:build linux

package main

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

var update = flag.Bool("update", false, "write the tables that tests compare with")

// gridReport has rows of p. An operation of aio.File takes a quarter as long as one of another
// engine, but for WriteAt, where it takes twice as long.
func gridReport(p plan) *report {
	rep := sampleReport()
	rep.Environment.Command = []string{"bench", "-dir", "/mnt/a disk", "-rounds", "3"}
	p.Rounds, p.RoundTime = 3, time.Second
	rep.Plan, rep.Rows = p, nil
	for _, w := range p.Workloads {
		for _, r := range p.rows(w) {
			if r.Rate > 0 {
				r.Offered = rep.closedLoop(w, r.Depth) * float64(r.Rate) / 100
			}
			for i := range p.Rounds {
				for _, e := range p.turn(w, i) {
					r.add(e, true, gridRound(r, e, i))
				}
			}
			r.finish()
			rep.Rows = append(rep.Rows, r)
		}
	}
	return rep
}

func gridRound(r *row, e engine, i int) round {
	took, ops := 400*time.Microsecond, int64(10_000+100*i)
	switch {
	case e == aioEngine && r.Workload == writeWork:
		took, ops = 2*took, ops/2
	case e == aioEngine:
		took, ops = took/4, ops*4
	}
	if r.Rate > 0 {
		ops = int64(r.Offered)
	}
	h := newLatency()
	h.record(int64(took), ops-ops/50)
	h.record(int64(100*took), ops/50)
	rd := newRound(i, ops, time.Second, time.Second, 7, h)
	if r.Computing > 0 {
		rd.Work = float64(took) * 1000
	}
	if e == aioEngine {
		rd.BusyShare = 0.1234
	}
	if r.Rate > 0 {
		rd.Served = 1
		rd.Delay = &percentiles{P50: 50, P99: 60, P999: 70, Max: 80}
		if e == aioEngine && r.Rate > 100 {
			rd.Served = 0.9
		}
	}
	return rd
}

func TestGrids(t *testing.T) {
	for _, tt := range []struct {
		name string
		plan plan
	}{
		{"busy", plan{
			Workloads: []workload{readWork, writeWork, batchReadWork}, Depths: []int{1, 32},
			Computing: []int{0, 8},
		}},
		{"rate", plan{
			Workloads: []workload{readWork, writeWork}, Depths: []int{32},
			Rates: []int{25, 120}, FioRounds: 1,
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rep := gridReport(tt.plan)
			rep.Rows[len(rep.Rows)-1].Error = "aio.File: something went wrong"
			text := rep.table()
			for line := range strings.Lines(text) {
				if n := utf8.RuneCountInString(line); n > 121 {
					t.Errorf("%d columns wide: %s", n-1, line)
				}
			}
			golden(t, tt.name+".txt", text)
			golden(t, tt.name+".md", rep.markdown())
		})
	}
}

// golden compares with a file of testdata, which -update writes.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; go test -update writes it anew. Got:\n%s", path, got)
	}
}

func TestCommand(t *testing.T) {
	e := environment{Command: []string{"bench", "-busy", "1,2", "-dir", "/mnt/a disk", "-json", "it's.json"}}
	want := `go -C bench run . -busy 1,2 -dir '/mnt/a disk' -json 'it'\''s.json'`
	if got := e.command(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestFormatShare(t *testing.T) {
	for x, want := range map[float64]string{1: "100%", 0.99999: "99.9%", 0.1234: "12.3%", 0: "0%"} {
		if got := formatShare(x); got != want {
			t.Errorf("%v: got %s, want %s", x, got, want)
		}
	}
}
