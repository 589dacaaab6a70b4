//go:build linux

// Package txcheck is the main function of a program that runs transactions on a database. Another
// program (trials/powercut) cuts the power of the disk, or kills the first one, and then starts it
// again to check which transactions survived.
//
//	txcheck modes                     prints the modes that the database can be opened in
//	txcheck write MODE SEED DIR       runs transactions until it is killed, and announces
//	                                  them, see package crashlog
//	txcheck check MODE SEED DIR       reads the bounds of each worker from its standard
//	                                  input, and prints the losses
//
// Each of the Workers has a table of its own and runs one transaction after the other, numbered
// from 1. A transaction sets and deletes keys that the seed chooses. So a table always equals its
// state after some transaction, and the check can tell which.
package txcheck

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/go-aio/aio/internal/aiotest/crashlog"
)

// Workers is the number of goroutines, each with a table of its own.
const Workers = 4

// A Store is a database. Its methods may be called concurrently, for each worker by one goroutine
// at a time.
type Store interface {
	// Commit makes all the changes or, if there is a crash, none. They are durable when it returns.
	Commit(worker int, changes []Change) error
	// Load returns the contents of a table.
	Load(worker int) (map[string][]byte, error)
	// Check runs the database's own check for damage.
	Check() error
	Close() error
}

// A Change sets a key of a table, or deletes it if Value is nil.
type Change struct {
	Key   string
	Value []byte
}

// A Database opens a Store in a directory.
type Database struct {
	Modes []string // modes over the database's own files are called os, or os-something
	Open  func(dir, mode string) (Store, error)
}

// Main runs the program.
func (d Database) Main() {
	var err error
	switch args := os.Args[1:]; {
	case len(args) == 1 && args[0] == "modes":
		for _, mode := range d.Modes {
			fmt.Println(mode)
		}
	case len(args) == 4 && (args[0] == "write" || args[0] == "check") && slices.Contains(d.Modes, args[1]):
		err = d.run(args[0], args[1], args[2], args[3])
	default:
		err = errors.New("usage: txcheck modes | txcheck write|check MODE SEED DIR")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "txcheck:", err)
		os.Exit(1)
	}
}

func (d Database) run(what, mode, seed, dir string) error {
	n, err := strconv.ParseUint(seed, 10, 64)
	if err != nil {
		return err
	}
	store, err := d.Open(dir, mode)
	if err != nil {
		return fmt.Errorf("the database cannot be opened: %w", err)
	}
	if what == "write" {
		crashlog.Fail(write(store, n))
	}
	known, err := readKnown(os.Stdin)
	if err != nil {
		return err
	}
	return errors.Join(store.Check(), check(store, n, known, os.Stdout), store.Close())
}

// write returns the first error. The Slot of a record is the worker.
func write(store Store, seed uint64) error {
	errs := make(chan error)
	for worker := range Workers {
		go func() {
			for version := 1; ; version++ {
				r := crashlog.Record{Slot: worker, Version: version, Off: -1}
				crashlog.Announce(crashlog.Begun, r)
				if err := store.Commit(worker, transaction(seed, worker, version)); err != nil {
					errs <- fmt.Errorf("worker %d, transaction %d: %w", worker, version, err)
					return
				}
				crashlog.Announce(crashlog.Synced, r)
				if version > hasty {
					time.Sleep(10 * time.Millisecond)
				}
			}
		}()
	}
	return <-errs
}

// hasty is the number of transactions after which a worker slows down. Otherwise a database that
// keeps every transaction, and does not wait for the disk, would fill it.
const hasty = 2500

const (
	keys    = 100    // of a table
	usual   = 1_500  // usual maximum length of a value, in bytes
	longest = 40_000 // maximum length of a few values
)

// transaction returns the changes of one transaction. If a key is in it twice, the later change
// counts.
func transaction(seed uint64, worker, version int) []Change {
	r := rand.New(rand.NewPCG(seed, uint64(worker)<<32|uint64(version)))
	changes := make([]Change, 1+r.IntN(4))
	for i := range changes {
		changes[i].Key = fmt.Sprintf("worker %d key %02d", worker, r.IntN(keys))
		if r.IntN(6) == 0 {
			continue // deleted
		}
		n := 1 + r.IntN(usual)
		if r.IntN(16) == 0 {
			n = 1 + r.IntN(longest)
		}
		changes[i].Value = value(r, worker, version, n)
	}
	return changes
}

// value returns at least n bytes that do not compress, and begin with the transaction's name.
func value(r *rand.Rand, worker, version, n int) []byte {
	v := fmt.Appendf(make([]byte, 0, n+64), "worker %d transaction %d ", worker, version)
	for len(v) < n {
		v = binary.LittleEndian.AppendUint64(v, r.Uint64())
	}
	return v
}

// Known bounds the transactions of a worker that may have survived.
type Known struct {
	Least int // this transaction and all before it must be there
	Most  int // the last transaction that may be there
}

// WriteKnown writes the input of txcheck check.
func WriteKnown(w io.Writer, known []Known) error {
	for _, k := range known {
		if _, err := fmt.Fprintln(w, k.Least, k.Most); err != nil {
			return err
		}
	}
	return nil
}

func readKnown(r io.Reader) ([]Known, error) {
	known := make([]Known, Workers)
	in := bufio.NewReader(r)
	for i := range known {
		if _, err := fmt.Fscanln(in, &known[i].Least, &known[i].Most); err != nil {
			return nil, fmt.Errorf("the bounds of worker %d: %w", i, err)
		}
	}
	return known, nil
}

// check prints a line for each table whose contents match none of the transactions that may be the
// last.
func check(store Store, seed uint64, known []Known, out io.Writer) error {
	for worker, k := range known {
		got, err := store.Load(worker)
		if err != nil {
			return fmt.Errorf("worker %d: %w", worker, err)
		}
		if diff := find(got, seed, worker, k); diff != "" {
			fmt.Fprintf(out, "worker %d is not as after any of the transactions %d to %d; after the first: %s\n", worker, k.Least, k.Most, diff)
		}
	}
	return nil
}

// find looks for the transaction that left the table as got. It returns "", or the difference from
// the first candidate.
func find(got map[string][]byte, seed uint64, worker int, k Known) (first string) {
	table := make(map[string][]byte)
	for version := 0; version <= k.Most; version++ {
		if version > 0 {
			apply(table, transaction(seed, worker, version))
		}
		if version < k.Least {
			continue
		}
		diff := difference(got, table)
		if diff == "" {
			return ""
		}
		if first == "" {
			first = diff
		}
	}
	return first
}

func apply(table map[string][]byte, changes []Change) {
	for _, c := range changes {
		if c.Value == nil {
			delete(table, c.Key)
		} else {
			table[c.Key] = c.Value
		}
	}
}

// difference describes the first difference, or returns "".
func difference(got, want map[string][]byte) string {
	all := maps.Clone(want)
	maps.Copy(all, got)
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if g, w := got[key], want[key]; !bytes.Equal(g, w) {
			return fmt.Sprintf("%s is %s, not %s", key, describe(g), describe(w))
		}
	}
	return ""
}

func describe(v []byte) string {
	if v == nil {
		return "not there"
	}
	return fmt.Sprintf("%d bytes, %q...", len(v), v[:min(len(v), 32)])
}
