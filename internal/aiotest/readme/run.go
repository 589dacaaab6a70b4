package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// runAll runs the scripts and programs of a document, in order. It returns how many it ran.
func runAll(d document) (ran int, err error) {
	for _, b := range d.blocks {
		run := shell
		switch {
		case b.program():
			run = program
		case b.kind != "sh":
			continue
		}
		fmt.Printf("--- %s:%d (%s)\n", d.name, b.line, b.kind)
		if err := run(b.text); err != nil {
			return ran, fmt.Errorf("%s:%d: %w\n%s", d.name, b.line, err, b.text)
		}
		ran++
	}
	return ran, nil
}

func shell(script string) error {
	fmt.Print(script)
	return show(exec.Command("bash", "-euo", "pipefail", "-c", script))
}

// program builds a program in a new module that requires this one, and runs it with an empty
// directory as its current one.
func program(source string) error {
	root, err := os.Getwd()
	if err != nil {
		return err
	}
	mod, err := module(root)
	if err != nil {
		return err
	}
	// The directory is beside this module, because the system's temporary directory may have no
	// direct I/O.
	dir, err := os.MkdirTemp(root, ".cache-readme-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
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
	return show(cmd)
}

// module returns the go.mod of a module that requires the one at root, for the same Go.
func module(root string) (string, error) {
	version, err := goLine(root)
	return fmt.Sprintf("module snippet\n\ngo %s\n\nrequire %[2]s v0.0.0\n\nreplace %[2]s => %[3]s\n",
		version, "github.com/go-aio/aio", root), err
}

// goLine returns the version of the go line of the module at root.
func goLine(root string) (string, error) {
	text, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		return "", err
	}
	m := goDirective.FindSubmatch(text)
	if m == nil {
		return "", errors.New("go.mod has no go line")
	}
	return string(m[1]), nil
}

var goDirective = regexp.MustCompile(`(?m)^go (\d+\.\d+(?:\.\d+)?)$`)

// goVersion is goLine without the patch.
func goVersion(root string) (string, error) {
	version, err := goLine(root)
	if parts := strings.Split(version, "."); len(parts) == 3 {
		version = parts[0] + "." + parts[1]
	}
	return version, err
}

func show(cmd *exec.Cmd) error {
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}

// quietly runs a command, and shows its output only if it fails.
func quietly(cmd *exec.Cmd) error {
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if err != nil {
		os.Stderr.Write(out.Bytes())
	}
	return err
}
