package raftwal_test

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
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/go-aio/aio/adapters/raftwal"
	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	rafts "github.com/hashicorp/raft-wal/fs"
	"github.com/hashicorp/raft-wal/metadb"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("RAFTWAL_APPENDS_TO"); dir != "" {
		log.Fatal(appendForEver(dir, os.Getenv("RAFTWAL_DIRECT") != ""))
	}
	os.Exit(m.Run())
}

func eachMode(t *testing.T, test func(t *testing.T, v types.VFS)) {
	t.Run("buffered", func(t *testing.T) { test(t, raftwal.New(raftwal.Options{})) })
	t.Run("direct", func(t *testing.T) { test(t, raftwal.New(raftwal.Options{Direct: true})) })
}

// TestModel makes random writes and compares the whole file with a model. It reads parts of the
// file through the writing file and through a reader.
func TestModel(t *testing.T) {
	eachMode(t, func(t *testing.T, v types.VFS) {
		for seed := range uint64(20) {
			model(t, v, rand.New(rand.NewPCG(seed, 3)))
		}
	})
}

func model(t *testing.T, v types.VFS, r *rand.Rand) {
	dir := t.TempDir()
	size := []int{0, 512, 4096, 100_000, 3 << 20}[r.IntN(5)]
	f, err := v.Create(dir, "a", uint64(size))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { f.Close() }()
	want, off := make([]byte, size), 0
	for range 60 {
		switch r.IntN(20) {
		case 0:
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			if f, err = v.OpenWriter(dir, "a"); err != nil {
				t.Fatal(err)
			}
		case 1:
			off = r.IntN(len(want) + 10)
		case 2:
			if err := f.Sync(); err != nil {
				t.Fatal(err)
			}
		}
		p := make([]byte, []int{1, 16, 700, 4096, 9000, 70_000, 1 << 20}[r.IntN(7)]+r.IntN(3)*8)
		for i := range p {
			p[i] = byte(r.Uint32())
		}
		if n, err := f.WriteAt(p, int64(off)); n != len(p) || err != nil {
			t.Fatalf("WriteAt of %d bytes at %d: %d, %v", len(p), off, n, err)
		}
		if end := off + len(p); end > len(want) {
			want = append(want, make([]byte, end-len(want))...)
		}
		copy(want[off:], p)
		off += len(p)
		from := max(0, off-r.IntN(10_000))
		p = make([]byte, min(len(want)-from, 20_000))
		if n, err := f.ReadAt(p, int64(from)); n != len(p) || err != nil && err != io.EOF || !bytes.Equal(p, want[from:from+n]) {
			t.Fatalf("ReadAt of %d bytes at %d: %d, %v, or other bytes", len(p), from, n, err)
		}
	}
	got, err := os.ReadFile(filepath.Join(dir, "a"))
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%d bytes, want %d, or other ones; error %v", len(got), len(want), err)
	}
	reader, err := v.OpenReader(dir, "a")
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	got = make([]byte, len(want))
	if n, err := reader.ReadAt(got, 0); n != len(want) || err != nil && err != io.EOF || !bytes.Equal(got, want) {
		t.Fatalf("a reader: %d, %v, or other bytes", n, err)
	}
}

