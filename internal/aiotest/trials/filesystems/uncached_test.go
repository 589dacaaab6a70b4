package filesystems

import (
	"bytes"
	"math"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/internal/dio"
)

var devices atomic.Uint64

// newDevice returns an unused device number, which dio has not remembered.
func newDevice() uint64 { return 1<<48 + devices.Add(1) }

// TestUncachedWrites writes with RWF_DONTCACHE.
func TestUncachedWrites(t *testing.T) {
	for _, f := range []aiotest.Filesystem{aiotest.Ext4, aiotest.XFS} {
		t.Run(f.Name, func(t *testing.T) {
			aiotest.Guard(t)
			file := fileIn(f)(t)
			fd, dev := int(file.Fd()), newDevice()
			aiotest.DropCache(t, file)
			text := aiotest.Memory(0, 300<<10)
			for range 3 {
				n, err := dio.PwriteUncached(fd, dev, [][]byte{text}, 12345)
				if err == unix.EOPNOTSUPP {
					t.Fatal("EOPNOTSUPP; RWF_DONTCACHE needs Linux 6.14")
				}
				if n != len(text) || err != nil {
					t.Fatalf("PwriteUncached = %d, %v", n, err)
				}
			}
			got := make([]byte, len(text))
			if n, err := dio.Pread(fd, got, 12345); n != len(got) || err != nil || !bytes.Equal(got, text) {
				t.Errorf("reads other bytes: %d, %v", n, err)
			}

			// A bad offset says nothing about the filesystem. -1 means the file's own offset to
			// pwritev2(2), and nothing may be written there.
			if _, err := unix.Seek(fd, 12345, unix.SEEK_SET); err != nil {
				t.Fatal(err)
			}
			for _, off := range []int64{-1, -2, math.MinInt64} {
				if n, err := dio.PwriteUncached(fd, dev, [][]byte{[]byte("here?")}, off); n != 0 || err != unix.EOPNOTSUPP {
					t.Errorf("PwriteUncached at %d = %d, %v, want EOPNOTSUPP", off, n, err)
				}
			}
			if n, err := dio.PwriteUncached(fd, dev, [][]byte{text}, math.MaxInt64-10); n != 0 || err == nil {
				t.Errorf("PwriteUncached beyond the end of all files = %d, %v", n, err)
			}
			if n, err := dio.Pread(fd, got, 12345); n != len(got) || err != nil || !bytes.Equal(got, text) {
				t.Errorf("after bad offsets the file reads other bytes: %d, %v", n, err)
			}
			aiotest.DropCache(t, file)
			if n, err := dio.PwriteUncached(fd, dev, [][]byte{text}, 12345); n != len(text) || err != nil {
				t.Errorf("PwriteUncached after bad offsets = %d, %v", n, err)
			}

			// The kernel writes the pages to the disk without a sync. Linux 6.18 also drops them
			// afterwards on xfs; on ext4 they stay.
			aiotest.Until(t, "they are on the disk", func() bool {
				in := aiotest.CacheOf(t, file, 0, aiotest.LimitsSize)
				return in.Dirty+in.Writeback == 0 && (in.Cache == 0 || f.Kind == "ext4")
			})
		})
	}
}

// TestUncachedWritesAreRefused writes to filesystems without RWF_DONTCACHE.
func TestUncachedWritesAreRefused(t *testing.T) {
	for _, f := range []aiotest.Filesystem{aiotest.Tmpfs, aiotest.Btrfs} {
		t.Run(f.Name, func(t *testing.T) {
			aiotest.Guard(t)
			file := fileIn(f)(t)
			fd, dev := int(file.Fd()), newDevice()
			text := []byte("not to be kept")
			if n, err := dio.PwriteUncached(fd, dev, [][]byte{text}, 0); n != 0 || err != unix.EOPNOTSUPP {
				t.Fatalf("PwriteUncached = %d, %v, want EOPNOTSUPP", n, err)
			}
			// dio remembers it, and makes no system call, which would return EBADF.
			if n, err := dio.PwriteUncached(-1, dev, [][]byte{text}, 0); n != 0 || err != unix.EOPNOTSUPP {
				t.Errorf("the second time: %d, %v, want EOPNOTSUPP", n, err)
			}
			// dio remembers it of that filesystem only.
			if n, err := dio.PwriteUncached(-1, newDevice(), [][]byte{text}, 0); n != 0 || err != unix.EBADF {
				t.Errorf("on another filesystem: %d, %v, want EBADF", n, err)
			}
			got := make([]byte, len(text))
			if _, err := dio.Pread(fd, got, 0); err != nil || !bytes.Equal(got, make([]byte, len(text))) {
				t.Errorf("a refused write has left %q, %v", got, err)
			}
		})
	}
}
