// Package speed has the benchmarks of os.File and aio.File side by side, for benchstat:
//
//	go test -run '^$' -bench . -count 10 ./internal/aiotest/speed | tee all.txt
//	go tool -modfile=internal/tools/go.mod benchstat -col /impl all.txt
//
// They run in the temporary directory (TMPDIR), which should be on a disk. The main measurement,
// with separate processes and alternating rounds, is ../../../bench.
package speed

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-aio/aio"
)

const (
	block    = 4096
	fileSize = 64 << 20
)

// A file has the methods common to os.File and aio.File.
type file interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Sync() error
}

var impls = []struct {
	name string
	open func(name string, flag int) (file, error)
}{
	{"os", func(name string, flag int) (file, error) { return os.OpenFile(name, flag, 0) }},
	{"aio", func(name string, flag int) (file, error) { return aio.OpenFile(name, flag, 0) }},
}

// BenchmarkReadAt reads 4 KiB at random offsets with O_DIRECT.
func BenchmarkReadAt(b *testing.B) {
	compare(b, aio.O_DIRECT, []int{1, 2, 4, 8, 32, 128, 1024}, func(f file, p []byte, off int64) error {
		_, err := f.ReadAt(p, off)
		return err
	})
}

// BenchmarkWriteAt writes 4 KiB at random offsets with O_DIRECT, into allocated space.
func BenchmarkWriteAt(b *testing.B) {
	compare(b, aio.O_DIRECT, []int{1, 2, 4, 8, 32, 128, 1024}, func(f file, p []byte, off int64) error {
		_, err := f.WriteAt(p, off)
		return err
	})
}

// BenchmarkSync writes 4 KiB with O_DIRECT and makes them durable.
func BenchmarkSync(b *testing.B) {
	compare(b, aio.O_DIRECT, []int{1, 8, 64}, func(f file, p []byte, off int64) error {
		if _, err := f.WriteAt(p, off); err != nil {
			return err
		}
		return f.Sync()
	})
}

// BenchmarkCachedReadAt reads 4 KiB from the page cache.
func BenchmarkCachedReadAt(b *testing.B) {
	compare(b, 0, []int{1, 64}, func(f file, p []byte, off int64) error {
		_, err := f.ReadAt(p, off)
		return err
	})
}

// BenchmarkCachedWriteAt writes 4 KiB to the page cache.
func BenchmarkCachedWriteAt(b *testing.B) {
	compare(b, 0, []int{1, 64}, func(f file, p []byte, off int64) error {
		_, err := f.WriteAt(p, off)
		return err
	})
}

func compare(b *testing.B, flag int, depths []int, do func(f file, p []byte, off int64) error) {
	name := filled(b)
	for _, impl := range impls {
		for _, depth := range depths {
			b.Run(fmt.Sprintf("impl=%s/depth=%d", impl.name, depth), func(b *testing.B) {
				f, err := impl.open(name, os.O_RDWR|flag)
				if err != nil {
					b.Fatal(err)
				}
				defer f.Close()
				run(b, depth, func(p []byte, off int64) error { return do(f, p, off) })
			})
		}
	}
}

// filled returns the name of a file with all of its blocks allocated.
func filled(b *testing.B) string {
	name := filepath.Join(b.TempDir(), "file")
	f, err := os.Create(name)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	p := make([]byte, 1<<20)
	for off := int64(0); off < fileSize; off += int64(len(p)) {
		for i := range p {
			p[i] = byte(rand.Uint32())
		}
		if _, err := f.WriteAt(p, off); err != nil {
			b.Fatal(err)
		}
	}
	if err := f.Sync(); err != nil {
		b.Fatal(err)
	}
	return name
}

// run makes b.N operations in total, in depth goroutines.
func run(b *testing.B, depth int, do func(p []byte, off int64) error) {
	b.SetBytes(block)
	b.ReportAllocs()
	bufs := aio.AlignedBuffer(depth * block)
	var left atomic.Int64
	left.Store(int64(b.N))
	var all sync.WaitGroup
	b.ResetTimer()
	for i := range depth {
		p, rng := bufs[i*block:(i+1)*block], rand.NewPCG(uint64(i), 1)
		all.Go(func() {
			for left.Add(-1) >= 0 {
				if err := do(p, int64(rng.Uint64()%(fileSize/block))*block); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}
