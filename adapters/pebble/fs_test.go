package aiopebble

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// modes are the FSes that tests run over.
func modes() map[string]*FS {
	return map[string]*FS{
		"buffered": New(Options{}),
		"reads":    New(Options{DirectReads: true}),
		"writes":   New(Options{DirectWrites: true}),
		"wal":      New(Options{ExclusiveWAL: true}),
		"all":      New(Options{DirectReads: true, DirectWrites: true, ExclusiveWAL: true}),
		"starved": New(Options{
			DirectReads: true, DirectWrites: true, ExclusiveWAL: true, Readahead: spanBytes,
		}),
	}
}

// steps makes Pebble's calls on files of each kind, and returns all results.
func steps(s vfs.FS, dir string) (seen []string) {
	see := func(what string, v ...any) {
		for i := range v {
			if err, ok := v[i].(error); ok {
				v[i] = fmt.Sprint(errors.Is(err, fs.ErrNotExist), errors.Is(err, io.EOF), strings.ReplaceAll(err.Error(), dir, ""))
			}
		}
		seen = append(seen, fmt.Sprint(what, " ", v))
	}
	for _, base := range []string{"000001.sst", "000002.blob", "000003.log", "MANIFEST-000004"} {
		name := s.PathJoin(dir, base)
		_, err := s.Open(name)
		see("open, not there", err)

		f, err := s.Create(name, vfs.WriteCategoryUnspecified)
		see("create", err)
		id, err := s.Stat(name)
		see("stat", err)
		see("preallocate", f.Preallocate(0, 1<<20))
		data := pattern(3<<20 + 777)
		for p := data; len(p) > 0; {
			m := min(len(p), 10_007)
			n, err := f.Write(bytes.Clone(p[:m]))
			if n != m || err != nil {
				see("write", n, err)
			}
			p = p[m:]
		}
		full, err := f.SyncTo(2 << 20)
		see("SyncTo", full, err)
		see("SyncData", f.SyncData())
		see("Sync", f.Sync())
		fi, err := f.Stat()
		see("stat", fi.Name(), fi.Size(), fi.Mode(), fi.DeviceID() == id.DeviceID(), err)
		p := make([]byte, 5000)
		n, err := f.ReadAt(p, 1<<20)
		see("ReadAt of written bytes", n, err, bytes.Equal(p, data[1<<20:][:5000]))
		n, err = f.ReadAt(p, int64(len(data)-100))
		see("ReadAt at the end", n, err)
		n, err = f.Read(p)
		see("Read at the end", n, err)
		see("close", f.Close())
		_, err = f.Stat()
		see("stat of a closed file", err != nil, f.Close() != nil)

		got, err := os.ReadFile(name)
		see("contents", bytes.Equal(got, data), err)
		see("link", s.Link(name, name+".link"))
		for _, o := range []vfs.OpenOption{vfs.RandomReadsOption, vfs.SequentialReadsOption} {
			f, err := s.Open(name, o)
			see("open", err, f.Fd() != vfs.InvalidFd)
			_ = f.Prefetch(12345, 300_000) // Pebble's own returns an error that says "errno 0"
			see("reads", reads(f, data))
			got, err = io.ReadAll(f)
			see("ReadAll", bytes.Equal(got, data), err)
			n, err := f.ReadAt(p, -1)
			see("ReadAt before the beginning", n, err)
			n, err = f.ReadAt(p[:0], 10)
			see("ReadAt of nothing", n, err)
			n, err = f.Write(p)
			see("write of a file open for reading", n, err)
			fi, err := f.Stat()
			see("stat", fi.Name(), fi.Size(), err)
			see("close", f.Close())
			_, err = f.ReadAt(p, 0)
			see("ReadAt of a closed file", err)
		}
		f, err = s.Create(name, vfs.WriteCategoryUnspecified)
		see("create again", err)
		see("close", f.Close())
		got, err = os.ReadFile(name + ".link")
		see("the link is the old file", bytes.Equal(got, data), err)

		f, err = s.ReuseForWrite(name+".link", name, vfs.WriteCategoryUnspecified)
		see("reuse", err)
		n, err = f.Write([]byte("abc"))
		see("write", n, err)
		fi, err = f.Stat()
		see("keeps its size", fi.Size(), err)
		see("close", f.Close())
		see("copy", vfs.Copy(s, name, name+".copy"))
		got, err = os.ReadFile(name + ".copy")
		see("contents", len(got), bytes.Equal(got[3:], data[3:]), err)
		f, err = s.OpenReadWrite(name, vfs.WriteCategoryUnspecified)
		see("OpenReadWrite", err)
		n, err = f.WriteAt([]byte("xyz"), 4096)
		see("WriteAt", n, err)
		n, err = f.ReadAt(p[:5], 4095)
		see("ReadAt", n, err, string(p[1:4]))
		see("close", f.Close())
		_, err = s.Create(s.PathJoin(dir, "none", base), vfs.WriteCategoryUnspecified)
		see("create in a missing directory", err)
		_, err = s.ReuseForWrite(name+".none", name, vfs.WriteCategoryUnspecified)
		see("reuse of a missing file", err != nil)
	}
	d, err := s.OpenDir(dir)
	see("OpenDir", err)
	see("sync", d.Sync(), d.Close())
	lock, err := s.Lock(s.PathJoin(dir, "LOCK"))
	see("lock", err)
	_, err = s.Lock(s.PathJoin(dir, "LOCK"))
	see("locked", err != nil)
	see("unlock", lock.Close())
	_, err = s.GetDiskUsage(dir)
	see("GetDiskUsage", err)
	names, err := s.List(dir)
	see("list", len(names), err)
	see("unwrap", s.Unwrap(), vfs.Root(s) == s)
	return seen
}

