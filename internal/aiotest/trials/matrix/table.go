package main

import (
	"fmt"
	"regexp"
	"strings"
)

// A row holds the results of a place.
type row struct {
	place    string
	facts    facts
	outcomes []outcome // of the suites, in their order
}

// markdown returns the table of docs/filesystems.md.
func markdown(all []suite, rows []row) string {
	var b strings.Builder
	b.WriteString("| filesystem | direct reads | direct writes | alignment |")
	for _, s := range all {
		fmt.Fprintf(&b, " %s |", s.name)
	}
	b.WriteString("\n|---|---|---|---|" + strings.Repeat("---|", len(all)) + "\n")
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |", r.place, yes(r.facts.reads), yes(r.facts.writes), r.facts.alignment)
		for _, o := range r.outcomes {
			fmt.Fprintf(&b, " %d |", o.passed)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// numbers matches the numbers of tests in the table.
var numbers = regexp.MustCompile(`(?m)( \d+ \|)+$`)

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
