//go:build linux

// Txcheck runs transactions on Pebble, and checks which of them are there after a power cut: see
// package internal/aiotest/txcheck, and internal/aiotest/trials/powercut, which runs it.
package main

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	aiopebble "github.com/go-aio/aio/adapters/pebble"
	"github.com/go-aio/aio/internal/aiotest/txcheck"
)

var modes = map[string]vfs.FS{
	"os":       vfs.Default,
	"buffered": aiopebble.New(aiopebble.Options{}),
	"direct":   aiopebble.New(aiopebble.Options{DirectReads: true, DirectWrites: true}),
	"wal":      aiopebble.New(aiopebble.Options{ExclusiveWAL: true}),
	"all":      aiopebble.New(aiopebble.Options{DirectReads: true, DirectWrites: true, ExclusiveWAL: true}),
}

func main() {
	txcheck.Database{Modes: []string{"os", "buffered", "direct", "wal", "all"}, Open: open}.Main()
}

// open opens a database that flushes, compacts and changes its log all the time.
func open(dir, mode string) (txcheck.Store, error) {
	o := &pebble.Options{
		FS: modes[mode], Logger: quiet{}, FormatMajorVersion: pebble.FormatNewest,
		MemTableSize: 256 << 10, L0CompactionThreshold: 2, BytesPerSync: 64 << 10, WALBytesPerSync: 16 << 10,
	}
	o.TargetFileSizes[0] = 128 << 10
	db, err := pebble.Open(dir, o)
	if err != nil {
		return nil, err
	}
	return store{db}, nil
}

// quiet logs nothing, except messages that end the program.
type quiet struct{}

func (quiet) Infof(string, ...any)              {}
func (quiet) Errorf(string, ...any)             {}
func (quiet) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

type store struct{ db *pebble.DB }

func prefix(worker int) []byte { return fmt.Appendf(nil, "%d/", worker) }

func (s store) Commit(worker int, changes []txcheck.Change) error {
	b := s.db.NewBatch()
	defer b.Close()
	for _, c := range changes {
		key := append(prefix(worker), c.Key...)
		var err error
		if c.Value == nil {
			err = b.Delete(key, nil)
		} else {
			err = b.Set(key, c.Value, nil)
		}
		if err != nil {
			return err
		}
	}
	return b.Commit(pebble.Sync)
}

func (s store) Load(worker int) (map[string][]byte, error) {
	from := prefix(worker)
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: append(from, 0xff)})
	if err != nil {
		return nil, err
	}
	table := make(map[string][]byte)
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		var v []byte
		v, err = it.ValueAndErr()
		table[string(it.Key()[len(from):])] = bytes.Clone(v)
	}
	return table, errors.Join(err, it.Close())
}

func (s store) Check() error { return s.db.CheckLevels(nil) }
func (s store) Close() error { return s.db.Close() }