// reads reads f in several orders and compares the bytes with data.
func reads(f vfs.File, data []byte) error {
	r := rand.New(rand.NewPCG(1, 2))
	check := func(off int64, n int) error {
		p := make([]byte, n)
		n, err := f.ReadAt(p, off)
		want := data[min(off, int64(len(data))):min(off+int64(len(p)), int64(len(data)))]
		if (err == nil) != (n == len(p)) || n < len(p) && err != io.EOF {
			return fmt.Errorf("ReadAt(%d bytes, %d) = %d, %w", len(p), off, n, err)
		}
		if !bytes.Equal(p[:n], want) {
			return fmt.Errorf("ReadAt(%d bytes, %d) has other bytes", len(p), off)
		}
		return nil
	}
	for off := int64(0); off < int64(len(data))+10_000; {
		n := 1 + r.IntN(40_000)
		if err := check(off, n); err != nil {
			return err
		}
		off += int64(n)
	}
	for range 100 {
		if err := check(r.Int64N(int64(len(data))+10_000), 1+r.IntN(400_000)); err != nil {
			return err
		}
	}
	return nil
}

func pattern(n int) []byte {
	data := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(data)
	return data
}

// TestContract checks that every mode behaves like Pebble's own FS.
func TestContract(t *testing.T) {
	want := steps(vfs.Default, t.TempDir())
	for name, s := range modes() {
		t.Run(name, func(t *testing.T) {
			got := steps(s, t.TempDir())
			for i := range want {
				if i == len(got) || got[i] != want[i] {
					t.Fatalf("step %d: %s; want %s", i, got[min(i, len(got)-1)], want[i])
				}
			}
			s.waitIdle(t)
		})
	}
}

func needDirect(t testing.TB, s *FS) {
	name := filepath.Join(t.TempDir(), "1.sst")
	if err := os.WriteFile(name, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := s.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, ok := f.(*reader); !ok {
		t.Skip("no direct I/O here")
	}
}

// TestWays checks that the name and the options decide which path a file takes.
func TestWays(t *testing.T) {
	all := New(Options{DirectReads: true, DirectWrites: true, ExclusiveWAL: true})
	needDirect(t, all)
	dir := t.TempDir()
	for _, s := range []*FS{all, New(Options{})} {
		for base, want := range map[string][2]any{
			"000001.sst":      {new(writerFile), new(reader)},
			"000002.blob":     {new(writerFile), new(reader)},
			"000003.log":      {new(writerFile), new(file)},
			"MANIFEST-000001": {new(file), new(file)},
			"OPTIONS-000001":  {new(file), new(file)},
		} {
			if s != all {
				want = [2]any{new(file), new(file)}
			}
			name := filepath.Join(dir, base)
			created, err := s.Create(name, vfs.WriteCategoryUnspecified)
			if err != nil {
				t.Fatal(err)
			}
			created.Close()
			opened, err := s.Open(name)
			if err != nil {
				t.Fatal(err)
			}
			opened.Close()
			for i, f := range []vfs.File{created, opened} {
				if reflect.TypeOf(f) != reflect.TypeOf(want[i]) {
					t.Errorf("%s is a %T, want a %T", base, f, want[i])
				}
			}
		}
	}
}

// TestConcurrentReaders reads one table in many goroutines that read ahead, with room for a few of
// them.
func TestConcurrentReaders(t *testing.T) {
	s := New(Options{DirectReads: true, Readahead: 10 * spanBytes})
	needDirect(t, s)
	name := filepath.Join(t.TempDir(), "1.sst")
	data := pattern(2 << 20)
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	shared, err := s.Open(name, vfs.RandomReadsOption)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			f := shared
			if i%2 == 0 {
				var err error
				if f, err = s.Open(name, vfs.SequentialReadsOption); err != nil {
					t.Error(err)
					return
				}
				defer f.Close()
			}
			for off := int64(0); off < int64(len(data)); off += 256 << 10 {
				_ = f.Prefetch(off+int64(i), 256<<10)
			}
			if err := reads(f, data); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	shared.Close()
	s.waitIdle(t)
}

// waitIdle waits until no buffer is in use: requests end after the file was closed.
func (s *FS) waitIdle(t testing.TB) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		s.ahead.mu.Lock()
		made, used := s.ahead.made, len(s.ahead.used)
		s.ahead.mu.Unlock()
		if made == 0 && used == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d buffers are in use, %d spans", made, used)
		}
	}
}

