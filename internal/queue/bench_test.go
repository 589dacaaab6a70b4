//go:build linux

package queue

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-aio/aio/libaio"
)

// depths are the numbers of goroutines that make requests at once.
var depths = []int{1, 2, 8, 32, 256, 1024}

// BenchmarkDo measures the queue alone. The kernel is a fake that completes every request at
// once and signals each completion.
func BenchmarkDo(b *testing.B) {
	for _, depth := range depths {
		b.Run(fmt.Sprintf("depth=%d", depth), func(b *testing.B) {
			k, q := newFake(b, DefaultDepth)
			k.logging = false
			benchmark(b, depth, func(int) { q.Do(req(Read, 3, memory[:512], 512)) })
		})
	}
}

// BenchmarkDoTimed is BenchmarkDo with latency recorded: the difference is the cost of that.
func BenchmarkDoTimed(b *testing.B) {
	for _, depth := range depths {
		b.Run(fmt.Sprintf("depth=%d", depth), func(b *testing.B) {
			k, q := newFake(b, DefaultDepth)
			k.logging = false
			q.RecordLatency(true)
			benchmark(b, depth, func(int) { q.Do(req(Read, 3, memory[:512], 512)) })
		})
	}
}

// BenchmarkHandOver measures the cost of a request apart from its submission: a goroutine
// takes a slot, deliver wakes it, it runs, and it returns the slot.
func BenchmarkHandOver(b *testing.B) {
	const crowd = 64
	k, q := newFake(b, DefaultDepth)
	k.logging = false
	procs(b, 1) // so that Gosched runs all of the crowd until it waits
	q.ready()
	quit := false
	events, inFlight := make([]libaio.Event, crowd), make([]libaio.Event, crowd)
	var waiting atomic.Int64
	var all sync.WaitGroup
	for range crowd {
		all.Go(func() {
			for !quit {
				s := slots.Get().(*slot)
				s.lane = q.Lane
				events[waiting.Add(1)-1].Obj = &s.iocb
				<-s.done
				s.free()
			}
		})
	}
	deliver := func() {
		for waiting.Load() < crowd {
			runtime.Gosched()
		}
		copy(inFlight, events)
		waiting.Store(0)
		q.Queue.inKernel.Add(crowd)
		q.taken.Add(crowd)
		q.deliver(inFlight)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; n += crowd {
		deliver()
	}
	b.StopTimer()
	for waiting.Load() < crowd {
		runtime.Gosched()
	}
	quit = true
	deliver()
	all.Wait()
}

// A busyKernel uses the processor for each request, about as long as io_submit(2) does for a
// direct read, and without a lock, as that does.
type busyKernel struct{ *fakeKernel }

func (k busyKernel) Submit(iocbs ...*libaio.IOCB) (int, error) {
	for range iocbs {
		spin()
	}
	return k.fakeKernel.Submit(iocbs...)
}

// spin writes to spun, so that the compiler keeps it.
var spun [64]struct {
	n uint64
	_ [56]byte
}

// spin takes about 4 us, on any number of processors at once.
func spin() {
	x := &spun[rand.Uint32N(64)].n
	y := *x
	for range 4000 {
		y = y*6364136223846793005 + 1442695040888963407
	}
	*x = y
}

// BenchmarkScaling runs four goroutines for each P. It reports the processor time of each
// request, because there may be more Ps than processors.
func BenchmarkScaling(b *testing.B) {
	for n := 1; n <= 64; n *= 2 {
		b.Run(fmt.Sprintf("procs=%d", n), func(b *testing.B) {
			procs(b, n)
			k := busyKernel{newFakeKernel(b)}
			k.logging = false
			q := newTestQueue(b, DefaultDepth, func(int) (kernel, error) { return k, nil })
			before := cpuTime(b)
			benchmark(b, 4*n, func(int) { q.Do(req(Read, 3, memory[:512], 512)) })
			b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
		})
	}
}

// BenchmarkDoDisk reads blocks of a direct file through the real kernel.
func BenchmarkDoDisk(b *testing.B) {
	const blocks = 4096
	fd := directFile(b, blocks)
	for _, depth := range depths {
		b.Run(fmt.Sprintf("depth=%d", depth), func(b *testing.B) {
			q := realQueue(b, DefaultDepth)
			p := make([][]byte, depth)
			for i := range p {
				p[i] = alignedBlocks(1)
			}
			var next atomic.Int64
			benchmark(b, depth, func(i int) {
				off := next.Add(1) * 1021 % blocks * block
				if n, err := q.Do(req(Read, fd, p[i], off)); n != block || err != nil {
					b.Errorf("Do = %d, %v", n, err)
				}
			})
		})
	}
}

// benchmark calls do in n goroutines, b.N times in all.
func benchmark(b *testing.B, n int, do func(i int)) {
	do(0)
	b.ReportAllocs()
	var left atomic.Int64
	left.Store(int64(b.N))
	b.ResetTimer()
	if n == 1 {
		for range b.N {
			do(0)
		}
		return
	}
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				do(i)
			}
		})
	}
	all.Wait()
}
