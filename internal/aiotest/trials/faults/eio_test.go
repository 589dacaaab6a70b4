package faults

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/internal/aiotest/trials/fusedisk"
)

const mib = 1 << 20

// ways are the pairs to compare. A direct read fails as a whole; a buffered one reads page by page,
// up to the bad one. A direct write fails itself; after a buffered one Sync fails. So a direct File
// is compared with a direct os.File, and a buffered File with a buffered one.
func (on target) ways(t *testing.T, do func(t *testing.T, oracle, pkg aiotest.Package)) {
	t.Run("buffered", func(t *testing.T) { do(t, osBuffered, subject(t, 0)) })
	t.Run("direct", func(t *testing.T) {
		oracle, pkg := on.direct(t)
		do(t, oracle, pkg)
	})
}

// crowds runs a test alone, where requests are sync, and among others, where they go through the
// shared queue.
func crowds(s *stage, f aiotest.File, do func(in string)) {
	do("alone")
	if !s.Direct {
		return // reads of a buffered File do not go through the shared queue
	}
	stop := crowd(s, f)
	defer stop()
	do("in a crowd")
}

// crowd reads a part of the file without faults, the last 256 KiB of a file of [fileSize], in many
// goroutines, until stop is called. These reads must all succeed.
func crowd(s *stage, f aiotest.File) (stop func()) {
	var quit atomic.Bool
	var wg sync.WaitGroup
	const members = 12
	var begun atomic.Int64
	for i := range int64(members) {
		wg.Go(func() {
			off := int64(fileSize - 256<<10 + i*16384)
			want, p := content(1, off, 4096), aiotest.Buffer(4096, 0)
			for !quit.Load() {
				n, err := f.ReadAt(p, off)
				if n != len(p) || err != nil || string(p) != string(want) {
					s.Errorf("a read beside the faults: %d, %v; or other bytes", n, err)
					return
				}
				begun.Add(1)
			}
		})
	}
	aiotest.Until(s, "the crowd reads", func() bool { return begun.Load() > 2*members })
	return func() {
		quit.Store(true)
		wg.Wait()
	}
}

const fileSize = 4 * mib

// TestReadError makes sectors unreadable.
func TestReadError(t *testing.T) {
	each(t, everywhere, func(t *testing.T, on target) {
		on.ways(t, func(t *testing.T, oracle, pkg aiotest.Package) {
			on.compare(t, oracle, pkg, func(s *stage) {
				s.put(fileSize)
				f := s.open(os.O_RDONLY)
				crowds(s, f, func(in string) {
					for _, bounced := range []bool{false, true}[:aiotest.Scaled(2)] {
						readErrors(s, f, fmt.Sprintf("%s, bounced %t: ", in, bounced), bounced)
					}
				})
			})
		})
	})
}

func readErrors(s *stage, f aiotest.File, in string, bounced bool) {
	for _, bad := range []int64{mib + mib/2 + 512, 2*mib - 512} {
		s.bad(fusedisk.Read, 1, bad, bad+1)
		for _, r := range []struct{ off, n int64 }{
			{mib, mib},                // all of it
			{bad &^ 4095, 4096},       // the block
			{bad&^4095 - 8192, 16384}, // some around it
			{0, mib},                  // before
			{2 * mib, mib},            // after
		} {
			s.forget(f)
			p := s.buffer(int(r.n), bounced)
			n, err := f.ReadAt(p, r.off)
			what := fmt.Sprintf("%sbad at %d: ReadAt %d bytes at %d", in, bad, r.n, r.off)
			if s.partial() && err != nil {
				s.Note(what, err)
				s.check(what, p[:n], r.off)
				continue
			}
			s.Note(what, n, err, p[:n])
		}
		s.good()
		s.forget(f)
		p := s.buffer(mib, bounced)
		n, err := f.ReadAt(p, mib)
		s.Note(in+"good again: ReadAt", n, err, p[:n])
	}
	s.bad(fusedisk.Read, 1, 64<<10, 64<<10+1)
	s.forget(f)
	for range 3 { // the second read meets the error, and the third again
		p := s.buffer(64<<10, bounced)
		n, err := f.Read(p)
		at, _ := f.Seek(0, io.SeekCurrent)
		s.Note(in+"Read", n, err, p[:n], at)
	}
	s.good()
	p := s.buffer(64<<10, bounced)
	n, err := f.Read(p)
	at, _ := f.Seek(0, io.SeekStart)
	s.Note(in+"Read again", n, err, p[:n], at)
}

