// Bench measures raft-wal over its own VFS and over the adapter, side by side:
//
//	go run ./bench -dir DIR  # from adapters/raftwal; some minutes
//	go run ./bench -trace
//
// A round runs a workload once in each mode, in an order that changes from round to round. The
// table has the medians of operations a second, and of the ratio to raft-wal's own VFS in the same
// round, with the quartiles. An append is a StoreLogs of one log of 128 bytes, which is durable
// when it returns. With -trace it counts raft-wal's calls of a VFS instead, which are the same on
// any disk.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-aio/aio/adapters/raftwal"
	"github.com/go-aio/aio/internal/aiotest/measure"
	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/fs"
	"github.com/hashicorp/raft-wal/metadb"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"
)

var (
	dir      = flag.String("dir", "", "a directory on the disk to measure; the default is that for temporary files")
	rounds   = flag.Int("rounds", 9, "rounds of each workload")
	duration = flag.Duration("round-time", time.Second, "time of a round")
	length   = flag.Int("length", 128, "bytes of a log")
	trace    = flag.Bool("trace", false, "count calls, and measure nothing")
	only     = flag.String("workloads", "append,appends,sealed,tail", "which of them, separated by commas")
)

var modes = []string{"os", "buffered", "direct"}

// A workload prepares directories and returns operations a second.
type workload struct {
	name string
	what string
	run  func(dir string, vfs types.VFS, n int) (float64, error)
}

var workloads = []workload{
	{"append", "n appenders of one log", oneLog},
	{"appends", "n logs, an appender each", manyLogs},
	{"sealed", "GetLog of sealed segments, n readers", sealed},
	{"tail", "GetLog of the last segment, n readers", tail},
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
	fmt.Println("| workload | n | os ops/s | buffered ops/s | ratio | direct ops/s | ratio |\n|---|---|---|---|---|---|---|")
	for _, w := range workloads {
		if !slices.Contains(strings.Split(*only, ","), w.name) {
			continue
		}
		for _, n := range []int{1, 8, 64} {
			speeds, err := measure.Rounds(modes, *rounds, func(mode string, _ int) (float64, error) {
				path := filepath.Join(tmp, "round")
				if err := os.Mkdir(path, 0o700); err != nil {
					return 0, err
				}
				defer os.RemoveAll(path)
				return w.run(path, vfs(mode), n)
			})
			if err != nil {
				return fmt.Errorf("%s: %w", w.name, err)
			}
			fmt.Printf("| %s | %d | %.0f |", w.what, n, measure.Quantile(speeds["os"], 0.5))
			for _, mode := range modes[1:] {
				fmt.Printf(" %.0f | %v |", measure.Quantile(speeds[mode], 0.5), measure.Ratios(speeds[mode], speeds["os"]))
			}
			fmt.Println()
		}
	}
	return nil
}

// traceAll counts the calls of 20,000 logs, stored by one and by 64 at a time, and then read.
func traceAll(tmp string) error {
	fmt.Println("| what | call | calls for a log | bytes | of whole 4 KiB | where the last ended |\n|---|---|---|---|---|---|")
	const logs = 20_000
	payload := data()
	for _, n := range []int{1, 64} {
		t := &tracer{VFS: vfs("os")}
		w, err := open(filepath.Join(tmp, fmt.Sprint(n)), t, wal.DefaultSegmentSize)
		if err != nil {
			return err
		}
		defer w.Close()
		for first := 1; first <= logs; first += n {
			batch := make([]*raft.Log, n)
			for i := range batch {
				batch[i] = &raft.Log{Index: uint64(first + i), Data: payload}
			}
			if err := w.StoreLogs(batch); err != nil {
				return err
			}
		}
		t.Print(fmt.Sprintf("StoreLogs of %d", n), logs)
		for i := range logs {
			var l raft.Log
			if err := w.GetLog(uint64(1+i), &l); err != nil {
				return err
			}
		}
		t.Print("GetLog, one after the other", logs)
	}
	return nil
}

func vfs(mode string) types.VFS {
	if mode == "os" {
		return fs.New()
	}
	return raftwal.New(raftwal.Options{Direct: mode == "direct"})
}

// A walLog is a WAL that closes its database of metadata too, which WAL.Close leaves open.
type walLog struct {
	*wal.WAL
	meta *metadb.BoltMetaDB
}

