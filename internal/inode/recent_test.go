package inode

import (
	"math/rand/v2"
	"testing"
)

func TestRecent(t *testing.T) {
	n := open(t)
	check := func(lo, hi int64, want bool) {
		t.Helper()
		if got := n.Recent(lo, hi); got != want {
			t.Errorf("Recent(%d, %d) is %t", lo, hi, got)
		}
	}
	check(0, 1, false)
	n.Forget(0, 1<<40) // nothing to forget
	n.Wrote(5000, 5000)
	check(5000, 5001, false)

	n.Wrote(5000, 9000) // pages 1 and 2
	check(4096, 3*4096, true)
	check(4095, 4097, false)
	check(8192, 3*4096+1, false)
	check(8191, 8193, true)

	// A page with the same index replaces it.
	n.Wrote((recentPages+1)*4096, (recentPages+1)*4096+1)
	check(5000, 5001, false)
	check((recentPages+1)*4096, (recentPages+2)*4096, true)
	check(8192, 8193, true)

	// A direct write of any length, at any offset, forgets the pages it covers and no others.
	n.Forget(8192+4096, 1<<50)
	check(8192, 8193, true)
	check((recentPages+1)*4096, (recentPages+2)*4096, false)
	n.Forget(8192, 8193)
	check(8192, 8193, false)

	// A range that is too large is not remembered at all.
	n.Wrote(0, maxRecent*4096+1)
	check(0, 1, false)
	n.Wrote(0, maxRecent*4096)
	check(0, maxRecent*4096, true)
	check(0, maxRecent*4096+1, false)
}

// TestRecentModel compares the table with a set of pages. The table may forget a page, but
// must not invent one.
func TestRecentModel(t *testing.T) {
	n := open(t)
	r := rand.New(rand.NewPCG(1, 1))
	wrote := make(map[int64]bool)
	claimed := 0
	for range 100_000 {
		lo := r.Int64N(1000 * 4096)
		hi := lo + 1 + r.Int64N(20*4096)
		switch r.IntN(3) {
		case 0:
			n.Wrote(lo, hi)
			for page := lo / 4096; page <= (hi-1)/4096; page++ {
				wrote[page] = true
			}
		case 1:
			n.Forget(lo, hi)
			for page := lo / 4096; page <= (hi-1)/4096; page++ {
				delete(wrote, page)
			}
		default:
			if !n.Recent(lo, hi) {
				continue
			}
			claimed++
			for page := lo / 4096; page <= (hi-1)/4096; page++ {
				if !wrote[page] {
					t.Fatalf("Recent(%d, %d), and page %d is not", lo, hi, page)
				}
			}
		}
	}
	if claimed == 0 {
		t.Error("nothing has ever been recent")
	}
}

func BenchmarkRecent(b *testing.B) {
	for _, used := range []bool{false, true} {
		b.Run(map[bool]string{false: "table=none", true: "table=used"}[used], func(b *testing.B) {
			n := open(b)
			if used {
				n.Wrote(0, 1)
			}
			for b.Loop() {
				n.Recent(1<<20, 1<<20+4096)
			}
		})
	}
}
