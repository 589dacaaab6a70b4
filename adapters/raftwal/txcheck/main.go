//go:build linux

// Txcheck runs transactions on raft-wal, a log for each worker, and checks which of them are there
// after a power cut: see package internal/aiotest/txcheck, and internal/aiotest/trials/powercut,
// which runs it. A change is an entry of the log, a transaction a StoreLogs.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/go-aio/aio/adapters/raftwal"
	"github.com/go-aio/aio/internal/aiotest/txcheck"
	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/fs"
	"github.com/hashicorp/raft-wal/metadb"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"
)

var modes = map[string]types.VFS{
	"os":       fs.New(),
	"buffered": raftwal.New(raftwal.Options{}),
	"direct":   raftwal.New(raftwal.Options{Direct: true}),
}

func main() {
	txcheck.Database{Modes: []string{"os", "buffered", "direct"}, Open: open}.Main()
}

// segmentSize makes the logs change their segment all the time.
const segmentSize = 256 << 10

func open(dir, mode string) (txcheck.Store, error) {
	s := new(store)
	for worker := range s {
		l, err := openLog(filepath.Join(dir, fmt.Sprint(worker)), modes[mode])
		if err != nil {
			return nil, errors.Join(err, s.Close())
		}
		s[worker] = l
	}
	return s, nil
}

func openLog(dir string, vfs types.VFS) (*log, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	meta := new(metadb.BoltMetaDB)
	w, err := wal.Open(dir, wal.WithSegmentFiler(segment.NewFiler(dir, vfs)), wal.WithSegmentSize(segmentSize),
		wal.WithMetaStore(meta), wal.WithLogger(hclog.NewNullLogger()))
	if err != nil {
		return nil, err
	}
	last, err := w.LastIndex()
	return &log{w, meta, last}, err
}

type store [txcheck.Workers]*log

// A log is a WAL that closes its database of metadata too, which WAL.Close leaves open.
type log struct {
	*wal.WAL
	meta *metadb.BoltMetaDB
	last uint64 // index
}

func (s *store) Commit(worker int, changes []txcheck.Change) error {
	l := s[worker]
	entries := make([]*raft.Log, len(changes))
	for i, c := range changes {
		l.last++
		entries[i] = &raft.Log{Index: l.last, Data: []byte(c.Key), Extensions: c.Value}
	}
	return l.StoreLogs(entries)
}

func (s *store) Load(worker int) (map[string][]byte, error) {
	l := s[worker]
	table := make(map[string][]byte)
	for i := uint64(1); i <= l.last; i++ {
		var entry raft.Log
		if err := l.GetLog(i, &entry); err != nil {
			return nil, fmt.Errorf("entry %d of %d: %w", i, l.last, err)
		}
		if len(entry.Extensions) == 0 {
			delete(table, string(entry.Data))
		} else {
			table[string(entry.Data)] = entry.Extensions
		}
	}
	return table, nil
}

// Check does nothing: Load reads all entries, with their checksums.
func (s *store) Check() error { return nil }

func (s *store) Close() error {
	var errs []error
	for _, l := range s {
		if l != nil {
			errs = append(errs, l.Close(), l.meta.Close())
		}
	}
	return errors.Join(errs...)
}
