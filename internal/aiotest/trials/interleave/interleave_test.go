package main

import (
	"flag"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

var (
	each   = flag.Duration("each", 4*time.Second, "how long orders of one long program are tried")
	random = flag.Duration("random", 2*time.Second, "how long random orders of one larger program are tried")
)

// TestOrders runs the queue in all orders of small programs, and in some of larger ones. By command,
// -args -each 1m tries all orders of long programs, too, and takes minutes for each.
func TestOrders(t *testing.T) {
	t.Parallel()
	explorer := explorerWith(t, bug{})
	for _, name := range strings.Split(strings.TrimSpace(run(t, explorer, true, "-list")), "\n") {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			t.Log(run(t, explorer, true, "-only="+exactly(name), "-each="+each.String(), "-random="+random.String()))
		})
	}
}

// TestPlanted checks that some order shows each planted bug.
func TestPlanted(t *testing.T) {
	t.Parallel()
	for _, b := range planted {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			said := run(t, explorerWith(t, b), false, "-first", "-only="+b.programs)
			_, failure, _ := strings.Cut(said, "FAIL ")
			failure, _, _ = strings.Cut(failure, "\n")
			t.Log("found by " + failure)
		})
	}
}

// TestForgetting checks that exploration leaves out no state of shared memory: there are as many if
// goroutines forget nothing, and no order of independent steps is left out.
func TestForgetting(t *testing.T) {
	t.Parallel()
	explorer := explorerWith(t, bug{})
	for _, name := range []string{
		"two Do, one P", "two Do", "two Do gather", "two Do open the kernel", "two lanes, one is stuck",
		"two Do, EAGAIN", "small group and Do", "group and Do",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			few, all := states(t, explorer, name, "-shared"), states(t, explorer, name, "-exact")
			if few != all {
				t.Errorf("%s, and %s if nothing is left out", few, all)
			}
			t.Log(few)
		})
	}
}

// states returns how many states of shared memory a program has.
func states(t *testing.T, explorer, name, how string) string {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(run(t, explorer, true, how, "-only="+exactly(name))), "\n")
	return lines[len(lines)-1]
}

func exactly(name string) string { return "^" + regexp.QuoteMeta(name) + "$" }

func explorerWith(t *testing.T, b bug) (explorer string) {
	t.Helper()
	explorer, err := assemble(t.TempDir(), b)
	if err != nil {
		t.Fatal(err)
	}
	return explorer
}

// run runs the explorer, which must succeed or fail.
func run(t *testing.T, explorer string, succeeds bool, args ...string) string {
	t.Helper()
	cmd := exec.Command(explorer, args...)
	// One goroutine runs at a time, and beside it another explorer.
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "GOGC=400")
	out, err := cmd.CombinedOutput()
	if _, failed := err.(*exec.ExitError); err != nil && !failed {
		t.Fatal(err)
	}
	if succeeded := err == nil; succeeded != succeeds {
		t.Errorf("the program succeeded: %t\n%s", succeeded, out)
	}
	return string(out)
}
