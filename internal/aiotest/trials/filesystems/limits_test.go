// Package filesystems tests the library's knowledge of filesystems, on filesystems made for it.
package filesystems

import (
	"os"
	"testing"

	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/internal/aiotest/aiofile"
	"github.com/go-aio/aio/internal/dio"
)

func TestMain(m *testing.M) { aiofile.Main(m, nil) }

// A place opens a file, and has the expected limits of direct I/O there.
type place struct {
	name   string
	file   func(t *testing.T) *os.File // of size bytes, all zero
	limits dio.Limits
	// lax says that misaligned direct I/O is buffered instead of refused.
	lax bool
}

func fileIn(f aiotest.Filesystem) func(t *testing.T) *os.File {
	return func(t *testing.T) *os.File {
		dir, _ := f.NewDir(t)
		return aiotest.NewFile(t, dir)
	}
}

func deviceOf(sector int) func(t *testing.T) *os.File {
	return func(t *testing.T) *os.File { return aiotest.NewDevice(t, sector) }
}

// A loop device asks for memory alignment of 512 bytes for any sector size.
var places = []place{
	{"ext4", fileIn(aiotest.Ext4), dio.Limits{Mem: 512, Read: 512, Write: 4096, Writes: true}, false},
	{"ext4 of 1 KiB blocks", fileIn(aiotest.Ext4Small), dio.Limits{Mem: 512, Read: 512, Write: 4096, Writes: true}, false},
	{"ext4 of 4 KiB sectors", fileIn(aiotest.Ext4Large), dio.Limits{Mem: 512, Read: 4096, Write: 4096, Writes: true}, false},
	{"xfs", fileIn(aiotest.XFS), dio.Limits{Mem: 512, Read: 512, Write: 4096, Writes: true}, false},
	{"xfs of 4 KiB sectors", fileIn(aiotest.XFSLarge), dio.Limits{Mem: 512, Read: 4096, Write: 4096, Writes: true}, false},
	{"btrfs", fileIn(aiotest.Btrfs), dio.Limits{Mem: 4096, Read: 4096, Write: 4096, Resident: true}, true},
	{"btrfs without checksums", fileIn(aiotest.BtrfsNoCow), dio.Limits{Mem: 4096, Read: 4096, Write: 4096, Writes: true, Resident: true}, true},
	{"device", deviceOf(512), dio.Limits{Mem: 512, Read: 512, Write: 4096, Writes: true, Fixed: true}, false},
	{"device of 4 KiB sectors", deviceOf(4096), dio.Limits{Mem: 512, Read: 4096, Write: 4096, Writes: true, Fixed: true}, false},
}

// TestLimits compares the limits of package dio with the expected ones, and with those of the
// kernel.
func TestLimits(t *testing.T) {
	for _, p := range places {
		t.Run(p.name, func(t *testing.T) {
			aiotest.Guard(t)
			file := p.file(t)
			direct, err := dio.Open(int(file.Fd()))
			if err != nil {
				t.Fatal(err)
			}
			defer direct.Close()
			want := p.limits
			want.Write = max(want.Write, os.Getpagesize())
			if direct.Limits != want {
				t.Errorf("the limits are %+v, want %+v", direct.Limits, want)
			}
			aiotest.Limits{
				Fd: direct.Fd, Mem: direct.Mem, Read: direct.Read, Write: direct.Write, Writes: direct.Writes, Lax: p.lax,
				Pread: dio.Pread, Pwrite: dio.Pwrite,
			}.Check(t, file)
		})
	}
}
