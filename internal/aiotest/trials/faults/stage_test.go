package faults

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/internal/aiotest/trials/fusedisk"
	"github.com/go-aio/aio/internal/aiotest/trials/mounts"
)

// A target is the filesystem or device of the file under test.
type target struct {
	name string
	fs   aiotest.Filesystem // none: the file is the block device
	// buffers says that a direct write goes through the page cache, and so meets the disk's error
	// only at Sync.
	buffers bool
	// over mounts another filesystem in a directory of fs.
	over func(below, dir string) (unmount func() error, err error)
	// noDirect says that there is no direct I/O.
	noDirect bool
}

// targets are the default targets of the tests.
var targets = []target{
	{name: "block device"},
	{name: aiotest.Ext4.Name, fs: aiotest.Ext4},
	{name: aiotest.XFS.Name, fs: aiotest.XFS},
	{name: aiotest.Btrfs.Name, fs: aiotest.Btrfs, buffers: true},
	{name: aiotest.BtrfsNoCow.Name, fs: aiotest.BtrfsNoCow},
}

// others are run only if the environment names them.
var others = []target{
	{name: aiotest.Ext4Small.Name, fs: aiotest.Ext4Small},
	{name: aiotest.Ext4Large.Name, fs: aiotest.Ext4Large},
	{name: aiotest.XFSLarge.Name, fs: aiotest.XFSLarge},
	{name: "overlayfs", fs: aiotest.Ext4, over: mounts.Overlay},
	{name: "FUSE", noDirect: true}, // the file is the disk
}

// filesystemEnv names the one target to run on.
const filesystemEnv = "AIOTEST_FILESYSTEM"

// each runs a test on all targets that where accepts.
func each(t *testing.T, where func(on target) bool, test func(t *testing.T, on target)) {
	aiotest.NeedsMounts(t)
	only := os.Getenv(filesystemEnv)
	list := targets
	if only != "" {
		list = slices.Concat(targets, others)
		list = slices.DeleteFunc(list, func(on target) bool { return on.name != only })
	}
	if len(list) == 0 {
		t.Skipf("%s: there is no disk that could be made to fail", only)
	}
	for _, on := range list {
		if !where(on) {
			t.Logf("nothing to see on %s", on.name)
			continue
		}
		t.Run(on.name, func(t *testing.T) {
			aiotest.Guard(t)
			test(t, on)
		})
	}
}

// Predicates for each.
func everywhere(target) bool { return true }

// onDevice excludes faults that end a filesystem's journal, and so everything: see TestDeadDisk.
func onDevice(on target) bool { return on.fs.Size == 0 && !on.noDirect }

// cached is for tests through the page cache. On FUSE such tests would test nothing.
func cached(on target) bool { return !on.noDirect }

// unbuffered is for direct writes that are direct; others fail at Sync.
func unbuffered(on target) bool { return !on.buffers }

// once is for targets where the kernel makes each request once. Btrfs may read again through the
// page cache, and succeed.
func once(on target) bool { return on.fs.Kind != "btrfs" }

// Flags to open the file with.
var (
	osBuffered = aiotest.OS
	osDirect   = aiotest.Package{Direct: true, OpenFile: func(name string, flag int, perm fs.FileMode) (aiotest.File, error) {
		return aiotest.Lift(os.OpenFile(name, flag|aio.O_DIRECT, perm))
	}}
)

// subject opens by package aio, and fails the test if a File that should be direct is not.
func subject(t testing.TB, flag int) aiotest.Package {
	return aiotest.Package{Direct: flag != 0, OpenFile: func(name string, more int, perm fs.FileMode) (aiotest.File, error) {
		f, err := aio.OpenFile(name, more|flag, perm)
		if err == nil && f.Direct() != ((more|flag)&aio.O_DIRECT != 0) {
			t.Errorf("%s: Direct is %t", name, f.Direct())
		}
		return aiotest.Lift(f, err)
	}}
}

// direct returns the oracle for Files opened with O_DIRECT, and package aio.
func (on target) direct(t testing.TB) (oracle, pkg aiotest.Package) {
	if on.noDirect {
		return osBuffered, aiotest.Package{OpenFile: func(name string, flag int, perm fs.FileMode) (aiotest.File, error) {
			return aiotest.Lift(aio.OpenFile(name, flag|aio.O_DIRECT, perm))
		}}
	}
	return osDirect, subject(t, aio.O_DIRECT)
}

// compare runs do on a fresh disk with the oracle and on another one with pkg.
func (on target) compare(t *testing.T, oracle, pkg aiotest.Package, do func(s *stage)) {
	t.Helper()
	count := faults(t)
	server := serve(t)
	aiotest.CompareWith(t, t.TempDir(), oracle, pkg, func(side *aiotest.Side) {
		s := on.stage(side, server, count)
		defer s.close()
		do(s)
	})
}

