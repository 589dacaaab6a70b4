package main

import (
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// A workshop is a temporary directory with a copy of go-sqlite3, whose tests use the adapter. An
// overlay of the go command cannot replace a file of the module cache.
type workshop struct {
	dir     string // removed at the end
	module  string // the copy
	version string
}

const sqliteModule = "github.com/ncruces/go-sqlite3"

func newWorkshop() (w *workshop, err error) {
	out, err := output("go", "list", "-m", "-f", "{{.Dir}}\n{{.Version}}", sqliteModule)
	if err != nil {
		return nil, err
	}
	lines := strings.Fields(out)
	if len(lines) != 2 {
		return nil, fmt.Errorf("%s is not in the module cache: go mod download", sqliteModule)
	}
	ours, err := output("go", "list", "-m", "-f", "{{.Dir}}")
	if err != nil {
		return nil, err
	}
	ours = strings.TrimSpace(ours)
	root, err := output("go", "list", "-m", "-f", "{{.Dir}}", "github.com/go-aio/aio")
	if err != nil {
		return nil, err
	}
	// The directory is not in os.TempDir, which may have no direct I/O.
	dir, err := os.MkdirTemp(ours, ".cache-upstream-")
	if err != nil {
		return nil, err
	}
	w = &workshop{dir: dir, version: sqliteModule + " " + lines[1]}
	if err := w.prepare(lines[0], ours, strings.TrimSpace(root)); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

func (w *workshop) close() { os.RemoveAll(w.dir) }

// build builds the tests of a package and returns the path of the binary.
func (w *workshop) build(dir string) (string, error) {
	binary := filepath.Join(w.dir, strings.ReplaceAll(dir, "/", "-")+".test")
	_, err := output("go", "-C", w.module, "test", "-c", "-o", binary, "./"+dir)
	return binary, err
}

// hookPackage sets the VFS that go-sqlite3 takes for its own. Its path is before those of
// go-sqlite3, so it is initialized before the packages there that wrap the default VFS.
const hookPackage = "github.com/go-aio/aio/adapters/sqlite/upstream/hook"

// modeVariable is the environment variable with the mode. With ",count" after the mode the hook
// writes the counts of package aio to a file.
const modeVariable = "SQLITE_MODE"

//go:embed hook.txt
var hook []byte

// inTests is added to each package of tests.
const inTests = `package %s_test

import _ "` + hookPackage + `"
`

// countsPrefix begins the name of a file in which a test process leaves the counts of package aio.
const countsPrefix = "upstream-counts-"

// prepare copies go-sqlite3, makes its default VFS replaceable, and adds the adapter to its
// requirements.
func (w *workshop) prepare(module, ours, root string) error {
	w.module = filepath.Join(w.dir, "go-sqlite3")
	if err := os.CopyFS(w.module, os.DirFS(module)); err != nil {
		return err
	}
	err := w.edit("vfs/registry.go", func(text string) string {
		return strings.Replace(text, "return vfsOS{}", "return tested", 1) + defaultVFS
	})
	if err != nil {
		return err
	}
	err = w.edit("vfs/vfs.go", func(text string) string {
		return strings.Replace(text, "err := vfsFileClose(wrp, pFile)", "err := vfsFileClose(wrp, pFile)\n\tClosed()", 1)
	})
	if err != nil {
		return err
	}
	hooks := filepath.Join(w.dir, "hook")
	if err := os.Mkdir(hooks, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(hooks, "hook.go"), hook, 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(hooks, "go.mod"), []byte("module "+hookPackage+"\n"), 0o600); err != nil {
		return err
	}
	for _, s := range append(suites, suite{dir: speedtest}) {
		name, err := output("go", "-C", w.module, "list", "-f", "{{.Name}}", "./"+s.dir)
		if err != nil {
			return err
		}
		text := fmt.Sprintf(inTests, strings.TrimSpace(name))
		if err := os.WriteFile(filepath.Join(w.module, s.dir, "zz_upstream_test.go"), []byte(text), 0o600); err != nil {
			return err
		}
	}
	err = w.edit("go.mod", func(text string) string {
		// Module proxies may lack a fork that only ext/approx uses.
		text = regexp.MustCompile(`(?m)^.*(ext/approx|segmentio).*\n`).ReplaceAllString(text, "")
		return text + fmt.Sprintf(requirements, root, ours, hooks)
	})
	if err != nil {
		return err
	}
	sums, err := os.ReadFile(filepath.Join(ours, "go.sum"))
	if err != nil {
		return err
	}
	return w.edit("go.sum", func(text string) string { return text + string(sums) })
}

const defaultVFS = `
var tested VFS = vfsOS{}

func SetTested(v VFS) { tested = v }

// Closed is called after a file is closed.
var Closed = func() {}
`

const requirements = `
require (
	github.com/go-aio/aio v0.0.0
	github.com/go-aio/aio/adapters/sqlite v0.0.0
	` + hookPackage + ` v0.0.0
	github.com/ncw/directio v1.0.5
)

replace (
	github.com/go-aio/aio => %s
	github.com/go-aio/aio/adapters/sqlite => %s
	` + hookPackage + ` => %s
)
`

// edit changes a file of the copy.
func (w *workshop) edit(name string, change func(text string) string) error {
	name = filepath.Join(w.module, name)
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	// The files of the module cache are read-only.
	if err := os.Chmod(name, 0o600); err != nil {
		return err
	}
	changed := change(string(text))
	if changed == string(text) {
		return fmt.Errorf("the edit of %s changed nothing", name)
	}
	return os.WriteFile(name, []byte(changed), 0o600)
}
