//go:build linux

// Bench measures goleveldb over its own storage and over the adapter, side by side:
//
//	go run ./bench -dir DIR  # from adapters/goleveldb; some minutes and 3 GiB of disk
//	go run ./bench -trace
//
// A round runs a workload once in each mode, in an order that changes from round to round. The
// table has the medians of operations a second, and of the ratio to goleveldb's own storage in the
// same round, with the quartiles. The database for reads is 1 GiB of values that do not compress.
// goleveldb has 64 MiB of cache for it. Before each round its files are dropped from the page cache
// (posix_fadvise(2)), so that it behaves like one larger than memory. With -trace it counts
// goleveldb's calls of a storage instead, which are the same on any disk.
package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-aio/aio/adapters/goleveldb"
	"github.com/go-aio/aio/internal/aiotest/measure"
	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/opt"
	"github.com/syndtr/goleveldb/leveldb/storage"
	"github.com/syndtr/goleveldb/leveldb/util"
)

var (
	dir      = flag.String("dir", "", "a directory on the disk to measure; the default is that for temporary files")
	rounds   = flag.Int("rounds", 7, "rounds of each workload")
	duration = flag.Duration("round-time", time.Second, "time of a round, if the workload has one")
	size     = flag.Int("size", 1024, "MiB of the database for reads")
	trace    = flag.Bool("trace", false, "count calls, and measure nothing")
	only     = flag.String("workloads", "get,scan,fillsync,fill", "which of them, separated by commas")
)

var modes = []string{"os", "buffered", "direct", "ahead"}

// A workload runs on a database, and returns its operations a second.
type workload struct {
	name       string
	goroutines []int
	fresh      bool // in an empty database, not in the one for reads
	run        func(db *leveldb.DB, goroutines int) (float64, error)
}

var workloads = []workload{
	{"get", []int{1, 8, 64}, false, get},
	{"scan", []int{1}, false, scan},
	{"fillsync", []int{1, 8, 64}, true, fillsync},
	{"fill", []int{1}, true, fill},
}

func main() {
	flag.Parse()
	do := bench
	if *trace {
		do = traceAll
	}
	measure.Main(*dir, do)
}

func bench(tmp string) error {
	full := filepath.Join(tmp, "full")
	chosen := strings.Split(*only, ",")
	if slices.Contains(chosen, "get") || slices.Contains(chosen, "scan") {
		if err := makeFull(full); err != nil {
			return err
		}
	}
	fmt.Println("| workload | goroutines | os ops/s | buffered ops/s | ratio | direct ops/s | ratio | ahead ops/s | ratio |\n|---|---|---|---|---|---|---|---|---|")
	for _, w := range workloads {
		if !slices.Contains(chosen, w.name) {
			continue
		}
		for _, goroutines := range w.goroutines {
			speeds, err := measure.Rounds(modes, *rounds, func(mode string, _ int) (float64, error) {
				path := full
				if w.fresh {
					path = filepath.Join(tmp, "fresh")
					defer os.RemoveAll(path)
				}
				return one(w, goroutines, path, mode)
			})
			if err != nil {
				return fmt.Errorf("%s: %w", w.name, err)
			}
			fmt.Printf("| %s | %d | %.0f |", w.name, goroutines, measure.Quantile(speeds["os"], 0.5))
			for _, mode := range modes[1:] {
				fmt.Printf(" %.0f | %v |", measure.Quantile(speeds[mode], 0.5), measure.Ratios(speeds[mode], speeds["os"]))
			}
			fmt.Println()
		}
	}
	return nil
}

// traceAll counts the calls of 1,000 synced puts, of 256 MiB under random keys, and of reads of
// these.
func traceAll(tmp string) error {
	own, err := openStorage(filepath.Join(tmp, "traced"), "os")
	if err != nil {
		return err
	}
	defer own.Close()
	t := &tracer{Storage: own}
	db, err := leveldb.Open(t, options())
	if err != nil {
		return err
	}
	defer db.Close()
	fmt.Println("| what | file | call | calls | bytes | of whole 4 KiB | where the last ended |\n|---|---|---|---|---|---|---|")
	t.Print("open", 0)
	value := randomBytes(100)
	for i := range 1000 {
		if err := db.Put(key(i), value, &opt.WriteOptions{Sync: true}); err != nil {
			return err
		}
	}
	t.Print("1,000 Puts with Sync", 0)
	if _, err := fill(db, 1); err != nil {
		return err
	}
	t.Print("256 MiB of Puts, compaction", 0)
	r := rand.New(rand.NewPCG(5, 6))
	for range 10_000 {
		if _, err := db.Get(key(r.IntN(1<<30)), nil); err != nil && err != leveldb.ErrNotFound {
			return err
		}
	}
	t.Print("10,000 Gets", 0)
	if _, err := scan(db, 1); err != nil {
		return err
	}
	t.Print("a scan of all", 0)
	return nil
}