func (l walLog) Close() {
	l.WAL.Close()
	l.meta.Close()
}

func open(dir string, vfs types.VFS, segmentSize int) (walLog, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return walLog{}, err
	}
	meta := new(metadb.BoltMetaDB)
	w, err := wal.Open(dir, wal.WithSegmentFiler(segment.NewFiler(dir, vfs)), wal.WithSegmentSize(segmentSize),
		wal.WithMetaStore(meta), wal.WithLogger(hclog.NewNullLogger()))
	return walLog{w, meta}, err
}

// crowd calls the operation of each goroutine until the time of a round is over.
func crowd(n int, op func(g int) (logs int, err error)) (float64, error) {
	var (
		all   sync.WaitGroup
		count atomic.Int64
		first atomic.Pointer[error]
	)
	started := time.Now()
	for g := range n {
		all.Go(func() {
			for time.Since(started) < *duration {
				logs, err := op(g)
				if err != nil {
					first.Store(&err)
					return
				}
				count.Add(int64(logs))
			}
		})
	}
	all.Wait()
	if err := first.Load(); err != nil {
		return 0, *err
	}
	return float64(count.Load()) / time.Since(started).Seconds(), nil
}

func data() []byte {
	b := make([]byte, *length)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}

// oneLog runs n appenders that wait for a leader. The leader stores all of their logs at once, like
// that of raft.
func oneLog(dir string, vfs types.VFS, n int) (float64, error) {
	w, err := open(dir, vfs, wal.DefaultSegmentSize)
	if err != nil {
		return 0, err
	}
	defer w.Close()
	type entry struct{ done chan error }
	entries := make(chan entry, n)
	go func() {
		next, payload := uint64(1), data()
		for e := range entries {
			batch, waiting := []*raft.Log{{Index: next, Data: payload}}, []entry{e}
			for len(waiting) < n && len(entries) > 0 {
				waiting = append(waiting, <-entries)
				batch = append(batch, &raft.Log{Index: next + uint64(len(batch)), Data: payload})
			}
			err := w.StoreLogs(batch)
			next += uint64(len(batch))
			for _, e := range waiting {
				e.done <- err
			}
		}
	}()
	defer close(entries)
	mine := make([]entry, n)
	for i := range mine {
		mine[i].done = make(chan error, 1)
	}
	return crowd(n, func(g int) (int, error) {
		entries <- mine[g]
		return 1, <-mine[g].done
	})
}

func manyLogs(dir string, vfs types.VFS, n int) (float64, error) {
	logs, next := make([]walLog, n), make([]uint64, n)
	for i := range logs {
		w, err := open(filepath.Join(dir, fmt.Sprint(i)), vfs, 8<<20)
		if err != nil {
			return 0, err
		}
		defer w.Close()
		logs[i] = w
	}
	payload := data()
	return crowd(n, func(g int) (int, error) {
		next[g]++
		return 1, logs[g].StoreLogs([]*raft.Log{{Index: next[g], Data: payload}})
	})
}

// filled returns a WAL with 32 MiB of logs in segments of the size.
func filled(dir string, vfs types.VFS, segmentSize int) (w walLog, logs int, err error) {
	if w, err = open(dir, vfs, segmentSize); err != nil {
		return w, 0, err
	}
	payload := data()
	for logs*(*length) < 32<<20 {
		batch := make([]*raft.Log, 1000)
		for i := range batch {
			logs++
			batch[i] = &raft.Log{Index: uint64(logs), Data: payload}
		}
		if err := w.StoreLogs(batch); err != nil {
			return w, 0, err
		}
	}
	return w, logs, nil
}

func sealed(dir string, vfs types.VFS, n int) (float64, error) { return getLogs(dir, vfs, n, 4<<20) }

func tail(dir string, vfs types.VFS, n int) (float64, error) { return getLogs(dir, vfs, n, 256<<20) }

func getLogs(dir string, vfs types.VFS, n, segmentSize int) (float64, error) {
	w, logs, err := filled(dir, vfs, segmentSize)
	if err != nil {
		return 0, err
	}
	defer w.Close()
	var next atomic.Uint64
	return crowd(n, func(int) (int, error) {
		var l raft.Log
		return 1, w.GetLog(1+next.Add(1)*7919%uint64(logs/2), &l)
	})
}
