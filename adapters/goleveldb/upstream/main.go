// Upstream runs goleveldb's own tests, those of packages leveldb and storage, over goleveldb's own
// storage and over the adapter in each of its modes, and compares the failures:
//
//	go run ./upstream         # from adapters/goleveldb; 5 minutes
//	go run ./upstream -short  # without the longest tests; less than a minute
//
// It ends with 1 if a test fails in one mode and not in another. The sources of the tests are those
// of the module cache; in a temporary copy of them storage.OpenFile calls goleveldb.Open. A test
// that fails is run again by itself, up to three times, because some of goleveldb's depend on time;
// one that passes then is named, and does not count as failed.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-aio/aio/internal/aiotest/upstream"
)

const module = "github.com/syndtr/goleveldb"

// long matches the tests that -short leaves out: nine tenths of the time.
const long = "GoleveldbIssue72and83|GoleveldbIssue74|TestLevelDB|TransientError|DB_Concurrent|SingleEntryMemCompaction|" +
	"LeveldbIssue178|BulkInsertDelete|SparseMerge|TestBatch|GracefulClose|CompactionInputError"

// hook is added to the external tests of a package. The environment chooses the storage.
const hook = `package %s_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/adapters/goleveldb"
	"github.com/syndtr/goleveldb/leveldb/storage"
)

func TestMain(m *testing.M) {
	if mode := os.Getenv("UPSTREAM_MODE"); mode != "os" {
		storage.OpenFile = func(path string, readOnly bool) (storage.Storage, error) {
			return goleveldb.Open(path, goleveldb.Options{
				ReadOnly: readOnly, Direct: mode == "direct", JournalAhead: mode == "ahead",
			})
		}
	}
	code := m.Run()
	s := aio.ReadStats()
	fmt.Println("\nupstream:", s.PageCache, s.Synchronous+s.Submitted+s.Fallbacks.Extending)
	os.Exit(code)
}
`

func main() {
	short := flag.Bool("short", false, "leave the longest tests out")
	flag.Parse()
	upstream.Main(func(dir string) (bool, error) { return compare(dir, *short) })
}

func compare(dir string, short bool) (same bool, err error) {
	s := upstream.Suite{
		Packages: []string{module + "/leveldb/storage", module + "/leveldb"},
		Modes:    []string{"os", "buffered", "direct", "ahead"},
		Dir:      dir,
	}
	if short {
		s.Flags = []string{"-skip", long}
	}
	if s.Modfile, err = upstream.ReplaceModule(dir, module, edit); err != nil {
		return false, err
	}
	return s.Run()
}

// edit makes storage.OpenFile a variable in the copy of goleveldb in dir, and adds the hook to its
// tests.
func edit(dir string) error {
	name := filepath.Join(dir, "leveldb/storage/file_storage.go")
	source, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	const function = "\nfunc OpenFile("
	if strings.Count(string(source), function) != 1 {
		return fmt.Errorf("%s has another storage.OpenFile than that of v1.0.0", module)
	}
	return errors.Join(
		os.WriteFile(name, []byte(strings.Replace(string(source), function, "\nvar OpenFile = openFile\n\nfunc openFile(", 1)), 0o600),
		os.WriteFile(filepath.Join(dir, "leveldb/storage/upstream_test.go"), fmt.Appendf(nil, hook, "storage"), 0o600),
		os.WriteFile(filepath.Join(dir, "leveldb/upstream_test.go"), fmt.Appendf(nil, hook, "leveldb"), 0o600),
	)
}
