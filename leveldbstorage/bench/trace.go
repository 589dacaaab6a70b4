//go:build linux

package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/syndtr/goleveldb/leveldb/storage"
)

// A tally is what calls of a kind had in common.
type tally struct{ calls, bytes, aligned, follow int64 }

// A tracer counts the calls of a storage's files.
type tracer struct {
	storage.Storage
	mu    sync.Mutex
	kinds map[string]*tally
}

func newTracer(s storage.Storage) *tracer {
	return &tracer{Storage: s, kinds: make(map[string]*tally)}
}

// A traced is a file of a tracer.
type traced struct {
	storage.Reader
	storage.Writer
	t  *tracer
	fd storage.FileDesc

	mu   sync.Mutex
	off  int64 // of the next Read or Write
	next int64 // where the last ReadAt ended
}

func (t *tracer) Open(fd storage.FileDesc) (storage.Reader, error) {
	r, err := t.Storage.Open(fd)
	if err != nil {
		return nil, err
	}
	return reader{&traced{Reader: r, t: t, fd: fd, next: -1}}, nil
}

func (t *tracer) Create(fd storage.FileDesc) (storage.Writer, error) {
	w, err := t.Storage.Create(fd)
	if err != nil {
		return nil, err
	}
	return writer{&traced{Writer: w, t: t, fd: fd}}, nil
}

// count notes a call of n bytes at off.
func (f *traced) count(call string, n int, off int64, follows bool) {
	f.t.mu.Lock()
	defer f.t.mu.Unlock()
	kind := fmt.Sprintf("%v | %s", f.fd.Type, call)
	c := f.t.kinds[kind]
	if c == nil {
		c = new(tally)
		f.t.kinds[kind] = c
	}
	c.calls++
	c.bytes += int64(n)
	if off%4096 == 0 && n%4096 == 0 {
		c.aligned++
	}
	if follows {
		c.follow++
	}
}

// stream notes a Read or Write of n bytes.
func (f *traced) stream(call string, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count(call, n, f.off, true)
	f.off += int64(n)
}

type reader struct{ *traced }

func (r reader) Close() error { return r.Reader.Close() }

func (r reader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.stream("read", n)
	return n, err
}

func (r reader) ReadAt(p []byte, off int64) (int, error) {
	r.mu.Lock()
	r.count("read", len(p), off, off == r.next)
	r.next = off + int64(len(p))
	r.mu.Unlock()
	return r.Reader.ReadAt(p, off)
}

type writer struct{ *traced }

func (w writer) Close() error { return w.Writer.Close() }

func (w writer) Write(p []byte) (int, error) {
	w.stream("write", len(p))
	return w.Writer.Write(p)
}

func (w writer) Sync() error {
	w.count("sync", 0, 0, true)
	return w.Writer.Sync()
}

// print prints the rows of a table, and begins to count anew.
func (t *tracer) print(what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, kind := range slices.SortedFunc(maps.Keys(t.kinds), cmp.Compare) {
		c := t.kinds[kind]
		fmt.Printf("| %s | %s | %d |", what, kind, c.calls)
		if c.bytes == 0 {
			fmt.Println(" | | |")
			continue
		}
		fmt.Printf(" %d | %d%% | %d%% |\n", c.bytes/c.calls, 100*c.aligned/c.calls, 100*c.follow/c.calls)
	}
	clear(t.kinds)
}
