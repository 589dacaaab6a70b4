package sqlite_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/adapters/sqlite"
	"github.com/go-aio/aio/internal/aiotest"
	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/util/vfsutil"
	"github.com/ncruces/go-sqlite3/vfs"
)

// modes are names of VFSes: go-sqlite3's own and the adapter's.
var modes = []string{"os", "aio", "aio-direct"}

// scratch returns a directory on the disk of the working directory, which has direct I/O where
// /tmp may not.
func scratch(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp(".", ".cache-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if dir, err = filepath.Abs(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// uri returns the URI of a database in dir.
func uri(dir, mode string, pragmas ...string) string {
	u := "file:" + filepath.Join(dir, "test.db") + "?_pragma=busy_timeout(10000)"
	if mode != "os" {
		u += "&vfs=" + mode
	}
	for _, p := range pragmas {
		u += "&_pragma=" + p
	}
	return u
}

func open(t testing.TB, dir, mode string, pragmas ...string) *sqlite3.Conn {
	t.Helper()
	return openURI(t, uri(dir, mode, pragmas...))
}

func openURI(t testing.TB, uri string) *sqlite3.Conn {
	t.Helper()
	c, err := sqlite3.Open(uri)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func do(t testing.TB, c *sqlite3.Conn, sql string) {
	t.Helper()
	if err := c.Exec(sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// text returns the single value of a query.
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

// fill makes a table t of 2000 rows, 2 MB.
func fill(t testing.TB, c *sqlite3.Conn) {
	t.Helper()
	do(t, c, `CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT);
		WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 2000)
		INSERT INTO t SELECT i, hex(randomblob(500)) FROM n`)
}

// mainFile returns the file of a connection's database, without the wrapper of go-sqlite3.
func mainFile(t testing.TB, c *sqlite3.Conn) vfs.FileSizeHint {
	t.Helper()
	p, err := c.FileControl("", sqlite3.FCNTL_FILE_POINTER)
	if err != nil {
		t.Fatal(err)
	}
	f, ok := vfsutil.UnwrapFile[vfs.FileSizeHint](p.(vfs.File))
	if !ok {
		t.Fatalf("%T has no file", p)
	}
	return f
}

// TestDatabases writes every journal mode and page size, in each mode, and reads it in all modes.
func TestDatabases(t *testing.T) {
	for _, mode := range modes[1:] {
		for _, journal := range []string{"delete", "truncate", "persist", "memory", "wal", "off"} {
			for _, page := range []int{512, 4096, 65536} {
				if page != 4096 && journal != "delete" && journal != "wal" {
					continue
				}
				t.Run(fmt.Sprintf("%s/%s/%d", mode, journal, page), func(t *testing.T) {
					dir := scratch(t)
					c := open(t, dir, mode, fmt.Sprintf("page_size(%d)", page), "journal_mode("+journal+")")
					wantText(t, c, "PRAGMA journal_mode", journal)
					fill(t, c)
					const sum = "SELECT count(*) || ' ' || sum(length(v)) FROM t"
					want := text(t, c, sum)
					for _, other := range modes {
						o := open(t, dir, other)
						wantText(t, o, sum, want)
						wantText(t, o, "PRAGMA integrity_check", "ok")
						o.Close()
					}
					do(t, c, "DELETE FROM t WHERE id % 2; VACUUM")
					wantText(t, c, "PRAGMA integrity_check", "ok")
					wantText(t, open(t, dir, "os"), "SELECT count(*) FROM t", "1000")
				})
			}
		}
	}
}

// counts returns how many calls of package aio went through the page cache, and how many did not.
func counts() (cached, direct int64) {
	s := aio.ReadStats()
	return s.PageCache, s.Submitted + s.Synchronous
}

// wantCounts checks by how much fn raises the counts; -1 is any number that is not 0.
func wantCounts(t *testing.T, what string, wantCached, wantDirect int64, fn func()) {
	t.Helper()
	cached, direct := counts()
	fn()
	c, d := counts()
	is := func(got, want int64) bool { return got == want || want < 0 && got > 0 }
	if !is(c-cached, wantCached) || !is(d-direct, wantDirect) {
		t.Errorf("%s: %d calls through the page cache, %d past it; want %d, %d", what, c-cached, d-direct, wantCached, wantDirect)
	}
}

// onLinux skips a test where the VFSes are go-sqlite3's own.
func onLinux(t *testing.T) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("not on Linux")
	}
}

// TestWhatGoesWhere checks the package comment's table of what goes where.
func TestWhatGoesWhere(t *testing.T) {
	onLinux(t)
	for _, mode := range modes[1:] {
		t.Run(mode, func(t *testing.T) {
			c := open(t, scratch(t), mode)
			fill(t, c)
			f := mainFile(t, c)
			direct := int64(0)
			if mode == "aio-direct" {
				if direct = 1; f.DeviceCharacteristics()&vfs.IOCAP_SUBPAGE_READ != 0 {
					t.Error("parts of pages may be read")
				}
			}
			page, odd := make([]byte, 4096), make([]byte, 4104)
			transfer := func(fn func(p []byte, off int64) (int, error), p []byte, off int64) func() {
				return func() {
					if n, err := fn(p, off); n != len(p) || err != nil {
						t.Errorf("%d bytes, %v", n, err)
					}
				}
			}
			wantCounts(t, "read a page", 1-direct, direct, transfer(f.ReadAt, page, 8192))
			wantCounts(t, "write a page", 1-direct, direct, transfer(f.WriteAt, page, 8192))
			wantCounts(t, "read a part", 1-direct, 0, transfer(f.ReadAt, page[:512], 8192))
			wantCounts(t, "write a part", 1, 0, transfer(f.WriteAt, page[:512], 8192))
			wantCounts(t, "write an odd length", 1, 0, transfer(f.WriteAt, odd, 8192))
			wantCounts(t, "read the header", 1-direct, 0, transfer(f.ReadAt, page[:16], 24))
			wantCounts(t, "read the first block", 1-direct, 0, transfer(f.ReadAt, page, 0))
			wantCounts(t, "read a larger first page", 1-direct, direct, transfer(f.ReadAt, make([]byte, 8192), 0))
			wantCounts(t, "sync", 0, 1, func() {
				if err := f.Sync(vfs.SYNC_FULL); err != nil {
					t.Error(err)
				}
			})
			wantCounts(t, "a temporary table", -1, 0, func() {
				do(t, c, `PRAGMA temp_store=file; PRAGMA temp.cache_size=10; CREATE TEMP TABLE b AS
					WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 1000) SELECT hex(randomblob(500)) v FROM n`)
				wantText(t, c, "SELECT count(*) || ' ' || sum(length(v)) FROM b", "1000 1000000")
			})
		})
	}
}

// TestWorkingSet checks that pages which are read over and over come from the page cache, until
// many are read once.
func TestWorkingSet(t *testing.T) {
	onLinux(t)
	c := open(t, scratch(t), "aio-direct")
	fill(t, c)
	f := mainFile(t, c)
	if err := f.SizeHint(64 << 20); err != nil {
		t.Fatal(err)
	}
	page, first := make([]byte, 4096), make([]byte, 4096)
	read := func(off int64) {
		if n, err := f.ReadAt(page, off); n != len(page) || err != nil {
			t.Fatalf("%d bytes, %v", n, err)
		}
	}
	read(8192)
	copy(first, page)
	write := func() {
		if n, err := f.WriteAt(first, 8192); n != len(first) || err != nil {
			t.Fatalf("%d bytes, %v", n, err)
		}
	}
	wantCounts(t, "a page before", 0, 2, func() { read(8192); write() })
	for i := range int64(2 * 4096) {
		read(8192 + i%1000*4096)
	}
	wantCounts(t, "a page again", 0, 0, func() { read(8192); write() })
	for i := range int64(2 * 4096) {
		read(8192 + i*4096)
	}
	wantCounts(t, "a page after many", 0, 2, func() { read(8192); write() })
	if !bytes.Equal(page, first) {
		t.Error("the page has changed")
	}
	wantText(t, c, "PRAGMA integrity_check", "ok")
}

// TestSizeHint checks that a size hint reserves space, and does not truncate.
func TestSizeHint(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode, func(t *testing.T) {
			f := mainFile(t, open(t, scratch(t), mode))
			for _, c := range []struct{ hint, want int64 }{{1 << 20, 1 << 20}, {4096, 1 << 20}, {0, 1 << 20}, {1<<20 + 1, 1<<20 + 1}} {
				if err := f.SizeHint(c.hint); err != nil {
					t.Fatal(err)
				}
				if size, err := f.Size(); size != c.want || err != nil {
					t.Errorf("hint %d: size %d, %v; want %d", c.hint, size, err, c.want)
				}
			}
			if err := f.Truncate(0); err != nil {
				t.Fatal(err)
			}
			if size, err := f.Size(); size != 0 || err != nil {
				t.Errorf("size %d after Truncate, %v", size, err)
			}
		})
	}
}

// TestMemoryMapping checks that the mapping of a connection shows the writes of others, direct or
// not.
func TestMemoryMapping(t *testing.T) {
	for _, writer := range modes {
		for _, reader := range modes {
			for _, journal := range []string{"delete", "wal"} {
				t.Run(writer+"/"+reader+"/"+journal, func(t *testing.T) {
					dir := scratch(t)
					w := open(t, dir, writer, "journal_mode("+journal+")", "mmap_size(67108864)")
					fill(t, w)
					r := open(t, dir, reader, "mmap_size(67108864)")
					wantText(t, r, "PRAGMA mmap_size", "67108864")
					for i := range 5 {
						do(t, w, fmt.Sprintf("UPDATE t SET v = '%d' || substr(v, 2); PRAGMA wal_checkpoint(TRUNCATE)", i))
						wantText(t, r, fmt.Sprintf("SELECT count(*) FROM t WHERE v LIKE '%d%%'", i), "2000")
					}
					wantText(t, r, "PRAGMA integrity_check", "ok")
				})
			}
		}
	}
}

// TestFileControls makes the file controls of the VFS "os".
func TestFileControls(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode, func(t *testing.T) {
			dir := scratch(t)
			c := open(t, dir, mode, "journal_mode(wal)")
			fill(t, c)
			control := func(op sqlite3.FcntlOpcode, want any, arg ...any) {
				t.Helper()
				if got, err := c.FileControl("", op, arg...); got != want || err != nil {
					t.Errorf("%d: %v, %v; want %v", op, got, err, want)
				}
			}
			control(sqlite3.FCNTL_POWERSAFE_OVERWRITE, true)
			control(sqlite3.FCNTL_POWERSAFE_OVERWRITE, false, false)
			control(sqlite3.FCNTL_POWERSAFE_OVERWRITE, false)
			control(sqlite3.FCNTL_LOCKSTATE, vfs.LOCK_SHARED)
			control(sqlite3.FCNTL_PERSIST_WAL, false)
			control(sqlite3.FCNTL_PERSIST_WAL, true, true)
			c.Close()
			if _, err := os.Stat(filepath.Join(dir, "test.db-wal")); err != nil {
				t.Errorf("no log is left: %v", err)
			}
		})
	}
}

