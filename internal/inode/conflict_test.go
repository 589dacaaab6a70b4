package inode

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/go-aio/aio/internal/aiotest"
)

func (r Range) String() string {
	return fmt.Sprintf("%c[%d,%d)", "DBX"[r.Class], r.Lo, r.Hi)
}

// folio is the unit of the table, which differs between systems.
var folio = folioSize()

func direct(lo, hi int64) Range   { return Range{Direct, lo, hi} }
func buffered(lo, hi int64) Range { return Range{Buffered, lo, hi} }

func TestFolioSize(t *testing.T) {
	if folio < 2<<20 || folio&(folio-1) != 0 {
		t.Errorf("a folio of %d bytes, want a power of two from 2 MiB", folio)
	}
}

// The cases are the table of the package comment, and its edges.
func TestLockTable(t *testing.T) {
	everything := Everything(Buffered)
	exclusive := Everything(Exclusive)
	for _, c := range []struct {
		held, wants Range
		waits       bool
	}{
		// Direct and direct: the bytes count.
		{direct(0, 4096), direct(0, 4096), true},
		{direct(0, 4096), direct(4096, 8192), false},
		{direct(0, 4096), direct(4095, 8192), true},
		{direct(0, 4096), direct(8192, 12288), false},
		{direct(0, 16384), direct(4096, 8192), true},
		{direct(folio-4096, folio), direct(folio, folio+4096), false},
		{direct(0, math.MaxInt64), direct(math.MaxInt64-1, math.MaxInt64), true},
		{direct(0, math.MaxInt64-1), direct(math.MaxInt64-1, math.MaxInt64), false},

		{direct(0, 2*folio), direct(2*folio, 4*folio), false},
		{direct(0, 2*folio+4096), direct(2*folio, 4*folio), true},

		// Direct and buffered: the folios count.
		{direct(0, 4096), buffered(0, 1), true},
		{direct(0, 4096), buffered(4096, 4097), true},
		{direct(0, 4096), buffered(folio-1, folio), true},
		{direct(0, 4096), buffered(folio, folio+1), false},
		{direct(0, folio), buffered(folio, folio+1), false},
		{direct(0, folio+1), buffered(2*folio-1, 2*folio), true},
		{direct(folio-1, folio), buffered(0, 1), true},
		{direct(folio, folio+4096), buffered(0, folio), false},
		{direct(folio, folio+4096), buffered(0, folio+1), true},
		{direct(5*folio, 6*folio), buffered(4*folio-1, 5*folio), false},
		{direct(5*folio, 6*folio), buffered(6*folio, 7*folio), false},
		{direct(5*folio, 6*folio), buffered(4*folio, 7*folio), true},
		{direct(4*folio, 7*folio), buffered(5*folio+1, 5*folio+2), true},
		{direct(1<<40, 1<<40+4096), everything, true},
		{direct(0, 4096), buffered(math.MaxInt64-4096, math.MaxInt64), false},
		{
			direct(math.MaxInt64-4095, math.MaxInt64),
			buffered(math.MaxInt64-folio+1, math.MaxInt64-folio+2), true,
		},

		// Far apart, regardless of the structure of the table.
		{direct(0, 4096), direct(64*folio, 64*folio+4096), false},
		{direct(0, 4096), buffered(64*folio, 64*folio+4096), false},
		{direct(1024*folio, 1024*folio+4096), buffered(0, 4096), false},
		{direct(0, 100*folio), direct(64*folio, 64*folio+4096), true},
		{direct(0, 100*folio), buffered(99*folio, 99*folio+1), true},
		{direct(0, 100*folio), buffered(100*folio, 100*folio+1), false},
		{direct(99*folio, 99*folio+4096), buffered(folio/2, 99*folio+1), true},

		// Buffered and buffered: the kernel orders them.
		{buffered(0, 4096), buffered(0, 4096), false},
		{buffered(0, 4096), everything, false},
		{everything, everything, false},

		// Exclusive and any class, at any bytes.
		{exclusive, exclusive, true},
		{exclusive, direct(1<<40, 1<<40+4096), true},
		{exclusive, buffered(0, 1), true},
		{exclusive, everything, true},
		{Range{Exclusive, 0, 1}, direct(folio, folio+4096), true},
		{Range{Exclusive, 0, 1}, buffered(folio, folio+4096), true},
		{Range{Exclusive, 0, 1}, Range{Exclusive, folio, folio + 1}, true},
	} {
		for range 2 { // the table is symmetric
			t.Run(fmt.Sprintf("%v/%v", c.held, c.wants), func(t *testing.T) {
				n := open(t)
				n.Lock(c.held)
				second := ask(t, n, c.wants)
				if waits := !second.isGranted(); waits != c.waits {
					t.Errorf("%v is held, %v waits: %v, want %v", c.held, c.wants, waits, c.waits)
				}
				n.Unlock(c.held)
				<-second.granted
				n.Unlock(c.wants)
			})
			c.held, c.wants = c.wants, c.held
		}
	}
}

// Locks of one inode mean nothing to another.
func TestInodesAreIndependent(t *testing.T) {
	n := open(t)
	other := Open(Key{Dev: 1, Ino: 4712})
	defer other.Close()
	n.Lock(Everything(Exclusive))
	other.Lock(Everything(Exclusive))
	n.Unlock(Everything(Exclusive))
	other.Unlock(Everything(Exclusive))
}

