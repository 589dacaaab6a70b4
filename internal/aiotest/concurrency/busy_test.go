package concurrency

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/internal/aiotest"
)

// TestBusyProcessors runs goroutines that compute on all processors. Beside them, reads of a direct
// File must not fall far behind those of an os.File. Without Queue.Busy they were 50 times slower.
// The bound is wide, because other processes may be busy too; bench measures the difference.
func TestBusyProcessors(t *testing.T) {
	aiotest.Guard(t)
	if !aiotest.Direct {
		aiotest.NeedsDirect(t)
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	name := filepath.Join(aiotest.Dir(t), "busy")
	if err := os.WriteFile(name, make([]byte, 4<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	var stop atomic.Bool
	var computing sync.WaitGroup
	for range 4 {
		computing.Go(func() {
			for x := uint64(1); !stop.Load(); {
				for range 100_000 {
					x = x*6364136223846793005 + 1442695040888963407
				}
				runtime.KeepAlive(x)
			}
		})
	}
	defer computing.Wait()
	defer stop.Store(true)

	theirs, err := os.OpenFile(name, os.O_RDONLY|aio.O_DIRECT, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	ours, err := aio.OpenFile(name, os.O_RDONLY|aio.O_DIRECT, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	round := 250 * time.Millisecond
	if aiotest.Brief() {
		round = 75 * time.Millisecond
	}
	readsIn(t, ours.ReadAt, 2*round) // time for the queue to notice
	var os, aio int64
	for range 2 {
		os += readsIn(t, theirs.ReadAt, round)
		aio += readsIn(t, ours.ReadAt, round)
	}
	t.Logf("reads: os.File %d, aio.File %d", os, aio)
	if aio < os/5 {
		t.Errorf("beside 4 goroutines that compute aio.File made %d reads where os.File made %d", aio, os)
	}
}

// readsIn returns how many reads of a block 32 goroutines make in about that time.
func readsIn(t *testing.T, readAt func(p []byte, off int64) (int, error), d time.Duration) int64 {
	var reads atomic.Int64
	var readers sync.WaitGroup
	begin := time.Now()
	for range 32 {
		readers.Go(func() {
			p := aio.AlignedBuffer(4096)
			for time.Since(begin) < d {
				if _, err := readAt(p, rand.Int64N(1024)*4096); err != nil {
					t.Error(err)
					return
				}
				reads.Add(1)
			}
		})
	}
	readers.Wait()
	return reads.Load()
}
