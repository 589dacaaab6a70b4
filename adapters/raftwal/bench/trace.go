package main

import (
	"github.com/go-aio/aio/internal/aiotest/iocount"
	"github.com/hashicorp/raft-wal/types"
)

// A tracer counts the calls of a VFS.
type tracer struct {
	types.VFS
	iocount.Calls
}

type traced struct {
	types.WritableFile
	t          *tracer
	read, next int64 // ends of the last calls
}

func (t *tracer) Create(dir, name string, size uint64) (types.WritableFile, error) {
	f, err := t.VFS.Create(dir, name, size)
	if err != nil {
		return nil, err
	}
	return &traced{WritableFile: f, t: t, read: -1}, nil
}

func (f *traced) WriteAt(p []byte, off int64) (int, error) {
	f.next = f.t.Count("write", len(p), off, f.next)
	return f.WritableFile.WriteAt(p, off)
}

func (f *traced) ReadAt(p []byte, off int64) (int, error) {
	f.read = f.t.Count("read", len(p), off, f.read)
	return f.WritableFile.ReadAt(p, off)
}

func (f *traced) Sync() error {
	f.t.Count("sync", 0, 0, 0)
	return f.WritableFile.Sync()
}
