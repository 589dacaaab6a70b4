//go:build linux

// Package txcheck is the main of a program that runs transactions on a database, for another (trials/powercut) that cuts
// the power of the disk, or kills the program, and then has it look which of the transactions are there.
//
//	txcheck modes                     prints the modes that the database can be opened in
//	txcheck write MODE SEED DIR       runs transactions until it is killed, and announces them, see package crashlog
//	txcheck check MODE SEED DIR       reads from its standard input what is known, and prints what is lost
//
// Each of the Workers has a table of its own and one transaction after the other, numbered from 1 on, that sets and
// deletes some keys as the seed has it. So a table is always as it was after some transaction, and it can be told which.
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

// Workers is how many goroutines there are, with a table each.
const Workers = 4

// A Store is a database. Its methods may be called concurrently, for each worker by one goroutine at a time.
type Store interface {
	// Commit makes all the changes or, if there is a crash, none. They are durable when it returns.
	Commit(worker int, changes []Change) error
	// Load returns what is in a table.
	Load(worker int) (map[string][]byte, error)
	// Check has the database look for damage.
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
	Modes []string // those over the database's own files are called os, or os-something
	Open  func(dir, mode string) (Store, error)
}

// Main is the program.
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

// hasty is after how many transactions a worker takes its time: a database that keeps all of them, and does not
// wait for the disk, would fill it.
const hasty = 2500

const (
	keys    = 100    // of a table
	usual   = 1_500  // bytes of a value, at most
	longest = 40_000 // of some
)

// transaction returns the changes of one. The same key may be in it twice: then the later change counts.
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

// value returns some n bytes that do not compress, and begin with what transaction they are of.
func value(r *rand.Rand, worker, version, n int) []byte {
	v := fmt.Appendf(make([]byte, 0, n+64), "worker %d transaction %d ", worker, version)
	for len(v) < n {
		v = binary.LittleEndian.AppendUint64(v, r.Uint64())
	}
	return v
}

// Known is what is known of a worker's transactions.
type Known struct {
	Least int // the one that must be there, and all before
	Most  int // the last one that may be
}

// WriteKnown writes what txcheck check reads.
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
			return nil, fmt.Errorf("what is known of worker %d: %w", i, err)
		}
	}
	return known, nil
}

// check prints a line for each table that is not as it was after a transaction that may be the last one.
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

// find looks for the transaction after which the table was as got. It returns "" or, if there is none, what differs from
// the first that may be it.
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

// difference describes the first difference, if there is one.
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
