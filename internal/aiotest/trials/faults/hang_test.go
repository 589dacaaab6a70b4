package faults

import (
	"bytes"
	"context"
	"errors"
	"os"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/internal/aiotest/trials/fusedisk"
)

// hang makes all requests wait until release.
func (s *stage) hang() (release func()) {
	released := make(chan struct{})
	s.disk.Inject(func(fusedisk.Request) fusedisk.Fault {
		s.count.Add(1)
		<-released
		return fusedisk.Fault{}
	})
	return func() {
		s.good()
		close(released)
	}
}

// TestHungDisk abandons thousands of calls on a disk that does not answer. They return in time and
// their memory is bounded. Once the disk answers again, everything is as it was before.
func TestHungDisk(t *testing.T) {
	each(t, everywhere, func(t *testing.T, on target) {
		on.streams(t, func(s *stage) {
			s.put(fileSize)
			f := s.open(os.O_RDWR).(*aio.File)
			warm(s, f)
			before := heap()
			release := s.hang()
			const calls = 3000
			bufs := make([][]byte, calls)
			var all sync.WaitGroup
			for i := range calls {
				all.Go(func() {
					bufs[i] = abandon(s, f, i)
				})
			}
			all.Wait()
			// Up to 64 MiB of buffers may be left, and a goroutine for each.
			if n := heap() - before - calls*8192; n > 128<<20 {
				s.Errorf("%d abandoned calls have %d MiB", calls, n>>20)
			}
			marks := make([][]byte, calls)
			for i := range bufs {
				for j := range bufs[i] {
					bufs[i][j] = byte(i)
				}
				marks[i] = bytes.Clone(bufs[i])
			}
			release()
			aiotest.Until(s, "abandoned calls are done", noneAbandoned)
			for i := range bufs {
				if !bytes.Equal(bufs[i], marks[i]) {
					s.Errorf("call %d: the buffer has changed after its return", i)
				}
			}
			warm(s, f)
			p := aiotest.Buffer(8192, 0)
			if n, err := f.ReadAt(p, 8192); n != len(p) || err != nil {
				s.Errorf("ReadAt when the disk answers again: %d, %v", n, err)
			}
			s.check("ReadAt", p, 8192)
		})
	})
}

// warm makes calls after which the library has allocated everything that it keeps.
func warm(s *stage, f *aio.File) {
	s.Helper()
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() {
			p := aiotest.Buffer(4096, 0)
			if _, err := f.ReadAt(p, int64(i)*4096); err != nil {
				s.Error(err)
			}
		})
	}
	all.Wait()
}

// abandon abandons a call on a disk that hangs, and returns its buffer. A write is of bytes that
// are there already.
func abandon(s *stage, f *aio.File, i int) []byte {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	const n = 8192
	off := int64(i) * n % (fileSize - n) / n * n
	start := time.Now()
	var p []byte
	var err error
	switch i % 8 {
	case 0:
		p = content(1, off, n)
		_, err = f.WriteAtContext(ctx, p, off)
	case 1:
		err = f.SyncContext(ctx)
	default:
		p = aiotest.Buffer(n, i%2)
		_, err = f.ReadAtContext(ctx, p, off+int64(i%3))
	}
	// A write to memory, or a Sync with nothing to sync, makes no request of the disk.
	if !errors.Is(err, context.DeadlineExceeded) && (i%8 > 1 && s.on.fs.Kind != "btrfs" || err != nil) {
		s.Errorf("call %d: %v", i, err)
	}
	if took := time.Since(start); took > 20*time.Second {
		s.Errorf("call %d returned after %v", i, took)
	}
	return p
}

// noneAbandoned reports whether no abandoned call is under way. It does not count goroutines,
// because the server of the disks keeps some for each request.
func noneAbandoned() bool {
	return !bytes.Contains(aiotest.Stacks(), []byte("created by github.com/go-aio/aio.(*File).attend"))
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// TestErrorOfAbandonedSync fails the write-back of an abandoned Sync. The next Sync must return
// the error, whether it starts after the end of the abandoned one or before. In the second case
// fsync(2) would report it to only one of them.
func TestErrorOfAbandonedSync(t *testing.T) {
	each(t, cached, func(t *testing.T, on target) {
		pkg := subject(t, 0)
		on.compare(t, pkg, pkg, func(s *stage) {
			s.put(fileSize)
			f := s.open(os.O_RDWR).(*aio.File)
			for _, over := range []bool{true, false} {
				abandonSync(s, f, over)
				if err := f.Sync(); !errors.Is(err, syscall.EIO) {
					s.Errorf("the next Sync, over %t: %v", over, err)
				}
				s.good()
				s.noted("the one after that", f, 1, aiotest.File.Sync)
			}
		})
	})
}

// abandonSync abandons a Sync that is going to fail; over says whether to wait until it has.
func abandonSync(s *stage, f *aio.File, over bool) {
	const bad = mib + 12345
	// The fault comes before the write, or the kernel's flusher might reach the page first.
	s.inject(fusedisk.Fault{Errno: syscall.EIO, Delay: 300 * time.Millisecond}, func(r fusedisk.Request) bool {
		return r.Op == fusedisk.Write && holds(r.Data, 2, bad, bad+1)
	})
	if _, err := f.WriteAt(content(2, bad-5000, 10_000), bad-5000); err != nil {
		s.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := f.SyncContext(ctx); !errors.Is(err, context.DeadlineExceeded) {
		s.Errorf("SyncContext: %v", err)
	}
	if over {
		aiotest.Until(s, "it is done", noneAbandoned)
	}
}
