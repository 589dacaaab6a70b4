package faults

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/internal/aiotest/trials/fusedisk"
)

// TestShortTransfers cuts requests short on a FUSE filesystem, where a File is buffered. The
// library asks for the rest again, as long as each request transfers a byte more.
func TestShortTransfers(t *testing.T) {
	aiotest.NeedsMounts(t)
	for _, flag := range []int{0, aio.O_DIRECT} {
		for _, short := range []int{1, 100, 4000, 4096, 5000, 200_000} {
			t.Run(fmt.Sprintf("direct=%t/short=%d", flag != 0, short), func(t *testing.T) {
				aiotest.Guard(t)
				count := faults(t)
				server := serve(t)
				pkg := aiotest.Package{OpenFile: func(name string, more int, perm fs.FileMode) (aiotest.File, error) {
					return aiotest.Lift(aio.OpenFile(name, more|flag, perm))
				}}
				aiotest.CompareWith(t, t.TempDir(), osBuffered, pkg, func(side *aiotest.Side) {
					s := &stage{Side: side, count: count, disk: server.Create("disk", mib), done: func() {}}
					defer server.Remove(s.disk)
					defer s.close()
					if err := os.Symlink(s.disk.Path(), s.Path("file")); err != nil {
						s.Fatal(err)
					}
					shortTransfers(s, s.open(os.O_RDWR), short)
				})
			})
		}
	}
}

func shortTransfers(s *stage, f aiotest.File, short int) {
	for _, op := range []fusedisk.Op{fusedisk.Write, fusedisk.Read} {
		// Never cut a whole request: a read of 0 bytes is the end of the file.
		s.disk.Inject(func(r fusedisk.Request) fusedisk.Fault {
			if r.Op != op || r.Len <= short {
				return fusedisk.Fault{}
			}
			s.count.Add(1)
			return fusedisk.Fault{Short: short}
		})
		for i, n := range []int{300_000, 8192, 5001} {
			off := int64(i) * 300_000
			p := aiotest.Buffer(n, i*7)
			if op == fusedisk.Write {
				copy(p, content(2, off, n))
				k, err := f.WriteAt(p, off)
				s.Note("WriteAt", k, err)
				continue
			}
			k, err := f.ReadAt(p, off)
			s.Note("ReadAt", k, err, p[:k])
			k, err = f.ReadAt(p, mib-int64(n/2)) // the end of the file has not moved
			s.Note("ReadAt beyond the end", k, err, p[:k])
			s.checkZero(p[:k], mib-int64(n/2))
		}
		s.good()
	}
	p := aiotest.Buffer(mib, 0)
	n, err := f.ReadAt(p, 0)
	s.Note("at last", n, err, p[:n])
}

// checkZero fails unless p, read at off of an unwritten part of the disk, is zero.
func (s *stage) checkZero(p []byte, off int64) {
	for i, b := range p {
		if off+int64(i) >= 700_000 && b != 0 {
			s.Errorf("byte %d is %d", off+int64(i), b)
			return
		}
	}
}

// TestShortDisk cuts requests short on the disk under a device. The loop driver asks for the rest
// of a read again.
func TestShortDisk(t *testing.T) {
	each(t, everywhere, func(t *testing.T, on target) {
		on.ways(t, func(t *testing.T, oracle, pkg aiotest.Package) {
			on.compare(t, oracle, pkg, func(s *stage) {
				s.put(fileSize)
				f := s.open(os.O_RDONLY)
				for _, short := range []int{512, 4096, 100 << 10} {
					s.inject(fusedisk.Fault{Short: short}, func(r fusedisk.Request) bool {
						return r.Op == fusedisk.Read && r.Len > short && holds(r.Data, 1, 0, fileSize)
					})
					for _, r := range []struct{ off, n int64 }{{0, mib}, {mib, 8192}, {fileSize - 8192, 8192}} {
						s.forget(f)
						p := s.buffer(int(r.n), true)
						n, err := f.ReadAt(p, r.off)
						s.Note(fmt.Sprintf("short by %d: ReadAt %d bytes at %d", short, r.n, r.off), n, err, p[:n])
						s.check("ReadAt", p[:n], r.off)
					}
				}
			})
		})
	})
}

// TestTruncatedDisk truncates the device's backing file under it.
func TestTruncatedDisk(t *testing.T) {
	each(t, onDevice, func(t *testing.T, on target) {
		on.ways(t, func(t *testing.T, oracle, pkg aiotest.Package) {
			on.compare(t, oracle, pkg, func(s *stage) {
				s.put(fileSize)
				f := s.open(os.O_RDWR)
				s.count.Add(1)
				s.disk.Resize(2 * mib)
				for _, r := range []struct{ off, n int64 }{{0, mib}, {2*mib - 4096, 4096}, {2 * mib, 4096}, {2*mib + 64<<10, mib}, {2*mib - 4096, 8192}} {
					s.forget(f)
					p := s.buffer(int(r.n), true)
					n, err := f.ReadAt(p, r.off)
					s.Note(fmt.Sprintf("ReadAt %d bytes at %d", r.n, r.off), n, err, p[:n])
				}
				s.disk.Resize(fileSize)
				s.forget(f)
				p := s.buffer(mib, true)
				n, err := f.ReadAt(p, 2*mib)
				s.Note("with its size again", n, err, p[:n])
			})
		})
	})
}

