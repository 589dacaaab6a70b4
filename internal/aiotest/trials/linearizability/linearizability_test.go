// Package linearizability records histories of concurrent operations on a file, and checks with
// porcupine that they are linearizable. In some order of the operations, each between its call and
// its return, a sequential file would give the same results.
package linearizability

import (
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/internal/aiotest/aiofile"
)

var histories = flag.Int("histories", 40, "histories of each kind to record and check")

func TestMain(m *testing.M) { aiotest.Main(m, aiofile.Count, nil) }

// An event is an operation, and its result.
type event struct {
	client           int
	kind             kind // read, write, or cut for any Truncate
	off              int64
	n                int
	value            uint64   // of all words that were written; unique in the history
	saw              []uint64 // the words read
	called, returned int64    // ns
}

// A client makes operations one after the other.
type client struct {
	id      int
	reads   aiotest.File
	writes  aiotest.File
	rand    *rand.Rand
	buffer  []byte
	history []event
}

const (
	clients = 5
	steps   = 14 // of each client in a history
)

// A trial is a kind of history: its operations, and their model.
type trial struct {
	name  string
	size  int64
	next  func(r *rand.Rand) event
	check func(history []event, cached bool) (porcupine.Model, [][]porcupine.Operation)
}

const smallSize = cells * cellSize

var trials = []trial{
	{"words", smallSize, anywhere, byWord},
	{"words and Truncate", smallSize, orTruncate(anywhere), byWord},
	{"whole file and Truncate", smallSize, orTruncate(inCell), asWhole},
}

func byWord(history []event, cached bool) (porcupine.Model, [][]porcupine.Operation) {
	return word, words(history, smallSize/wordSize, cached)
}

func asWhole(history []event, cached bool) (porcupine.Model, [][]porcupine.Operation) {
	return file, [][]porcupine.Operation{whole(history, cached)}
}

// readOrWrite makes a read or a write of e.
func readOrWrite(r *rand.Rand, e event) event {
	e.kind = []kind{read, write}[r.IntN(2)]
	return e
}

// anywhere returns a transfer of whole blocks, of sectors or of words.
func anywhere(r *rand.Rand) event {
	unit := []int{cellSize, 512, wordSize}[r.IntN(3)]
	n := unit * (1 + r.IntN(3))
	if unit == cellSize {
		n = unit * (1 + r.IntN(2))
	}
	return readOrWrite(r, event{off: int64(unit * r.IntN((smallSize-n)/unit+1)), n: n})
}

// inCell returns a transfer of the first bytes of a cell, or of all.
func inCell(r *rand.Rand) event {
	return readOrWrite(r, event{off: int64(r.IntN(cells) * cellSize), n: []int{wordSize, 512, 520, cellSize}[r.IntN(4)]})
}

// orTruncate returns the operation of next, or a Truncate: to the end of a cell, or a word more.
func orTruncate(next func(r *rand.Rand) event) func(r *rand.Rand) event {
	return func(r *rand.Rand) event {
		if r.IntN(5) > 0 {
			return next(r)
		}
		return event{kind: cut, off: int64(r.IntN(cells)*cellSize + r.IntN(2)*wordSize)}
	}
}

// An opener opens the file, for reading and for writing; the clients take turns.
type opener struct {
	name          string
	reads, writes []opening
}

type opening struct {
	direct bool
	by     func(t testing.TB, flag int) aiotest.Package
}

var (
	byOS       = opening{false, func(testing.TB, int) aiotest.Package { return aiotest.OS }}
	byBuffered = opening{false, aiofile.Package}
	byDirect   = opening{true, aiofile.Package}
	both       = []opening{byBuffered, byDirect}
)

var openers = []opener{
	{"os.File", []opening{byOS}, []opening{byOS}},
	{"buffered", []opening{byBuffered}, []opening{byBuffered}},
	{"direct", []opening{byDirect}, []opening{byDirect}},
	{"direct reads, both write", []opening{byDirect}, both},
	{"buffered reads, both write", []opening{byBuffered}, both},
	{"both read, buffered writes", both, []opening{byBuffered}},
	{"both", both, both},
}

