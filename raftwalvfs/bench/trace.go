package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/hashicorp/raft-wal/types"
)

// A tally is what calls of a kind had in common.
type tally struct{ calls, bytes, aligned, follow int64 }

// A tracer counts the calls of a VFS.
type tracer struct {
	types.VFS
	mu    sync.Mutex
	kinds map[string]*tally
}

func newTracer(vfs types.VFS) *tracer { return &tracer{VFS: vfs, kinds: make(map[string]*tally)} }

// count notes a call of n bytes at off, and returns where the next would follow.
func (t *tracer) count(kind string, n int, off, next int64) int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.kinds[kind] == nil {
		t.kinds[kind] = new(tally)
	}
	c := t.kinds[kind]
	c.calls++
	c.bytes += int64(n)
	if off%4096 == 0 && n%4096 == 0 {
		c.aligned++
	}
	if off == next {
		c.follow++
	}
	return off + int64(n)
}

func (t *tracer) print(what string, operations int) {
	for _, kind := range slices.SortedFunc(maps.Keys(t.kinds), cmp.Compare) {
		c := t.kinds[kind]
		fmt.Printf("| %s | %s | %.2f |", what, kind, float64(c.calls)/float64(operations))
		if c.bytes == 0 {
			fmt.Println(" | | |")
			continue
		}
		fmt.Printf(" %d | %d%% | %d%% |\n", c.bytes/c.calls, 100*c.aligned/c.calls, 100*c.follow/c.calls)
	}
}

type traced struct {
	types.WritableFile
	t          *tracer
	read, next int64
}

func (t *tracer) file(f types.WritableFile, err error) (types.WritableFile, error) {
	if err != nil {
		return nil, err
	}
	return &traced{WritableFile: f, t: t, read: -1}, nil
}

func (t *tracer) Create(dir, name string, size uint64) (types.WritableFile, error) {
	return t.file(t.VFS.Create(dir, name, size))
}

func (f *traced) WriteAt(p []byte, off int64) (int, error) {
	f.next = f.t.count("write", len(p), off, f.next)
	return f.WritableFile.WriteAt(p, off)
}

func (f *traced) ReadAt(p []byte, off int64) (int, error) {
	f.read = f.t.count("read", len(p), off, f.read)
	return f.WritableFile.ReadAt(p, off)
}

func (f *traced) Sync() error {
	f.t.count("sync", 0, 0, 0)
	return f.WritableFile.Sync()
}
