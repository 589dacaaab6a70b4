package aio_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"reflect"
	"runtime/trace"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/internal/aiotest/aiofile"
)

// moved returns the changed counters, by field, and their differences. Gauges, and counters that
// depend on the scheduler, are left out.
func moved(before, after aio.Stats) map[string]int64 {
	diff := make(map[string]int64)
	var add func(prefix string, a, b reflect.Value)
	add = func(prefix string, a, b reflect.Value) {
		for i := range a.NumField() {
			name := prefix + a.Type().Field(i).Name
			switch name {
			case "Mechanism.ReaperWakes", "Mechanism.Collects", "Mechanism.Batches", "Mechanism.LargestBatch", "Queued", "InFlight", "Threads", "ThreadsQueued", "Latency.Sum":
				continue
			}
			switch a, b := a.Field(i), b.Field(i); a.Kind() {
			case reflect.Int64:
				if d := b.Int() - a.Int(); d != 0 {
					diff[name] = d
				}
			case reflect.Struct:
				add(name+".", a, b)
			}
		}
	}
	add("", reflect.ValueOf(before), reflect.ValueOf(after))
	return diff
}

// wantMoved fails the test unless do moves these counters and no others.
func wantMoved(t *testing.T, what string, want map[string]int64, do func()) {
	t.Helper()
	before := aio.ReadStats()
	do()
	got := moved(before, aio.ReadStats())
	for aiotest.Linux && got["Mechanism.Batched"] < want["Mechanism.Batched"] { // a submitter counts after it has woken the callers
		got = moved(before, aio.ReadStats())
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: moved %v, want %v", what, got, want)
	}
}

