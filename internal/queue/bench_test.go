//go:build linux

package queue

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
)

// depths are the numbers of goroutines that make requests at a time.
var depths = []int{1, 2, 8, 32, 256, 1024}

// BenchmarkDo measures the queue alone: the kernel is a fake that has the result of every
// request at once, and rings for each that it takes in the shared context.
func BenchmarkDo(b *testing.B) {
	for _, depth := range depths {
		b.Run(fmt.Sprintf("depth=%d", depth), func(b *testing.B) {
			k, lane := newFakeKernel(b), newFakeKernel(b)
			k.logging, lane.logging = false, false
			q := newTestQueue(b, DefaultDepth,
				func(int) (kernel, error) { return k, nil },
				func() (kernel, error) { return lane, nil })
			benchmark(b, depth, func(int) { q.Do(Pread, 3, memory[:512], 512) })
		})
	}
}

// BenchmarkDoShared is BenchmarkDo without a lane.
func BenchmarkDoShared(b *testing.B) {
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