// faults returns the counter of a test's faults, and logs it in the end.
func faults(t testing.TB) *atomic.Int64 {
	n := new(atomic.Int64)
	t.Cleanup(func() {
		t.Logf("%d faults injected", n.Load())
		if n.Load() == 0 && !t.Failed() {
			t.Error("no fault has been met")
		}
	})
	return n
}

// serve returns a server of disks. The test closes it at its end.
func serve(t testing.TB) *fusedisk.Server {
	t.Helper()
	server, err := fusedisk.Mount(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	aiotest.GuardWith(t, func() { abort(server) })
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return server
}

// abort fails all requests to the server. A process cannot end while the kernel waits for an answer
// from that same process. So abort must run before the guard ends a test that hangs.
func abort(server *fusedisk.Server) {
	fmt.Fprintln(os.Stderr, "the test hangs: its disks are taken away")
	if err := server.Abort(); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

// A stage is one side's disk with the file under test on it.
type stage struct {
	*aiotest.Side
	on    target
	disk  *fusedisk.Disk
	count *atomic.Int64
	dir   string // the mount point
	files []aiotest.File
	done  func()

	unmountOver func() error // of a filesystem mounted over dir, if any
}

// templates are disks with a filesystem.
var templates sync.Map

// deviceSize is the size in bytes of a block device that is itself the target.
const deviceSize = 16 << 20

// stage makes a disk, and mounts the target on it.
func (on target) stage(side *aiotest.Side, server *fusedisk.Server, count *atomic.Int64) *stage {
	side.Helper()
	s := &stage{Side: side, on: on, count: count}
	if on.fs.Name == aiotest.Tmpfs.Name {
		s.disk, s.done = server.Create("none", 0), func() {}
		s.mount("none")
		return s
	}
	if on.fs.Size == 0 {
		s.disk = server.Create("disk", deviceSize)
	} else {
		s.disk = server.Cut(on.template(side, server), "disk", rand.New(rand.NewPCG(1, 1)))
	}
	if on.noDirect {
		s.done = func() {}
		if err := os.Symlink(s.disk.Path(), s.Path("file")); err != nil {
			s.Fatal(err)
		}
		return s
	}
	name, done := s.loop()
	s.done = done
	if on.fs.Size == 0 {
		if err := os.Symlink(name, s.Path("file")); err != nil { // the traces must not differ in the device's number
			s.Fatal(err)
		}
	} else {
		s.mount(name)
	}
	return s
}

// loop makes a block device of the disk. The device makes its requests side by side, and not one
// after the other through a worker.
func (s *stage) loop() (name string, done func()) {
	s.Helper()
	name, done, err := aiotest.LoopDevice(s.disk.Path(), max(512, s.on.fs.Sector))
	if err != nil {
		s.Fatal(err)
	}
	device, err := os.Open(name)
	if err != nil {
		s.Fatal(err)
	}
	defer device.Close()
	if err := unix.IoctlSetInt(int(device.Fd()), unix.LOOP_SET_DIRECT_IO, 1); err != nil {
		s.Fatal(os.NewSyscallError("LOOP_SET_DIRECT_IO", err))
	}
	// One request of the device is then one of FUSE. If some of several requests fail, the driver
	// makes a short transfer, and treats a short write as a whole one.
	limit := filepath.Join("/sys/block", filepath.Base(name), "queue/max_sectors_kb")
	if err := os.WriteFile(limit, []byte("128"), 0); err != nil {
		s.Fatal(err)
	}
	return name, done
}

func (s *stage) mount(device string) {
	s.Helper()
	dir := s.Path("mnt")
	s.dir = dir
	if s.on.over != nil {
		s.dir = s.Path("below")
		must(os.Mkdir(s.dir, 0o700))
	}
	must(os.Mkdir(dir, 0o700))
	err := s.on.fs.Mount(device, s.dir)
	if err == nil && s.on.over != nil {
		s.unmountOver, err = s.on.over(s.dir, dir)
	}
	if err == nil && s.on.fs.Name == aiotest.Tmpfs.Name {
		err = unix.Mount("none", s.dir, "tmpfs", unix.MS_REMOUNT, "size=4m")
	}
	if err != nil {
		s.Fatal(err)
	}
	if err := os.Symlink(filepath.Join("mnt", "file"), s.Path("file")); err != nil {
		s.Fatal(err)
	}
}

// template returns a disk with the filesystem, made once.
func (on target) template(t testing.TB, server *fusedisk.Server) *fusedisk.Disk {
	t.Helper()
	if d, ok := templates.Load(on.name); ok {
		return d.(*fusedisk.Disk)
	}
	d := server.Create("template", on.fs.Size)
	defer server.Remove(d)
	name, done, err := aiotest.LoopDevice(d.Path(), on.fs.Sector)
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	if err := on.fs.Make(name); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil { // so that a cut leaves all
		t.Fatal(err)
	}
	templates.Store(on.name, d)
	return d
}

// close removes the faults and unmounts.
func (s *stage) close() {
	s.disk.Inject(nil)
	for _, f := range s.files {
		f.Close()
	}
	if s.unmountOver != nil {
		if err := s.unmountOver(); err != nil {
			s.Error(err)
		}
	}
	if s.dir != "" {
		if err := s.unmount(); err != nil {
			s.Error(err)
		}
	}
	s.done()
}

// unmount waits for abandoned calls, which keep the file open.
func (s *stage) unmount() error {
	var err error
	aiotest.Eventually(func() bool {
		err = unix.Unmount(s.dir, 0)
		return err != unix.EBUSY
	})
	if err == unix.EBUSY {
		return aiotest.Unmount(s.dir)
	}
	if err != nil {
		return &os.PathError{Op: "umount", Path: s.dir, Err: err}
	}
	return nil
}

// open opens the file under test by the package of this side.
func (s *stage) open(flag int) aiotest.File {
	s.Helper()
	f, err := s.OpenFile(s.Path("file"), flag, 0o644)
	if err != nil {
		s.Fatal(err)
	}
	s.files = append(s.files, f)
	return f
}

// put makes the file of n bytes of the first generation, on the disk and not in the page cache.
func (s *stage) put(n int) {
	s.Helper()
	f, err := os.OpenFile(s.Path("file"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		s.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(content(1, 0, n), 0); err != nil {
		s.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		s.Fatal(err)
	}
	s.forget(f)
}

// forget drops the clean pages of f from the page cache.
func (s *stage) forget(f interface{ Fd() uintptr }) {
	s.Helper()
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		s.Fatal(os.NewSyscallError("fadvise", err))
	}
}

// buffer returns memory for n bytes, whose address fits direct I/O. If bounced, only os.File's
// does, which could not use other memory for direct I/O.
func (s *stage) buffer(n int, bounced bool) []byte {
	if bounced && (s.on.noDirect || !s.oracle()) {
		return aiotest.Buffer(n, 7)
	}
	return aiotest.Buffer(n, 0)
}

// oracle reports whether this side is os.File's.
func (s *stage) oracle() bool { _, ok := s.files[0].(*os.File); return ok }

// content returns n bytes at byte off of a file. Each sector names its place and its generation of
// the file.
func content(generation uint32, off int64, n int) []byte {
	first := off / sector * sector
	p := aiotest.Buffer(int(off-first)+n+sector, 0)
	for i := 0; i < len(p)/sector*sector; i += sector {
		s := p[i : i+sector]
		for j := range s {
			s[j] = byte(generation)*31 + byte(j) + byte((first+int64(i))>>9)*7 + byte((first+int64(i))>>17)
		}
		copy(s, tag[:])
		binary.LittleEndian.PutUint32(s[8:], generation)
		binary.LittleEndian.PutUint32(s[12:], uint32((first+int64(i))/sector))
	}
	return p[off-first:][:n:n]
}

const sector = 512 // bytes

var tag = []byte("\x00aiotag\xff")

// holds reports whether the data of a request has a byte of [lo, hi) of the generation of a file.
func holds(data []byte, generation uint32, lo, hi int64) bool {
	for len(data) >= sector {
		if bytes.HasPrefix(data, tag) && binary.LittleEndian.Uint32(data[8:]) == generation {
			if at := int64(binary.LittleEndian.Uint32(data[12:])) * sector; at < hi && at+sector > lo {
				return true
			}
		}
		data = data[sector:]
	}
	return false
}

// inject injects a fault into the requests that hit accepts, from now on.
func (s *stage) inject(fault fusedisk.Fault, hit func(r fusedisk.Request) bool) {
	s.disk.Inject(func(r fusedisk.Request) fusedisk.Fault {
		if !hit(r) {
			return fusedisk.Fault{}
		}
		s.count.Add(1)
		return fault
	})
}

// bad fails reads, or writes, of bytes [lo, hi) of the generation.
func (s *stage) bad(op fusedisk.Op, generation uint32, lo, hi int64) {
	s.inject(fusedisk.Fault{Errno: syscall.EIO}, func(r fusedisk.Request) bool {
		return r.Op == op && holds(r.Data, generation, lo, hi)
	})
}

// good ends the faults.
func (s *stage) good() { s.disk.Inject(nil) }
