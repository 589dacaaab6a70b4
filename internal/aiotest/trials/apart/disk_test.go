package apart

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/internal/aiotest"
)

const (
	kib = 1 << 10
	mib = 1 << 20

	slot       = 4 * kib
	slots      = 2048 // one for each call
	largeSlots = 64   // of large, of 1 MiB each
	smallFiles = 300  // more than there are threads
)

// filesystem is that of all disks, large enough for their files.
var filesystem = func() aiotest.Filesystem {
	f := aiotest.Ext4
	f.Size = 384 * mib
	return f
}()

// A disk is a filesystem that hangs on demand, with the files that calls are made on.
type disk struct {
	dir           string
	hang, release func() error
	slow          func() error // release ends it

	direct  *aio.File // slots of slot bytes
	odd     *aio.File // direct; the same
	cached  *aio.File // buffered; the same
	batched *aio.File // direct; batch slots for each call
	large   *aio.File // direct; slots of 1 MiB
	small   []*aio.File
}

// newFrozen returns a disk that hangs as a frozen filesystem.
func newFrozen(t *testing.T, k *keeper) *disk {
	t.Helper()
	dir, _ := filesystem.NewDir(t)
	return newDisk(t, &disk{
		dir:     dir,
		hang:    func() error { return k.do(freezeOrder, dir) },
		release: func() error { return k.do(thawOrder, dir) },
	})
}

// newStalled returns a disk that hangs because its device answers no request.
func newStalled(t *testing.T, k *keeper) *disk {
	t.Helper()
	aiotest.NeedsMounts(t)
	device, done, err := aiotest.LoopDevice(k.disk(), filesystem.Sector)
	if err != nil {
		t.Fatal(err)
	}
	defer done() // the mount holds it from then on
	direct(t, device)
	if err := filesystem.Make(device); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := filesystem.Mount(device, dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := aiotest.Unmount(dir); err != nil {
			t.Error(err)
		}
	})
	return newDisk(t, &disk{
		dir:     dir,
		hang:    func() error { return k.do(stallOrder, dir) },
		slow:    func() error { return k.do(slowOrder, dir) },
		release: func() error { return k.do(releaseOrder, dir) },
	})
}

// direct makes the loop device pass on its requests side by side.
func direct(t *testing.T, device string) {
	t.Helper()
	f, err := os.Open(device)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.IoctlSetInt(int(f.Fd()), unix.LOOP_SET_DIRECT_IO, 1); err != nil {
		t.Fatal(os.NewSyscallError("LOOP_SET_DIRECT_IO", err))
	}
}

// newDisk makes the files.
func newDisk(t *testing.T, d *disk) *disk {
	t.Helper()
	d.direct = d.file(t, "direct", aio.O_DIRECT, slots*slot)
	d.odd = d.file(t, "odd", aio.O_DIRECT, slots*slot)
	d.large = d.file(t, "large", aio.O_DIRECT, largeSlots*mib)
	d.cached = d.file(t, "cached", 0, slots*slot)
	d.batched = d.file(t, "batched", aio.O_DIRECT, slots*batch*slot)
	for i := range smallFiles {
		d.small = append(d.small, d.file(t, fmt.Sprint("small", i), aio.O_DIRECT*(i%2), slot))
	}
	return d
}

// file makes a file of size bytes, all of them written.
func (d *disk) file(t *testing.T, name string, flag int, size int64) *aio.File {
	t.Helper()
	f, err := aio.OpenFile(filepath.Join(d.dir, name), os.O_RDWR|os.O_CREATE|flag, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if f.Direct() != (flag != 0) {
		t.Fatalf("%s: Direct is %t", name, f.Direct())
	}
	t.Cleanup(func() { f.Close() })
	clean(t, f, size)
	return f
}

var zeros = aio.AlignedBuffer(mib)

// clean fills a file with zeros, and removes it from the page cache.
func clean(t *testing.T, f *aio.File, size int64) {
	t.Helper()
	for off := int64(0); off < size; off += mib {
		if _, err := f.WriteAt(zeros[:min(mib, size-off)], off); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		t.Fatal(err)
	}
}

// fill fills p with the content of slot i, in which no byte is 0.
func fill(p []byte, i int) {
	for j := range p {
		p[j] = byte(i*31+i>>8+j*7) | 1
	}
}

// contents has the content of each slot, aligned, for calls that need not change it.
var contents = sync.OnceValue(func() [][]byte {
	all := make([][]byte, slots)
	memory := aio.AlignedBuffer(slots * slot)
	for i := range all {
		all[i] = memory[i*slot : (i+1)*slot : (i+1)*slot]
		fill(all[i], i)
	}
	return all
})

// largeContents has the same for slots of large. No address in it is aligned.
var largeContents = sync.OnceValue(func() [][]byte {
	all := make([][]byte, largeSlots)
	for i := range all {
		all[i] = aio.AlignedBuffer(mib + 1)[1:]
		fill(all[i], i)
	}
	return all
})
