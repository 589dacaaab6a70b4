// Readme checks the project's documents, and runs the commands and programs in them.
//
//	go run ./internal/aiotest/readme -run README.md     the blocks of README.md
//	go run ./internal/aiotest/readme -check             all documents
//
// A fenced block of code is one of these:
//
//	```sh      a script: bash runs it, in the root of the repository
//	```go      a program if it begins with a package clause: it is built, vetted and run in an
//	           empty directory. Otherwise a fragment, which a compiled file must contain.
//	others     not run
//
// With -run it runs the scripts and programs of the given documents, and fails if a document has
// none. With -check it makes the checks of checks.go. It also runs the programs and scripts of all
// documents except README.md, whose scripts are the tests.
//
// It needs Go, git, bash and coreutils. It stops at the first block that fails.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	check := flag.Bool("check", false, "check all documents")
	run := flag.Bool("run", false, "run the blocks of the documents that are the arguments")
	flag.Parse()
	if err := do(*check, *run, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "readme:", err)
		os.Exit(1)
	}
}

func do(check, run bool, names []string) error {
	switch {
	case check == run, check && len(names) > 0, run && len(names) == 0:
		return errors.New("usage: readme -check | -run DOCUMENT [DOCUMENT]")
	case check:
		return checkAll()
	}
	for _, name := range names {
		d, err := load(name)
		if err != nil {
			return err
		}
		ran, err := runAll(d)
		if err != nil {
			return err
		}
		if ran == 0 {
			return fmt.Errorf("%s: nothing to run", name)
		}
	}
	return nil
}

// checkAll checks the repository whose root is the current directory.
func checkAll() error {
	r, err := open(".")
	if err != nil {
		return err
	}
	problems := r.problems()
	for _, p := range problems {
		fmt.Fprintln(os.Stderr, p)
	}
	if len(problems) > 0 {
		return fmt.Errorf("%d problems", len(problems))
	}
	fmt.Printf("%d documents: %s\n", len(r.documents), r.counted())
	for _, d := range r.documents {
		if d.name == front {
			continue
		}
		if _, err := runAll(d); err != nil {
			return err
		}
	}
	return nil
}

// front is the document that must be short.
const front = "README.md"

// documents returns the names of the project's documents, relative to its root.
func documents(root string) ([]string, error) {
	var names []string
	for _, pattern := range []string{"*.md", "docs/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			return nil, err
		}
		for _, path := range found {
			name, err := filepath.Rel(root, path)
			if err != nil {
				return nil, err
			}
			names = append(names, filepath.ToSlash(name))
		}
	}
	return names, nil
}
