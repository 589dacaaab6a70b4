package concurrency

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/internal/aiotest/aiofile"
)

const (
	kept     = 40<<10 + 300  // bytes that no Truncate cuts off
	highest  = 300<<10 + 100 // the largest size of a Truncate, and the end of WriteAt
	appended = 255           // not in content
)

// TestTruncateBesideAll runs Truncates to less and to more beside all other operations. A byte is
// the written one, or zero where a Truncate has been; below all Truncates it is the written one.
func TestTruncateBesideAll(t *testing.T) {
	conditions(t, func(t *testing.T) {
		name := aiofile.Put(t, aiotest.Dir(t), "file", content()[:kept])
		var files []aiotest.File
		for i := range 4 {
			files = append(files, ways[1+i%2].open(t, name, os.O_RDWR))
		}
		var users sync.WaitGroup
		for i := range 16 {
			u := &user{t, aiofile.Package(t, 0), files[(i+i/8)%4], name, rand.New(rand.NewPCG(uint64(i), 2)), aiotest.Buffer(96<<10, i%2)}
			do := []func(){u.read, u.read, u.writeBlocks, u.writeBytes, u.append, u.sync, u.stat, u.openAgain}[i%8]
			users.Go(func() {
				for range 3 * aiotest.Scaled(20) {
					do()
				}
			})
		}
		var quit atomic.Bool
		go func() {
			users.Wait()
			quit.Store(true)
		}()
		random := rand.New(rand.NewPCG(1, 4))
		for i := 0; !quit.Load(); i++ {
			to := kept + random.Int64N(highest-kept)
			if i%3 == 0 {
				to = max(kept, to&^4095)
			}
			if err := files[i%len(files)].Truncate(to); err != nil {
				t.Error(err)
			}
		}
		afterTruncate(t, files)
	})
}

// afterTruncate checks the file after the last call: the kept bytes are there, and a last Truncate
// adds zeros.
func afterTruncate(t *testing.T, files []aiotest.File) {
	aiofile.Must(files[0].Truncate(kept))
	aiofile.Must(files[1].Truncate(highest))
	want := append(bytes.Clone(content()[:kept]), make([]byte, highest-kept)...)
	got := aiotest.Buffer(highest, 0)
	for _, f := range files {
		if n, err := f.ReadAt(got, 0); n != highest {
			t.Error(n, err)
		} else if !bytes.Equal(got, want) {
			t.Errorf("after the last Truncate: %s", firstDifference(got, want))
		}
		if err := f.Sync(); err != nil {
			t.Error(err)
		}
	}
}

// A user makes one kind of call on a file, again and again.
type user struct {
	*testing.T
	pkg    aiotest.Package
	file   aiotest.File
	name   string
	rand   *rand.Rand
	buffer []byte
}

func (u *user) read() {
	s := span{u.rand.Int64N(highest), 1 + u.rand.IntN(len(u.buffer))}
	p := u.buffer[:s.n]
	n, err := u.file.ReadAt(p, s.off)
	if n < len(p) && err != io.EOF || s.off+int64(n) < kept && n < len(p) {
		u.Errorf("ReadAt %d bytes at %d: %d, %v", s.n, s.off, n, err)
	}
	for i, b := range p[:n] {
		off := s.off + int64(i)
		if b != content()[off] && (off < kept || b != 0 && b != appended) {
			u.Errorf("ReadAt %d bytes at %d, %T: byte %d is %d", s.n, s.off, u.file, i, b)
			return
		}
	}
}

func (u *user) write(s span) {
	p := u.buffer[:s.n]
	copy(p, content()[s.off:])
	if n, err := u.file.WriteAt(p, s.off); n != s.n || err != nil {
		u.Errorf("WriteAt %d bytes at %d: %d, %v", s.n, s.off, n, err)
	}
}

func (u *user) writeBlocks() {
	n := 4096 * (1 + u.rand.IntN(16))
	u.write(span{4096 * u.rand.Int64N(int64(highest-n)/4096), n})
}

func (u *user) writeBytes() {
	n := 1 + u.rand.IntN(80000)
	u.write(span{u.rand.Int64N(int64(highest - n)), n})
}

// append opens for appending, because WriteAt is an error there. It stops at a size limit.
func (u *user) append() {
	f, err := u.pkg.OpenFile(u.name, os.O_RDWR|os.O_APPEND|u.rand.IntN(2)*aiotest.O_DIRECT, 0)
	aiofile.Must(err)
	defer f.Close()
	if fi, err := f.Stat(); err != nil || fi.Size() > 2*highest {
		return
	}
	p := bytes.Repeat([]byte{appended}, 1+u.rand.IntN(5000))
	if n, err := f.Write(p); n != len(p) || err != nil {
		u.Errorf("Write %d bytes to the end: %d, %v", len(p), n, err)
	}
}

func (u *user) sync() {
	if err := u.file.Sync(); err != nil {
		u.Errorf("Sync: %v", err)
	}
}

func (u *user) stat() {
	if fi, err := u.file.Stat(); err != nil || fi.Size() < kept {
		u.Errorf("Stat: %v, %v", fi, err)
	}
}

// openAgain opens and closes the only direct File, or the only buffered one, again and again.
func (u *user) openAgain() {
	f, err := u.pkg.OpenFile(u.name, os.O_RDWR|u.rand.IntN(2)*aiotest.O_DIRECT, 0)
	aiofile.Must(err)
	defer f.Close()
	again := *u
	again.file = f
	again.writeBlocks()
	again.writeBytes()
	again.read()
}
