package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/go-aio/aio/internal/aiotest/txcheck"
)

// A database writes by a program of its own, see package txcheck.
type database struct {
	name    string // of the adapter, whose module has the program
	program string
	modes   []string
}

// databaseSize is the minimum size of a disk for a database, in bytes.
const databaseSize = 320 << 20

// buildDatabases builds the programs, which are in modules of their own, in dir.
func buildDatabases(names []string, dir string) ([]*database, error) {
	root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/go-aio/aio").Output()
	if err != nil {
		return nil, fmt.Errorf("where the module is: %w", err)
	}
	var all []*database
	for _, name := range names {
		db := &database{name: name, program: filepath.Join(dir, name)}
		build := exec.Command("go", "build", "-o", db.program, "./txcheck")
		build.Dir = filepath.Join(strings.TrimSpace(string(root)), "adapters", name)
		if out, err := build.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%s: %w\n%s", name, err, out)
		}
		modes, err := exec.Command(db.program, "modes").Output()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		db.modes = strings.Fields(string(modes))
		all = append(all, db)
	}
	return all, nil
}

// A databaseMode is a database in one mode.
type databaseMode struct {
	*database
	mode string
}

func (l *databaseMode) String() string { return l.name + " " + l.mode }

// databaseModes returns all databases in all their modes on all filesystems, shuffled and repeated.
func (t *trial) databaseModes(dir string) ([]writing, error) {
	databases, err := buildDatabases(t.databases, dir)
	if err != nil {
		return nil, err
	}
	var each, all []writing
	for _, db := range databases {
		for _, mode := range t.modesOf(db) {
			for _, name := range t.filesystems {
				l := &databaseMode{db, mode}
				each = append(each, writing{filesystem: name, by: l.String(), database: l})
			}
		}
	}
	r := rand.New(rand.NewPCG(t.seed, 3))
	r.Shuffle(len(each), func(i, j int) { each[i], each[j] = each[j], each[i] })
	for i := range t.killCount {
		all = append(all, each[i%len(each)])
	}
	return all, nil
}

// modesOf returns the modes to use.
func (t *trial) modesOf(db *database) []string {
	return slices.DeleteFunc(slices.Clone(db.modes), func(mode string) bool {
		return t.engine != "" && strings.HasPrefix(mode, "os") != (t.engine == "os")
	})
}

// writer returns the program that runs transactions.
func (l *databaseMode) writer(seed uint64, dir string) *exec.Cmd {
	return exec.Command(l.program, "write", l.mode, strconv.FormatUint(seed, 10), dir)
}

// check runs the program's check for the transactions twice, in the mode of the writer and in
// another mode. The first check may change the files, as a database does when it recovers from a
// crash.
func (l *databaseMode) check(c *check, dir string, r *rand.Rand) {
	modes := []string{l.mode, l.modes[r.IntN(len(l.modes))]}
	if r.IntN(2) == 0 {
		modes[0], modes[1] = modes[1], modes[0]
	}
	var known []txcheck.Known
	for _, s := range c.known[0] {
		known = append(known, txcheck.Known{Least: s.least, Most: s.most})
		c.checked += s.least
	}
	for _, mode := range modes {
		var in, out bytes.Buffer
		if err := txcheck.WriteKnown(&in, known); err != nil {
			c.lost("%v", err)
		}
		child := exec.Command(l.program, "check", mode, strconv.FormatUint(c.seed, 10), dir)
		child.Stdin, child.Stdout, child.Stderr = &in, &out, &out
		err := child.Run()
		for line := range strings.Lines(out.String()) {
			c.lost("opened by %s: %s", mode, strings.TrimSpace(line))
		}
		if err != nil {
			c.lost("opened by %s: %v", mode, err)
		}
	}
}