// TestSlowDisk delays requests. Other requests overtake them, also reads a write, and Close does
// not wait for them.
func TestSlowDisk(t *testing.T) {
	each(t, everywhere, func(t *testing.T, on target) {
		on.ways(t, func(t *testing.T, oracle, pkg aiotest.Package) {
			if on.buffers {
				oracle = osBuffered
			}
			on.compare(t, oracle, pkg, func(s *stage) {
				s.put(fileSize)
				slowReads(s, s.open(os.O_RDONLY))
				if s.Direct && !on.buffers {
					slowWrite(s, s.open(os.O_RDWR))
				}
			})
		})
	})
}

// slowReads delays every fourth read until all others are done, and the File closed.
func slowReads(s *stage, f aiotest.File) {
	const calls, apart = 64, 16384
	release := make(chan struct{})
	var waiting atomic.Int64
	adviseRandom(s, f)
	slow := func(i int) bool { return i%4 == 0 }
	s.disk.Inject(func(r fusedisk.Request) fusedisk.Fault {
		for i := range calls {
			if off := int64(i) * apart; r.Op == fusedisk.Read && slow(i) && holds(r.Data, 1, off, off+1) {
				s.count.Add(1)
				waiting.Add(1)
				<-release
			}
		}
		return fusedisk.Fault{}
	})
	s.forget(f)
	var fast, all sync.WaitGroup
	for i := range calls {
		wg := &all
		if !slow(i) {
			wg = &fast
		}
		wg.Go(func() {
			p := s.buffer(4096, i%2 == 0)
			n, err := f.ReadAt(p, int64(i)*apart)
			if n != len(p) || err != nil {
				s.Errorf("read %d: %d, %v", i, n, err)
			}
			s.check("ReadAt", p[:n], int64(i)*apart)
		})
	}
	fast.Wait() // else the guard ends the test
	aiotest.Until(s, "the slow ones wait", func() bool { return waiting.Load() == calls/4 })
	s.Note("Close with reads under way", f.Close())
	_, err := f.ReadAt(s.buffer(4096, false), 0)
	s.Note("ReadAt after it", errors.Is(err, fs.ErrClosed))
	close(release)
	all.Wait()
	s.good()
}

// slowWrite delays a write. Reads of other bytes do not wait, and a later read of the same bytes
// returns the written ones.
func slowWrite(s *stage, f aiotest.File) {
	release, waits := make(chan struct{}), make(chan struct{}, 1)
	s.disk.Inject(func(r fusedisk.Request) fusedisk.Fault {
		if r.Op == fusedisk.Write && holds(r.Data, 2, 0, fileSize) {
			s.count.Add(1)
			waits <- struct{}{}
			<-release
		}
		return fusedisk.Fault{}
	})
	written := make(chan error)
	go func() {
		p := s.buffer(4096, true)
		copy(p, content(2, mib, 4096))
		_, err := f.WriteAt(p, mib)
		written <- err
	}()
	<-waits
	p := s.buffer(64<<10, true)
	n, err := f.ReadAt(p, 2*mib)
	s.Note("a read that overtakes the write", n, err, p[:n])
	close(release)
	s.Note("the write", <-written)
	n, err = f.ReadAt(p, mib)
	s.Note("a read of the written bytes", n, err, p[:n])
	s.good()
}

// TestManySlowReads makes 500 direct reads that take a tenth of a second each. They wait in the
// kernel, and not on threads. While processors are busy, with other processes, reads are system
// calls, which hold 256 threads at most.
func TestManySlowReads(t *testing.T) {
	aiotest.Guard(t)
	aiotest.NeedsMounts(t)
	const calls = 500
	run := func(pkg aiotest.Package) (threads int) {
		server := serve(t)
		aiotest.CompareWith(t, t.TempDir(), pkg, pkg, func(side *aiotest.Side) {
			s := targets[0].stage(side, server, faults(t))
			defer s.close()
			s.put(2 * calls * 8192)
			f := s.open(os.O_RDONLY)
			release := make(chan struct{})
			before := tasks(s)
			s.disk.Inject(func(r fusedisk.Request) fusedisk.Fault {
				s.count.Add(1)
				<-release
				return fusedisk.Fault{}
			})
			var wg sync.WaitGroup
			for i := range calls {
				wg.Go(func() {
					p := s.buffer(4096, false)
					n, err := f.ReadAt(p, int64(i)*8192)
					if n != len(p) || err != nil {
						s.Errorf("read %d: %d, %v", i, n, err)
					}
					s.check("ReadAt", p[:n], int64(i)*8192)
				})
			}
			aiotest.Until(s, "reads wait at the disk", func() bool { return s.count.Load() >= 64 })
			time.Sleep(50 * time.Millisecond) // for new threads to start, if any do
			threads = max(threads, tasks(s)-before)
			close(release)
			wg.Wait()
			s.Note("all are read", calls)
		})
		return threads
	}
	before := aio.ReadStats().Busy
	n, limit := run(subject(t, aio.O_DIRECT)), 100
	busy := aio.ReadStats().Busy - before
	if busy > 0 {
		limit += 256
	}
	if n > limit {
		t.Errorf("%d slow reads took %d threads more; %d were system calls because processors were busy", calls, n, busy)
	} else {
		t.Logf("%d slow reads took %d threads more; %d were system calls because processors were busy", calls, n, busy)
	}
}

// tasks returns the number of threads of the process.
func tasks(t testing.TB) int {
	list, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}
