//go:build linux

// Txcheck runs transactions on goleveldb, and checks which of them are there after a power cut: see
// package internal/aiotest/txcheck, and internal/aiotest/trials/powercut, which runs it.
package main

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/go-aio/aio/adapters/goleveldb"
	"github.com/go-aio/aio/internal/aiotest/txcheck"
	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/opt"
	"github.com/syndtr/goleveldb/leveldb/storage"
	"github.com/syndtr/goleveldb/leveldb/util"
)

func main() {
	txcheck.Database{Modes: []string{"os", "buffered", "direct", "ahead", "all"}, Open: open}.Main()
}

// open opens a database that flushes, compacts and changes its journal all the time.
func open(dir, mode string) (txcheck.Store, error) {
	var files storage.Storage
	var err error
	if mode == "os" {
		files, err = storage.OpenFile(dir, false)
	} else {
		files, err = goleveldb.Open(dir, goleveldb.Options{
			Direct: mode == "direct" || mode == "all", JournalAhead: mode == "ahead" || mode == "all",
		})
	}
	if err != nil {
		return nil, err
	}
	db, err := leveldb.Open(files, &opt.Options{WriteBuffer: 256 << 10, CompactionTableSize: 128 << 10, CompactionL0Trigger: 2})
	if err != nil {
		return nil, errors.Join(err, files.Close())
	}
	return store{db, files}, nil
}

type store struct {
	db    *leveldb.DB
	files storage.Storage
}

func prefix(worker int) []byte { return fmt.Appendf(nil, "%d/", worker) }

func (s store) Commit(worker int, changes []txcheck.Change) error {
	b := new(leveldb.Batch)
	for _, c := range changes {
		key := append(prefix(worker), c.Key...)
		if c.Value == nil {
			b.Delete(key)
		} else {
			b.Put(key, c.Value)
		}
	}
	return s.db.Write(b, &opt.WriteOptions{Sync: true})
}

func (s store) Load(worker int) (map[string][]byte, error) {
	from := prefix(worker)
	it := s.db.NewIterator(util.BytesPrefix(from), nil)
	defer it.Release()
	table := make(map[string][]byte)
	for it.Next() {
		table[string(it.Key()[len(from):])] = bytes.Clone(it.Value())
	}
	return table, it.Error()
}

// Check reads everything with all checks that goleveldb has.
func (s store) Check() error {
	it := s.db.NewIterator(nil, &opt.ReadOptions{Strict: opt.StrictAll, DontFillCache: true})
	defer it.Release()
	for it.Next() {
	}
	return it.Error()
}

func (s store) Close() error { return errors.Join(s.db.Close(), s.files.Close()) }
