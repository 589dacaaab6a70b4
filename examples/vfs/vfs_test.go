//go:build unix

package vfs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/examples/vfs"
	"golang.org/x/sys/unix"
)

// A database writes a change to its log, then the pages, and then records its progress in a small
// file.
func Example() {
	dir, err := os.MkdirTemp("", "vfs")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	d, err := vfs.Open(dir)
	if err != nil {
		log.Fatal(err)
	}
	defer d.Close()

	wal, err := d.CreateLog("log")
	if err != nil {
		log.Fatal(err)
	}
	pages, err := d.CreatePages("pages", 128)
	if err != nil {
		log.Fatal(err)
	}
	defer pages.Close()

	if err := wal.Append([]byte("page 7 is to be seven")); err != nil {
		log.Fatal(err)
	}
	seven := aio.AlignedBuffer(vfs.PageSize)
	copy(seven, "seven")
	if err := vfs.Commit(context.Background(), pages, map[int64][]byte{7: seven}); err != nil {
		log.Fatal(err)
	}
	if err := d.Replace("CURRENT", []byte("1\n")); err != nil {
		log.Fatal(err)
	}
	if err := wal.Close(); err != nil {
		log.Fatal(err)
	}

	page := aio.AlignedBuffer(vfs.PageSize)
	if _, err := pages.ReadAt(page, 7*vfs.PageSize); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", page[:5])
	err = d.Replay("log", func(record []byte) error {
		_, err := fmt.Printf("%s\n", record)
		return err
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// seven
	// page 7 is to be seven
}

func open(t *testing.T) (*vfs.Dir, string) {
	t.Helper()
	dir := t.TempDir()
	d, err := vfs.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d, dir
}

func replay(t *testing.T, d *vfs.Dir) (records []string) {
	t.Helper()
	err := d.Replay("log", func(record []byte) error {
		records = append(records, string(record))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return records
}

func TestLocked(t *testing.T) {
	d, dir := open(t)
	if other, err := vfs.Open(dir); !errors.Is(err, unix.EWOULDBLOCK) {
		t.Errorf("opened twice: %v, %v", other, err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := vfs.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}

// TestTorn cuts a log at every byte, with zeros or other bytes behind. Replay must return the whole
// records.
func TestTorn(t *testing.T) {
	d, dir := open(t)
	l, err := d.CreateLog("log")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	var ends []int
	for i := range 8 {
		record := strings.Repeat(fmt.Sprint(i), 1+i*7)
		if err := l.Append([]byte(record)); err != nil {
			t.Fatal(err)
		}
		want = append(want, record)
		ends = append(ends, 8+len(record))
		if i > 0 {
			ends[i] += ends[i-1]
		}
		// This is the state after a crash: the log is open, and zeros follow.
		if got := replay(t, d); strings.Join(got, ",") != strings.Join(want, ",") {
			t.Fatalf("after %d: %q", i, got)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "log")
	whole, err := os.ReadFile(name)
	if err != nil || len(whole) != ends[7] {
		t.Fatalf("%d bytes, %v; want %d", len(whole), err, ends[7])
	}
	for cut := range len(whole) + 1 {
		count := 0
		for count < 8 && ends[count] <= cut {
			count++
		}
		for _, tail := range [][]byte{nil, make([]byte, 100), bytes.Repeat([]byte{1}, 100)} {
			if err := os.WriteFile(name, append(whole[:cut:cut], tail...), 0o644); err != nil {
				t.Fatal(err)
			}
			if got := replay(t, d); strings.Join(got, ",") != strings.Join(want[:count], ",") {
				t.Fatalf("cut at %d, %d bytes behind: %q", cut, len(tail), got)
			}
		}
	}
}

func TestConcurrentAppends(t *testing.T) {
	d, _ := open(t)
	l, err := d.CreateLog("log")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			if err := l.Append(fmt.Appendf(nil, "record %d", i)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := replay(t, d); len(got) != 50 {
		t.Errorf("%d records: %q", len(got), got)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestNewInode checks that a descriptor of the old file keeps that file.
func TestNewInode(t *testing.T) {
	d, dir := open(t)
	old, err := d.CreatePages("pages", 2)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	if err := os.Link(filepath.Join(dir, "pages"), filepath.Join(dir, "snapshot")); err != nil {
		t.Fatal(err)
	}
	other, err := d.CreatePages("pages", 1)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	for name, want := range map[string]int64{"snapshot": 2 * vfs.PageSize, "pages": vfs.PageSize} {
		if fi, err := os.Stat(filepath.Join(dir, name)); err != nil || fi.Size() != want {
			t.Errorf("%s: %v, %v; want %d bytes", name, fi, err, want)
		}
	}
}

func TestReplace(t *testing.T) {
	d, dir := open(t)
	for _, content := range []string{"old", "new and longer", ""} {
		if err := d.Replace("CURRENT", []byte(content)); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(dir, "CURRENT"))
		if err != nil || string(got) != content {
			t.Errorf("%q, %v; want %q", got, err, content)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "CURRENT.new")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the temporary file: %v", err)
	}
}

// TestQuoted checks that every Go snippet of the document is in a compiled file.
func TestQuoted(t *testing.T) {
	text, err := os.ReadFile("../../docs/embedding.md")
	if err != nil {
		t.Fatal(err)
	}
	var sources strings.Builder
	err = filepath.WalkDir("../..", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".go" {
			return err
		}
		source, err := os.ReadFile(path)
		sources.WriteString(flat(string(source)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(text), "```go\n")[1:]
	for _, b := range blocks {
		b, _, _ = strings.Cut(b, "```")
		if !strings.Contains(sources.String(), flat(b)) {
			t.Errorf("no file has\n%s", b)
		}
	}
	if len(blocks) == 0 {
		t.Error("no snippet")
	}
}

// flat removes the indentation.
func flat(source string) string {
	var b strings.Builder
	for line := range strings.Lines(source) {
		b.WriteString(strings.TrimLeft(line, " \t"))
	}
	return b.String()
}