// TestContract compares errors and lists with those of raft-wal's own VFS.
func TestContract(t *testing.T) {
	own := rafts.New()
	eachMode(t, func(t *testing.T, v types.VFS) {
		dir := t.TempDir()
		missing := filepath.Join(dir, "missing")
		for name, call := range map[string]func(v types.VFS) error{
			"ListDir":    func(v types.VFS) error { _, err := v.ListDir(missing); return err },
			"Create":     func(v types.VFS) error { _, err := v.Create(missing, "a", 10); return err },
			"Delete":     func(v types.VFS) error { return v.Delete(dir, "a") },
			"OpenReader": func(v types.VFS) error { _, err := v.OpenReader(dir, "a"); return err },
			"OpenWriter": func(v types.VFS) error { _, err := v.OpenWriter(dir, "a"); return err },
		} {
			err, want := call(v), call(own)
			if err == nil || err.Error() != want.Error() || !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: error %v, want %v", name, err, want)
			}
		}
		if _, err := v.Create(dir, "big", 1<<31); err == nil {
			t.Error("Create of 2 GiB: no error")
		}
		if err := v.Delete(dir, "big"); err != nil {
			t.Error(err)
		}
		f, err := v.Create(dir, "b", 1000)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.Create(dir, "b", 1000); !errors.Is(err, fs.ErrExist) {
			t.Errorf("Create of an existing file: %v", err)
		}
		if info, err := os.Stat(filepath.Join(dir, "b")); err != nil || info.Size() != 1000 {
			t.Errorf("a file of 1000 bytes: %v, error %v", info, err)
		}
		if _, err := f.WriteAt([]byte("x"), -1); err == nil {
			t.Error("WriteAt at -1: no error")
		}
		if n, err := f.WriteAt(nil, 10); n != 0 || err != nil {
			t.Errorf("WriteAt of nothing: %d, %v", n, err)
		}
		if n, err := f.ReadAt(make([]byte, 10), 995); n != 5 || err != io.EOF {
			t.Errorf("ReadAt past the end: %d, %v", n, err)
		}
		if err := errors.Join(f.Sync(), f.Sync(), f.Close()); err != nil {
			t.Error(err)
		}
		if _, err := f.WriteAt([]byte("x"), 0); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("WriteAt after Close: %v", err)
		}
		if err := f.Sync(); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("Sync after Close: %v", err)
		}
		if err := os.Mkdir(filepath.Join(dir, "a directory"), 0o700); err != nil {
			t.Fatal(err)
		}
		got, err := v.ListDir(dir)
		want, e := own.ListDir(dir)
		if err != nil || e != nil || !slices.Equal(got, want) {
			t.Errorf("ListDir: %q, %v, want %q, %v", got, err, want, e)
		}
	})
}

// A testLog is a WAL that closes its database of metadata too, which WAL.Close leaves open, and
// locked.
type testLog struct {
	*wal.WAL
	meta *metadb.BoltMetaDB
}

func (l testLog) Close() error { return errors.Join(l.WAL.Close(), l.meta.Close()) }

