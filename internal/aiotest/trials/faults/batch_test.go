package faults

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/internal/aiotest/trials/fusedisk"
)

// TestBatchErrors makes some sectors of a Batch unreadable, or unwritable.
func TestBatchErrors(t *testing.T) {
	each(t, once, func(t *testing.T, on target) {
		oracle, pkg := on.direct(t)
		on.compare(t, oracle, pkg, func(s *stage) {
			s.put(fileSize)
			f := s.open(os.O_RDWR)
			crowds(s, f, func(in string) {
				for _, op := range []fusedisk.Op{fusedisk.Read, fusedisk.Write} {
					generation := uint32(1)
					if op == fusedisk.Write {
						generation = 2
					}
					s.bad(op, generation, 5*batchApart, 5*batchApart+1)
					s.forget(f)
					batchOf(s, f, in, op)
					s.good()
					batchOf(s, f, in+", good again", op)
				}
			})
		})
	})
}

// batchApart is the distance in bytes from one member to the next. The crowd reads beyond all of
// them.
const batchApart = 65536

// batchOf reads or writes 32 blocks: at once, or one after the other if f is an os.File.
func batchOf(s *stage, f aiotest.File, in string, op fusedisk.Op) {
	var b aio.Batch
	for i := range int64(32) {
		p, off := aiotest.Buffer(4096, 0), i*batchApart
		if op == fusedisk.Write {
			p = content(2, off, 4096)
		}
		ours, ok := f.(*aio.File)
		var n int
		var err error
		switch {
		case ok && op == fusedisk.Read:
			b.ReadAt(ours, p, off)
			continue
		case ok:
			b.WriteAt(ours, p, off)
			continue
		case op == fusedisk.Read:
			n, err = f.ReadAt(p, off)
		default:
			n, err = f.WriteAt(p, off)
		}
		s.Note(fmt.Sprintf("%s: %s %d", in, op, i), n, err)
	}
	_ = b.Do(context.Background()) // the error of a member
	for i := range b.Len() {
		n, err := b.Result(i)
		s.Note(fmt.Sprintf("%s: %s %d", in, op, i), n, err)
	}
}

// TestBatchCancelledInFlight ends the context before the disk has answered. Do waits for the
// requests in flight, whose buffers the kernel has, and begins no more.
func TestBatchCancelledInFlight(t *testing.T) {
	each(t, unbuffered, func(t *testing.T, on target) {
		_, pkg := on.direct(t)
		count := faults(t)
		aiotest.CompareWith(t, t.TempDir(), pkg, pkg, func(side *aiotest.Side) {
			s := on.stage(side, serve(t), count)
			defer s.close()
			s.put(fileSize)
			cancelInFlight(s, s.open(os.O_RDWR).(*aio.File))
		})
	})
}

func cancelInFlight(s *stage, f *aio.File) {
	const members = 16
	release := make(chan struct{})
	var waiting atomic.Int64
	s.disk.Inject(func(r fusedisk.Request) fusedisk.Fault {
		if r.Op == fusedisk.Write && holds(r.Data, 2, 0, members*batchApart) {
			s.count.Add(1)
			waiting.Add(1)
			<-release
		}
		return fusedisk.Fault{}
	})
	var b aio.Batch
	for i := range int64(members) {
		b.WriteAt(f, content(2, i*batchApart, 4096), i*batchApart)
	}
	b.Barrier()
	after := b.WriteAt(f, content(3, 0, 4096), 0)
	b.Sync(f)
	ctx, cancel := context.WithCancelCause(context.Background())
	cause := errors.New("enough")
	done := make(chan error, 1)
	go func() { done <- b.Do(ctx) }()
	aiotest.Until(s, "the disk has them", func() bool { return waiting.Load() > members/2 })
	cancel(cause)
	time.Sleep(20 * time.Millisecond)
	s.Note("under way", len(done) == 0)
	close(release)
	if err := <-done; err != cause {
		s.Errorf("Do: %v", err)
	}
	written := 0
	for i := range b.Len() {
		switch n, err := b.Result(i); {
		case i < after && n == 4096 && err == nil:
			written++
		case (i >= after || s.on.noDirect) && n == 0 && err == cause:
			// In a buffered File members are separate calls, of which some may not have begun.
		default:
			s.Errorf("member %d: %d, %v", i, n, err)
		}
	}
	if written <= members/2 {
		s.Errorf("%d members were under way, and %d are written", members/2+1, written)
	}
	s.good()
	p := aiotest.Buffer(4096, 0)
	n, err := f.ReadAt(p, 0)
	s.Note("bytes written before", n, err, string(p) == string(content(2, 0, 4096)))
}