// TestHasMoved checks that a database that was moved away is not written to.
func TestHasMoved(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode, func(t *testing.T) {
			dir := scratch(t)
			c := open(t, dir, mode)
			fill(t, c)
			if err := os.Rename(filepath.Join(dir, "test.db"), filepath.Join(dir, "moved.db")); err != nil {
				t.Fatal(err)
			}
			if err := c.Exec("DELETE FROM t"); !errors.Is(err, sqlite3.READONLY_DBMOVED) {
				t.Errorf("got %v, want READONLY_DBMOVED", err)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	onLinux(t)
	for _, mode := range modes[1:] {
		t.Run(mode, func(t *testing.T) {
			// The device takes the size of a file and no byte.
			c := openURI(t, "file:/dev/full?vfs="+mode+"&_pragma=journal_mode(off)")
			if err := c.Exec("CREATE TABLE t (a)"); !errors.Is(err, sqlite3.FULL) {
				t.Errorf("a full disk: %v, want FULL", err)
			}
			// There is no memory at address 0.
			if _, err := sqlite3.Open("file:/proc/self/mem?mode=ro&vfs=" + mode); !errors.Is(err, sqlite3.IOERR_CORRUPTFS) {
				t.Errorf("EIO: %v, want IOERR_CORRUPTFS", err)
			}
			if _, err := sqlite3.Open(uri(filepath.Join(scratch(t), "none"), mode)); !errors.Is(err, sqlite3.CANTOPEN) {
				t.Errorf("no directory: %v, want CANTOPEN", err)
			}
		})
	}
}

// TestWithoutDirect checks that without direct I/O a direct database is buffered.
func TestWithoutDirect(t *testing.T) {
	c := open(t, aiotest.TmpfsDir(t), "aio-direct")
	wantCounts(t, "without direct I/O", -1, -1, func() { fill(t, c) }) // syncs are counted with the direct requests
	wantText(t, c, "PRAGMA integrity_check", "ok")
}

// TestReadOnly opens a read-only database, by its mode or by that of the file.
func TestReadOnly(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode, func(t *testing.T) {
			dir := scratch(t)
			c := open(t, dir, "os")
			fill(t, c)
			c.Close()
			r := openURI(t, uri(dir, mode)+"&mode=ro")
			wantText(t, r, "SELECT count(*) FROM t", "2000")
			if err := r.Exec("DELETE FROM t"); !errors.Is(err, sqlite3.READONLY) {
				t.Errorf("got %v, want READONLY", err)
			}
		})
	}
}

