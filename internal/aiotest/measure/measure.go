// Package measure has the common parts of the benchmarks over databases.
package measure

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// Rounds calls once for every mode in each round, and begins each round with another mode, so that
// a disturbance of the disk affects all of them. It returns the results of once, round by round.
func Rounds[T any](modes []string, rounds int, once func(mode string, round int) (T, error)) (map[string][]T, error) {
	all := make(map[string][]T)
	for round := range rounds {
		for i := range modes {
			mode := modes[(round+i)%len(modes)]
			one, err := once(mode, round)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", mode, err)
			}
			all[mode] = append(all[mode], one)
		}
	}
	return all, nil
}

// Each applies value to all samples.
func Each[T any](samples []T, value func(T) float64) []float64 {
	values := make([]float64, len(samples))
	for i, s := range samples {
		values[i] = value(s)
	}
	return values
}

// Quantile interpolates between the two nearest of values, which must not be empty.
func Quantile(values []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	at := q * float64(len(sorted)-1)
	low := int(at)
	if low+1 == len(sorted) {
		return sorted[low]
	}
	return sorted[low] + (at-float64(low))*(sorted[low+1]-sorted[low])
}

// A Ratio is a median and quartiles.
type Ratio struct{ Q1, Median, Q3 float64 }

// Ratios divides each of values by that of others with the same index.
func Ratios(values, others []float64) Ratio {
	each := make([]float64, len(values))
	for i, v := range values {
		each[i] = v / others[i]
	}
	return Ratio{Quantile(each, 0.25), Quantile(each, 0.5), Quantile(each, 0.75)}
}

func (r Ratio) String() string { return fmt.Sprintf("%.2f [%.2f-%.2f]", r.Median, r.Q1, r.Q3) }

// Drop drops a file, or all files below a directory, from the page cache. It first writes dirty
// pages back, because they would stay. A name that does not exist is no error.
func Drop(name string) error { return each(name, dropFile) }

// Fill reads a file, or all files below a directory, into the page cache.
func Fill(name string) error { return each(name, fillFile) }

func fillFile(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(io.Discard, struct{ io.Reader }{f})
	return err
}

func each(name string, do func(string) error) error {
	return filepath.WalkDir(name, func(name string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		return do(name)
	})
}

// Main runs do with a new directory below dir, which it removes afterwards. If do fails the program
// ends with 1.
func Main(dir string, do func(tmp string) error) {
	tmp, err := os.MkdirTemp(dir, "bench")
	if err == nil {
		err = do(tmp)
		os.RemoveAll(tmp)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}
