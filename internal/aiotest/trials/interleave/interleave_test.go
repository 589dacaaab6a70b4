package main

import (
	"flag"
	"os/exec"
	"testing"
	"time"
)

var each = flag.Duration("each", 2*time.Second, "the longest that orders of one program are tried")

// TestOrders runs the queue in all orders of small programs.
func TestOrders(t *testing.T) {
	t.Log(string(run(t, bug{}, false)))
}

// TestPlanted checks that some order shows each planted bug.
func TestPlanted(t *testing.T) {
	for _, b := range planted {
		t.Run(b.name, func(t *testing.T) {
			t.Log(string(run(t, b, true)))
		})
	}
}

// run explores the queue with a bug.
func run(t *testing.T, b bug, fails bool) []byte {
	t.Helper()
	explorer, err := assemble(t.TempDir(), b)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(explorer, "-first", "-each="+each.String()).CombinedOutput()
	if _, failed := err.(*exec.ExitError); err != nil && !failed {
		t.Fatal(err)
	}
	if failed := err != nil; failed != fails {
		t.Errorf("the program failed: %t\n%s", failed, out)
	}
	return out
}
