package main

import (
	"flag"
	"os/exec"
	"strings"
	"testing"
	"time"
)

var each = flag.Duration("each", 1500*time.Millisecond, "the longest that orders of one program are tried")

// TestOrders runs the queue in all orders of small programs.
func TestOrders(t *testing.T) {
	t.Log(run(t, bug{}, false))
}

// TestPlanted checks that some order shows each planted bug.
func TestPlanted(t *testing.T) {
	for _, b := range planted {
		t.Run(b.name, func(t *testing.T) {
			_, failure, _ := strings.Cut(run(t, b, true), "FAIL ")
			failure, _, _ = strings.Cut(failure, "\n")
			t.Log(failure)
		})
	}
}

// run explores the queue with a bug.
func run(t *testing.T, b bug, fails bool) string {
	t.Helper()
	explorer, err := assemble(t.TempDir(), b)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(explorer, "-first", "-only="+b.programs, "-each="+each.String()).CombinedOutput()
	if _, failed := err.(*exec.ExitError); err != nil && !failed {
		t.Fatal(err)
	}
	if failed := err != nil; failed != fails {
		t.Errorf("the program failed: %t\n%s", failed, out)
	}
	return string(out)
}