// partial reports whether a failed direct read may return the bytes before the error, or not. On
// btrfs it depends on the order in which the parts end.
func (s *stage) partial() bool { return s.Direct && s.on.fs.Kind == "btrfs" }

// check compares p with the first generation at off.
func (s *stage) check(what string, p []byte, off int64) {
	s.Helper()
	if string(p) != string(content(1, off, len(p))) {
		s.Errorf("%s: %d bytes that the file does not have there", what, len(p))
	}
}

// TestNthRead fails the nth request.
func TestNthRead(t *testing.T) {
	each(t, once, func(t *testing.T, on target) {
		oracle, pkg := on.direct(t)
		on.compare(t, oracle, pkg, func(s *stage) {
			s.put(fileSize)
			f := s.open(os.O_RDONLY)
			for _, size := range []int64{4096, 64 << 10} {
				for nth := int64(1); nth < 8; nth += 3 {
					var reads atomic.Int64
					s.inject(fusedisk.Fault{Errno: syscall.EIO}, func(r fusedisk.Request) bool {
						return r.Op == fusedisk.Read && holds(r.Data, 1, 0, fileSize) && reads.Add(1) == nth
					})
					for i := range int64(8) {
						p := s.buffer(int(size), i%2 == 0)
						n, err := f.ReadAt(p, i*size)
						s.Note(fmt.Sprintf("the %dth of %d bytes fails: %d", nth, size, i+1), n, err, p[:n])
					}
				}
			}
			s.good()
		})
	})
}

// TestUnalignedReadError makes direct reads that os.File cannot make; its buffered descriptor reads
// page by page. The error must be the same, and the bytes before it right.
func TestUnalignedReadError(t *testing.T) {
	each(t, cached, func(t *testing.T, on target) {
		on.compare(t, osBuffered, subject(t, aio.O_DIRECT), func(s *stage) {
			s.put(fileSize)
			f := s.open(os.O_RDONLY)
			const bad = 2*mib + 70_000
			s.bad(fusedisk.Read, 1, bad, bad+1)
			for _, r := range []struct{ off, n int64 }{
				{bad - 1, 3}, {bad, 1}, {bad + 100, 1}, {mib + 7, 2 * mib}, {bad - 100_000, 100_001}, {7, 4000}, {3*mib + 1, mib - 1},
			} {
				s.forget(f)
				p := s.buffer(int(r.n), true)
				n, err := f.ReadAt(p, r.off)
				s.Note(fmt.Sprintf("ReadAt %d bytes at %d", r.n, r.off), err)
				if n > 0 && r.off+int64(n) > bad && r.off <= bad || string(p[:n]) != string(content(1, r.off, n)) {
					s.Errorf("ReadAt %d bytes at %d: %d, with %v: other bytes than the file has", r.n, r.off, n, err)
				}
			}
			s.good()
		})
	})
}

// TestCrowdOfErrors has hundreds of requests in flight, of which some meet a bad sector: exactly
// those fail.
func TestCrowdOfErrors(t *testing.T) {
	each(t, everywhere, func(t *testing.T, on target) {
		on.ways(t, func(t *testing.T, oracle, pkg aiotest.Package) {
			on.compare(t, oracle, pkg, func(s *stage) {
				s.put(fileSize)
				f := s.open(os.O_RDWR)
				for _, op := range []fusedisk.Op{fusedisk.Read, fusedisk.Write} {
					if op == fusedisk.Write && (!s.Direct || on.buffers) {
						continue // Sync reports it
					}
					crowdOfErrors(s, f, op)
				}
			})
		})
	})
}

