package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/go-aio/aio/internal/aiotest/iocount"
)

// A tracer counts the calls of an FS's files.
type tracer struct {
	vfs.FS
	iocount.Calls
}

// A traced is a file of a tracer.
type traced struct {
	vfs.File
	t    *tracer
	kind string

	mu   sync.Mutex
	off  int64 // of the next Read or Write
	read int64 // where the last ReadAt ended
}

func (t *tracer) file(name string, f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	kind := strings.TrimPrefix(filepath.Ext(name), ".")
	switch base := filepath.Base(name); {
	case strings.HasPrefix(base, "MANIFEST"):
		kind = "manifest"
	case kind == "sst":
		kind = "table"
	case kind != "log" && kind != "blob":
		kind = "other"
	}
	return &traced{File: f, t: t, kind: kind, read: -1}, nil
}

func (t *tracer) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := t.FS.Create(name, category)
	return t.file(name, f, err)
}

func (t *tracer) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := t.FS.Open(name, opts...)
	return t.file(name, f, err)
}

func (t *tracer) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := t.FS.OpenReadWrite(name, category, opts...)
	return t.file(name, f, err)
}

func (t *tracer) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := t.FS.ReuseForWrite(oldname, newname, category)
	return t.file(newname, f, err)
}

func (f *traced) count(call string, n int, off, last int64) int64 {
	return f.t.Count(f.kind+" | "+call, n, off, last)
}

// stream counts a Read or Write of n bytes.
func (f *traced) stream(call string, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.off = f.count(call, n, f.off, f.off)
}

func (f *traced) Read(p []byte) (int, error) {
	n, err := f.File.Read(p)
	f.stream("Read", n)
	return n, err
}

func (f *traced) Write(p []byte) (int, error) {
	f.stream("Write", len(p))
	return f.File.Write(p)
}

func (f *traced) ReadAt(p []byte, off int64) (int, error) {
	f.mu.Lock()
	f.read = f.count("ReadAt", len(p), off, f.read)
	f.mu.Unlock()
	return f.File.ReadAt(p, off)
}

func (f *traced) WriteAt(p []byte, off int64) (int, error) {
	f.count("WriteAt", len(p), off, -1)
	return f.File.WriteAt(p, off)
}

func (f *traced) Prefetch(off, n int64) error {
	f.count("Prefetch", int(n), off, -1)
	return f.File.Prefetch(off, n)
}

func (f *traced) Preallocate(off, n int64) error {
	f.count("Preallocate", int(n), off, -1)
	return f.File.Preallocate(off, n)
}

func (f *traced) Sync() error {
	f.count("Sync", 0, 0, 0)
	return f.File.Sync()
}

func (f *traced) SyncData() error {
	f.count("SyncData", 0, 0, 0)
	return f.File.SyncData()
}

func (f *traced) SyncTo(n int64) (bool, error) {
	f.count("SyncTo", 0, 0, 0)
	return f.File.SyncTo(n)
}

// traceAll counts the calls of 1,000 synced Sets, of 256 MiB under random keys, and of reads of
// these.
func traceAll(dir string) error {
	name, err := os.MkdirTemp(dir, "traced-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(name)
	t := &tracer{FS: vfs.Default}
	db, err := open(name, t)
	if err != nil {
		return err
	}
	*records = 256 << 10
	fmt.Println("| what | file | call | calls | bytes | of whole 4 KiB | where the last ended |\n|---|---|---|---|---|---|---|")
	for _, step := range []struct {
		what string
		do   func(*pebble.DB) error
	}{
		{"open", func(*pebble.DB) error { return nil }},
		{"1,000 synced Sets", func(db *pebble.DB) error { return run(db, workload{op: appendLog}, 1000, 1, 1) }},
		{"256 MiB of Sets, compaction", fillAll},
		{"10,000 Gets", func(db *pebble.DB) error { return run(db, workload{op: read}, 10_000, 1, 2) }},
		{"1,000 scans of 100", func(db *pebble.DB) error { return run(db, workload{op: scan}, 1000, 1, 3) }},
		{"a scan of all", func(db *pebble.DB) error { return run(db, workload{op: scanAll}, 1, 1, 4) }},
	} {
		if err := step.do(db); err != nil {
			return errors.Join(err, db.Close())
		}
		t.Print(step.what, 0)
	}
	return db.Close()
}
