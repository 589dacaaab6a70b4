package main

import (
	"bytes"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"
)

// An outcome is the result of the tests of a suite.
type outcome struct {
	results map[string]string // PASS, FAIL or SKIP, by the full name of the test
	took    time.Duration
}

var (
	result  = regexp.MustCompile(`--- (PASS|FAIL|SKIP): (\S+) \(`)
	begun   = regexp.MustCompile(`(?m)^=== RUN +(\S+)`)
	paniced = regexp.MustCompile(`(?m)^(panic: |fatal error: |SIG)`)
)

// parse reads the output of go test -v. A test that began and did not end failed.
func parse(name string) (outcome, error) {
	o := outcome{results: make(map[string]string)}
	output, err := os.ReadFile(name)
	if err != nil {
		return o, err
	}
	output = bytes.ReplaceAll(output, []byte("\x16"), nil)
	if paniced.Match(output) {
		for _, m := range begun.FindAllSubmatch(output, -1) {
			o.results[string(m[1])] = "FAIL"
		}
	}
	for _, m := range result.FindAllSubmatch(output, -1) {
		o.results[string(m[2])] = string(m[1])
	}
	return o, nil
}

func (o outcome) count(result string) (n int) {
	for _, r := range o.results {
		if r == result {
			n++
		}
	}
	return n
}

func (o outcome) failing() []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(o.results)) {
		if o.results[name] == "FAIL" {
			names = append(names, name)
		}
	}
	return names
}

// differs returns the tests that failed in one outcome and not in the other; "+" marks those that
// failed in o.
func (o outcome) differs(other outcome) []string {
	mine, theirs := o.failing(), other.failing()
	var diff []string
	for _, name := range mine {
		if !slices.Contains(theirs, name) {
			diff = append(diff, "+"+name)
		}
	}
	for _, name := range theirs {
		if !slices.Contains(mine, name) && !strings.HasPrefix(name, "(") {
			diff = append(diff, "-"+name)
		}
	}
	return diff
}
