//go:build linux

package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// table returns the report for readers: every measured row, with any winner.
func (rep *report) table() string {
	var b strings.Builder
	fmt.Fprintln(&b, rep.Environment)
	p := rep.Plan
	fmt.Fprintln(&b, p)
	render := tableOf
	if layout, _ := p.layouts(); layout != nil {
		fmt.Fprintln(&b, rep.Environment.command())
		render = func(rows []*row) string { return layout(rows).text() }
	}
	if len(rep.Rows) == 0 {
		fmt.Fprintln(&b, "\nNothing was measured.")
		return b.String()
	}
	for _, w := range p.Workloads {
		if rows := rep.rowsOf(w); len(rows) > 0 {
			fmt.Fprintf(&b, "\n%s: %s\n%s\n", w.call(), w.describe(), render(rows))
		}
	}
	fmt.Fprintf(&b, "\n%s", rep.summary())
	return b.String()
}

// String says how often each engine was measured.
func (p plan) String() string {
	s := fmt.Sprintf("%d rounds of %v of each engine, in turns", p.Rounds, p.RoundTime)
	if p.FioRounds > 0 {
		s += fmt.Sprintf("; fio in %d of them", p.FioRounds)
	}
	return s
}

func (rep *report) rowsOf(w workload) []*row {
	var rows []*row
	for _, r := range rep.Rows {
		if r.Workload == w {
			rows = append(rows, r)
		}
	}
	return rows
}

func tableOf(rows []*row) string {
	t := table.NewWriter()
	t.SetStyle(tableStyle())
	t.AppendHeader(table.Row{"", "", "", "", "", "", "", "", "aio.File ÷ engine"})
	t.AppendHeader(table.Row{"goroutines", "engine", "ops/s", "p50", "p99", "p99.9", "CPU/op", "threads", "ops/s", "CPU", "faster"})
	t.SetColumnConfigs(columnConfigs())
	for _, r := range rows {
		depth := strconv.Itoa(r.Depth)
		for _, res := range r.Engines {
			t.AppendRow(tableLine(depth, r, res))
			depth = ""
		}
		if r.Error != "" {
			t.AppendRow(table.Row{depth, "FAILED", "see below"})
		}
	}
	return trimLines(t.Render())
}

// trimLines removes the padding at the ends of lines.
func trimLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimRight(line, " ")
	}
	return strings.Join(lines, "\n")
}

func tableLine(depth string, r *row, res *result) table.Row {
	line := table.Row{
		depth, string(res.Engine), formatCount(res.OpsPerSecond.Median),
		"-", "-", "-", formatMicroseconds(res.CPUPerOp), res.PeakThreads,
	}
	if l := res.Latency; l != nil {
		line[3], line[4], line[5] = formatMicroseconds(l.P50), formatMicroseconds(l.P99), formatMicroseconds(l.P999)
	}
	ra := r.against(res.Engine)
	if ra == nil || ra.Ops.N == 0 {
		return line
	}
	return append(line,
		formatRatio(ra.Ops.Median)+formatQuartiles(ra.Ops), formatRatio(ra.CPU.Median), winner(judge(ra.OpsEach), res.Engine))
}

func winner(v verdict, against engine) string {
	switch v {
	case faster:
		return string(aioEngine)
	case slower:
		return "<< " + strings.TrimSuffix(string(against), " libaio")
	default:
		return string(v)
	}
}

// summary counts the verdicts, and adds notes that the table has no room for.
func (rep *report) summary() string {
	var b strings.Builder
	compared := allEngines
	if len(rep.Plan.Rates) > 0 {
		compared = nil // no engine does more than is offered
	}
	for _, other := range compared {
		count := make(map[verdict]int)
		rows := 0
		for _, r := range rep.Rows {
			if ra := r.against(other); ra != nil && ra.Ops.N > 0 {
				count[judge(ra.OpsEach)]++
				rows++
			}
		}
		if rows > 0 {
			fmt.Fprintf(&b, "Against %s, aio.File is faster in %d of %d rows, slower in %d, and even or unclear in %d.\n",
				other, count[faster], rows, count[slower], count[even]+count[unclear])
		}
	}
	for _, note := range rep.notes() {
		fmt.Fprintln(&b, note)
	}
	return b.String()
}