// directFile makes a file of 1 MiB, opened direct. Its blocks are written.
func directFile(t *testing.T) *aio.File {
	t.Helper()
	f := aiofile.Open(t, aiofile.Put(t, aiotest.Dir(t), "file", aiotest.Pattern(1<<20, 1)), os.O_RDWR|aio.O_DIRECT)
	if !f.Direct() || f.Alignment().Write == 0 {
		aiotest.NeedsDirect(t)
	}
	must(t, f.Sync())
	return f
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestStatsAlone has one request at a time in the process.
func TestStatsAlone(t *testing.T) {
	aiotest.Guard(t)
	f := directFile(t)
	read := f.Alignment().Read
	block, odd := aiotest.Buffer(4096, 0), aiotest.Buffer(100, 1)
	count := map[string]int64{"Synchronous": 1}
	wantMoved(t, "aligned ReadAt", count, func() { _, err := f.ReadAt(block, 4096); must(t, err) })
	wantMoved(t, "aligned WriteAt", count, func() { _, err := f.WriteAt(block, 4096); must(t, err) })
	wantMoved(t, "extending WriteAt", count, func() { _, err := f.WriteAt(block, 1<<20); must(t, err) })
	wantMoved(t, "Sync", count, func() { must(t, f.Sync()) })
	wantMoved(t, "Datasync", count, func() { must(t, f.Datasync()) })
	wantMoved(t, "ReadvAt", count, func() { _, err := f.ReadvAt([][]byte{block, aiotest.Buffer(4096, 0)}, 0); must(t, err) })
	wantMoved(t, "unaligned ReadAt", map[string]int64{"Synchronous": 1, "Bounced": 1, "BouncedBytes": int64(read)},
		func() { _, err := f.ReadAt(odd, 10); must(t, err) })
	wantMoved(t, "WriteAt of unaligned memory", map[string]int64{"Synchronous": 1, "Bounced": 1, "BouncedBytes": 8192},
		func() { _, err := f.WriteAt(aiotest.Buffer(8192, 1), 8192); must(t, err) })
	wantMoved(t, "unaligned WriteAt", map[string]int64{"PageCache": 1}, func() { _, err := f.WriteAt(odd, 12345); must(t, err) })
	if aiotest.Nowait(f.Fd()) {
		wantMoved(t, "ReadAt of that", map[string]int64{"RecentReads": 1}, func() { _, err := f.ReadAt(odd, 12345); must(t, err) })
	}
	wantMoved(t, "Truncate", map[string]int64{"PageCache": 1}, func() { must(t, f.Truncate(1<<20)) })
	wantMoved(t, "ReadAt where no file can be", map[string]int64{"PageCache": 1, "Fallbacks.Unsupported": 1}, func() {
		if _, err := f.ReadAt(odd, math.MaxInt64-50); err == nil {
			t.Error("it has bytes there")
		}
	})
}

// TestStatsOfBouncedReads checks that a ReadAt of 1 MiB is one request at any offset, and so is a
// ReadvAt.
func TestStatsOfBouncedReads(t *testing.T) {
	aiotest.Guard(t)
	content := aiotest.Pattern(4<<20, 1)
	f := aiofile.Open(t, aiofile.Put(t, aiotest.Dir(t), "file", content), os.O_RDONLY|aio.O_DIRECT)
	if !f.Direct() {
		aiotest.NeedsDirect(t)
	}
	for _, r := range []struct{ off, n, requests int64 }{
		{1, 1 << 20, 1}, {511, 1 << 20, 1}, {4095, 1 << 20, 1}, {1, 2 << 20, 2}, {4095, 2<<20 + 100, 2}, {1, 3<<20 - 1, 3}, {4096, 1<<20 - 1, 1},
	} {
		p := make([]byte, r.n)
		for name, read := range map[string]func() (int, error){
			"ReadAt":  func() (int, error) { return f.ReadAt(p, r.off) },
			"ReadvAt": func() (int, error) { return f.ReadvAt([][]byte{p[:1000], p[1000:]}, r.off) },
		} {
			clear(p)
			before := aio.ReadStats().Bounced
			if n, err := read(); n != len(p) || err != nil || !bytes.Equal(p, content[r.off:r.off+r.n]) {
				t.Errorf("%s, %+v: %d, %v, or other bytes", name, r, n, err)
			}
			if got := aio.ReadStats().Bounced - before; got != r.requests {
				t.Errorf("%s, %+v: %d requests", name, r, got)
			}
		}
	}
}

func TestStatsOfPlainFile(t *testing.T) {
	aiotest.Guard(t)
	f := aiofile.Open(t, aiofile.Put(t, t.TempDir(), "file", aiotest.Pattern(8192, 1)), os.O_RDWR)
	p := make([]byte, 100)
	want := map[string]int64{"PageCache": 1}
	wantMoved(t, "ReadAt", want, func() { _, err := f.ReadAt(p, 10); must(t, err) })
	wantMoved(t, "WriteAt", want, func() { _, err := f.WriteAt(p, 10); must(t, err) })
	wantMoved(t, "Read", want, func() { _, err := f.Read(p); must(t, err) })
	wantMoved(t, "Write", want, func() { _, err := f.Write(p); must(t, err) })
}

// TestStatsOfKernelAIO sends all requests to the queue.
func TestStatsOfKernelAIO(t *testing.T) {
	aiotest.Guard(t)
	if !aiotest.Linux {
		aiotest.Needs(t, "kernel AIO", "go test ./... on Linux, where no seccomp filter refuses it")
	}
	if !aiotest.InChild() {
		aiotest.RunChild(t, "^TestStatsOfKernelAIO$", "configure", "64", "8")
		return
	}
	f := directFile(t)
	block := aiotest.Buffer(4096, 0)
	want := map[string]int64{"Submitted": 1, "Completed": 1, "Mechanism.Batched": 1}
	wantMoved(t, "ReadAt", want, func() { _, err := f.ReadAt(block, 4096); must(t, err) })
	wantMoved(t, "WriteAt", want, func() { _, err := f.WriteAt(block, 4096); must(t, err) })
	wantMoved(t, "Sync", want, func() { must(t, f.Sync()) })
	wantMoved(t, "extending WriteAt", map[string]int64{"Fallbacks.Extending": 1}, func() { _, err := f.WriteAt(block, 1<<20); must(t, err) })

	aio.RecordLatency(true)
	before := aio.ReadStats()
	readByMany(t, f, 64, 50)
	got := moved(before, aio.ReadStats())
	if n := int64(64 * 50); got["Completed"] != n || got["Submitted"] != n || got["Latency.Count"] != n {
		t.Errorf("%d reads moved %v", n, got)
	}
	s := aio.ReadStats()
	inBuckets := int64(0)
	for i, b := range s.Latency.Buckets {
		inBuckets += b.Count
		if i > 0 && b.Below <= s.Latency.Buckets[i-1].Below {
			t.Errorf("bucket %d is up to %v, after %v", i, b.Below, s.Latency.Buckets[i-1].Below)
		}
	}
	if inBuckets != s.Latency.Count || s.Latency.Sum <= 0 {
		t.Errorf("%d in buckets: %+v", inBuckets, s.Latency)
	}
	if m := s.Mechanism; m.LargestBatch < 1 || m.LargestBatch > 16 || m.Batches > m.Batched || m.ReaperWakes == 0 {
		t.Errorf("%+v", s)
	}
	if s.InFlight != 0 || s.Queued != 0 || s.Threads != 0 || s.ThreadsQueued != 0 || s.Unavailable != "" {
		t.Errorf("an idle process has %+v", s)
	}
	aio.RecordLatency(false)
	wantMoved(t, "ReadAt, not recorded", want, func() { _, err := f.ReadAt(block, 4096); must(t, err) })
}

// readByMany reads a block in n goroutines, times each.
func readByMany(t *testing.T, f *aio.File, n, times int) {
	var all sync.WaitGroup
	for i := range n {
		p := aiotest.Buffer(4096, 0)
		all.Go(func() {
			for range times {
				if _, err := f.ReadAt(p, int64(i)*4096); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

// TestStatsRefused checks that the counters name the refusal of the kernel, and how many requests
// it concerned.
func TestStatsRefused(t *testing.T) {
	if !aiotest.InChild() {
		aiofile.Refused(t, "^TestStatsRefused$")
		return
	}
	aiotest.Guard(t)
	must(t, aio.Configure(aio.Config{SyncLimit: -1}))
	f := directFile(t)
	s := aio.ReadStats() // after a Sync
	if s.Unavailable == "" {
		return // io_getevents(2) is not needed where the ring can be read
	}
	for _, part := range []string{syscall.EPERM.Error(), "seccomp", "CONFIG_AIO"} {
		if !strings.Contains(s.Unavailable, part) {
			t.Errorf("Unavailable is %q, without %q", s.Unavailable, part)
		}
	}
	want := map[string]int64{"Fallbacks.Unavailable": 1}
	wantMoved(t, "ReadAt", want, func() { _, err := f.ReadAt(aiotest.Buffer(4096, 0), 4096); must(t, err) })
	wantMoved(t, "Sync", want, func() { must(t, f.Sync()) })
}

// TestStatsNoSpace makes a direct write for which there is no space.
func TestStatsNoSpace(t *testing.T) {
	aiotest.Guard(t)
	if !aiotest.Linux {
		aiotest.Needs(t, "RLIMIT_FSIZE", "go test ./... on Linux")
	}
	if !aiotest.InChild() {
		aiotest.RunChild(t, "^TestStatsNoSpace$", "limit", strconv.Itoa(1<<20))
		return
	}
	f := directFile(t)
	wantMoved(t, "WriteAt", map[string]int64{"Synchronous": 1, "Fallbacks.NoSpace": 1, "PageCache": 1}, func() {
		if _, err := f.WriteAt(aiotest.Buffer(4096, 0), 1<<20); !errors.Is(err, syscall.EFBIG) {
			t.Errorf("WriteAt: %v", err)
		}
	})
}

// TestStatsBeforeFirstUse checks that the program may still call Configure after ReadStats and
// RecordLatency.
func TestStatsBeforeFirstUse(t *testing.T) {
	aiotest.Guard(t)
	if !aiotest.InChild() {
		aiotest.RunChild(t, "^TestStatsBeforeFirstUse$", "nothing")
		return
	}
	if s := aio.ReadStats(); !reflect.DeepEqual(s, aio.Stats{}) {
		t.Errorf("%+v", s)
	}
	aio.RecordLatency(true)
	must(t, aio.Configure(aio.Config{SyncLimit: -1}))
	f := directFile(t)
	before := aio.ReadStats().Latency.Count
	readByMany(t, f, 1, 1)
	if n := aio.ReadStats().Latency.Count - before; n != 1 {
		t.Errorf("%d requests have been recorded, want 1", n)
	}
}

func TestStatsConcurrently(t *testing.T) {
	aiotest.Guard(t)
	f := directFile(t)
	quit := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			last := aio.ReadStats()
			for {
				s := aio.ReadStats()
				for name, d := range moved(last, s) {
					if d < 0 {
						t.Errorf("%s went back by %d", name, -d)
					}
				}
				last = s
				select {
				case <-quit:
					return
				case <-time.After(50 * time.Microsecond):
				}
			}
		})
	}
	aio.RecordLatency(true)
	readByMany(t, f, 48, aiotest.Scaled(100))
	aio.RecordLatency(false)
	readByMany(t, f, 48, aiotest.Scaled(100))
	close(quit)
	readers.Wait()
}

func TestStatsJSON(t *testing.T) {
	want := aio.Stats{
		Submitted: 3, InFlight: 2, Fallbacks: aio.Fallbacks{NoSpace: 1}, Unavailable: "no",
		Latency: aio.Latency{Count: 1, Sum: 1500, Buckets: []aio.LatencyBucket{{Below: 1000}, {Below: 2000, Count: 1}}},
	}
	text, err := json.Marshal(want)
	must(t, err)
	for _, part := range []string{
		`"Submitted":3`, `"Completed":0`, `"InFlight":2`, `"Unavailable":"no"`, `"NoSpace":1`,
		`"Latency":{"Count":1,"Sum":1500,"Buckets":[{"Below":1000,"Count":0},{"Below":2000,"Count":1}]}`,
	} {
		if !bytes.Contains(text, []byte(part)) {
			t.Errorf("%s has no %s", text, part)
		}
	}
	var got aio.Stats
	must(t, json.Unmarshal(text, &got))
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v has become %+v", want, got)
	}
}

// TestTraceRegions checks that direct requests are regions of the execution trace, and cost nothing
// without one.
func TestTraceRegions(t *testing.T) {
	aiotest.Guard(t)
	f := directFile(t)
	var buf bytes.Buffer
	if err := trace.Start(&buf); err != nil {
		aiotest.Needs(t, "no other execution trace", "go test ./... without -trace")
	}
	block := aiotest.Buffer(4096, 0)
	_, err := f.ReadAt(block, 0)
	if err == nil {
		_, err = f.WriteAt(block, 0)
	}
	bufs := [][]byte{block, aiotest.Buffer(4096, 0)}
	if err == nil {
		_, err = f.ReadvAt(bufs, 0)
	}
	if err == nil {
		_, err = f.WritevAt(bufs, 0)
	}
	if err == nil {
		err = f.Sync()
	}
	trace.Stop()
	must(t, err)
	for _, name := range []string{"aio.ReadAt", "aio.WriteAt", "aio.ReadvAt", "aio.WritevAt", "aio.Sync"} {
		if !bytes.Contains(buf.Bytes(), []byte(name)) {
			t.Errorf("no region %s", name)
		}
	}
}

// BenchmarkReadStats measures ReadStats.
func BenchmarkReadStats(b *testing.B) {
	f := aiofile.Open(b, aiofile.Put(b, b.TempDir(), "file", aiotest.Pattern(4096, 1)), os.O_RDONLY)
	if _, err := f.ReadAt(make([]byte, 10), 0); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		aio.ReadStats()
	}
}

// BenchmarkCachedRead reads through the page cache, where the cost of a counter would be most
// visible.
func BenchmarkCachedRead(b *testing.B) {
	name := aiofile.Put(b, b.TempDir(), "file", aiotest.Pattern(1<<20, 1))
	for _, n := range []int{64, 4096} {
		for _, side := range []struct {
			name string
			file io.ReaderAt
		}{{"os", aiofile.OpenOS(b, name, os.O_RDONLY)}, {"aio", aiofile.Open(b, name, os.O_RDONLY)}} {
			b.Run(fmt.Sprintf("bytes=%d/impl=%s", n, side.name), func(b *testing.B) {
				b.RunParallel(func(pb *testing.PB) {
					p := make([]byte, n)
					for pb.Next() {
						if _, err := side.file.ReadAt(p, 4096); err != nil {
							b.Error(err)
							return
						}
					}
				})
			})
		}
	}
}
