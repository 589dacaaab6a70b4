//go:build linux

package crashlog

import (
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	records := []Record{{1, 2, 3, 4, 5}, {Off: -1, Length: 7}}
	for i, line := range slices.Collect(strings.Lines(string(lines(Synced, 12345, records)))) {
		want := Event{Synced, 12345, records[i]}
		if got, err := Parse(strings.TrimSpace(line)); err != nil || got != want {
			t.Errorf("%q is %v, %v; not %v", line, got, err, want)
		}
	}
	if _, err := Parse("E write: no space"); err == nil {
		t.Error("Parse returned an event for an error")
	}
}
