// Spin checks a model of the queue's protocol, queue.pml, in all orders of small configurations.
//
//	go -C internal/aiotest/trials run ./spin
//
// It needs the model checker Spin and a C compiler. The model follows internal/queue by hand: a
// change of an order of steps there is a change here, too. Package interleave runs the code itself.
// It lets time pass only when nothing else can go on; here a timeout passes at any time.
package main

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

//go:embed queue.pml
var model []byte

func main() {
	only := flag.String("only", "", "check configurations whose name has this `text`")
	flag.Parse()
	if err := missing(); err != nil {
		fmt.Fprintln(os.Stderr, "spin:", err)
		os.Exit(1)
	}
	failed := false
	for _, c := range append(right, planted...) {
		if !strings.Contains(c.name, *only) {
			continue
		}
		line, err := c.run()
		fmt.Println(line)
		if err != nil {
			fmt.Fprintf(os.Stderr, "spin: %s: %v\n", c.name, err)
			failed = true
		}
	}
	if failed {
		os.Exit(1)
	}
}

// missing returns an error that names the packages of what is not installed.
func missing() error {
	for program, pkg := range map[string]string{"spin": "spin", "cc": "gcc"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("no %s: apt-get install %s", program, pkg)
		}
	}
	return nil
}

// limit bounds the time of one configuration. MEMLIM bounds its memory, in megabytes.
const limit = 5 * time.Minute

var (
	violated = regexp.MustCompile(`(?m)^pan:\d+: (.*?)(?: \(at depth \d+\))?$`)
	stored   = regexp.MustCompile(`(?m)^ *(\d+) states, stored`)
	partial  = regexp.MustCompile(`Search not completed|max search depth too small`)
)

// run checks c. It returns a line about it, and an error unless what is found is what c wants.
func (c configuration) run() (line string, err error) {
	dir, err := os.MkdirTemp("", "spin")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	began := time.Now()
	out, err := c.check(dir)
	if err != nil {
		return c.name + ": not checked", err
	}
	found, states := "ok", "?"
	if m := violated.FindSubmatch(out); m != nil {
		found = string(m[1])
	} else if partial.Match(out) {
		return c.name + ": not checked", errors.New("the search was not completed")
	}
	if m := stored.FindSubmatch(out); m != nil {
		states = string(m[1])
	}
	seconds := time.Since(began).Seconds()
	line = fmt.Sprintf("%s: %s states, %.1f s: %s", c.name, states, seconds, found)
	if !strings.Contains(found, c.finds) || (found == "ok") != (c.finds == "ok") {
		err = fmt.Errorf("finds %q, not %q", found, c.finds)
	}
	return line, err
}

// check returns the output of the checker of c, which it makes in dir. The checker keeps each state
// whole: no hash stands for one.
func (c configuration) check(dir string) ([]byte, error) {
	if err := os.WriteFile(filepath.Join(dir, "queue.pml"), model, 0o600); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	var out []byte
	search, options := "-DSAFETY", "-m100000"
	if c.cycles {
		search, options = "-DNP -DNFAIR=3", "-m100000 -l -f"
	}
	for _, line := range []string{
		"spin " + c.macros + " -a queue.pml",
		"cc -DMEMLIM=2000 " + search + " -o pan pan.c", // -O2 takes longer than it saves
		"./pan " + options,
	} {
		args := strings.Fields(line)
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		cmd.Dir = dir
		var err error
		if out, err = cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%s: %w\n%s", cmd, err, bytes.TrimSpace(out))
		}
	}
	return out, nil
}
