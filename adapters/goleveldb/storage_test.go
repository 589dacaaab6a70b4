package goleveldb_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/adapters/goleveldb"
	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/opt"
	"github.com/syndtr/goleveldb/leveldb/storage"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("GOLEVELDB_WRITES_TO"); dir != "" {
		log.Fatal(writeForEver(dir, goleveldb.Options{
			Direct:       os.Getenv("GOLEVELDB_DIRECT") != "",
			JournalAhead: os.Getenv("GOLEVELDB_AHEAD") != "",
		}))
	}
	os.Exit(m.Run())
}

// eachMode runs a test with the defaults, and with each option by itself.
func eachMode(t *testing.T, test func(t *testing.T, o goleveldb.Options)) {
	t.Run("buffered", func(t *testing.T) { test(t, goleveldb.Options{}) })
	t.Run("direct", func(t *testing.T) { test(t, goleveldb.Options{Direct: true}) })
	t.Run("ahead", func(t *testing.T) { test(t, goleveldb.Options{JournalAhead: true}) })
}

func mustOpen(t testing.TB, dir string, o goleveldb.Options) storage.Storage {
	t.Helper()
	s, err := goleveldb.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// small makes goleveldb write tables early.
var small = &opt.Options{WriteBuffer: 64 << 10, CompactionTableSize: 512 << 10, BlockCacheCapacity: 64 << 10}

func key(i int) []byte { return fmt.Appendf(nil, "key%08d", i) }

// value returns a value whose length depends on i, and which does not compress.
func value(i int) []byte {
	b := make([]byte, 50+i%300)
	r := rand.New(rand.NewPCG(uint64(i), 1))
	for j := range b {
		b[j] = byte(r.Uint32())
	}
	return b
}

func fill(t testing.TB, s storage.Storage, from, to int) {
	t.Helper()
	db, err := leveldb.Open(s, small)
	if err != nil {
		t.Fatal(err)
	}
	for i := from; i < to; i++ {
		if err := db.Put(key(i), value(i), nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// check reads keys 0 to n-1, one after the other and at random.
func check(t testing.TB, s storage.Storage, n int, o ...*opt.Options) {
	t.Helper()
	db, err := leveldb.Open(s, append(o, small)[0])
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	all, i := db.NewIterator(nil, nil), 0
	for ; all.Next(); i++ {
		if !bytes.Equal(all.Key(), key(i)) || !bytes.Equal(all.Value(), value(i)) {
			t.Fatalf("key %d is %q", i, all.Key())
		}
	}
	if all.Release(); all.Error() != nil || i != n {
		t.Fatalf("%d keys, want %d, error %v", i, n, all.Error())
	}
	var readers sync.WaitGroup
	for g := range 8 {
		readers.Go(func() {
			for j := range 500 {
				i := (g*7919 + j*104729) % n
				if v, err := db.Get(key(i), nil); err != nil || !bytes.Equal(v, value(i)) {
					t.Errorf("key %d: %d bytes, error %v", i, len(v), err)
				}
			}
		})
	}
	readers.Wait()
}

func ownStorage(t testing.TB, dir string) storage.Storage {
	t.Helper()
	s, err := storage.OpenFile(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// TestDatabasesAreTheSame writes a database by one storage, and reads and extends it by the other.
func TestDatabasesAreTheSame(t *testing.T) {
	eachMode(t, func(t *testing.T, o goleveldb.Options) {
		dir := t.TempDir()
		open := map[bool]func() storage.Storage{
			true:  func() storage.Storage { return mustOpen(t, dir, o) },
			false: func() storage.Storage { return ownStorage(t, dir) },
		}
		n := 0
		for i := range 4 {
			s := open[i%2 == 0]()
			fill(t, s, n, n+6000)
			s.Close()
			n += 6000
			s = open[i%2 != 0]()
			check(t, s, n)
			s.Close()
		}
	})
}

func TestOneAtATime(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir, goleveldb.Options{})
	if _, err := goleveldb.Open(dir, goleveldb.Options{ReadOnly: true}); !errors.Is(err, syscall.EWOULDBLOCK) {
		t.Errorf("a second one: error %v", err)
	}
	if _, err := storage.OpenFile(dir, false); !errors.Is(err, syscall.EWOULDBLOCK) {
		t.Errorf("goleveldb's own: error %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, dir, goleveldb.Options{ReadOnly: true})
	mustOpen(t, dir, goleveldb.Options{ReadOnly: true})
}

func TestReadOnly(t *testing.T) {
	eachMode(t, func(t *testing.T, o goleveldb.Options) {
		dir := t.TempDir()
		s := mustOpen(t, dir, o)
		fill(t, s, 0, 3000)
		s.Close()
		o.ReadOnly = true
		s = mustOpen(t, dir, o)
		check(t, s, 3000, &opt.Options{ReadOnly: true})
		own, err := storage.OpenFile(dir, true)
		if err != nil {
			t.Fatal(err)
		}
		defer own.Close()
		fd := storage.FileDesc{Type: storage.TypeTable, Num: 1000}
		_, want := own.Create(fd)
		if _, err := s.Create(fd); err == nil || err != want {
			t.Errorf("Create: error %v, want %v", err, want)
		}
	})
}

// TestErrors compares the errors of a storage and of a file after Close, and of impossible files,
// with those of goleveldb's own.
func TestErrors(t *testing.T) {
	eachMode(t, func(t *testing.T, o goleveldb.Options) {
		s := mustOpen(t, t.TempDir(), o)
		table := storage.FileDesc{Type: storage.TypeTable, Num: 3}
		if _, err := s.Open(table); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Open of a missing file: %v", err)
		}
		if _, err := s.Open(storage.FileDesc{}); err != storage.ErrInvalidFile {
			t.Errorf("Open of nothing: %v", err)
		}
		if _, err := s.Create(storage.FileDesc{}); err != storage.ErrInvalidFile {
			t.Errorf("Create of nothing: %v", err)
		}
		w, err := s.Create(table)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(w.Sync(), w.Close()); err != nil {
			t.Error(err)
		}
		if err := w.Close(); err != storage.ErrClosed {
			t.Errorf("a second Close of a file: %v", err)
		}
		r, err := s.Open(table)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := r.ReadAt(make([]byte, 10), 0); n != 0 || err != io.EOF {
			t.Errorf("ReadAt of an empty table: %d, %v", n, err)
		}
		if _, err := r.ReadAt(make([]byte, 10), -1); err == nil {
			t.Error("ReadAt at -1: no error")
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != storage.ErrClosed {
			t.Errorf("a second Close: %v", err)
		}
		if _, err := s.Open(table); err != storage.ErrClosed {
			t.Errorf("Open after Close: %v", err)
		}
		if _, err := s.Create(table); err != storage.ErrClosed {
			t.Errorf("Create after Close: %v", err)
		}
		if err := r.Close(); err != nil {
			t.Errorf("Close of a file after that of the storage: %v", err)
		}
	})
}

func TestLog(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir, goleveldb.Options{})
	if _, err := s.Create(storage.FileDesc{Type: storage.TypeJournal, Num: 1}); err != nil {
		t.Fatal(err)
	}
	s.Close()
	text, err := os.ReadFile(filepath.Join(dir, "LOG"))
	if err != nil || !bytes.Contains(text, []byte("1 files still open")) {
		t.Errorf("LOG: %q, error %v", text, err)
	}
}

// TestOldNames reads tables of old databases, whose names end in .sst.
func TestOldNames(t *testing.T) {
	eachMode(t, func(t *testing.T, o goleveldb.Options) {
		dir := t.TempDir()
		s := mustOpen(t, dir, o)
		fill(t, s, 0, 6000)
		s.Close()
		tables, err := filepath.Glob(filepath.Join(dir, "*.ldb"))
		if err != nil || len(tables) == 0 {
			t.Fatalf("tables %q, error %v", tables, err)
		}
		for _, name := range tables {
			if err := os.Rename(name, strings.TrimSuffix(name, ".ldb")+".sst"); err != nil {
				t.Fatal(err)
			}
		}
		check(t, mustOpen(t, dir, o), 6000)
	})
}

// written makes a table of n bytes with byte i being i*i>>8 and so on, and opens it.
func written(t testing.TB, s storage.Storage, n int) (content []byte, r storage.Reader) {
	t.Helper()
	fd := storage.FileDesc{Type: storage.TypeTable, Num: 7}
	w, err := s.Create(fd)
	if err != nil {
		t.Fatal(err)
	}
	content = make([]byte, n)
	for i := range content {
		content[i] = byte(i*i>>8 + i>>16)
	}
	for rest := content; len(rest) > 0; {
		m := min(len(rest), 4000)
		if k, err := w.Write(rest[:m]); k != m || err != nil {
			t.Fatal(k, err)
		}
		rest = rest[m:]
	}
	if err := errors.Join(w.Sync(), w.Close()); err != nil {
		t.Fatal(err)
	}
	if r, err = s.Open(fd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return content, r
}

func read(t testing.TB, r io.ReaderAt, content []byte, off, n int) {
	t.Helper()
	p := make([]byte, n)
	m, err := r.ReadAt(p, int64(off))
	want := content[min(off, len(content)):min(off+n, len(content))]
	if m < n && err != io.EOF || m == n && err != nil || !bytes.Equal(p[:m], want) {
		t.Errorf("%d bytes at %d of %d: n %d, error %v, or other bytes", n, off, len(content), m, err)
	}
}

// TestReadAhead reads block after block, also beside other readers, and while the collector frees
// the bytes read ahead. All bytes are those of the file.
func TestReadAhead(t *testing.T) {
	s := mustOpen(t, t.TempDir(), goleveldb.Options{Direct: true})
	content, r := written(t, s, 2<<20+12345)
	var readers sync.WaitGroup
	for g := range 4 {
		readers.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(g), 2))
			for off := 0; off < len(content); {
				n := 3000 + rnd.IntN(3000)
				read(t, r, content, off, n)
				off += n
				if g == 3 {
					read(t, r, content, rnd.IntN(len(content)), 100)
				}
				if rnd.IntN(100) == 0 {
					runtime.GC()
				}
			}
		})
	}
	readers.Wait()
	for _, n := range []int{0, 1, 128 << 10, 256 << 10, 3 << 20} {
		read(t, r, content, 1, n)
		read(t, r, content, 1+n, n)
	}
}

// TestReadAheadSizes reads tables whose ends are beside those of requests and windows.
func TestReadAheadSizes(t *testing.T) {
	s := mustOpen(t, t.TempDir(), goleveldb.Options{Direct: true})
	for _, size := range []int{1, 4095, 4096, 64 << 10, 128 << 10, 256 << 10, 512 << 10, 1 << 20, 1<<20 + 64<<10, 3 << 20} {
		for _, size := range []int{size, size + 1, size + 5000, size - 1} {
			content, r := written(t, s, size)
			for _, n := range []int{4096, 5003, 256 << 10} {
				for _, begin := range []int{0, 5003, size / 2} {
					read(t, r, content, begin, 100)
					for off := begin + 100; off < size; off += n {
						read(t, r, content, off, n)
					}
					read(t, r, content, size, 1)
				}
			}
			if err := errors.Join(r.Close(), s.Remove(storage.FileDesc{Type: storage.TypeTable, Num: 7})); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestReadAheadTakesFewRequests checks that a sequential reader of a table makes requests of up to
// 256 KiB, not of blocks.
func TestReadAheadTakesFewRequests(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir, goleveldb.Options{Direct: true})
	content, r := written(t, s, 2<<20)
	direct(t, dir)
	before := requests()
	for off := 0; off < len(content); off += 4000 {
		read(t, r, content, off, 4000)
	}
	// Eight, and the last read is short. The collector may have freed windows once or twice.
	if n := requests() - before; n > 20 {
		t.Errorf("%d requests for a table of 2 MiB", n)
	}
	before = requests()
	for i := range 50 {
		read(t, r, content, i*7919%500*4096, 4000)
	}
	if n := requests() - before; n > 60 {
		t.Errorf("%d requests for 50 blocks at random", n)
	}
}

func requests() int64 {
	s := aio.ReadStats()
	return s.Submitted + s.Synchronous + s.PageCache
}

// direct skips a test if files of dir are not direct.
func direct(t testing.TB, dir string) {
	t.Helper()
	f, err := aio.OpenFile(filepath.Join(dir, "probe"), os.O_RDWR|os.O_CREATE|aio.O_DIRECT, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if !f.Direct() {
		t.Skip("no direct I/O in", dir)
	}
}

// TestOnlyTablesAreDirect checks that a journal's small writes go through the page cache in any
// mode.
func TestOnlyTablesAreDirect(t *testing.T) {
	dir := t.TempDir()
	direct(t, dir)
	s := mustOpen(t, dir, goleveldb.Options{Direct: true})
	for _, kind := range []storage.FileType{storage.TypeJournal, storage.TypeManifest, storage.TypeTable, storage.TypeTemp} {
		fd := storage.FileDesc{Type: kind, Num: 1}
		w, err := s.Create(fd)
		if err != nil {
			t.Fatal(err)
		}
		w.Close()
		r, err := s.Open(fd)
		if err != nil {
			t.Fatal(err)
		}
		before := aio.ReadStats().PageCache
		r.ReadAt(make([]byte, 4096), 0)
		if cached := aio.ReadStats().PageCache > before; cached != (kind != storage.TypeTable) {
			t.Errorf("%v: through the page cache: %v", kind, cached)
		}
		r.Close()
	}
}

// TestJournalAhead checks that zeros follow an open journal, and that it has its exact size after
// Close.
func TestJournalAhead(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir, goleveldb.Options{JournalAhead: true})
	fd := storage.FileDesc{Type: storage.TypeJournal, Num: 1}
	w, err := s.Create(fd)
	if err != nil {
		t.Fatal(err)
	}
	var want []byte
	for i := range 3000 {
		p := value(i)
		if n, err := w.Write(p); n != len(p) || err != nil {
			t.Fatal(n, err)
		}
		want = append(want, p...)
		if i%500 != 0 {
			continue
		}
		if err := w.Sync(); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(dir, fd.String()))
		if err != nil || !bytes.HasPrefix(got, want) || len(got) == len(want) {
			t.Fatalf("%d bytes, %d were written; error %v", len(got), len(want), err)
		}
		if rest := got[len(want):]; !bytes.Equal(rest, make([]byte, len(rest))) {
			t.Fatal("the zeros after the records contain other bytes")
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, fd.String())); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("after Close %d bytes, %d were written; error %v", len(got), len(want), err)
	}
}

// writeForEver puts keys 0, 1, 2 ..., every hundredth with Sync, and prints each when Put has
// returned.
func writeForEver(dir string, o goleveldb.Options) error {
	s, err := goleveldb.Open(dir, o)
	if err != nil {
		return err
	}
	db, err := leveldb.Open(s, small)
	if err != nil {
		return err
	}
	for i := 0; ; i++ {
		if err := db.Put(key(i), value(i), &opt.WriteOptions{Sync: i%100 == 0}); err != nil {
			return err
		}
		fmt.Println(i)
	}
}

// TestKilled kills a process that writes tables. All keys whose Put has returned are there, with
// Sync or without.
func TestKilled(t *testing.T) {
	eachMode(t, func(t *testing.T, o goleveldb.Options) {
		for round := range 3 {
			dir := t.TempDir()
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), "GOLEVELDB_WRITES_TO="+dir)
			if o.Direct {
				cmd.Env = append(cmd.Env, "GOLEVELDB_DIRECT=1")
			}
			if o.JournalAhead {
				cmd.Env = append(cmd.Env, "GOLEVELDB_AHEAD=1")
			}
			cmd.Stderr = os.Stderr
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			last, lines := -1, bufio.NewScanner(out)
			for lines.Scan() {
				if last, err = strconv.Atoi(lines.Text()); err != nil {
					t.Fatal(err)
				}
				if last == 3000+round*1777 {
					cmd.Process.Kill()
				}
			}
			cmd.Wait()
			s := mustOpen(t, dir, o)
			db, err := leveldb.Open(s, small)
			if err != nil {
				t.Fatal(err)
			}
			for i := range last + 1 {
				if v, err := db.Get(key(i), nil); err != nil || !bytes.Equal(v, value(i)) {
					t.Fatalf("round %d, killed after %d: key %d: error %v", round, last, i, err)
				}
			}
			db.Close()
			s.Close()
		}
	})
}

func ExampleOpen() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	// Was: db, err := leveldb.OpenFile(dir, nil)
	stor, err := goleveldb.Open(dir, goleveldb.Options{Direct: true})
	if err != nil {
		log.Fatal(err)
	}
	defer stor.Close() // after db.Close, which does not
	db, err := leveldb.Open(stor, &opt.Options{BlockCacheCapacity: 256 << 20})
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()

	if err := db.Put([]byte("hello"), []byte("disk"), &opt.WriteOptions{Sync: true}); err != nil {
		log.Fatal(err)
	}
	v, err := db.Get([]byte("hello"), nil)
	fmt.Println(string(v), err)
	// Output: disk <nil>
}
