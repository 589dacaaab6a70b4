// Bench compares Pebble over the adapter with Pebble over its own FS, on a database ten times the
// block cache, and prints a table in Markdown.
//
//	go -C adapters/pebble run ./bench -dir DIR       # DIR on the disk to measure
//	go -C adapters/pebble run ./bench -trace
//
// With -trace it counts Pebble's calls of an FS instead, which are the same on any disk.
//
// Each round opens the database anew, with the page cache of its files dropped unless the workload
// is "warm", makes a fixed number of operations, and closes it. The modes take turns in each round,
// and another begins every time. A ratio is that of the mode and of Pebble's own FS in the same
// round; the table has the median, and the quartiles in brackets.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
	aiopebble "github.com/go-aio/aio/adapters/pebble"
	"github.com/go-aio/aio/internal/aiotest/measure"
)

const (
	valueSize = 1000 // bytes
	scanKeys  = 100
)

var (
	dir        = flag.String("dir", ".", "directory of the databases")
	records    = flag.Int("records", 640<<10, "records of 1000 bytes in the database")
	cacheMiB   = flag.Int64("cache", 64, "block cache, MiB")
	rounds     = flag.Int("rounds", 5, "rounds")
	only       = flag.String("workloads", "", "only these, separated by commas")
	with       = flag.String("modes", "", "only these, separated by commas, besides os")
	trace      = flag.Bool("trace", false, "count calls, and measure nothing")
	goroutines = []int{1, 64}
)

// modes are the FSes to compare; the others are compared with the first.
var modes = []string{"os", "buffered", "reads", "reads+writes", "wal"}

func newFS(mode string) vfs.FS {
	switch mode {
	case "buffered":
		return aiopebble.New(aiopebble.Options{})
	case "reads":
		return aiopebble.New(aiopebble.Options{DirectReads: true})
	case "reads+writes":
		return aiopebble.New(aiopebble.Options{DirectReads: true, DirectWrites: true})
	case "wal":
		return aiopebble.New(aiopebble.Options{ExclusiveWAL: true})
	}
	return vfs.Default
}

// A workload makes ops operations in a number of goroutines.
type workload struct {
	name  string
	ops   [2]int // with 1 goroutine, with 64
	fresh bool   // in an empty database
	edits bool   // in a copy of the database, by hard links
	warm  bool
	op    func(db *pebble.DB, r *rand.Rand, i int) error
	end   func(db *pebble.DB) error // included in the time
}

// As in YCSB, with keys drawn evenly: C is Get, F is Get and a synced Set of the same key, E is a
// scan of 100 records. scan reads the whole database, load writes 256 MiB in random order, flushes
// and compacts, log is a synced Set of 200 bytes. Cold and warm refer to the page cache.
var workloads = []workload{
	{name: "C cold", ops: [2]int{10_000, 20_000}, op: read},
	{name: "C warm", ops: [2]int{20_000, 40_000}, op: read, warm: true},
	{name: "F cold", ops: [2]int{3_000, 10_000}, op: modify, edits: true},
	{name: "E cold", ops: [2]int{1_000, 2_000}, op: scan},
	{name: "scan cold", ops: [2]int{1, 0}, op: scanAll},
	{name: "load", ops: [2]int{256 << 10, 0}, op: insert, end: compact, fresh: true},
	{name: "log", ops: [2]int{10_000, 100_000}, op: appendLog, fresh: true},
}

func key(i int) []byte { return fmt.Appendf(nil, "user%012d", i) }

func value(r *rand.Rand, n int) []byte {
	v := make([]byte, n)
	for i := 0; i+8 <= n; i += 8 {
		u := r.Uint64()
		for j := range 8 {
			v[i+j] = byte(u >> (8 * j))
		}
	}
	return v
}

func read(db *pebble.DB, r *rand.Rand, _ int) error {
	_, closer, err := db.Get(key(r.IntN(*records)))
	if err != nil {
		return err
	}
	return closer.Close()
}

func modify(db *pebble.DB, r *rand.Rand, _ int) error {
	k := key(r.IntN(*records))
	_, closer, err := db.Get(k)
	if err != nil {
		return err
	}
	return errors.Join(closer.Close(), db.Set(k, value(r, valueSize), pebble.Sync))
}

func scan(db *pebble.DB, r *rand.Rand, _ int) error {
	return scanFrom(db, key(r.IntN(*records)), scanKeys)
}

func scanAll(db *pebble.DB, _ *rand.Rand, _ int) error { return scanFrom(db, nil, *records) }

func scanFrom(db *pebble.DB, from []byte, n int) error {
	it, err := db.NewIter(nil)
	if err != nil {
		return err
	}
	for ok := it.SeekGE(from); ok && n > 0; ok = it.Next() {
		if _, err := it.ValueAndErr(); err != nil {
			return errors.Join(err, it.Close())
		}
		n--
	}
	return it.Close()
}

func insert(db *pebble.DB, r *rand.Rand, i int) error {
	return db.Set(key(int(uint32(i)*2654435761)), value(r, valueSize), pebble.NoSync)
}

func appendLog(db *pebble.DB, r *rand.Rand, i int) error {
	return db.Set(key(i), value(r, 200), pebble.Sync)
}

func compact(db *pebble.DB) error {
	if err := db.Flush(); err != nil {
		return err
	}
	return db.Compact(context.Background(), []byte("a"), []byte("z"), true)
}

