//go:build linux

package queue

import (
	"runtime"
	"testing"

	"github.com/go-aio/aio/internal/aiotest"
)

func TestDoVecPreparesTheRequest(t *testing.T) {
	k, q := newFake(t, 4)
	bufs := [][]byte{memory[512:1536], memory[4096:8192], memory[:512]}
	for op, opcode := range map[Op]uint16{Read: 7, Write: 8} { // aio_abi.h
		k.log = nil
		k.answer(1<<40, 5632)
		n, err := q.Do(reqVec(op, 17, bufs, 1<<40))
		if n != 5632 || err != nil {
			t.Errorf("Do(%d) = %d, %v", op, n, err)
		}
		if len(k.log) != 1 {
			t.Fatalf("Do(%d) made %d requests", op, len(k.log))
		}
		if r := k.log[0]; r.opcode != opcode || r.fd != 17 || r.n != 3 || r.off != 1<<40 || !r.armed {
			t.Errorf("Do(%d) asked for %+v", op, r)
		}
	}
	checkIdle(t, q)
}

func TestDoVecOnADisk(t *testing.T) {
	fd := directFile(t, 8)
	q := realQueue(t, 32)
	p := alignedBlocks(3)
	bufs := [][]byte{p[2*block:], p[:block], p[block : 2*block]}
	if n, err := q.Do(reqVec(Read, fd, bufs, 4*block)); n != 3*block || err != nil {
		t.Fatalf("Do = %d, %v", n, err)
	}
	for i, b := range bufs {
		wantBlock(t, b, 4+i, 0)
		copy(b, patternOf(i, 1))
	}
	if n, err := q.Do(reqVec(Write, fd, bufs, 0)); n != 3*block || err != nil {
		t.Fatalf("Do = %d, %v", n, err)
	}
	for i, b := range bufs {
		clear(b)
		if n, err := q.Do(req(Read, fd, b, int64(i)*block)); n != block || err != nil {
			t.Fatalf("Do = %d, %v", n, err)
		}
		wantBlock(t, b, i, 1)
	}
}

// Each of several buffers is kept while the kernel has them, and no longer.
func TestBuffersAreKeptInFlight(t *testing.T) {
	k, q := newFake(t, 8)
	k.hold()
	var first, second watched
	done := make(chan outcome, 1)
	go func() {
		bufs := [][]byte{alignedBlocks(1), alignedBlocks(1)}
		for i, w := range []*watched{&first, &second} {
			runtime.AddCleanup(&bufs[i][0], func(w *watched) { w.freed.Store(true) }, w)
		}
		n, err := q.Do(reqVec(Read, 3, bufs, block))
		done <- outcome{n, err}
	}()
	aiotest.Until(t, "it is in the kernel", func() bool { return k.insideNow() == 1 })
	first.wantKept(t)
	second.wantKept(t)
	k.complete(block)
	want(t, block, done, 2, nil) // this kernel counts buffers
	first.wantReleased(t)
	second.wantReleased(t)
}

func TestDoVecAllocatesOnce(t *testing.T) {
	if aiotest.Race {
		aiotest.NeedsNoRace(t)
	}
	fd := directFile(t, 4)
	q := realQueue(t, 8)
	p := alignedBlocks(2)
	bufs := [][]byte{p[block:], p[:block]}
	if n := testing.AllocsPerRun(100, func() { q.Do(reqVec(Read, fd, bufs, 0)) }); n != 1 {
		t.Errorf("Do of several buffers allocates %v times, want once", n)
	}
}