func one(w workload, goroutines int, path, mode string) (speed float64, err error) {
	if err := measure.Drop(path); err != nil {
		return 0, err
	}
	stor, err := openStorage(path, mode)
	if err != nil {
		return 0, err
	}
	defer stor.Close()
	db, err := leveldb.Open(stor, options())
	if err != nil {
		return 0, err
	}
	defer db.Close()
	return w.run(db, goroutines)
}

func openStorage(path, mode string) (storage.Storage, error) {
	if mode == "os" {
		return storage.OpenFile(path, false)
	}
	return goleveldb.Open(path, goleveldb.Options{Direct: mode == "direct", JournalAhead: mode == "ahead"})
}

func options() *opt.Options {
	return &opt.Options{BlockCacheCapacity: 64 << 20, OpenFilesCacheCapacity: 2000, Compression: opt.NoCompression}
}

const valueSize = 1000

func keys() int { return *size << 20 / valueSize }

func key(i int) []byte { return fmt.Appendf(nil, "%016d", i) }

func randomBytes(n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func makeFull(path string) error {
	stor, err := openStorage(path, "os")
	if err != nil {
		return err
	}
	defer stor.Close()
	db, err := leveldb.Open(stor, options())
	if err != nil {
		return err
	}
	defer db.Close()
	if err := putAll(db, keys(), func(i int) []byte { return key(i) }); err != nil {
		return err
	}
	return db.CompactRange(util.Range{})
}

// putAll puts n values in batches of 1000.
func putAll(db *leveldb.DB, n int, key func(i int) []byte) error {
	random := randomBytes(1 << 20)
	var b leveldb.Batch
	for i := range n {
		at := i * 617 % (len(random) - valueSize)
		b.Put(key(i), random[at:at+valueSize])
		if b.Len() == 1000 || i == n-1 {
			if err := db.Write(&b, nil); err != nil {
				return err
			}
			b.Reset()
		}
	}
	return nil
}

// crowd calls op from goroutines until the time of a round is over.
func crowd(goroutines int, op func(r *rand.Rand) error) (float64, error) {
	var (
		all   sync.WaitGroup
		count atomic.Int64
		first atomic.Pointer[error]
	)
	started := time.Now()
	for g := range goroutines {
		all.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), uint64(started.UnixNano())))
			for time.Since(started) < *duration {
				if err := op(r); err != nil {
					first.Store(&err)
					return
				}
				count.Add(1)
			}
		})
	}
	all.Wait()
	if err := first.Load(); err != nil {
		return 0, *err
	}
	return float64(count.Load()) / time.Since(started).Seconds(), nil
}

func get(db *leveldb.DB, goroutines int) (float64, error) {
	// Open all tables, and load their indexes into goleveldb's cache.
	for i := 0; i < keys(); i += 500 {
		if _, err := db.Get(key(i), nil); err != nil {
			return 0, err
		}
	}
	return crowd(goroutines, func(r *rand.Rand) error {
		_, err := db.Get(key(r.IntN(keys())), nil)
		return err
	})
}

func scan(db *leveldb.DB, _ int) (float64, error) {
	started := time.Now()
	it, n := db.NewIterator(nil, &opt.ReadOptions{DontFillCache: true}), 0
	for it.Next() {
		n++
	}
	it.Release()
	return float64(n) / time.Since(started).Seconds(), it.Error()
}

func fillsync(db *leveldb.DB, goroutines int) (float64, error) {
	value := randomBytes(100)
	return crowd(goroutines, func(r *rand.Rand) error {
		return db.Put(key(r.IntN(1<<30)), value, &opt.WriteOptions{Sync: true})
	})
}

// fill puts 256 MiB under random keys, which needs as much compaction as possible.
func fill(db *leveldb.DB, _ int) (float64, error) {
	started, n := time.Now(), 256<<20/valueSize
	r := rand.New(rand.NewPCG(3, 4))
	if err := putAll(db, n, func(int) []byte { return key(r.IntN(1 << 30)) }); err != nil {
		return 0, err
	}
	if err := db.CompactRange(util.Range{}); err != nil {
		return 0, err
	}
	return float64(n) / time.Since(started).Seconds(), nil
}
