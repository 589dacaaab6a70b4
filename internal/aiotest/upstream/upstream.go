// Package upstream runs the tests of a database over its own files and over those of package aio,
// and compares the failures. The tests are those of the module cache, in an edited temporary copy.
package upstream

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Main calls compare with a temporary directory, which it removes afterwards. compare reports
// whether the same tests fail in all modes. If not, Main ends the program with status 1.
func Main(compare func(dir string) (same bool, err error)) {
	dir, err := os.MkdirTemp("", "upstream")
	same := false
	if err == nil {
		same, err = compare(dir)
		os.RemoveAll(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "upstream:", err)
	}
	if err != nil || !same {
		os.Exit(1)
	}
}

// moduleDir returns the directory with the sources of a module, at the version of go.mod.
func moduleDir(module string) (string, error) {
	if out, err := exec.Command("go", "mod", "download", module).CombinedOutput(); err != nil {
		return "", fmt.Errorf("go mod download %s: %w: %s", module, err, out)
	}
	return listed(module)
}

// listed returns the directory of a downloaded module.
func listed(module string) (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		return "", fmt.Errorf("go list -m %s: %w", module, err)
	}
	return strings.TrimSpace(string(out)), nil
}

const aioModule = "github.com/go-aio/aio"

// ReplaceModule copies the sources of a module to dir, calls edit on the copy, and returns the name
// of a go.mod that uses it. (An -overlay may not touch the module cache.)
func ReplaceModule(dir, module string, edit func(dir string) error) (modfile string, err error) {
	from, err := moduleDir(module)
	if err != nil {
		return "", err
	}
	to := filepath.Join(dir, "module")
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		return "", err
	}
	if err := edit(to); err != nil {
		return "", err
	}
	own, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", err
	}
	root := filepath.Dir(strings.TrimSpace(string(own)))
	for _, name := range []string{"go.mod", "go.sum"} {
		content, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			return "", err
		}
	}
	aio, err := listed(aioModule)
	if err != nil {
		return "", err
	}
	modfile = filepath.Join(dir, "go.mod")
	out, err := exec.Command("go", "mod", "edit", "-replace="+module+"="+to,
		"-replace="+aioModule+"="+aio, modfile).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go mod edit: %w: %s", err, out)
	}
	return modfile, nil
}

// ModeEnv is the environment variable with the mode of the tests.
const ModeEnv = "UPSTREAM_MODE"

// A Suite is a set of tests that runs in every mode. Each package has a hook. At the end it prints
// "upstream: ", and how many calls of package aio went through the page cache, and how many did
// not.
type Suite struct {
	Packages []string
	Modes    []string // the others are compared with the first
	Modfile  string   // of ReplaceModule
	Dir      string   // for temporary files; removed afterwards
	Flags    []string // of go test

	said []string // the last lines of go test
}

// An outcome is the result of a package in a mode.
type outcome struct {
	passed, skipped int
	failed          []string
	again           []string // failed, and passed when run alone
	took            time.Duration
	stats           string // the hook's output: aio's calls through the page cache, and direct ones
}

// Run prints a table, and reports whether the same tests fail in all modes.
func (s *Suite) Run() (same bool, err error) {
	fmt.Println("| package | mode | passed | failed | skipped | time | aio: page cache | direct, and syncs |\n|---|---|---|---|---|---|---|---|")
	same = true
	for _, pkg := range s.Packages {
		var first outcome
		for i, mode := range s.Modes {
			o, err := s.test(pkg, mode)
			if err != nil {
				return false, err
			}
			fmt.Printf("| %s | %s | %d | %d | %d | %.1f s | %s |\n", path.Base(pkg), mode,
				o.passed, len(o.failed), o.skipped, o.took.Seconds(), strings.ReplaceAll(o.stats, " ", " | "))
			for _, name := range o.again {
				fmt.Printf("%s: %s failed at first and passed when it ran alone\n", mode, name)
			}
			if i == 0 {
				first = o
			} else if !slices.Equal(o.failed, first.failed) {
				fmt.Printf("%s fails %q, %s fails %q\n", s.Modes[0], first.failed, mode, o.failed)
				same = false
			}
		}
	}
	return same, nil
}

func (s *Suite) test(pkg, mode string) (o outcome, err error) {
	started := time.Now()
	results, stats, err := s.goTest(pkg, mode, "")
	if err != nil {
		return o, err
	}
	o.took, o.stats = time.Since(started), stats
	said := s.said // from this run, not from those of single tests below
	for _, name := range slices.Sorted(maps.Keys(results)) {
		switch results[name] {
		case "pass":
			o.passed++
		case "skip":
			o.skipped++
		default:
			passes, err := s.passesAlone(pkg, mode, name)
			if err != nil {
				return o, err
			}
			if passes {
				o.passed++
				o.again = append(o.again, name)
			} else {
				o.failed = append(o.failed, name)
			}
		}
	}
	if o.passed == 0 || o.stats == "" {
		return o, fmt.Errorf("%s, mode %s: go test did not get to its end:\n%s", pkg, mode, strings.Join(said, ""))
	}
	return o, nil
}

func (s *Suite) passesAlone(pkg, mode, name string) (bool, error) {
	top, _, _ := strings.Cut(name, "/")
	for range 3 {
		results, _, err := s.goTest(pkg, mode, "^"+regexp.QuoteMeta(top)+"$")
		if err != nil {
			return false, err
		}
		if results[name] == "pass" {
			return true, nil
		}
	}
	return false, nil
}

// goTest runs tests and returns the result of each.
func (s *Suite) goTest(pkg, mode, run string) (results map[string]string, stats string, err error) {
	s.said = nil
	args := append([]string{"test", "-json", "-vet=off", "-count=1", "-timeout=30m", "-modfile", s.Modfile, "-run", run}, s.Flags...)
	cmd := exec.Command("go", append(args, pkg)...)
	cmd.Env = append(os.Environ(), ModeEnv+"="+mode, "TMPDIR="+s.Dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, "", err
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, "", err
	}
	results, stats, err = s.parse(out)
	var failed *exec.ExitError
	if e := cmd.Wait(); err == nil && !errors.As(e, &failed) {
		err = e
	}
	return results, stats, err
}

// parse reads the output of go test -json.
func (s *Suite) parse(r io.Reader) (results map[string]string, stats string, err error) {
	results = make(map[string]string)
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var event struct{ Action, Test, Output string }
		if json.Unmarshal(lines.Bytes(), &event) != nil {
			fmt.Fprintln(os.Stderr, lines.Text())
			continue
		}
		switch event.Action {
		case "run":
			results[event.Test] = "unfinished"
		case "pass", "fail", "skip":
			if event.Test != "" {
				results[event.Test] = event.Action
			}
		case "output", "build-output":
			if text, ok := strings.CutPrefix(event.Output, "upstream: "); ok {
				stats = strings.TrimSpace(text)
			}
			s.said = append(s.said[max(0, len(s.said)-50):], event.Output)
		}
	}
	return results, stats, lines.Err()
}
