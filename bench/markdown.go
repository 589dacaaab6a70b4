//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

// writeMarkdown writes the table for a document, one line for each comparison of aio.File with
// another engine.
func (rep *report) writeMarkdown(path string) error {
	return os.WriteFile(path, []byte(rep.markdown()), 0o666)
}

func (rep *report) markdown() string {
	if _, layout := rep.Plan.layouts(); layout != nil {
		return rep.gridMarkdown(layout)
	}
	var b strings.Builder
	fmt.Fprintln(&b, "| workload | goroutines | against | its ops/s | ours | ratio | its CPU/op | ours | ratio | its p99 | ours | ratio | threads |")
	fmt.Fprintln(&b, "|---|---|---|---|---|---|---|---|---|---|---|---|---|")
	for _, w := range rep.Plan.Workloads {
		name := w.call()
		for _, r := range rep.rowsOf(w) {
			depth := fmt.Sprint(r.Depth)
			for _, ra := range r.Ratios {
				fmt.Fprintf(&b, "| %s | %s | %s\n", name, depth, r.markdownCells(ra))
				name, depth = "", ""
			}
		}
	}
	return b.String()
}

// markdownCells returns the cells from the name of the other engine on. A ratio that is worse than
// even is bold.
func (r *row) markdownCells(ra ratio) string {
	ours, other := r.engine(aioEngine), r.engine(ra.Against)
	cells := []string{
		string(ra.Against),
		formatCount(other.OpsPerSecond.Median), formatCount(ours.OpsPerSecond.Median),
		bold(ra.Ops.Median < 1/closeGap, formatRatio(ra.Ops.Median)) + formatQuartiles(ra.Ops),
		formatMicroseconds(other.CPUPerOp), formatMicroseconds(ours.CPUPerOp),
		bold(ra.CPU.Median > closeGap, formatRatio(ra.CPU.Median)),
	}
	if ours.Latency != nil && other.Latency != nil {
		p99 := ours.Latency.P99 / other.Latency.P99
		cells = append(cells, formatMicroseconds(other.Latency.P99), formatMicroseconds(ours.Latency.P99),
			bold(p99 > closeGap, formatRatio(p99)))
	} else {
		cells = append(cells, "", "", "")
	}
	return strings.Join(append(cells, fmt.Sprintf("%d : %d", other.PeakThreads, ours.PeakThreads)), " | ") + " |"
}

func bold(yes bool, s string) string {
	if yes {
		return "**" + s + "**"
	}
	return s
}

// readReport reads the output of -json.
func readReport(path string) (*report, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	rep := new(report)
	if err := json.Unmarshal(text, rep); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return rep, nil
}
