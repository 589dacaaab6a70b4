package main

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// good is a repository without a problem. Each test of a check breaks one thing in it.
var good = map[string]string{
	"go.mod": "module example\n\ngo 1.25.0\n",
	"README.md": `# Title

All 24 methods, Go 1.25 or later,
see [guides](docs/guide.md#the-second-part-of-two) and [the badge][badge].
` + "`TestThing`, `FuzzThing`, `BenchmarkThing`;\n`internal/thing`, `thing.go`, `internal/thing/thing.go`.\n" + `
` + "```go\npackage main\n\nfunc main() {}\n```\n" + `
` + "```sh\ngo -C tool run ./cmd -quick\n```\n" + `
[badge]: https://example.com/badge.svg
`,
	"docs/guide.md": `# Guide

## The second part, of two

Back to [the title](../README.md), to [here](#guide),
to [the code](../internal/thing), and on.
` + "`go -C tool test ./...`, `go test ./internal/thing -run TestThing$`, `os/exec`, `go run .`\n" + `
` + "```go\nif thing {\n\treturn 1\n}\n```\n",
	"internal/thing/thing.go":      "package thing\n\nfunc f(thing bool) int {\n\tif thing {\n\t\treturn 1\n\t}\n\treturn 0\n}\n",
	"internal/thing/thing_test.go": "package thing\n\nfunc TestThing(t *testing.T) {}\n\nfunc FuzzThing(f *testing.F) {}\n\nfunc BenchmarkThing(b *testing.B) {}\n",
	"tool/cmd/main.go":             "package main\n\nvar quick = flag.Bool(\"quick\", false, \"\")\n",
}

// repo makes a repository of files.
func repo(t *testing.T, files map[string]string) *repository {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("git", "-C", dir, "init", "-q").CombinedOutput(); err != nil {
		t.Fatalf("git init: %v\n%s", err, out)
	}
	r, err := open(dir)
	if err != nil {
		t.Fatal(err)
	}
	r.methods = 24 // independent of the Go that runs this
	return r
}

func TestNoProblem(t *testing.T) {
	r := repo(t, good)
	if problems := r.problems(); len(problems) != 0 {
		t.Errorf("%q", problems)
	}
	// Each check has found its subject; a check that finds none would pass anything.
	for what, want := range map[string]int{
		"snippets": 2, "tests": 4, "links": 5, "paths": 3, "commands": 4, "numbers of methods": 1, "versions of Go": 1,
	} {
		if r.found[what] != want {
			t.Errorf("%d %s, want %d", r.found[what], what, want)
		}
	}
}

func TestProblems(t *testing.T) {
	long := strings.Repeat("x ", 51)
	for _, c := range []struct {
		name           string
		file, old, new string // the broken text
		want           string // the only problem
	}{
		{"too many lines", "README.md", "# Title\n", "# Title\n" + strings.Repeat("\n", 120), "lines, of 130 that it may have"},
		{"too many words", "README.md", "# Title\n", "# Title\n" + strings.Repeat(strings.Repeat("x ", 50)+"\n", 20), "words, of 1000 that it may have"},
		{"no number of methods", "README.md", "All 24 methods", "All methods", "does not say how many methods"},
		{"another number of methods", "README.md", "24", "26", "26 methods; os.File has 24"},
		{"another number elsewhere", "docs/guide.md", "and on.", "and 9 methods.", "9 methods; os.File has 24"},
		{"no version of Go", "README.md", "Go 1.25 or later", "Go", "does not say which Go"},
		{"another version of Go", "README.md", "1.25", "1.24", "Go 1.24; go.mod requires 1.25"},
		{"another version elsewhere", "docs/guide.md", "and on.", "Go 1.26 or later", "Go 1.26; go.mod requires 1.25"},
		{"a wide line", "docs/guide.md", "and on.", "and on.\n" + long, "102 columns, of 100"},
		{"a wide line of code", "README.md", "-quick\n", "-quick\n" + long + "\n", "102 columns, of 100"},
		{"a snippet that is not formatted", "README.md", "func main() {}", "func main()  {}", "not as gofmt has it"},
		{"a snippet that is no Go", "README.md", "func main() {}", "func main( {}", "expected"},
		{"a fragment in the front document", "README.md", "package main\n\nfunc main() {}", "if thing {\n\treturn 1\n}", "not a whole program"},
		{"a fragment that no file has", "docs/guide.md", "return 1", "return 2", "no file has this snippet"},
		{"a test", "README.md", "`TestThing`", "`TestThings`", "there is no TestThings"},
		{"a fuzz test", "README.md", "`FuzzThing`", "`FuzzThings`", "there is no FuzzThings"},
		{"a benchmark", "README.md", "`BenchmarkThing`", "`BenchmarkThings`", "there is no BenchmarkThings"},
		{"a test of a command", "docs/guide.md", "TestThing$", "TestThings$", "there is no TestThings"},
		{"a linked file", "README.md", "docs/guide.md#", "docs/guides.md#", "docs/guides.md#the-second-part-of-two: no such file"},
		{"a linked directory", "docs/guide.md", "../internal/thing)", "../internal/things)", "../internal/things: no such file"},
		{"a heading", "README.md", "#the-second-part-of-two", "#the-second-part", "no such heading"},
		{"a heading of the same document", "docs/guide.md", "(#guide)", "(#guides)", "#guides: no such heading"},
		{"a heading of a file without any", "docs/guide.md", "../internal/thing)", "../internal/thing/thing.go#f)", "not a document with headings"},
		{"a reference", "README.md", "[badge]: ", "[badges]: ", "[badge] is not defined"},
		{"a file that a reference names", "README.md", "https://example.com/badge.svg", "docs/badge.svg", "docs/badge.svg: no such file"},
		{"a path", "README.md", "`internal/thing`", "`internal/things`", "there is no internal/things"},
		{"a file by its name", "README.md", "`thing.go`", "`things.go`", "there is no things.go"},
		{"a directory of a command", "README.md", "go -C tool run", "go -C tools run", "there is no tools"},
		{"a package of a command", "README.md", "./cmd", "./command", "there is no tool/command"},
		{"a flag of a command", "README.md", "-quick", "-quicker", "tool/cmd has no flag -quicker"},
		{"a package of a test command", "docs/guide.md", "./internal/thing -run", "./internal/things -run", "there is no internal/things"},
	} {
		t.Run(c.name, func(t *testing.T) {
			files := maps.Clone(good)
			files[c.file] = strings.Replace(good[c.file], c.old, c.new, 1)
			if files[c.file] == good[c.file] {
				t.Fatalf("%s has no %q", c.file, c.old)
			}
			problems := repo(t, files).problems()
			if len(problems) != 1 || !strings.Contains(problems[0], c.want) || !strings.HasPrefix(problems[0], c.file+":") {
				t.Errorf("%q, want one of %s with %q", problems, c.file, c.want)
			}
		})
	}
}