func (rep *report) notes() []string {
	var notes []string
	add := func(yes bool, note string) {
		if yes {
			notes = append(notes, note)
		}
	}
	any := func(f func(*row, *result) bool) bool {
		for _, r := range rep.Rows {
			for _, res := range r.Engines {
				if f(r, res) {
					return true
				}
			}
		}
		return false
	}
	add(any(func(r *row, res *result) bool {
		return rep.Environment.Direct && aioEngine.direct(r.Workload) && res.Engine == aioEngine && !res.Direct
	}),
		"aio.File found no direct I/O on this filesystem and used the page cache, where os.File did not.")
	add(any(func(r *row, res *result) bool { return r.Workload == syncWork && res.Engine == fioEngine }),
		"fio does not wait for a write before it syncs, and times the two apart: its latency is not comparable.")
	people, _ := rep.Plan.layouts()
	add(people == nil && any(func(r *row, _ *result) bool { return r.Workload == syncWork }),
		"CPU/op leaves out kernel threads, where an fsync that is submitted as an iocb runs.")
	notes = append(notes, rep.Plan.explanation()...)
	for _, r := range rep.Rows {
		add(r.Submits != nil, fmt.Sprintf("io_submit of aio.File in %s, %d goroutines%s: %v", r.Workload.call(), r.Depth, r.condition(), r.Submits))
	}
	for _, r := range rep.Rows {
		add(r.Workload.spec().cached, fmt.Sprintf("Left in the page cache by %s: %s", r.Workload.call(), r.cached()))
	}
	for _, r := range rep.Rows {
		add(r.Error != "", fmt.Sprintf("FAILED: %s, %d goroutines%s: %s", r.Workload.call(), r.Depth, r.condition(), r.Error))
	}
	add(rep.Interrupted, "Stopped early: not all rows are here, and the last may have fewer rounds.")
	return notes
}

// cached describes what each engine left in the page cache.
func (r *row) cached() string {
	var list []string
	for _, res := range r.Engines {
		list = append(list, fmt.Sprintf("%s %s", res.Engine, formatSize(int64(res.Cached.Median))))
	}
	return strings.Join(list, ", ") + "."
}

// tableStyle has no box and no column lines: twelve columns would not leave them room.
func tableStyle() table.Style {
	s := table.StyleLight
	s.Options.DrawBorder = false
	s.Options.SeparateColumns = false
	s.Format.Header = text.FormatDefault
	return s
}

// columnConfigs gives all workloads the same widths, so that a column can be read across tables.
func columnConfigs() []table.ColumnConfig {
	widths := []int{10, 10, 9, 7, 7, 7, 7, 7, 17, 5, 10}
	configs := make([]table.ColumnConfig, len(widths))
	for i, w := range widths {
		align := text.AlignRight
		if i == 1 || i == 10 {
			align = text.AlignLeft
		}
		configs[i] = table.ColumnConfig{Number: i + 1, WidthMin: w, Align: align, AlignHeader: align}
	}
	return configs
}

// formatCount puts commas between thousands.
func formatCount(x float64) string {
	s := strconv.FormatFloat(x, 'f', 0, 64)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// formatMicroseconds has three digits and the unit that suits them.
func formatMicroseconds(us float64) string {
	const second = float64(time.Second / time.Microsecond)
	switch {
	case us >= 0.9995*second:
		return threeDigits(us/second) + " s"
	case us >= 999.5:
		return threeDigits(us/1000) + " ms"
	default:
		return threeDigits(us) + " µs"
	}
}

// formatRatio has no unit: 1.08, 12.3, 140.
func formatRatio(x float64) string { return threeDigits(x) }

// formatQuartiles is the middle half in brackets, behind the median.
func formatQuartiles(s spread) string {
	return fmt.Sprintf(" [%s-%s]", formatRatio(s.Q1), formatRatio(s.Q3))
}

func threeDigits(x float64) string {
	switch {
	case x < 9.995:
		return strconv.FormatFloat(x, 'f', 2, 64)
	case x < 99.95:
		return strconv.FormatFloat(x, 'f', 1, 64)
	default:
		return strconv.FormatFloat(x, 'f', 0, 64)
	}
}
