package faults

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/internal/aiotest/trials/fusedisk"
)

// datasync returns the result of fdatasync(2), for an os.File too.
func datasync(f aiotest.File) error {
	if f, ok := f.(interface{ Datasync() error }); ok {
		return f.Datasync()
	}
	return f.Sync() // the same error, in the same Op
}

// TestSyncError fails the write-back of the page cache. Each File on the inode reports that once,
// by Sync or Datasync, like errseq_t of the kernel.
func TestSyncError(t *testing.T) {
	each(t, cached, func(t *testing.T, on target) {
		for _, flag := range []int{0, aio.O_DIRECT} { // a direct File writes unaligned bytes through the page cache
			t.Run(fmt.Sprintf("direct=%t", flag != 0), func(t *testing.T) {
				on.compare(t, osBuffered, subject(t, flag), func(s *stage) {
					s.put(fileSize)
					f := s.open(os.O_RDWR)
					for i, calls := range []int{1, 1, 24, 24} {
						syncErrors(s, f, calls, i%2 == 1)
					}
				})
			})
		}
	})
}

// syncErrors makes that many calls at a time: up to eight are fsync(2), more are iocbs.
func syncErrors(s *stage, f aiotest.File, calls int, data bool) {
	other := s.open(os.O_RDWR)
	what := fmt.Sprintf("%d calls, data only %t: ", calls, data)
	sync := aiotest.File.Sync
	if data {
		sync = datasync
	}
	const bad = mib + 12345
	for round := range 2 {
		s.bad(fusedisk.Write, 2, bad, bad+1)
		n, err := f.WriteAt(content(2, bad-5000, 10_000), bad-5000)
		s.Note(what+"WriteAt", n, err)
		failed := crowdOfSyncs(f, calls, sync)
		if s.on.fs.Kind == "btrfs" && calls > 1 {
			// The kernel may also report the failed request itself to another call that waits at
			// the same time.
			_, failed, _ = strings.Cut(failed, " ")
		}
		s.Note(what+"the write-back fails", failed)
		s.good()
		s.noted(what+"the second time", f, calls, sync)
		if round == 0 {
			s.Note(what+"of another File", crowdOfSyncs(other, calls, sync))
			s.noted(what+"of another File, the second time", other, calls, sync)
		}
		late := s.open(os.O_RDWR)
		s.Note(what+"of a File opened later", crowdOfSyncs(late, 1, sync))
		n, err = f.WriteAt(content(3, bad-5000, 10_000), bad-5000)
		s.Note(what+"WriteAt again", n, err)
		s.Note(what+"Sync of it", crowdOfSyncs(f, calls, sync))
	}
	s.Note(what+"of another File, which has missed one", crowdOfSyncs(other, calls, sync))
	s.forget(f)
	p := aiotest.Buffer(10_000, 0)
	n, err := f.ReadAt(p, bad-5000)
	s.Note(what+"ReadAt", n, err, p)
}

// noted makes calls after a failed one. btrfs reports a failed request at any fsync(2) that comes
// across it, in addition to errseq_t, so there the error may come once more.
func (s *stage) noted(what string, f aiotest.File, calls int, call func(aiotest.File) error) {
	if s.on.fs.Kind == "btrfs" {
		crowdOfSyncs(f, 1, call)
	}
	s.Note(what, crowdOfSyncs(f, calls, call))
}

// crowdOfSyncs makes calls at a time, and returns the errors with their numbers.
func crowdOfSyncs(f aiotest.File, calls int, call func(aiotest.File) error) string {
	var wg sync.WaitGroup
	var mu sync.Mutex
	failed, last := 0, error(nil)
	for range calls {
		wg.Go(func() {
			if err := call(f); err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed, last = failed+1, err
			}
		})
	}
	wg.Wait()
	if last == nil {
		return "none failed"
	}
	errno, _ := last.(*os.PathError).Err.(syscall.Errno)
	return fmt.Sprintf("%d failed: %s %d", failed, last.(*os.PathError).Op, int(errno))
}

// TestFlushError fails flushes of the disk's write cache.
func TestFlushError(t *testing.T) {
	each(t, onDevice, func(t *testing.T, on target) {
		on.ways(t, func(t *testing.T, oracle, pkg aiotest.Package) {
			on.compare(t, oracle, pkg, func(s *stage) {
				s.put(fileSize)
				f := s.open(os.O_RDWR)
				for nth := int64(1); nth <= 3; nth++ {
					var flushes atomic.Int64
					s.inject(fusedisk.Fault{Errno: syscall.EIO}, func(r fusedisk.Request) bool {
						return r.Op == fusedisk.Flush && flushes.Add(1) == nth
					})
					for i := range 4 {
						p := s.buffer(4096, false)
						copy(p, content(uint32(i+2), 0, 4096))
						n, err := f.WriteAt(p, 0)
						s.Note(fmt.Sprintf("flush %d fails: WriteAt %d", nth, i), n, err)
						s.Note("Sync", f.Sync())
					}
				}
			})
		})
	})
}

// TestDeadDisk fails all requests from some moment on. The filesystem goes read-only, or shuts
// down, and all calls go on failing with the errors of os.File.
func TestDeadDisk(t *testing.T) {
	each(t, everywhere, func(t *testing.T, on target) {
		on.ways(t, func(t *testing.T, oracle, pkg aiotest.Package) {
			if on.buffers {
				oracle = osBuffered
			}
			on.compare(t, oracle, pkg, func(s *stage) {
				s.put(fileSize)
				f := s.open(os.O_RDWR)
				s.inject(fusedisk.Fault{Errno: syscall.EIO}, func(fusedisk.Request) bool { return true })
				p := s.buffer(64<<10, false)
				copy(p, content(2, 0, len(p)))
				n, err := f.WriteAt(p, mib)
				s.Note("WriteAt", n, err)
				err = f.Sync()
				s.Note("Sync", err != nil)
				s.Note("ReadAt failed", fails(f.ReadAt(p, 2*mib)))
				if s.Direct && !on.buffers {
					s.Note("WriteAt failed", fails(f.WriteAt(p, 2*mib)))
				}
			})
		})
	})
}

func fails(_ int, err error) bool { return err != nil }
