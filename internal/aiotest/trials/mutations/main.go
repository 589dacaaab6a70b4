// Mutations plants bugs, one at a time, and checks that the suite for it fails. An overlay plants
// the bug (go help build), so the tree does not change.
//
//	go -C internal/aiotest/trials run ./mutations -write ../../../docs/reliability.md
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/internal/aiotest/trials/mdtable"
)

func main() {
	only := flag.String("only", "", "plant bugs whose name has this `text`")
	write := flag.String("write", "", "put the table into this `file`")
	flag.Parse()
	if err := run(*only, *write); err != nil {
		fmt.Fprintln(os.Stderr, "mutations:", err)
		os.Exit(1)
	}
}

func run(only, write string) error {
	module, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", root).Output()
	if err != nil {
		return fmt.Errorf("go list: %w", err)
	}
	dir, err := os.MkdirTemp("", "mutations")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var rows []string
	for _, m := range mutations {
		if !strings.Contains(m.name, only) {
			continue
		}
		symptom, err := m.plant(strings.TrimSpace(string(module)), dir)
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		fmt.Printf("%s: %s\n", m.name, symptom)
		rows = append(rows, fmt.Sprintf("| %s | `%s` | %s | %s |\n", m.name, m.file, m.suite.name, symptom))
	}
	if write == "" {
		return nil
	}
	return mdtable.Place{File: write, Name: "mutations"}.Write("| planted bug | in | suite | failure |\n|---|---|---|---|\n" + strings.Join(rows, ""))
}

// plant runs the suite with the bug and returns the failure.
func (m mutation) plant(module, dir string) (string, error) {
	original := filepath.Join(module, m.file)
	text, err := os.ReadFile(original)
	if err != nil {
		return "", err
	}
	if n := strings.Count(string(text), m.old); n != 1 {
		return "", fmt.Errorf("%s has %q %d times", m.file, m.old, n)
	}
	mutant, overlay := filepath.Join(dir, "mutant.go"), filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(mutant, []byte(strings.Replace(string(text), m.old, m.new, 1)), 0o600); err != nil {
		return "", err
	}
	list, err := json.Marshal(map[string]any{"Replace": map[string]string{original: mutant}})
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(overlay, list, 0o600); err != nil {
		return "", err
	}
	suite := exec.Command("go", m.suite.args...)
	// The variable is no argument: the suite may be a program that builds another.
	suite.Env = append(os.Environ(), aiotest.AtFullLength, "GOFLAGS="+os.Getenv("GOFLAGS")+" -overlay="+overlay)
	out, err := suite.CombinedOutput()
	if err == nil {
		return "", fmt.Errorf("nothing failed: %s", suite)
	}
	return symptom(out)
}

var (
	failed = regexp.MustCompile(`(?m)^ *--- FAIL: (\S+)`)
	panics = regexp.MustCompile(`(?m)^(?:panic: |fatal error: )(.*)$`)
	says   = regexp.MustCompile(`HANG|cuts survived: [0-9]+ of [0-9]+`)
)

// symptom returns the test that failed, the innermost of the first, or the error of a program.
func symptom(out []byte) (string, error) {
	if m := failed.FindAllSubmatch(out, -1); m != nil {
		name := string(m[0][1])
		for _, deeper := range m[1:] {
			if strings.HasPrefix(string(deeper[1]), name+"/") {
				name = string(deeper[1])
			}
		}
		return "`" + name + "`", nil
	}
	for _, re := range []*regexp.Regexp{panics, says} {
		if m := re.FindSubmatch(out); m != nil {
			return string(m[len(m)-1]), nil
		}
	}
	return "", fmt.Errorf("it failed, but not by a test:\n%s", out)
}
