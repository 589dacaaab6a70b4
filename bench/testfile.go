//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"syscall"

	"github.com/ncw/directio"
	"golang.org/x/sys/unix"
)

const (
	smallestFile = 16 << 20
	// fillChunk is the length of one write when the file is made.
	fillChunk = 4 << 20
)

// A disk is the place of the measurement.
type disk struct {
	dir    string
	direct bool  // O_DIRECT opens
	free   int64 // bytes available to an ordinary user
}

// probeDisk refuses directories whose numbers would mislead.
func probeDisk(dir string, allowRAM bool) (disk, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return disk{}, &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	d := disk{dir: dir, free: int64(st.Bavail) * int64(st.Bsize)} //nolint:unconvert // differ by port
	if name, ok := ramFilesystem(int64(st.Type)); ok && !allowRAM {
		return disk{}, fmt.Errorf("%s is on %s, which is memory and no disk: give -dir a directory on a disk, or -allow-ram", dir, name)
	}
	direct, err := acceptsDirect(dir)
	if err != nil {
		return disk{}, err
	}
	if !direct && !allowRAM {
		return disk{}, fmt.Errorf("the filesystem of %s does not do O_DIRECT, so there is no direct I/O to compare: give -dir a directory on another", dir)
	}
	d.direct = direct
	return d, nil
}

// ramFilesystem knows the f_type of statfs(2). Some ports have it signed and 32 bits wide.
func ramFilesystem(magic int64) (name string, ok bool) {
	switch uint32(magic) {
	case unix.TMPFS_MAGIC:
		return "tmpfs", true
	case unix.RAMFS_MAGIC:
		return "ramfs", true
	}
	return "", false
}

// acceptsDirect tries an open: open(2) returns EINVAL on a filesystem without O_DIRECT.
func acceptsDirect(dir string) (bool, error) {
	f, err := os.CreateTemp(dir, "aio-bench-*.dat")
	if err != nil {
		return false, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	g, err := os.OpenFile(f.Name(), os.O_RDWR|syscall.O_DIRECT, 0)
	if errors.Is(err, syscall.EINVAL) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, g.Close()
}

// fit returns the size to use for a wanted one: a tenth of the free space stays free.
func (d disk) fit(want int64) (int64, error) {
	size := min(want, d.free/10*9)
	size -= size % (1 << 20)
	if size < smallestFile {
		return 0, fmt.Errorf("%s has %s free, and the smallest file worth measuring takes %s", d.dir, formatSize(d.free), formatSize(smallestFile))
	}
	return size, nil
}

// makeFile creates the file and fills it, so that no read finds a hole and no write allocates. The
// caller must remove the returned name, if any, also after an error.
func (d disk) makeFile(ctx context.Context, size int64, progress func(n int)) (name string, err error) {
	f, err := os.CreateTemp(d.dir, "aio-bench-*.dat")
	if err != nil {
		return "", err
	}
	name = f.Name()
	if d.direct {
		// The data must leave the page cache, where direct reads would meet it.
		if err := f.Close(); err != nil {
			return name, err
		}
		if f, err = os.OpenFile(name, os.O_RDWR|syscall.O_DIRECT, 0); err != nil {
			return name, err
		}
	}
	err = errors.Join(fill(ctx, f, size, progress), f.Close())
	return name, err
}

// fill writes data that no layer below can compress, deduplicate or take for zeros.
func fill(ctx context.Context, f *os.File, size int64, progress func(n int)) error {
	buf := directio.AlignedBlock(fillChunk)
	rng := rand.NewPCG(rand.Uint64(), rand.Uint64())
	for off := int64(0); off < size; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		p := buf[:min(int64(len(buf)), size-off)]
		fillRandom(p, rng)
		n, err := f.WriteAt(p, off)
		if err != nil {
			return err
		}
		off += int64(n)
		progress(n)
	}
	return f.Sync()
}

// fillRandom fills p, whose length is a multiple of 8.
func fillRandom(p []byte, rng *rand.PCG) {
	for ; len(p) >= 8; p = p[8:] {
		binary.NativeEndian.PutUint64(p, rng.Uint64())
	}
}