func TestUnlockWithoutLock(t *testing.T) {
	for _, held := range [][]Range{
		nil,
		{direct(0, 4096)},
		{direct(0, 8192), direct(8192, 12288)},
		{buffered(0, 4097), buffered(1, 4096)},
		{Everything(Exclusive)},
	} {
		n := open(t)
		for _, r := range held {
			n.Lock(r)
		}
		func() {
			defer func() {
				if text, ok := recover().(string); !ok || !strings.HasPrefix(text, "aio: ") {
					t.Errorf("%v are held: Unlock(%v) does not panic with an aio text",
						held, buffered(0, 4096))
				}
			}()
			n.Unlock(buffered(0, 4096))
		}()
		// The panic leaves the mutex and the held locks intact.
		for _, r := range held {
			n.Unlock(r)
		}
	}
}

// Equal ranges are counted, not merged.
func TestEqualRanges(t *testing.T) {
	n := open(t)
	for range 3 {
		n.Lock(buffered(0, 10))
	}
	waits := ask(t, n, direct(0, 4096))
	for i := range 3 {
		if waits.isGranted() {
			t.Fatalf("granted after %d of 3 Unlocks", i)
		}
		n.Unlock(buffered(0, 10))
	}
	<-waits.granted
	n.Unlock(direct(0, 4096))
}

// A model implements the table in the simplest way.
type model struct {
	held    []*claim
	waiting []*claim
}

func modelConflict(a, b Range) bool {
	if a.Class == Exclusive || b.Class == Exclusive {
		return true
	}
	if a.Class == Buffered && b.Class == Buffered {
		return false
	}
	if a.Class != b.Class {
		for _, r := range []*Range{&a, &b} {
			r.Lo -= r.Lo % folio
			if over := r.Hi % folio; over != 0 {
				r.Hi += min(folio-over, math.MaxInt64-r.Hi)
			}
		}
	}
	return max(a.Lo, b.Lo) < min(a.Hi, b.Hi)
}

func (m *model) add(c *claim) {
	m.waiting = append(m.waiting, c)
	m.settle()
}

func (m *model) remove(c *claim) {
	m.held = slices.Delete(m.held, slices.Index(m.held, c), slices.Index(m.held, c)+1)
	m.settle()
}

// settle grants waiting claims, first come first served among those that conflict.
func (m *model) settle() {
	var still []*claim
	for _, w := range m.waiting {
		blocks := func(c *claim) bool { return modelConflict(c.Range, w.Range) }
		if slices.ContainsFunc(m.held, blocks) || slices.ContainsFunc(still, blocks) {
			still = append(still, w)
		} else {
			m.held = append(m.held, w)
		}
	}
	m.waiting = still
}

// check compares the claims that are granted, and those that are not, with the model.
func (m *model) check(t *testing.T, n *Inode, what string) {
	t.Helper()
	for _, c := range m.held {
		aiotest.Until(t, fmt.Sprintf("%v is granted, after %s", c.Range, what), c.isGranted)
	}
	for _, c := range m.waiting {
		if c.isGranted() {
			t.Fatalf("%v is granted too early, after %s", c.Range, what)
		}
	}
	if held, waiting := counts(n); held != len(m.held) || waiting != len(m.waiting) {
		t.Fatalf("%d held and %d waiting after %s, want %d and %d",
			held, waiting, what, len(m.held), len(m.waiting))
	}
}

func randomRange() Range {
	lo := rand.Int64N(6*folio) &^ 4095
	if rand.N(4) == 0 {
		lo += 64 * folio * rand.Int64N(3) // shares a bucket of the table
	}
	hi := lo + 4096*(1+rand.Int64N(8))
	switch rand.N(12) {
	case 0:
		return Everything(Exclusive)
	case 1:
		return Everything(Buffered)
	case 2, 3:
		return buffered(lo+rand.Int64N(100), hi-rand.Int64N(100))
	case 4:
		return buffered(lo, lo+folio<<rand.N(8))
	case 5, 6:
		return direct(lo, lo+folio)
	case 7:
		edge := folio * (1 + rand.Int64N(5))
		return direct(edge-4096*rand.Int64N(2), edge+4096)
	case 8:
		edge := folio * (1 + rand.Int64N(5))
		return buffered(edge-rand.Int64N(2), edge+1)
	default:
		return direct(lo, hi)
	}
}

func TestLocksAgainstAModel(t *testing.T) {
	for range aiotest.ScaledOrFull(40) {
		n := open(t)
		var m model
		var past []string
		for len(past) < 150 {
			if len(m.held) == 0 || len(m.held)+len(m.waiting) < 30 && rand.N(20) < 11 {
				c := ask(t, n, randomRange())
				past = append(past, "Lock "+c.String())
				m.add(c)
			} else {
				c := m.held[rand.N(len(m.held))]
				past = append(past, "Unlock "+c.String())
				n.Unlock(c.Range)
				m.remove(c)
			}
			m.check(t, n, strings.Join(past[max(0, len(past)-40):], ", "))
		}
		for len(m.held) > 0 {
			c := m.held[0]
			n.Unlock(c.Range)
			m.remove(c)
			m.check(t, n, "all Unlocks")
		}
		if len(m.waiting) != 0 {
			t.Fatal("claims wait although no lock is held")
		}
	}
}
