package fusedisk

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/go-aio/aio/internal/aiotest"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	aiotest.InNamespace()
	os.Exit(m.Run())
}

// serve returns a server. The test closes it at its end.
func serve(t *testing.T) *Server {
	t.Helper()
	aiotest.Guard(t)
	aiotest.NeedsMounts(t)
	s, err := Mount(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// device returns a direct descriptor of a loop device over d.
func device(t *testing.T, d *Disk) *os.File {
	t.Helper()
	name, done, err := aiotest.LoopDevice(d.Path(), 512)
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	f, err := os.OpenFile(name, os.O_RDWR|unix.O_DIRECT, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestDevice(t *testing.T) {
	d := serve(t).Create("disk", 4<<20)
	f := device(t, d)
	want := aiotest.Buffer(1<<20, 0)
	copy(want, aiotest.Pattern(1<<20, 1))
	if _, err := f.WriteAt(want, 8192); err != nil {
		t.Fatal(err)
	}
	got := aiotest.Buffer(1<<20, 0)
	if _, err := f.ReadAt(got, 8192); err != nil || !bytes.Equal(got, want) {
		t.Errorf("other bytes than were written: %v", err)
	}
	if _, err := f.ReadAt(got[:8192], 0); err != nil || !bytes.Equal(got[:8192], make([]byte, 8192)) {
		t.Errorf("not zero before it: %v", err)
	}
	for _, op := range []Op{Read, Write} {
		if d.Count(op) == 0 {
			t.Errorf("no %v has reached the disk", op)
		}
	}
	before := d.Count(Flush)
	if err := f.Sync(); err != nil || d.Count(Flush) != before+1 {
		t.Errorf("Sync: %v; %d flushes", err, d.Count(Flush)-before)
	}
}

func TestFaults(t *testing.T) {
	d := serve(t).Create("disk", 4<<20)
	f := device(t, d)
	p := aiotest.Buffer(4096, 0)
	d.Inject(func(r Request) Fault {
		if r.Op == Read && r.N == 2 {
			return Fault{Errno: syscall.EIO}
		}
		return Fault{}
	})
	for i := range 3 {
		_, err := f.ReadAt(p, int64(i)*4096)
		if want := i == 1; errors.Is(err, syscall.EIO) != want {
			t.Errorf("read %d: %v", i, err)
		}
	}
	d.Inject(func(Request) Fault { return Fault{Delay: 50 * time.Millisecond} })
	start := time.Now()
	if _, err := f.ReadAt(p, 0); err != nil || time.Since(start) < 50*time.Millisecond {
		t.Errorf("a slow read took %v: %v", time.Since(start), err)
	}
	d.Inject(func(r Request) Fault { return Fault{Lose: r.Op == Write} })
	copy(p, bytes.Repeat([]byte{7}, 4096))
	if _, err := f.WriteAt(p, 0); err != nil {
		t.Error(err)
	}
	if _, err := f.ReadAt(p, 0); err != nil || p[0] != 0 {
		t.Errorf("a lost write has left %d: %v", p[0], err)
	}
}

// TestErrors injects errors into the file itself, without a loop device.
func TestErrors(t *testing.T) {
	d := serve(t).Create("disk", 4<<20)
	f, err := os.OpenFile(d.Path(), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	d.Inject(func(Request) Fault { return Fault{Errno: syscall.EIO} })
	p := make([]byte, 4096)
	if n, err := f.ReadAt(p, 0); n != 0 || !errors.Is(err, syscall.EIO) {
		t.Errorf("ReadAt: %d, %v", n, err)
	}
	if n, err := f.WriteAt(p, 0); n != 0 || !errors.Is(err, syscall.EIO) {
		t.Errorf("WriteAt: %d, %v", n, err)
	}
	if err := f.Sync(); !errors.Is(err, syscall.EIO) {
		t.Errorf("Sync: %v", err)
	}
}

// TestResize truncates the disk under the loop device.
func TestResize(t *testing.T) {
	d := serve(t).Create("disk", 1<<20)
	f := device(t, d)
	p := aiotest.Buffer(4096, 0)
	d.Resize(8192)
	if n, err := f.ReadAt(p, 4096); n != len(p) || err != nil {
		t.Errorf("a read of the rest: %d, %v", n, err)
	}
	if n, err := f.ReadAt(p, 64<<10); n != 0 || !errors.Is(err, syscall.EIO) {
		t.Errorf("a read beyond the rest: %d, %v", n, err)
	}
}

// TestCut cuts the power: flushed sectors are there, others are there or not.
func TestCut(t *testing.T) {
	s := serve(t)
	d := s.Create("disk", 1<<20)
	f := device(t, d)
	r := rand.New(rand.NewPCG(1, 2))
	flushed, lost, kept := aiotest.Buffer(64<<10, 0), 0, 0
	for round := byte(1); round < 20; round++ {
		for i := range flushed {
			flushed[i] = round
		}
		if _, err := f.WriteAt(flushed, 0); err != nil {
			t.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt(flushed, 64<<10); err != nil {
			t.Fatal(err)
		}
		cut := s.Cut(d, "cut", r)
		left, err := os.ReadFile(cut.Path())
		if err != nil || len(left) != 1<<20 || !bytes.Equal(left[:64<<10], flushed) {
			t.Fatalf("%d bytes: %v; or other bytes than were flushed", len(left), err)
		}
		for at := 64 << 10; at < 128<<10; at += sectorSize {
			switch sector := left[at : at+sectorSize]; {
			case bytes.Equal(sector, flushed[:sectorSize]):
				kept++
			case bytes.Equal(sector, bytes.Repeat([]byte{round - 1}, sectorSize)):
				lost++
			default:
				t.Fatalf("a sector of %x", sector)
			}
		}
		s.Remove(cut)
		if _, err := os.Stat(filepath.Join(s.dir, "cut")); err == nil {
			t.Fatal("it still exists")
		}
	}
	if lost == 0 || kept == 0 {
		t.Errorf("%d sectors lost, %d kept", lost, kept)
	}
}

// TestCrash lets ext4 replay its journal after a cut.
func TestCrash(t *testing.T) {
	s := serve(t)
	d := s.Create("disk", aiotest.Ext4.Size)
	name, done, err := aiotest.LoopDevice(d.Path(), 512)
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	if err := aiotest.Ext4.Make(name); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := aiotest.Ext4.Mount(name, dir); err != nil {
		t.Fatal(err)
	}
	defer aiotest.Unmount(dir)
	f, err := os.Create(filepath.Join(dir, "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want := aiotest.Pattern(100_000, 1)
	if _, err := f.Write(want); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(want); err != nil {
		t.Fatal(err)
	}
	cut, done2, err := aiotest.LoopDevice(s.Cut(d, "cut", rand.New(rand.NewPCG(3, 4))).Path(), 512)
	if err != nil {
		t.Fatal(err)
	}
	defer done2()
	after := t.TempDir()
	if err := aiotest.Ext4.Mount(cut, after); err != nil {
		t.Fatal(err)
	}
	defer aiotest.Unmount(after)
	if got, err := os.ReadFile(filepath.Join(after, "file")); err != nil || !bytes.HasPrefix(got, want) {
		t.Errorf("%d bytes: %v; or other bytes than were synced", len(got), err)
	}
}

// TestAbort aborts a request that is never answered.
func TestAbort(t *testing.T) {
	s := serve(t)
	d := s.Create("disk", 1<<20)
	f := device(t, d)
	quit, waits := make(chan struct{}), make(chan struct{}, 1)
	defer close(quit)
	d.Inject(func(Request) Fault {
		select {
		case waits <- struct{}{}:
		default:
		}
		<-quit
		return Fault{}
	})
	failed := make(chan error)
	go func() {
		_, err := f.ReadAt(aiotest.Buffer(4096, 0), 0)
		failed <- err
	}()
	<-waits
	if err := s.Abort(); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; !errors.Is(err, syscall.EIO) {
		t.Errorf("a read from a disk that is gone: %v", err)
	}
}
