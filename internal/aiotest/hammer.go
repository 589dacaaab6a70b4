package aiotest

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// common is the length in bytes of the region that all workers of Hammer write, always with the
// same bytes. There direct and buffered writes meet in one block, where the kernel alone would fail
// the next Sync with EIO.
const common = 64 << 10

// Hammer runs workers that write and read through several Files on one inode, each in its own
// region and in a common one, and compares the results with the expected bytes.
func Hammer(t testing.TB, dir string, pkg Package, workers, region, steps int) {
	t.Helper()
	total := common + workers*region
	content := Pattern(total, 1)
	name := filepath.Join(dir, "hammered")
	if err := os.WriteFile(name, content, 0o644); err != nil {
		t.Fatal(err)
	}
	open := func(flag int) File {
		f, err := pkg.OpenFile(name, flag, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	var files []File
	for i := range 4 {
		files = append(files, open(os.O_RDWR|i%2*O_DIRECT))
	}
	var quit atomic.Bool
	var background, wg sync.WaitGroup
	readOnly := open(os.O_RDONLY | O_DIRECT)
	background.Go(func() {
		p := Buffer(4096, 0)
		for !quit.Load() { // a refused call among others
			if n, err := readOnly.WriteAt(p, 0); n != 0 || !errors.Is(err, syscall.EBADF) && Linux {
				t.Errorf("WriteAt to a file open for reading: %d, %v", n, err)
			}
			runtime.Gosched()
		}
	})
	background.Go(func() {
		for i := 0; !quit.Load(); i++ { // changes the size, beyond all regions
			f, at := files[i%len(files)], int64(total+i%9000)
			for _, err := range []error{f.Truncate(at), Allocate(f, at, 5000), PunchHole(f, at, 10000)} {
				if err != nil && !errors.Is(err, errors.ErrUnsupported) { // FUSE may lack the last two
					t.Error(err)
				}
			}
			time.Sleep(time.Millisecond)
		}
	})
	for i := range workers {
		w := &worker{
			TB: t, pkg: pkg, rand: rand.New(rand.NewPCG(uint64(i), 7)), name: name, files: files,
			base: int64(common + i*region), model: content[common+i*region:][:region],
			common: bytes.Clone(content[:common]),
		}
		wg.Go(func() {
			for range steps {
				if w.step(); t.Failed() {
					return
				}
			}
		})
	}
	wg.Wait()
	quit.Store(true)
	background.Wait()
	verify(t, files, content)
}

// verify compares the file, through each of files, with the expected content.
func verify(t testing.TB, files []File, content []byte) {
	t.Helper()
	for i, f := range files {
		if err := f.Sync(); err != nil {
			t.Errorf("Sync: %v", err)
		}
		got := Buffer(len(content), 0)
		if n, err := f.ReadAt(got, 0); n != len(content) {
			t.Error(n, err)
		} else if !bytes.Equal(got, content) {
			t.Errorf("direct %t: the content differs from the written bytes", i%2 == 1)
		}
	}
}

// A worker owns its region.
type worker struct {
	testing.TB
	pkg   Package
	rand  *rand.Rand
	name  string
	files []File
	base  int64
	model []byte

	common []byte
}

func (w *worker) step() {
	f := w.files[w.rand.IntN(len(w.files))]
	switch w.rand.IntN(20) {
	case 0, 1, 2:
		w.write(f, 1, 9000)
	case 3:
		w.write(f, 1, 80000)
	case 4, 5, 6:
		w.write(f, 4096, 8)
	case 7:
		if err := f.Sync(); err != nil {
			w.Errorf("Sync: %v", err)
		}
	case 8:
		if err := f.(interface{ Datasync() error }).Datasync(); err != nil {
			w.Errorf("Datasync: %v", err)
		}
	case 9:
		fi, err := f.Stat()
		if err != nil || fi.Size() < w.base+int64(len(w.model)) {
			w.Errorf("Stat: %v %v", fi, err)
		}
	case 10:
		again, err := w.pkg.OpenFile(w.name, os.O_RDWR|w.rand.IntN(2)*O_DIRECT, 0)
		if err != nil {
			w.Error(err)
			return
		}
		w.write(again, 512, 16)
		w.read(again)
		if err := again.Close(); err != nil {
			w.Error(err)
		}
	case 11, 12, 13:
		w.share(f, 4096)
	case 14:
		w.share(f, 100)
	default:
		w.read(f)
	}
}

// share writes some units of the common region.
func (w *worker) share(f File, unit int) {
	n := unit * (1 + w.rand.IntN(3))
	off := unit * w.rand.IntN((common-n)/unit)
	if k, err := f.WriteAt(w.common[off:][:n], int64(off)); k != n || err != nil {
		w.Errorf("WriteAt %d bytes at %d: %d, %v", n, off, k, err)
	}
	p := Buffer(n, 0)
	other := w.files[w.rand.IntN(len(w.files))]
	if k, err := other.ReadAt(p, int64(off)); k != n || err != nil || !bytes.Equal(p, w.common[off:][:n]) {
		w.Errorf("ReadAt %d bytes at %d: %d, %v; or other bytes than all write", n, off, k, err)
	}
}

// write writes some units and reads them back.
func (w *worker) write(f File, unit, most int) {
	n := unit * (1 + w.rand.IntN(most))
	off := unit * w.rand.IntN((len(w.model)-n)/unit+1)
	p := Buffer(n, w.rand.IntN(3)*512)
	for i := range p {
		p[i] = byte(w.rand.Uint32())
	}
	copy(w.model[off:], p)
	write := f.WriteAt
	if w.rand.IntN(2) == 0 {
		write = func(p []byte, off int64) (int, error) { return WritevAt(f, w.parts(p, unit), off) }
	}
	if k, err := write(p, w.base+int64(off)); k != n || err != nil {
		w.Errorf("WriteAt or WritevAt %d bytes at %d: %d, %v", n, w.base+int64(off), k, err)
	}
	w.compare(w.files[w.rand.IntN(len(w.files))], off, n)
}

// parts cuts p into buffers of some units.
func (w *worker) parts(p []byte, unit int) (bufs [][]byte) {
	for len(p) > 0 {
		k := min(unit*(1+w.rand.IntN(3000/unit+2)), len(p))
		bufs = append(bufs, p[:k])
		p = p[k:]
	}
	return bufs
}

func (w *worker) read(f File) {
	n := 1 + w.rand.IntN(20000)
	w.compare(f, w.rand.IntN(len(w.model)-n), n)
}

func (w *worker) compare(f File, off, n int) {
	p := Buffer(n, w.rand.IntN(2))
	read := f.ReadAt
	if unit := 1 << (9 * w.rand.IntN(2)); w.rand.IntN(3) == 0 {
		read = func(p []byte, off int64) (int, error) { return ReadvAt(f, w.parts(p, unit), off) }
	}
	k, err := read(p, w.base+int64(off))
	if k != n || err != nil {
		w.Errorf("ReadAt or ReadvAt %d bytes at %d: %d, %v", n, w.base+int64(off), k, err)
	}
	if !bytes.Equal(p, w.model[off:off+n]) {
		w.Errorf("ReadAt %d bytes at %d: other bytes than were written", n, w.base+int64(off))
	}
}

// WatchSize watches f, a growing file, until stop is called: the size never goes back, and the last
// byte is never that of a hole.
func WatchSize(t testing.TB, f *os.File) (stop func()) {
	quit, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		last := int64(0)
		for p := []byte{1}; ; {
			select {
			case <-quit:
				return
			default:
			}
			fi, err := f.Stat()
			if err != nil || fi.Size() < last {
				t.Errorf("the size was %d and is %d: %v", last, fi.Size(), err)
				return
			}
			if last = fi.Size(); last == 0 {
				continue
			}
			if _, err := f.ReadAt(p, last-1); err != nil || p[0] == 0 {
				t.Errorf("size %d: the last byte is %d: %v", last, p[0], err)
				return
			}
		}
	}()
	return func() {
		close(quit)
		<-ended
	}
}
