//go:build linux

package main

import (
	"fmt"
	"sync"

	"github.com/go-aio/aio/internal/aiotest/iocount"
	"github.com/syndtr/goleveldb/leveldb/storage"
)

// A tracer counts the calls of a storage's files.
type tracer struct {
	storage.Storage
	iocount.Calls
}

// A traced is a file of a tracer.
type traced struct {
	storage.Reader
	storage.Writer
	t  *tracer
	fd storage.FileDesc

	mu  sync.Mutex
	off int64 // of the next Read or Write
	end int64 // where the last ReadAt ended
}

func (t *tracer) Open(fd storage.FileDesc) (storage.Reader, error) {
	r, err := t.Storage.Open(fd)
	if err != nil {
		return nil, err
	}
	return reader{&traced{Reader: r, t: t, fd: fd, end: -1}}, nil
}

func (t *tracer) Create(fd storage.FileDesc) (storage.Writer, error) {
	w, err := t.Storage.Create(fd)
	if err != nil {
		return nil, err
	}
	return writer{&traced{Writer: w, t: t, fd: fd}}, nil
}

func (f *traced) count(call string, n int, off, last int64) int64 {
	return f.t.Count(fmt.Sprintf("%v | %s", f.fd.Type, call), n, off, last)
}

// stream counts a Read or Write of n bytes.
func (f *traced) stream(call string, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.off = f.count(call, n, f.off, f.off)
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
	r.end = r.count("read", len(p), off, r.end)
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
	w.count("sync", 0, 0, 0)
	return w.Writer.Sync()
}
