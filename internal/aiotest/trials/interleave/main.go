// Interleave runs the queue of this library in all orders of small programs, and in many of larger
// ones.
//
//	go -C internal/aiotest/trials run ./interleave
//	go -C internal/aiotest/trials run ./interleave -each 1h -random 1h
//
// It makes a copy of package internal/queue in which each operation on shared memory lets a
// scheduler choose the goroutine that goes on (package control), and builds it with the programs
// in explore. The tree does not change: the copy is an overlay (go help build).
//
// Exploration leaves out orders that lead to a state that it has seen, and orders of steps that do
// not matter to each other. A state is a hash of all memory that goroutines share, and of what each
// goroutine has seen and not forgotten (forget.go says where it forgets). Plain memory is assumed
// to be free of races, which the race detector checks.
//
// Of a program that has too many orders, those with few preemptions come first: switches away from
// a goroutine that could go on. Random orders follow. The output says up to which bound all orders
// of a program were tried, or that these were all.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/build"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const (
	root    = "github.com/go-aio/aio"
	explore = root + "/internal/aiotest/trials/interleave/explore"
)

func main() {
	dir, err := os.MkdirTemp("", "interleave")
	if err != nil {
		fmt.Fprintln(os.Stderr, "interleave:", err)
		os.Exit(1)
	}
	defer os.RemoveAll(dir)
	explorer, err := assemble(dir, bug{})
	if err != nil {
		fmt.Fprintln(os.Stderr, "interleave:", err)
		os.Exit(1)
	}
	run := exec.Command(explorer, os.Args[1:]...)
	run.Stdout, run.Stderr = os.Stdout, os.Stderr
	if err := run.Run(); err != nil {
		os.Exit(1)
	}
}

// A bug is a change of a file of the queue. The zero bug is none.
type bug struct {
	name     string
	programs string // that show it, by a part of their names
	file     string
	old, new string // old occurs once
}

// assemble makes the program explore in dir, with a bug, and returns its name.
func assemble(dir string, b bug) (string, error) {
	module, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", root).Output()
	if err != nil {
		return "", fmt.Errorf("go list: %w", err)
	}
	aio := strings.TrimSpace(string(module))
	sources, err := read(filepath.Join(aio, "internal/queue"), b)
	if err != nil {
		return "", err
	}
	if err := forget(sources, b); err != nil {
		return "", err
	}
	rewritten, err := rewrite(sources)
	if err != nil {
		return "", err
	}
	place := filepath.Join(aio, "internal/aiotest/trials/interleave/explore")
	overlay := make(map[string]string)
	for name, text := range rewritten {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return "", err
		}
		overlay[filepath.Join(place, name)] = file
	}
	list, err := json.Marshal(map[string]any{"Replace": overlay})
	if err != nil {
		return "", err
	}
	listed := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(listed, list, 0o600); err != nil {
		return "", err
	}
	explorer := filepath.Join(dir, "explore")
	build := exec.Command("go", "build", "-tags=interleave", "-overlay="+listed, "-o", explorer, explore)
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return explorer, nil
}

// read returns the files of the package in dir, with a bug.
func read(dir string, b bug) (map[string]string, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	sources := make(map[string]string)
	for _, name := range names {
		base := filepath.Base(name)
		if ok, err := build.Default.MatchFile(dir, base); err != nil {
			return nil, err
		} else if !ok || strings.HasSuffix(base, "_test.go") {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		sources[base] = string(text)
	}
	if b == (bug{}) {
		return sources, nil
	}
	if strings.Count(sources[b.file], b.old) != 1 {
		return nil, errors.New(b.name + ": the text that it replaces does not occur once in " + b.file)
	}
	sources[b.file] = strings.Replace(sources[b.file], b.old, b.new, 1)
	return sources, nil
}
