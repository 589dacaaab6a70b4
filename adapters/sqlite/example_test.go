package sqlite_test

import (
	"database/sql"
	"fmt"
	"log"
	"os"
	"path/filepath"

	_ "github.com/go-aio/aio/adapters/sqlite"
	_ "github.com/ncruces/go-sqlite3/driver"
)

func Example() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	// vfs=aio-direct is for databases much larger than memory, and needs a larger cache.
	db, err := sql.Open("sqlite3", "file:"+filepath.Join(dir, "demo.db")+"?vfs=aio&_pragma=journal_mode(wal)")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(`CREATE TABLE t (name); INSERT INTO t VALUES ('disk'), ('page cache')`); err != nil {
		log.Fatal(err)
	}
	var n int
	if err := db.QueryRow(`SELECT count(*) FROM t`).Scan(&n); err != nil {
		log.Fatal(err)
	}
	fmt.Println(n)
	// Output: 2
}