// crowdOfErrors reads or writes every other block, because the kernel merges neighbours into one
// request. A File without blocks uses pages.
func crowdOfErrors(s *stage, f aiotest.File, op fusedisk.Op) {
	const calls, apart = 400, 8192
	s.forget(f)
	fails := func(i int) bool { return i%7 == 3 }
	s.inject(fusedisk.Fault{Errno: syscall.EIO}, func(r fusedisk.Request) bool {
		for i := range calls {
			if off := int64(i) * apart; r.Op == op && fails(i) && (holds(r.Data, 1, off, off+1) || holds(r.Data, 2, off, off+1)) {
				return true
			}
		}
		return false
	})
	if !s.Direct {
		adviseRandom(s, f) // or readahead merges another page with the bad one
	}
	var wg sync.WaitGroup
	for i := range calls {
		wg.Go(func() {
			off := int64(i) * apart
			p := s.buffer(4096, i%2 == 0)
			var n int
			var err error
			if op == fusedisk.Write {
				copy(p, content(2, off, 4096))
				n, err = f.WriteAt(p, off)
			} else if n, err = f.ReadAt(p, off); string(p[:n]) != string(content(1, off, n)) {
				s.Errorf("%v %d differs from the file", op, i)
			}
			switch {
			case fails(i) && (n != 0 || !errors.Is(err, syscall.EIO)):
				s.Errorf("%v %d: %d, %v, and the sector is bad", op, i, n, err)
			case !fails(i) && (n != 4096 || err != nil):
				s.Errorf("%v %d: %d, %v, and the sector is good", op, i, n, err)
			}
		})
	}
	wg.Wait()
	s.good()
	s.forget(f)
	p := s.buffer(calls*apart, false)
	n, err := f.ReadAt(p, 0)
	if op == fusedisk.Write {
		for i := range calls {
			if fails(i) {
				clear(p[i*apart:][:4096]) // the disk may have written some of it
			}
		}
	}
	s.Note(fmt.Sprintf("after the %vs", op), n, err, p[:n])
}

// TestWriteError makes sectors unwritable.
func TestWriteError(t *testing.T) {
	each(t, unbuffered, func(t *testing.T, on target) {
		oracle, pkg := on.direct(t)
		on.compare(t, oracle, pkg, func(s *stage) {
			s.put(fileSize)
			f := s.open(os.O_RDWR)
			crowds(s, f, func(in string) {
				for _, bounced := range []bool{false, true} {
					writeErrors(s, f, fmt.Sprintf("%s, bounced %t: ", in, bounced), bounced)
				}
			})
			s.Note("Sync", f.Sync())
		})
	})
}

func writeErrors(s *stage, f aiotest.File, in string, bounced bool) {
	write := func(generation uint32, off int64, n int) {
		p := s.buffer(n, bounced)
		copy(p, content(generation, off, n))
		k, err := f.WriteAt(p, off)
		s.Note(fmt.Sprintf("%sWriteAt %d bytes at %d", in, n, off), k, err)
	}
	for _, bad := range []int64{mib + mib/2 + 512, 2*mib - 512} {
		s.bad(fusedisk.Write, 2, bad, bad+1)
		write(2, bad&^4095, 4096)
		write(2, mib, mib)
		write(2, bad&^4095-8192, 16384)
		write(2, 0, mib)
		write(2, 2*mib, mib)
		s.Note(in+"Sync", f.Sync())
		s.good()
		write(3, mib, mib)
		p := s.buffer(3*mib, bounced)
		n, err := f.ReadAt(p, 0)
		s.Note(in+"good again: ReadAt", n, err, p[:n])
	}
	s.bad(fusedisk.Write, 2, 64<<10, 64<<10+1)
	for i := range 3 { // the second write meets the error
		p := s.buffer(64<<10, bounced)
		copy(p, content(2, int64(i)*64<<10, len(p)))
		n, err := f.Write(p)
		at, _ := f.Seek(0, io.SeekCurrent)
		s.Note(in+"Write", n, err, at)
	}
	s.good()
	at, err := f.Seek(0, io.SeekStart)
	s.Note(in+"Seek", at, err)
}
