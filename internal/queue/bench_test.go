//go:build linux

package queue

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-aio/aio/libaio"
)

// depths are the numbers of goroutines that make requests at a time.
var depths = []int{1, 2, 8, 32, 256, 1024}

// BenchmarkDo measures the queue alone: the kernel is a fake that has the result of every
// request at once, and rings for each.
func BenchmarkDo(b *testing.B) {
	for _, depth := range depths {
		b.Run(fmt.Sprintf("depth=%d", depth), func(b *testing.B) {
			k, q := newFake(b, DefaultDepth)
			k.logging = false
			benchmark(b, depth, func(int) { q.Do(Pread, 3, memory[:512], 512) })
		})
	}
}

// BenchmarkDoStarved has 32 slots for more goroutines than that.
func BenchmarkDoStarved(b *testing.B) {
	for _, depth := range []int{64, 1024} {
		b.Run(fmt.Sprintf("depth=%d", depth), func(b *testing.B) {
			k, q := newFake(b, 32)
			k.logging = false
			benchmark(b, depth, func(int) { q.Do(Pread, 3, memory[:512], 512) })
		})
	}
}

// BenchmarkHandOver measures what a request costs beside its submission: a slot is taken, its
// event is delivered to a goroutine that waits for it, and the slot is given back. It has a
// switch to that goroutine and one back in it.
func BenchmarkHandOver(b *testing.B) {
	k, q := newFake(b, DefaultDepth)
	k.logging = false
	procs(b, 1)
	kernel := q.ready()
	turn := make(chan struct{}, 1)
	go func() {
		defer close(turn)
		for range b.N {
			q.mu.Lock()
			s := q.slot()
			q.mu.Unlock()
			turn <- struct{}{}
			<-s.done
			q.release(s)
		}
	}()
	events := make([]libaio.Event, 1)
	b.ReportAllocs()
	b.ResetTimer()
	for range turn {
		q.inKernel.Add(1)
		q.deliver(kernel, events) // slot 0, always the same one
	}
}

// BenchmarkScaling has four goroutines for each P. It reports the processor's time, because
// the Ps may be more than the processors.
func BenchmarkScaling(b *testing.B) {
	for n := 1; n <= 64; n *= 2 {
		b.Run(fmt.Sprintf("procs=%d", n), func(b *testing.B) {
			procs(b, n)
			k, q := newFake(b, DefaultDepth)
			k.logging = false
			before := cpuTime(b)
			benchmark(b, 4*n, func(int) { q.Do(Pread, 3, memory[:512], 512) })
			b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
		})
	}
}

// BenchmarkDoDisk reads blocks of a direct file on the real kernel.
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
				if n, err := q.Do(Pread, fd, p[i], off); n != block || err != nil {
					b.Errorf("Do = %d, %v", n, err)
				}
			})
		})
	}
}

// benchmark has n goroutines call do, b.N times in sum.
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
