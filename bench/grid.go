//go:build linux

package main

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// A grid is a table of the rows of one workload. Its first columns are keys, which are left out
// where they repeat those of the line above.
type grid struct {
	head  []string
	keys  int
	lines [][]cell
}

// A cell is worse if aio.File is worse than even there. A document then shows the text in bold, and
// the rest as it is.
type cell struct {
	text  string
	worse bool
	rest  string
}

func plain(texts ...string) []cell {
	var cells []cell
	for _, s := range texts {
		cells = append(cells, cell{text: s})
	}
	return cells
}

// layouts returns how rows are laid out for people and for a document, or nil for the layouts that
// closed loops without a load have.
func (p plan) layouts() (people, document func([]*row) grid) {
	switch {
	case len(p.Computing) > 0:
		return busyGrid, busyPairs
	case len(p.Rates) > 0:
		return rateGrid, rateGrid
	}
	return nil, nil
}

// unrepeated returns the lines without the keys that are the same as above.
func (g grid) unrepeated() [][]cell {
	var lines [][]cell
	for i, line := range g.lines {
		shown := slices.Clone(line)
		for k := range g.keys {
			if i == 0 || line[k] != g.lines[i-1][k] {
				break
			}
			shown[k] = cell{}
		}
		lines = append(lines, shown)
	}
	return lines
}

func (g grid) text() string {
	t := table.NewWriter()
	t.SetStyle(tableStyle())
	var configs []table.ColumnConfig
	head := table.Row{}
	for i, name := range g.head {
		align := text.AlignRight
		if name == "engine" {
			align = text.AlignLeft
		}
		config := table.ColumnConfig{Number: i + 1, WidthMin: 7, Align: align, AlignHeader: align}
		configs = append(configs, config)
		head = append(head, name)
	}
	t.SetColumnConfigs(configs)
	t.AppendHeader(head)
	for _, line := range g.unrepeated() {
		var cells table.Row
		for _, c := range line {
			cells = append(cells, c.text+c.rest)
		}
		t.AppendRow(cells)
	}
	return trimLines(t.Render())
}

// markdown returns the lines of a document's table. The workload is a column of its own.
func (g grid) markdown(w workload) string {
	var b strings.Builder
	name := w.call()
	for _, line := range g.unrepeated() {
		fmt.Fprintf(&b, "| %s |", name)
		for _, c := range line {
			fmt.Fprintf(&b, " %s |", bold(c.worse, c.text)+c.rest)
		}
		fmt.Fprintln(&b)
		name = ""
	}
	return b.String()
}

// gridMarkdown returns a whole document's table, with the command that made it.
func (rep *report) gridMarkdown(layout func([]*row) grid) string {
	var b strings.Builder
	explanation := strings.Join(rep.Plan.explanation(), " ")
	fmt.Fprintf(&b, "`%s`\n\n%s. %s\n\n", rep.Environment.command(), rep.Plan, explanation)
	head := append([]string{"workload"}, layout(nil).head...)
	fmt.Fprintf(&b, "| %s |\n|%s\n", strings.Join(head, " | "), strings.Repeat("---|", len(head)))
	for _, w := range rep.Plan.Workloads {
		b.WriteString(layout(rep.rowsOf(w)).markdown(w))
	}
	return b.String()
}

// explanation says what the columns of a grid mean, in whole sentences.
func (p plan) explanation() []string {
	switch {
	case len(p.Computing) > 0:
		return []string{
			"Ops/s and work are medians of the rounds.",
			"Ratios are the median of aio.File ÷ the other, round by round.",
			"Percentiles are of all rounds together.",
			"The work is millions of steps a second of the goroutines that compute.",
			"Busy is the share of aio.File's requests that were system calls, because processors " +
				"were busy.",
			"The latency of a Batch is that of all its members.",
		}
	case len(p.Rates) > 0:
		return []string{
			"The rates are shares of what the slower of os.File and aio.File does in a closed loop.",
			"All figures are medians of the rounds.",
			"Latency counts from an operation's intended start.",
			"\"late\" is how long after that its call began.",
			"An operation is not served if 10,000 others are under way.",
			"fio delays submissions instead, and its latency counts from these.",
		}
	}
	return nil
}

// busyGrid has a line for each engine.
func busyGrid(rows []*row) grid {
	g := grid{
		head: []string{
			"computing", "goroutines", "engine", "ops/s", "p50", "p99", "work", "Busy", "ops/s ÷", "work ÷",
		},
		keys: 2,
	}
	for _, r := range rows {
		keys := []string{fmt.Sprint(r.Computing), fmt.Sprint(r.Depth)}
		for _, res := range r.Engines {
			line := append(keys, string(res.Engine), formatCount(res.OpsPerSecond.Median))
			line = append(line, res.Latency.cells()[:2]...)
			line = append(line, formatWork(res.Work), busyCell(res))
			if ra := r.against(res.Engine); ra != nil && ra.Ops.N > 0 {
				line = append(line, formatRatio(ra.Ops.Median)+formatQuartiles(ra.Ops), workRatio(ra))
			}
			g.lines = append(g.lines, plain(line...))
		}
	}
	return g
}