func openLog(t testing.TB, dir string, v types.VFS) testLog {
	t.Helper()
	w, err := open(dir, v)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func open(dir string, v types.VFS) (testLog, error) {
	meta := new(metadb.BoltMetaDB)
	w, err := wal.Open(dir, wal.WithSegmentFiler(segment.NewFiler(dir, v)), wal.WithSegmentSize(64<<10),
		wal.WithMetaStore(meta), wal.WithLogger(hclog.NewNullLogger()))
	return testLog{w, meta}, err
}

func payload(i uint64) []byte {
	b := make([]byte, 1+i*37%900)
	for j := range b {
		b[j] = byte(i + uint64(j))
	}
	return b
}

func store(t testing.TB, w testLog, from, to uint64) {
	t.Helper()
	for i := from; i <= to; i++ {
		if err := w.StoreLog(&raft.Log{Index: i, Data: payload(i)}); err != nil {
			t.Fatal(err)
		}
	}
}

// check reads logs 1 to last, in several goroutines.
func check(t testing.TB, w testLog, last uint64) {
	t.Helper()
	if n, err := w.LastIndex(); n < last || err != nil {
		t.Fatalf("the last log is %d, want %d; error %v", n, last, err)
	}
	var readers sync.WaitGroup
	for g := range uint64(4) {
		readers.Go(func() {
			for i := g + 1; i <= last; i += 4 {
				var l raft.Log
				if err := w.GetLog(i, &l); err != nil || l.Index != i || !bytes.Equal(l.Data, payload(i)) {
					t.Errorf("log %d: error %v, or other bytes", i, err)
					return
				}
			}
		})
	}
	readers.Wait()
}

// TestLogsAreTheSame writes a log by one VFS, and reads and extends it by another.
func TestLogsAreTheSame(t *testing.T) {
	vfs := []types.VFS{rafts.New(), raftwal.New(raftwal.Options{}), raftwal.New(raftwal.Options{Direct: true})}
	dir := t.TempDir()
	last := uint64(0)
	for i := range 9 {
		w := openLog(t, dir, vfs[i%3])
		check(t, w, last)
		store(t, w, last+1, last+150)
		last += 150
		check(t, w, last)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	w := openLog(t, dir, vfs[2])
	defer w.Close()
	if err := w.DeleteRange(last-49, last); err != nil {
		t.Fatal(err)
	}
	store(t, w, last-49, last+50)
	check(t, w, last+50)
}

// TestReadersOfTheTail appends to a log while other goroutines read its end.
func TestReadersOfTheTail(t *testing.T) {
	eachMode(t, func(t *testing.T, v types.VFS) {
		w := openLog(t, t.TempDir(), v)
		defer w.Close()
		const last = 1500
		var readers sync.WaitGroup
		for range 3 {
			readers.Go(func() {
				for i := uint64(1); i <= last && !t.Failed(); {
					if n, err := w.LastIndex(); err != nil {
						t.Error(err)
					} else if n < i {
						continue
					}
					var l raft.Log
					if err := w.GetLog(i, &l); err != nil || !bytes.Equal(l.Data, payload(i)) {
						t.Errorf("log %d: error %v, or other bytes", i, err)
					}
					i++
				}
			})
		}
		store(t, w, 1, last)
		readers.Wait()
	})
}

func appendForEver(dir string, direct bool) error {
	w, err := open(dir, raftwal.New(raftwal.Options{Direct: direct}))
	if err != nil {
		return err
	}
	for i := uint64(1); ; i++ {
		if err := w.StoreLog(&raft.Log{Index: i, Data: payload(i)}); err != nil {
			return err
		}
		fmt.Println(i)
	}
}

// TestKilled kills a process that appends. All logs whose StoreLog has returned are there, and the
// log goes on.
func TestKilled(t *testing.T) {
	for mode, v := range map[string]types.VFS{"buffered": raftwal.New(raftwal.Options{}), "direct": raftwal.New(raftwal.Options{Direct: true})} {
		for round := range uint64(5) {
			dir := t.TempDir()
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), "RAFTWAL_APPENDS_TO="+dir)
			if mode == "direct" {
				cmd.Env = append(cmd.Env, "RAFTWAL_DIRECT=1")
			}
			cmd.Stderr = os.Stderr
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			last, lines := uint64(0), bufio.NewScanner(out)
			for lines.Scan() {
				if last, err = strconv.ParseUint(lines.Text(), 10, 64); err != nil {
					t.Fatal(err)
				}
				if last == 50+round*123 {
					cmd.Process.Kill()
				}
			}
			cmd.Wait()
			w := openLog(t, dir, v)
			check(t, w, last)
			n, err := w.LastIndex()
			if err != nil {
				t.Fatal(err)
			}
			store(t, w, n+1, n+100)
			check(t, w, n+100)
			w.Close()
		}
	}
}

func Example() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	// Was: w, err := wal.Open(dir)
	w, err := wal.Open(dir, wal.WithSegmentFiler(segment.NewFiler(dir, raftwal.New(raftwal.Options{}))))
	if err != nil {
		log.Fatal(err)
	}
	defer w.Close()

	if err := w.StoreLog(&raft.Log{Index: 1, Data: []byte("hello, disk")}); err != nil {
		log.Fatal(err)
	}
	var l raft.Log
	err = w.GetLog(1, &l)
	fmt.Println(string(l.Data), err)
	// Output: hello, disk <nil>
}