// TestPrefetch checks that several Prefetches of the same bytes are one request, and that a ReadAt
// of them makes none.
func TestPrefetch(t *testing.T) {
	s := New(Options{DirectReads: true})
	needDirect(t, s)
	name := filepath.Join(t.TempDir(), "1.sst")
	data := pattern(1 << 20)
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := s.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer s.waitIdle(t)
	defer f.Close()
	r := f.(*reader)
	for range 3 {
		_ = f.Prefetch(100_000, 200_000)
	}
	_ = f.Prefetch(1<<20-10, 200_000) // the end
	if n := len(r.spans); n != 2 {
		t.Errorf("%d spans, want 2", n)
	}
	p := make([]byte, 200_000)
	if n := s.ahead.take(r, p, 100_000); n == 0 || !bytes.Equal(p[:n], data[100_000:][:n]) {
		t.Errorf("%d bytes were read ahead, or others", n)
	}
}

// TestLogLeftOpen leaves a log with zeros behind its last record, as a crash does. Pebble finds all
// synced records in it. If only the process crashed, it finds the others too.
func TestLogLeftOpen(t *testing.T) {
	dir := t.TempDir()
	s := New(Options{ExclusiveWAL: true})
	db, err := pebble.Open(dir, &pebble.Options{FS: s, Logger: quiet{}})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	const records = 500
	for i := range records {
		o := pebble.NoSync
		if i%10 == 0 {
			o = pebble.Sync
		}
		if err := db.Set(fmt.Appendf(nil, "%06d", i), pattern(i), o); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.LogData(nil, pebble.Sync); err != nil {
		t.Fatal(err)
	}
	left := t.TempDir()
	if _, err := vfs.Clone(vfs.Default, vfs.Default, dir, left); err != nil {
		t.Fatal(err)
	}
	logs, _ := filepath.Glob(filepath.Join(left, "*.log"))
	if len(logs) != 1 {
		t.Fatalf("%d logs", len(logs))
	}
	log, err := os.ReadFile(logs[0])
	if err != nil {
		t.Fatal(err)
	}
	if tail := len(log) - len(bytes.TrimRight(log, "\x00")); tail < 1024 {
		t.Errorf("the log ends in %d zeros: this tests nothing", tail)
	}
	again, err := pebble.Open(left, &pebble.Options{Logger: quiet{}})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	for i := range records {
		v, closer, err := again.Get(fmt.Appendf(nil, "%06d", i))
		if err != nil || !bytes.Equal(v, pattern(i)) {
			t.Fatalf("record %d: %v", i, err)
		}
		closer.Close()
	}
}

// TestLogIsVisible checks that other processes see a write to a log when it returns, without a
// sync.
func TestLogIsVisible(t *testing.T) {
	s := New(Options{ExclusiveWAL: true})
	name := filepath.Join(t.TempDir(), "1.log")
	f, err := s.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for i := range 300 {
		if _, err := f.Write(pattern(1000)); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(name)
		if err != nil || len(got) < 1000*(i+1) || !bytes.Equal(got[1000*i:][:1000], pattern(1000)) {
			t.Fatalf("write %d is not there: %d bytes, %v", i, len(got), err)
		}
	}
}

// TestDatabase uses a database in each mode, and reads it in another mode.
func TestDatabase(t *testing.T) {
	dir := t.TempDir()
	r := rand.New(rand.NewPCG(3, 4))
	want := make(map[string]int)
	for name, s := range modes() {
		db, err := pebble.Open(dir, &pebble.Options{FS: s, MemTableSize: 256 << 10, Logger: quiet{}})
		if err != nil {
			t.Fatal(name, err)
		}
		for range 3000 {
			k, n := fmt.Sprintf("%05d", r.IntN(10_000)), r.IntN(1000)
			want[k] = n
			if err := db.Set([]byte(k), pattern(n), pebble.NoSync); err != nil {
				t.Fatal(name, err)
			}
		}
		found := 0
		it, err := db.NewIter(nil)
		if err != nil {
			t.Fatal(name, err)
		}
		for it.First(); it.Valid(); it.Next() {
			n, ok := want[string(it.Key())]
			if !ok || !bytes.Equal(it.Value(), pattern(n)) {
				t.Fatalf("%s: key %s", name, it.Key())
			}
			found++
		}
		if err := errors.Join(it.Close(), db.Compact(t.Context(), []byte("0"), []byte("9"), false), db.Close()); err != nil {
			t.Fatal(name, err)
		}
		if found != len(want) {
			t.Fatalf("%s: %d keys, want %d", name, found, len(want))
		}
		s.waitIdle(t)
	}
}

type quiet struct{}

func (quiet) Infof(string, ...any)      {}
func (quiet) Errorf(string, ...any)     {}
func (quiet) Fatalf(f string, v ...any) { panic(fmt.Sprintf(f, v...)) }
