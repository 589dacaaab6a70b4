package measure

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestQuantile(t *testing.T) {
	for q, want := range map[float64]float64{0: 1, 0.25: 1.75, 0.5: 2.5, 1: 4} {
		if got := Quantile([]float64{4, 1, 3, 2}, q); got != want {
			t.Errorf("%v: %v, want %v", q, got, want)
		}
	}
}

func TestRatios(t *testing.T) {
	if got := Ratios([]float64{1, 2, 9}, []float64{1, 1, 3}).String(); got != "2.00 [1.50-2.50]" {
		t.Error(got)
	}
}

// TestPageCache checks that Drop and Fill leave the contents alone, and that a missing name is no
// error.
func TestPageCache(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "a", "b")
	if err := os.Mkdir(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, do := range []func(string) error{Drop, Fill} {
		for _, name := range []string{dir, name, filepath.Join(dir, "missing")} {
			if err := do(name); err != nil && !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if b, err := os.ReadFile(name); string(b) != "hello" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
}
