// Readme runs what a document tells its reader to run: every block of the kind
//
//	```sh      is run by bash, line by line as one script, in the current directory
//	```go      is a whole program, which is built and run, in a directory of its own
//
// and nothing else of it. A program is run in a new module that requires this one, with
// an empty directory as its current one. It stops at the first that fails.
package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A block is a fenced block of code.
type block struct {
	kind string
	line int // of its first line
	text string
}

func main() {
	for _, name := range os.Args[1:] {
		if err := runAll(name); err != nil {
			fmt.Fprintf(os.Stderr, "readme: %s: %v\n", name, err)
			os.Exit(1)
		}
	}
}

func runAll(name string) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	ran := 0
	for _, b := range blocks(string(text)) {
		run := map[string]func(string) error{"sh": shell, "go": program}[b.kind]
		if run == nil {
			continue
		}
		fmt.Printf("--- %s:%d (%s)\n", name, b.line, b.kind)
		if err := run(b.text); err != nil {
			return fmt.Errorf("line %d: %w\n%s", b.line, err, b.text)
		}
		ran++
	}
	if ran == 0 {
		return fmt.Errorf("nothing to run")
	}
	return nil
}

// blocks returns the fenced blocks of a Markdown text.
func blocks(text string) []block {
	var found []block
	var open *block
	for i, line := range strings.Split(text, "\n") {
		fence, isFence := strings.CutPrefix(line, "```")
		switch {
		case isFence && open == nil:
			open = &block{kind: strings.TrimSpace(fence), line: i + 2}
		case isFence:
			found, open = append(found, *open), nil
		case open != nil:
			open.text += line + "\n"
		}
	}
	return found
}

func shell(script string) error {
	fmt.Print(script)
	return run(exec.Command("bash", "-euo", "pipefail", "-c", script))
}

func program(source string) error {
	root, err := os.Getwd()
	if err != nil {
		return err
	}
	// Beside this module, not in the system's temporary directory: that may be one
	// without direct I/O.
	dir, err := os.MkdirTemp(root, ".cache-readme-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	mod := "module snippet\n\ngo 1.26.0\n\nrequire github.com/go-aio/aio v0.0.0\n\nreplace github.com/go-aio/aio => " + root + "\n"
	for name, text := range map[string]string{"go.mod": mod, "main.go": source} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	for _, args := range [][]string{{"mod", "tidy"}, {"vet", "."}, {"build", "-o", "snippet", "."}} {
		cmd := exec.Command("go", args...)
		cmd.Dir = dir
		if err := quietly(cmd); err != nil {
			return err
		}
	}
	work := filepath.Join(dir, "work")
	if err := os.Mkdir(work, 0o755); err != nil {
		return err
	}
	cmd := exec.Command(filepath.Join(dir, "snippet"))
	cmd.Dir = work
	return run(cmd)
}

func run(cmd *exec.Cmd) error {
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}

// quietly shows the output of a command that fails only.
func quietly(cmd *exec.Cmd) error {
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if err != nil {
		os.Stderr.Write(out.Bytes())
	}
	return err
}
