package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-aio/aio"
)

// A soak is one run.
type soak struct {
	plan
	dir     string
	noise   []byte // the source of all written bytes
	common  []byte // the beginning of every shared file
	shared  []*sharedFile
	log     *log
	workers []*worker
	large   chan []byte   // buffers of a MiB
	os      chan struct{} // bounds the threads that os.File holds

	mu    sync.Mutex
	wider sync.Cond // of mu: width has grown
	width int       // the number of active workers: those below it

	quit    atomic.Bool
	failed  chan struct{}
	once    sync.Once
	first   error
	running sync.WaitGroup

	clocks  []clock
	counts  [kinds][modes]atomic.Int64
	bytes   [modes]atomic.Int64
	ended   atomic.Int64
	longest atomic.Int64 // nanoseconds
	slowest atomic.Pointer[string]

	started time.Time
	took    time.Duration
}

// The modes of a file.
const (
	direct = iota
	buffered
	byOS
	modes
)

var modeNames = [modes]string{"direct", "buffered", "os.File"}

const (
	largest     = 1 << 20  // bytes of a transfer
	mostCommon  = 4 << 20  // bytes that all workers write, always the same
	mostRegion  = 64 << 10 // bytes of which a worker is the only writer
	leastRegion = 8192
)

// shareOfCommon returns the length of the common bytes.
func (p plan) shareOfCommon() int { return min(mostCommon, p.size/4) }

// region returns the length of a worker's region. It is not a multiple of blocks: two regions share
// a block.
func (p plan) region() int {
	each := (p.goroutines + p.files - 1) / p.files
	return min(mostRegion, (p.size-p.shareOfCommon())/each) - 100
}

// A sharedFile is open in every mode, several times. An os.File only reads: its writes would be
// those of another process, see docs/guarantees.md.
type sharedFile struct {
	name     string
	by       [modes][]file
	readOnly *aio.File // direct
	size     int64     // of the regions; Truncate never goes below
}

// A file is an aio.File or an os.File.
type file interface {
	Read(p []byte) (int, error)
	ReadAt(p []byte, off int64) (int, error)
	Write(p []byte) (int, error)
	WriteAt(p []byte, off int64) (int, error)
	Seek(off int64, whence int) (int64, error)
	Stat() (os.FileInfo, error)
	Sync() error
	Truncate(size int64) error
	Close() error
}

func open(name string, mode, flag int) (file, error) {
	switch mode {
	case direct:
		return aio.OpenFile(name, flag|aio.O_DIRECT, 0o644)
	case buffered:
		return aio.OpenFile(name, flag, 0o644)
	}
	return os.OpenFile(name, flag, 0o644)
}

func newSoak(p plan, dir string) *soak {
	s := &soak{
		plan: p, dir: dir,
		noise:  make([]byte, 8<<20),
		large:  make(chan []byte, 32),
		os:     make(chan struct{}, 64),
		width:  p.goroutines,
		failed: make(chan struct{}),
		clocks: make([]clock, p.goroutines+1),
	}
	s.wider.L = &s.mu
	var seed [32]byte
	copy(seed[:], fmt.Sprint(p.seed))
	rand.NewChaCha8(seed).Read(s.noise)
	s.common = s.noise[:p.shareOfCommon()]
	for range cap(s.large) {
		s.large <- aio.AlignedBuffer(largest + 4096)
	}
	return s
}

// prepare makes the files and the workers.
func (s *soak) prepare() error {
	for i := range s.files {
		f, err := s.newShared(fmt.Sprintf("shared%d", i))
		if err != nil {
			return err
		}
		s.shared = append(s.shared, f)
	}
	var err error
	if s.log, err = newLog(s); err != nil {
		return err
	}
	for i := range s.goroutines {
		s.workers = append(s.workers, s.newWorker(i))
	}
	// From now on there is a kernel context, if there ever is one.
	_, err = s.shared[0].by[direct][0].ReadAt(make([]byte, 4096), 0)
	return err
}

// newShared makes a file with the common bytes, followed by zeros.
func (s *soak) newShared(name string) (*sharedFile, error) {
	f := &sharedFile{name: filepath.Join(s.dir, name), size: int64(s.size)}
	content := make([]byte, s.size) // written, so that writes of blocks go direct
	copy(content, s.common)
	if err := os.WriteFile(f.name, content, 0o644); err != nil {
		return nil, err
	}
	for mode := range modes {
		for range 3 {
			flag := os.O_RDWR
			if mode == byOS {
				flag = os.O_RDONLY
			}
			g, err := open(f.name, mode, flag)
			if err != nil {
				return nil, err
			}
			f.by[mode] = append(f.by[mode], g)
		}
	}
	var err error
	f.readOnly, err = aio.OpenFile(f.name, os.O_RDONLY|aio.O_DIRECT, 0)
	return f, err
}

// verify compares all files with the written bytes, in every mode.
func (s *soak) verify() error {
	for _, f := range s.shared {
		want := make([]byte, f.size)
		copy(want, s.common)
		for _, w := range s.workers {
			if w.shared == f {
				copy(want[w.base:], w.model)
			}
		}
		got := aio.AlignedBuffer(len(want))
		for mode := range modes {
			if err := f.by[mode][0].Sync(); err != nil {
				return err
			}
			clear(got)
			if n, err := f.by[mode][0].ReadAt(got, 0); n < len(got) || !bytes.Equal(got, want) {
				return fmt.Errorf("in the end %s, %s: %d, %v: other bytes than were written: %s", f.name, modeNames[mode], n, err, differ(got, want))
			}
		}
	}
	for _, w := range s.workers {
		if w.own != nil {
			if err := w.own.verify(); err != nil {
				return err
			}
		}
	}
	return s.log.rotate(true)
}

// close closes and removes the files.
func (s *soak) close() {
	for _, f := range s.shared {
		f.readOnly.Close()
		for mode := range modes {
			for _, g := range f.by[mode] {
				g.Close()
			}
		}
	}
	s.log.close()
	for _, w := range s.workers {
		if w.own != nil && w.own.f != nil {
			w.own.f.Close()
		}
	}
}

// differ describes the first difference of two slices of one length.
func differ(got, want []byte) string {
	first, last, n := -1, -1, 0
	for i := range want {
		if got[i] != want[i] {
			if first < 0 {
				first = i
			}
			last = i
			n++
		}
	}
	if n == 0 {
		return "no difference"
	}
	return fmt.Sprintf("%d bytes from %d to %d, the first is %d and should be %d", n, first, last, got[first], want[first])
}

// fail ends the run. The first error counts.
func (s *soak) fail(err error) {
	s.once.Do(func() {
		s.first = err
		close(s.failed)
	})
}

func (s *soak) failure() error {
	select {
	case <-s.failed:
		return s.first
	default:
		return nil
	}
}