// busyPairs has a line for each engine that aio.File is compared with.
func busyPairs(rows []*row) grid {
	g := grid{
		head: []string{
			"computing", "goroutines", "against", "its ops/s", "ours", "ratio", "its p50", "ours",
			"its p99", "ours", "its work", "ours", "ratio", "Busy",
		},
		keys: 2,
	}
	for _, r := range rows {
		ours := r.engine(aioEngine)
		for _, ra := range r.Ratios {
			other := r.engine(ra.Against)
			theirLatency, ourLatency := other.Latency.cells(), ours.Latency.cells()
			line := plain(fmt.Sprint(r.Computing), fmt.Sprint(r.Depth), string(ra.Against),
				formatCount(other.OpsPerSecond.Median), formatCount(ours.OpsPerSecond.Median))
			line = append(line, cell{
				text:  formatRatio(ra.Ops.Median),
				worse: ra.Ops.Median < 1/closeGap,
				rest:  formatQuartiles(ra.Ops),
			})
			line = append(line, plain(theirLatency[0], ourLatency[0], theirLatency[1], ourLatency[1],
				formatWork(other.Work), formatWork(ours.Work))...)
			line = append(line,
				cell{text: workRatio(&ra), worse: ra.Work.N > 0 && ra.Work.Median < 1/closeGap},
				cell{text: busyCell(ours)})
			g.lines = append(g.lines, line)
		}
	}
	return g
}

// rateGrid has a line for each engine. A latency or share of aio.File is worse than even if
// os.File's is better by more than a twentieth.
func rateGrid(rows []*row) grid {
	g := grid{
		head: []string{
			"goroutines", "offered", "a second", "engine", "ops/s", "served", "p50", "p99", "p99.9",
			"late p50", "late p99",
		},
		keys: 3,
	}
	for _, r := range rows {
		keys := []string{fmt.Sprint(r.Depth), "closed loop", ""}
		if r.Rate > 0 {
			keys = []string{fmt.Sprint(r.Depth), fmt.Sprintf("%d%%", r.Rate), formatCount(r.Offered)}
		}
		for _, res := range r.Engines {
			g.lines = append(g.lines, rateLine(keys, r, res))
		}
	}
	return g
}

func rateLine(keys []string, r *row, res *result) []cell {
	line := plain(append(keys, string(res.Engine), formatCount(res.OpsPerSecond.Median))...)
	worse := func(value func(*result) float64) bool { return res.worse(r.engine(osEngine), value) }
	served := cell{text: "-"}
	if r.Rate > 0 {
		served = cell{
			text:  formatShare(res.Served.Median),
			worse: worse(func(x *result) float64 { return 1 / x.Served.Median }),
		}
	}
	line = append(line, served)
	cells := res.MedianLatency.cells()
	for i, of := range []func(*percentiles) float64{
		func(p *percentiles) float64 { return p.P50 },
		func(p *percentiles) float64 { return p.P99 },
		func(p *percentiles) float64 { return p.P999 },
	} {
		line = append(line, cell{text: cells[i], worse: worse(func(x *result) float64 {
			if x.MedianLatency == nil {
				return 0
			}
			return of(x.MedianLatency)
		})})
	}
	return append(line, plain(res.MedianDelay.cells()[:2]...)...)
}

// worse reports whether aio.File has more of a value, by more than a twentieth.
func (res *result) worse(than *result, value func(*result) float64) bool {
	return res.Engine == aioEngine && than != nil && value(res) > closeGap*value(than)
}

// cells are p50, p99 and p99.9; nothing is known of those of nil.
func (p *percentiles) cells() []string {
	if p == nil {
		return []string{"-", "-", "-"}
	}
	return []string{formatMicroseconds(p.P50), formatMicroseconds(p.P99), formatMicroseconds(p.P999)}
}

func busyCell(res *result) string {
	if res.Engine != aioEngine {
		return ""
	}
	return formatShare(res.BusyShare.Median)
}

func workRatio(ra *ratio) string {
	if ra.Work.N == 0 {
		return "-"
	}
	return formatRatio(ra.Work.Median)
}

// formatWork is in millions of steps a second; there are none if no goroutine computes.
func formatWork(work spread) string {
	if work.N == 0 {
		return "-"
	}
	return formatCount(work.Median / 1e6)
}

// formatShare is in per cent. It shows 100% only if nothing is missing.
func formatShare(x float64) string {
	return fmt.Sprintf("%.4g%%", math.Floor(x*1000)/10)
}
