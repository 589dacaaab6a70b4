package sqlitevfs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	_ "github.com/go-aio/aio/sqlitevfs"
	"github.com/ncruces/go-sqlite3"
)

var modes = []string{"os", "aio", "aio-direct"}

// scratch returns a directory on the disk of the working directory, which has direct I/O where /tmp may not.
func scratch(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp(".", ".cache-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	dir, err = filepath.Abs(dir)
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// open opens a connection to a database of dir.
func open(t testing.TB, dir, mode string, pragmas ...string) *sqlite3.Conn {
	t.Helper()
	uri := "file:" + filepath.Join(dir, "test.db") + "?_pragma=busy_timeout(10000)"
	if mode != "os" {
		uri += "&vfs=" + mode
	}
	for _, p := range pragmas {
		uri += "&_pragma=" + p
	}
	c, err := sqlite3.Open(uri)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func exec1(t testing.TB, c *sqlite3.Conn, sql string) {
	t.Helper()
	if err := c.Exec(sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// text returns the one value that a query has.
func text(t testing.TB, c *sqlite3.Conn, sql string) string {
	t.Helper()
	s, _, err := c.Prepare(sql)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	defer s.Close()
	if !s.Step() {
		t.Fatalf("%s: no row, %v", sql, s.Err())
	}
	return s.ColumnText(0)
}

func wantText(t testing.TB, c *sqlite3.Conn, sql, want string) {
	t.Helper()
	if got := text(t, c, sql); got != want {
		t.Errorf("%s = %q, want %q", sql, got, want)
	}
}

func fill(t testing.TB, c *sqlite3.Conn) {
	t.Helper()
	exec1(t, c, `CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT);
		WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 2000)
		INSERT INTO t SELECT i, hex(randomblob(500)) FROM n`)
}

// Every journal mode and page size, in each mode, written by one and read by the others.
func TestDatabases(t *testing.T) {
	for _, mode := range modes {
		for _, journal := range []string{"delete", "truncate", "persist", "memory", "wal", "off"} {
			for _, page := range []int{512, 4096, 65536} {
				t.Run(fmt.Sprintf("%s/%s/%d", mode, journal, page), func(t *testing.T) {
					dir := scratch(t)
					c := open(t, dir, mode, fmt.Sprintf("page_size(%d)", page), "journal_mode("+journal+")")
					wantText(t, c, "PRAGMA journal_mode", journal)
					fill(t, c)
					sum := text(t, c, "SELECT count(*) || ' ' || sum(length(v)) FROM t")
					for _, other := range modes {
						o := open(t, dir, other)
						wantText(t, o, "SELECT count(*) || ' ' || sum(length(v)) FROM t", sum)
						wantText(t, o, "PRAGMA integrity_check", "ok")
						o.Close()
					}
					exec1(t, c, "DELETE FROM t WHERE id % 2; VACUUM")
					wantText(t, c, "PRAGMA integrity_check", "ok")
					wantText(t, open(t, dir, "os"), "SELECT count(*) FROM t", "1000")
				})
			}
		}
	}
}
