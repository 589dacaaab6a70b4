package main

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/internal/dio"
)

// facts describe direct I/O in a place, as the page cache shows it.
type facts struct {
	reads, writes bool
	alignment     string // in bytes
}

// The range of a file that probe reads and writes: whole blocks, and shorter than a write with
// RWF_DONTCACHE.
const (
	probeAt  = 64 << 10
	probeLen = 8 << 10
)

// probe reads and writes part of a file in dir and checks whether the page cache contains it then.
func probe(dir string) (f facts, err error) {
	name := filepath.Join(dir, "probe")
	defer os.Remove(name)
	if err := os.WriteFile(name, make([]byte, 1<<20), 0o600); err != nil {
		return f, err
	}
	file, err := aio.OpenFile(name, os.O_RDWR|aio.O_DIRECT, 0)
	if err != nil {
		return f, err
	}
	defer file.Close()
	f.alignment = "-"
	if direct, err := dio.Open(int(file.Fd())); err == nil {
		defer direct.Close()
		f.alignment = fmt.Sprintf("%d, %d, ", direct.Mem, direct.Read)
		if direct.Writes {
			f.alignment += fmt.Sprint(direct.Write)
		} else {
			f.alignment += "-"
		}
	}
	if !file.Direct() {
		return f, nil
	}
	p := aio.AlignedBuffer(probeLen)
	if f.reads, err = uncached(file, func() (int, error) { return file.ReadAt(p, probeAt) }); err != nil {
		return f, err
	}
	f.writes, err = uncached(file, func() (int, error) { return file.WriteAt(p, probeAt) })
	return f, err
}

// uncached reports whether transfer leaves nothing in the page cache.
func uncached(file *aio.File, transfer func() (int, error)) (bool, error) {
	fd := int(file.Fd())
	if err := file.Sync(); err != nil {
		return false, err
	}
	if err := unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED); err != nil {
		return false, os.NewSyscallError("fadvise64", err)
	}
	if _, err := transfer(); err != nil {
		return false, err
	}
	var in unix.Cachestat_t
	if err := unix.Cachestat(uint(fd), &unix.CachestatRange{Off: probeAt, Len: probeLen}, &in, 0); err != nil {
		return false, os.NewSyscallError("cachestat", err)
	}
	return in.Cache == 0, nil
}