// descriptors returns how many descriptors of the process are open on files with part in their
// names.
func descriptors(t testing.TB, part string) (n int) {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if name, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && strings.Contains(name, part) {
			n++
		}
	}
	return n
}

func TestDescriptors(t *testing.T) {
	onLinux(t)
	for mode, want := range map[string]int{"os": 1, "aio": 2, "aio-direct": 3} {
		dir := scratch(t)
		c := open(t, dir, mode, "journal_mode(wal)")
		fill(t, c)
		if got := descriptors(t, dir+"/test.db") - descriptors(t, dir+"/test.db-"); got != want {
			t.Errorf("%s: %d descriptors of the database, want %d", mode, got, want)
		}
		c.Close()
		if got := descriptors(t, dir); got != 0 {
			t.Errorf("%s: %d descriptors are left", mode, got)
		}
	}
}

// TestTemporaryFile uses temporary files, which have no name to be opened by.
func TestTemporaryFile(t *testing.T) {
	for _, direct := range []bool{false, true} {
		f, _, err := sqlite.VFS{Direct: direct}.Open("", vfs.OPEN_TEMP_DB|vfs.OPEN_READWRITE|vfs.OPEN_CREATE|vfs.OPEN_EXCLUSIVE|vfs.OPEN_DELETEONCLOSE)
		if err != nil {
			t.Fatal(err)
		}
		p := make([]byte, 5)
		if _, err := f.WriteAt([]byte("hello"), 7000); err != nil {
			t.Error(err)
		}
		if _, err := f.ReadAt(p, 7000); string(p) != "hello" || err != nil {
			t.Errorf("%q, %v", p, err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}
