package aiotest

import (
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// processes are tests of the watchdog, each of which runs in a process of its own, with little
// patience.
var processes = map[string]func(t *testing.T){
	"hangs": func(t *testing.T) { Guard(t); hang() },
	// It has no Guard, which would end it at about the same time.
	"hangs in Until": func(t *testing.T) { Until(t, "pigs fly", func() bool { return false }) },
	"hangs at a loss": func(t *testing.T) {
		GuardWith(t, func() { os.Stderr.WriteString("called before the end\n") })
		hang()
	},
	"hangs until the deadline": func(t *testing.T) {
		Guard(t)
		for {
			time.Sleep(time.Millisecond)
			Moved()
		}
	},
	"moves": func(t *testing.T) {
		Guard(t)
		slowly(func() { Moved() })
	},
	"computes": func(t *testing.T) {
		Guard(t)
		slowly(compute)
	},
	"waits for one that computes": func(t *testing.T) {
		cmd := process(t, "computes")
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		defer Follow(cmd.Process.Pid)()
		io.ReadFull(out, make([]byte, len(begun))) // on a busy machine the start may take longer than the patience
		Guard(t)
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	},
	"waits for one that moves": func(t *testing.T) {
		Guard(t)
		if text, err := output(t, "moves"); err != nil {
			t.Errorf("%v\n%s", err, text)
		}
	},
	"waits for an event": func(t *testing.T) {
		Guard(t)
		go slowly(compute)
		start := time.Now()
		Until(t, "the event", func() bool { return time.Since(start) > 2*patience })
	},
}

// hang is in the stack of a process that hangs.
//
//go:noinline
func hang() { <-make(chan bool) }

// slowly runs do for longer than the watchdog has patience.
func slowly(do func()) {
	for start := time.Now(); time.Since(start) < 5*patience/2; {
		do()
		time.Sleep(patience / 100)
	}
}

// compute uses up some processor time, at any load.
func compute() {
	for start := processorTime(); processorTime() < start+5*time.Millisecond; {
	}
}

// processEnv names the function of such a process.
const processEnv = "AIOTEST_WATCHDOG"

func TestMain(m *testing.M) {
	if name := os.Getenv(processEnv); name != "" && testing.Testing() {
		processTest = processes[name]
	}
	os.Exit(m.Run())
}

var processTest func(t *testing.T)

// begun is the first output of such a process.
const begun = "begun\n"

// TestProcess runs in such a process only.
func TestProcess(t *testing.T) {
	if processTest != nil {
		os.Stdout.WriteString(begun)
		processTest(t)
	}
}

func process(t *testing.T, name string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestProcess$", "-test.timeout="+timeout)
	cmd.Env = append(os.Environ(), processEnv+"="+name, patienceEnv+"="+testPatience().String(),
		"GORACE=atexit_sleep_ms=0") // it would hang for a second in the end
	return cmd
}

// testPatience is long enough that a computing process moves, at any load.
func testPatience() time.Duration {
	if Brief() {
		return 300 * time.Millisecond
	}
	return time.Second
}

// timeout ends a process without a watchdog, or with one that looks at the deadline only.
const timeout = "20s"

func output(t *testing.T, name string) (string, error) {
	t.Helper()
	text, err := Output(process(t, name))
	return string(text), err
}

// TestWatchdog runs processes that hang, and others that are only slow.
func TestWatchdog(t *testing.T) {
	type outcome struct {
		text string
		err  error
	}
	running := make(map[string]chan outcome)
	for name, want := range verdicts {
		if !Linux && len(want) == 0 || !FullLength() && strings.Contains(name, "deadline") {
			continue // the time of another process is not known; it takes the whole timeout
		}
		if Brief() && want == nil {
			continue
		}
		over := make(chan outcome, 1)
		running[name] = over
		go func() {
			text, err := output(t, name)
			over <- outcome{text, err}
		}()
	}
	for name, over := range running {
		o, want := <-over, verdicts[name]
		if (o.err == nil) != (want == nil) {
			t.Errorf("a process that %s: %v\n%s", name, o.err, o.text)
		}
		for _, part := range want {
			if !strings.Contains(o.text, part) {
				t.Errorf("a process that %s does not say %q:\n%s", name, part, o.text)
			}
		}
	}
}

// verdicts are the outputs of processes that hang, or nil.
var verdicts = map[string][]string{
	"hangs":                       {"TestProcess: nothing has moved for ", "aiotest.hang("},
	"hangs in Until":              {"timed out until pigs fly", "aiotest.Until("},
	"hangs at a loss":             {"called before the end", "nothing has moved for "},
	"hangs until the deadline":    {"TestProcess: the time limit of go test is near"},
	"moves":                       nil,
	"computes":                    nil,
	"waits for one that computes": nil,
	"waits for one that moves":    nil,
	"waits for an event":          nil,
}