// TestLinearizable checks a file in a filesystem.
func TestLinearizable(t *testing.T) {
	for _, o := range openers {
		for _, trial := range trials {
			t.Run(o.name+"/"+trial.name, func(t *testing.T) {
				aiotest.Guard(t)
				name := filepath.Join(aiotest.Dir(t), "file")
				must(os.WriteFile(name, nil, 0o644))
				run(t, trial, o, name, func(f aiotest.File) {
					must(f.Truncate(0))
					must(f.Truncate(trial.size))
				})
			})
		}
	}
}

// run records histories and checks each. reset makes all words zero.
func run(t *testing.T, trial trial, o opener, name string, reset func(f aiotest.File)) {
	var all []*client
	cached := false // reads use the page cache, or may
	for i := range clients {
		r, w := o.reads[i%len(o.reads)], o.writes[i%len(o.writes)]
		cached = cached || !r.direct || !aiotest.Direct
		all = append(all, &client{
			id:     i,
			reads:  r.open(t, name),
			writes: w.open(t, name),
			rand:   rand.New(rand.NewPCG(uint64(i), 11)),
			buffer: aiotest.Buffer(smallSize, i%2),
		})
	}
	count, operations, concurrent := aiotest.Scaled(*histories), 0, 0
	for h := range count {
		reset(all[0].writes)
		history := record(t, all, trial.next)
		operations += len(history)
		concurrent += overlapping(history)
		model, parts := trial.check(history, cached)
		for _, ops := range parts {
			if result := porcupine.CheckOperationsTimeout(model, ops, 20*time.Second); result != porcupine.Ok {
				t.Fatalf("history %d: %s", h, verdict(model, ops, result))
			}
		}
	}
	t.Logf("%d histories of %d operations checked, %d of them beside others", count, operations, concurrent)
}

// overlapping counts the operations that overlap those of another client.
func overlapping(history []event) (count int) {
	for _, e := range history {
		if slices.ContainsFunc(history, func(o event) bool {
			return o.client != e.client && o.called < e.returned && e.called < o.returned
		}) {
			count++
		}
	}
	return count
}

func (o opening) open(t *testing.T, name string) aiotest.File {
	flag := 0
	if o.direct {
		flag = aiotest.O_DIRECT
	}
	f, err := o.by(t, flag).OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// record runs the steps of all clients at the same time.
func record(t *testing.T, all []*client, next func(r *rand.Rand) event) (history []event) {
	began, start := time.Now(), make(chan struct{})
	var wg sync.WaitGroup
	for _, c := range all {
		wg.Go(func() {
			c.history = c.history[:0]
			<-start
			for i := range steps {
				e := next(c.rand)
				e.client, e.value = c.id, uint64(1+c.id*steps+i)
				e.called = int64(time.Since(began))
				if err := c.do(&e); err != nil {
					t.Errorf("%v %d bytes at %d: %v", e.kind, e.n, e.off, err)
				}
				e.returned = int64(time.Since(began))
				c.history = append(c.history, e)
			}
		})
	}
	close(start)
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	for _, c := range all {
		history = append(history, c.history...)
	}
	return history
}

// do makes an operation and records its result.
func (c *client) do(e *event) error {
	p := c.buffer[:e.n]
	switch e.kind {
	case cut:
		return c.writes.Truncate(e.off)
	case write:
		for i := 0; i < e.n; i += wordSize {
			binary.LittleEndian.PutUint64(p[i:], e.value)
		}
		_, err := c.writes.WriteAt(p, e.off)
		return err
	}
	n, err := c.reads.ReadAt(p, e.off)
	if n%wordSize != 0 || n < e.n && err != io.EOF {
		return fmt.Errorf("%d, %w", n, err)
	}
	for i := 0; i < e.n; i += wordSize {
		value := absent
		if i < n {
			value = binary.LittleEndian.Uint64(p[i:])
		}
		e.saw = append(e.saw, value)
	}
	return nil
}

// verdict describes a history that is not linearizable. A check without an answer in time is no
// success.
func verdict(model porcupine.Model, ops []porcupine.Operation, result porcupine.CheckResult) string {
	text := "not linearizable:"
	if result == porcupine.Unknown {
		text = "not decided:"
	}
	for _, op := range ops {
		text += fmt.Sprintf("\n  client %d, %7d to %7d ns: %s", op.ClientId, op.Call, op.Return, model.DescribeOperation(op.Input, nil))
	}
	return text
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