func open(dir string, fs vfs.FS) (*pebble.DB, error) {
	cache := pebble.NewCache(*cacheMiB << 20)
	defer cache.Unref()
	o := &pebble.Options{
		FS: fs, Cache: cache, Logger: quiet{}, FormatMajorVersion: pebble.FormatNewest,
		MemTableSize: 16 << 20, L0CompactionThreshold: 2, BytesPerSync: 512 << 10,
		CompactionConcurrencyRange: func() (int, int) { return 1, 2 },
	}
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	return pebble.Open(dir, o)
}

// prepare makes the database of all workloads that are not fresh.
func prepare(name string) error {
	db, err := open(name, vfs.Default)
	if err != nil {
		return err
	}
	return errors.Join(fillAll(db), db.Close())
}

// fillAll sets all records, in random order, and compacts them.
func fillAll(db *pebble.DB) error {
	r := rand.New(rand.NewPCG(1, 1))
	for _, i := range r.Perm(*records) {
		if err := db.Set(key(i), value(r, valueSize), pebble.NoSync); err != nil {
			return err
		}
	}
	return compact(db)
}

// A sample is the time of a round.
type sample struct{ wall, cpu time.Duration }

// round runs a workload once.
func round(w workload, mode string, n int, seed uint64) (s sample, err error) {
	name := filepath.Join(*dir, "db")
	if w.fresh || w.edits {
		if name, err = os.MkdirTemp(*dir, "round-"); err != nil {
			return s, err
		}
		defer os.RemoveAll(name)
	}
	if w.edits {
		if _, err := vfs.Clone(vfs.Default, vfs.Default, filepath.Join(*dir, "db"), name, vfs.CloneTryLink); err != nil {
			return s, err
		}
	}
	fit := measure.Drop
	if w.warm {
		fit = measure.Fill
	}
	if err := fit(name); err != nil {
		return s, err
	}
	db, err := open(name, newFS(mode))
	if err != nil {
		return s, err
	}
	if !w.fresh { // index and filter blocks
		if err := run(db, workload{op: read}, 2000, 16, seed+1); err != nil {
			return s, err
		}
	}
	ops := w.ops[0]
	if n > 1 {
		ops = w.ops[1]
	}
	started, cpu := time.Now(), cpuTime()
	err = run(db, w, ops, n, seed)
	if err == nil && w.end != nil {
		err = w.end(db)
	}
	s = sample{time.Since(started), cpuTime() - cpu}
	return s, errors.Join(err, db.Close())
}

func run(db *pebble.DB, w workload, ops, n int, seed uint64) error {
	var next atomic.Int64
	errs := make([]error, n)
	var wg sync.WaitGroup
	for g := range n {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(g)))
			for i := next.Add(1); i <= int64(ops) && errs[g] == nil; i = next.Add(1) {
				errs[g] = w.op(db, r, int(i))
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		log.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func main() {
	log.SetFlags(0)
	flag.Parse()
	if *with != "" {
		modes = append(modes[:1], strings.Split(*with, ",")...)
	}
	do := bench
	if *trace {
		do = func() error { return traceAll(*dir) }
	}
	if err := do(); err != nil {
		log.Fatal(err)
	}
}

func bench() error {
	name := filepath.Join(*dir, "db")
	if _, err := os.Stat(name); err != nil {
		if err := prepare(name); err != nil {
			return err
		}
	}
	fmt.Println("| workload | goroutines | mode | its ops/s | os ops/s | ratio | CPU ratio |")
	fmt.Println("|---|---|---|---|---|---|---|")
	for _, w := range workloads {
		if *only != "" && !slices.ContainsFunc(strings.Split(*only, ","), func(s string) bool { return strings.HasPrefix(w.name, s) }) {
			continue
		}
		for i, n := range goroutines {
			if w.ops[i] == 0 {
				continue
			}
			if err := compare(w, n, w.ops[i]); err != nil {
				return fmt.Errorf("%s: %w", w.name, err)
			}
		}
	}
	return nil
}

// compare runs all modes in turns and prints a line for each.
func compare(w workload, n, ops int) error {
	samples, err := measure.Rounds(modes, *rounds, func(mode string, i int) (sample, error) {
		return round(w, mode, n, uint64(i))
	})
	if err != nil {
		return err
	}
	rates, cpu := make(map[string][]float64), make(map[string][]float64)
	for mode, all := range samples {
		rates[mode] = measure.Each(all, func(s sample) float64 { return float64(ops) / s.wall.Seconds() })
		cpu[mode] = measure.Each(all, func(s sample) float64 { return s.cpu.Seconds() })
	}
	for _, mode := range modes[1:] {
		fmt.Printf("| %s | %d | %s | %.5g | %.5g | %v | %.2f |\n", w.name, n, mode,
			measure.Quantile(rates[mode], 0.5), measure.Quantile(rates[modes[0]], 0.5),
			measure.Ratios(rates[mode], rates[modes[0]]), measure.Ratios(cpu[mode], cpu[modes[0]]).Median)
	}
	return nil
}

type quiet struct{}

func (quiet) Infof(string, ...any)      {}
func (quiet) Errorf(f string, v ...any) { log.Printf(f, v...) }
func (quiet) Fatalf(f string, v ...any) { log.Fatalf(f, v...) }