// TestNoProblemElsewhere covers a table, a directory's own name, a name of another module, and a
// file ignored by git.
func TestNoProblemElsewhere(t *testing.T) {
	files := maps.Clone(good)
	files["docs/guide.md"] += "\n| " + strings.Repeat("x ", 60) + "|\n|---|\n\n`text/things` `things/x.go`\n"
	if problems := repo(t, files).problems(); len(problems) != 0 {
		t.Errorf("%q", problems)
	}
}

func TestIgnoredFileIsNoTarget(t *testing.T) {
	files := maps.Clone(good)
	files[".gitignore"], files["docs/ignored.md"] = "ignored.md\n", "# Ignored\n"
	files["README.md"] += "[x](docs/ignored.md)\n"
	problems := repo(t, files).problems()
	if len(problems) != 1 || !strings.Contains(problems[0], "docs/ignored.md: no such file") {
		t.Errorf("%q", problems)
	}
}

func TestParse(t *testing.T) {
	d := parse("x.md", "a\n```sh\nb\nc\n```\nd\n- e\n  ```go\n  f\n  ```\n```\ng\n")
	want := []block{{"sh", 3, "b\nc\n"}, {"go", 9, "  f\n"}, {"", 12, "g\n\n"}}
	if len(d.blocks) != len(want) {
		t.Fatalf("%q", d.blocks)
	}
	for i, b := range d.blocks {
		if b != want[i] {
			t.Errorf("block %d is %q, want %q", i, b, want[i])
		}
	}
	for i, number := range []int{1, 6, 7} {
		if d.lines[i].number != number {
			t.Errorf("line %d has number %d, want %d", i, d.lines[i].number, number)
		}
	}
}

func TestAnchor(t *testing.T) {
	for title, want := range map[string]string{
		"Guarantees":              "guarantees",
		"What is not true yet":    "what-is-not-true-yet",
		"Direct I/O, 4 KiB":       "direct-io-4-kib",
		"`code` and a_b, x-y":     "code-and-a_b-x-y",
		"a  b":                    "a--b",
		"Fünf Größen: (1) and {}": "fünf-größen-1-and-",
	} {
		if got := anchor(title); got != want {
			t.Errorf("%q is %q, want %q", title, got, want)
		}
	}
}

func TestModule(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module m\n\ngo 1.25.0\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	mod, err := module(dir)
	if err != nil || !strings.Contains(mod, "\ngo 1.25.0\n") || !strings.Contains(mod, "=> "+dir+"\n") {
		t.Errorf("%v\n%s", err, mod)
	}
}

// TestRun checks that a script runs in the current directory and stops at the first command that
// fails. A document with nothing to run is an error, and so is a block that fails.
func TestRun(t *testing.T) {
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("needs bash: run .ci/run tests")
	}
	t.Chdir(t.TempDir())
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile("x.md", []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	run := func() error { return do(false, true, []string{"x.md"}) }
	there := func(name string) bool {
		_, err := os.Stat(name)
		return err == nil
	}

	write("```sh\necho one >one\n```\n```sh\necho two >two\n```\n")
	if err := run(); err != nil || !there("one") || !there("two") {
		t.Errorf("%v; one %t, two %t", err, there("one"), there("two"))
	}
	write("```sh\nfalse\necho three >three\n```\n```sh\necho four >four\n```\n")
	if err := run(); err == nil || there("three") || there("four") {
		t.Errorf("%v; three %t, four %t", err, there("three"), there("four"))
	}
	write("```console\nfalse\n```\n```go\nfragment()\n```\n")
	if err := run(); err == nil || !strings.Contains(err.Error(), "nothing to run") {
		t.Errorf("%v", err)
	}
	for _, args := range []struct {
		check, run bool
		names      []string
	}{{false, false, nil}, {true, true, nil}, {true, false, []string{"x.md"}}, {false, true, nil}} {
		if err := do(args.check, args.run, args.names); err == nil || !strings.Contains(err.Error(), "usage") {
			t.Errorf("%v: %v", args, err)
		}
	}
}
