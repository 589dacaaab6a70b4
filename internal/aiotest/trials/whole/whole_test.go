// Package whole runs the tests of the library's own module at their full length, with everything
// that they need. go test alone runs a short part of them; see aiotest.FullLength.
package whole

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-aio/aio/internal/aiotest"
)

const module = "github.com/go-aio/aio"

func TestMain(m *testing.M) {
	aiotest.InNamespace()
	os.Exit(m.Run())
}

// A pkg is a package that has tests.
type pkg struct{ name, dir, binary string }

// build compiles the tests of all packages of the module, unchanged.
func build(t *testing.T) (list []pkg) {
	t.Helper()
	command := func(dir string, args ...string) string {
		cmd := exec.Command("go", args...)
		cmd.Dir = dir
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v", cmd, err)
		}
		return strings.TrimSpace(string(out))
	}
	root := command("", "list", "-m", "-f", "{{.Dir}}", module)
	bin := t.TempDir()
	found := command(root, "list", "-f", "{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}} {{.Dir}}{{end}}", "./...")
	for line := range strings.Lines(found) {
		name, dir, _ := strings.Cut(strings.TrimSpace(line), " ")
		p := pkg{path.Base(name), dir, filepath.Join(bin, path.Base(name)+".test")}
		command(root, "test", "-c", "-o", p.binary, name)
		list = append(list, p)
	}
	return list
}

// TestWhole fails if a test fails, or is skipped: this machine can run all of them.
func TestWhole(t *testing.T) {
	aiotest.NeedsMounts(t)
	list := build(t)
	if len(list) < 8 {
		t.Errorf("%d packages have tests", len(list))
	}
	for _, p := range list {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			text, err := run(t, p)
			if err != nil {
				t.Errorf("%v\n%s", err, passing.ReplaceAll(text, nil))
			}
			for _, m := range skipped.FindAll(text, -1) {
				t.Errorf("skipped: %s", bytes.TrimSpace(m))
			}
			t.Logf("%d tests", bytes.Count(text, []byte("--- PASS")))
		})
	}
}

var (
	skipped = regexp.MustCompile(`(?m)^.*\n *--- SKIP.*$`)
	passing = regexp.MustCompile(`(?m)^( *--- PASS|=== (RUN|NAME|PAUSE|CONT)).*\n`)
)

// run runs the tests of a package in the directory that go test would use.
func run(t *testing.T, p pkg) ([]byte, error) {
	t.Helper()
	limit := time.Duration(0)
	if at, ok := t.Deadline(); ok {
		limit = max(time.Until(at)-30*time.Second, time.Second)
	}
	cmd := exec.Command(p.binary, "-test.v", fmt.Sprint("-test.timeout=", limit))
	cmd.Dir = p.dir
	cmd.Env = append(os.Environ(), aiotest.AtFullLength)
	return aiotest.Output(cmd)
}
