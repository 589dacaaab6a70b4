package aiotest

import (
	"math"
	"testing"
)

// AllocsAtMost fails the test if each call allocates more than n times.
func AllocsAtMost(t testing.TB, n float64, what string, call func() error) {
	t.Helper()
	least := math.Inf(1)
	for range 3 { // other goroutines may allocate meanwhile
		least = min(least, testing.AllocsPerRun(20, func() {
			if err := call(); err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}))
		if least <= n {
			return
		}
	}
	t.Errorf("%s: %v allocations", what, least)
}
