package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPlaces checks that the text which each planted bug replaces occurs once.
func TestPlaces(t *testing.T) {
	names := make(map[string]bool)
	for _, m := range mutations {
		if names[m.name] {
			t.Errorf("two planted bugs have the name %q", m.name)
		}
		names[m.name] = true
		text, err := os.ReadFile(filepath.Join("../../../..", m.file))
		if err != nil {
			t.Errorf("%s: %v", m.name, err)
			continue
		}
		if n := strings.Count(string(text), m.old); n != 1 {
			t.Errorf("%s: %s has %q %d times", m.name, m.file, m.old, n)
		}
		if m.old == m.new {
			t.Errorf("%s: nothing is planted", m.name)
		}
	}
}
