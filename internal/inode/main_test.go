package inode

import (
	"fmt"
	"os"
	"runtime"
	"testing"

	"github.com/go-aio/aio/internal/aiotest"
)

// TestMain fails the run if it leaves an inode or a goroutine behind.
func TestMain(m *testing.M) {
	goroutines := runtime.NumGoroutine()
	code := m.Run()
	if n := Count(); code == 0 && n != 0 {
		fmt.Fprintf(os.Stderr, "%d inodes are still open\n", n)
		code = 1
	}
	if aiotest.Eventually(func() bool { return runtime.NumGoroutine() <= goroutines }) {
		os.Exit(code) // a goroutine that is about to end may need a moment
	}
	fmt.Fprintf(os.Stderr, "goroutines left behind:\n%s\n", aiotest.Stacks())
	os.Exit(1)
}

// open returns an inode that the end of the test closes. By then the test must have unlocked
// it.
func open(t testing.TB) *Inode {
	aiotest.Guard(t)
	n := Open(Key{Dev: 1, Ino: 4711})
	t.Cleanup(func() {
		if held, waiting := counts(n); held+waiting != 0 && !t.Failed() {
			t.Errorf("%d locks are still held, %d are waited for", held, waiting)
		}
		if n.locks.byClass != [3]int{} && !t.Failed() { // would cost later calls a scan
			t.Errorf("%d locks are counted by class, and none is held", n.locks.byClass)
		}
		n.Close()
	})
	return n
}

// counts returns the numbers of held locks and of waiters.
func counts(n *Inode) (held, waiting int) {
	n.locks.mu.Lock()
	defer n.locks.mu.Unlock()
	held = len(n.locks.wide)
	if n.locks.narrow != nil {
		for _, list := range n.locks.narrow {
			held += len(list)
		}
	}
	return held, len(n.locks.waiting)
}

// A claim is a lock that a goroutine has asked for.
type claim struct {
	Range
	granted chan struct{} // closed
}

func (c *claim) isGranted() bool {
	select {
	case <-c.granted:
		return true
	default:
		return false
	}
}

// ask locks r in a new goroutine. It returns when the lock table knows the claim: it is held,
// or waits.
func ask(t testing.TB, n *Inode, r Range) *claim {
	t.Helper()
	c := &claim{Range: r, granted: make(chan struct{})}
	held, waiting := counts(n)
	go func() {
		n.Lock(r)
		close(c.granted)
	}()
	aiotest.Until(t, "the claim is known", func() bool {
		h, w := counts(n)
		return h+w > held+waiting
	})
	if _, w := counts(n); w == waiting {
		<-c.granted
	}
	return c
}
