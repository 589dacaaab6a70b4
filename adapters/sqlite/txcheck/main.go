//go:build linux

// Txcheck runs transactions on SQLite, and checks which of them are there after a power cut: see
// package internal/aiotest/txcheck, and internal/aiotest/trials/powercut, which runs it.
package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	_ "github.com/go-aio/aio/adapters/sqlite"
	"github.com/go-aio/aio/internal/aiotest/txcheck"
	"github.com/ncruces/go-sqlite3"
)

func main() {
	txcheck.Database{
		Modes: []string{"os", "os-wal", "aio", "aio-wal", "aio-direct", "aio-direct-wal"}, Open: open,
	}.Main()
}

// open opens a database with a connection for each worker. It writes its journal back all the time.
func open(dir, mode string) (txcheck.Store, error) {
	vfs, journal := strings.TrimSuffix(mode, "-wal"), "delete"
	if vfs != mode {
		journal = "wal"
	}
	// With less than synchronous=extra the last transactions may be lost, according to SQLite's
	// manual.
	uri := fmt.Sprintf("file:%s?vfs=%s&_pragma=busy_timeout(60000)&_pragma=journal_mode(%s)&_pragma=synchronous(extra)"+
		"&_pragma=wal_autocheckpoint(50)&_pragma=cache_size(20)", filepath.Join(dir, "txcheck.db"), vfs, journal)
	s := new(store)
	for worker := range s {
		c, err := sqlite3.Open(uri)
		if err == nil {
			s[worker] = c
			err = c.Exec(fmt.Sprintf("CREATE TABLE IF NOT EXISTS t%d (key TEXT PRIMARY KEY, value BLOB)", worker))
		}
		if err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	return s, nil
}

type store [txcheck.Workers]*sqlite3.Conn

func (s *store) Commit(worker int, changes []txcheck.Change) (err error) {
	c := s[worker]
	tx, err := c.BeginImmediate()
	if err != nil {
		return err
	}
	defer tx.End(&err)
	for _, change := range changes {
		if err := set(c, worker, change); err != nil {
			return err
		}
	}
	return nil
}

func set(c *sqlite3.Conn, worker int, change txcheck.Change) error {
	sql := fmt.Sprintf("INSERT OR REPLACE INTO t%d VALUES (?, ?)", worker)
	if change.Value == nil {
		sql = fmt.Sprintf("DELETE FROM t%d WHERE key = ?", worker)
	}
	q, _, err := c.Prepare(sql)
	if err != nil {
		return err
	}
	defer q.Close()
	if err := q.BindText(1, change.Key); err != nil {
		return err
	}
	if change.Value != nil {
		if err := q.BindBlob(2, change.Value); err != nil {
			return err
		}
	}
	return q.Exec()
}

func (s *store) Load(worker int) (map[string][]byte, error) {
	table := make(map[string][]byte)
	err := s.rows(worker, fmt.Sprintf("SELECT key, value FROM t%d", worker), func(q *sqlite3.Stmt) {
		table[q.ColumnText(0)] = q.ColumnBlob(1, nil)
	})
	return table, err
}

// Check runs SQLite's own check.
func (s *store) Check() error {
	var found []string
	err := s.rows(0, "PRAGMA integrity_check", func(q *sqlite3.Stmt) { found = append(found, q.ColumnText(0)) })
	if err == nil && (len(found) != 1 || found[0] != "ok") {
		err = fmt.Errorf("integrity_check: %q", found)
	}
	return err
}

// rows calls do for each row of a query.
func (s *store) rows(worker int, sql string, do func(q *sqlite3.Stmt)) error {
	q, _, err := s[worker].Prepare(sql)
	if err != nil {
		return err
	}
	defer q.Close()
	for q.Step() {
		do(q)
	}
	return q.Err()
}

func (s *store) Close() error {
	var errs []error
	for _, c := range s {
		if c != nil {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(errs...)
}
