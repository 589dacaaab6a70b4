//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/go-aio/aio"
	"github.com/ncw/directio"
)

// Every round runs in a process of its own. Go does not end idle threads. So in one process the
// thousand threads of os.File would still be there, and be counted, in the turn of aio.File.

// workerEnv, set to 1, makes this program a worker: it takes orders on standard input and answers
// on standard output, a line of JSON each, until its input ends.
const workerEnv = "AIO_BENCH_WORKER"

// A job is the first line that a worker reads.
type job struct {
	Engine   engine   `json:"engine"`
	File     string   `json:"file"`
	Size     int64    `json:"size"`
	Direct   bool     `json:"direct"` // the filesystem has O_DIRECT
	Workload workload `json:"workload"`
	Depth    int      `json:"depth"`
	Seed     uint64   `json:"seed"`
}

// An order is every further line: run one round for this long.
type order struct {
	Duration time.Duration `json:"duration"`
}

// An answer follows every line. The first reports only whether the file is direct.
type answer struct {
	Error   string        `json:"error,omitempty"`
	Direct  bool          `json:"direct,omitempty"`
	Ops     int64         `json:"ops,omitempty"`
	Elapsed time.Duration `json:"elapsed,omitempty"`
	CPU     time.Duration `json:"cpu,omitempty"`     // user and system time of the process
	Threads int           `json:"threads,omitempty"` // at the end of the round
	Latency string        `json:"latency,omitempty"` // a histogram, as hdrhistogram encodes it
	Cached  int64         `json:"cached,omitempty"`  // bytes of the file in the page cache, at the end of the round
}

// runWorker runs a worker to its end and returns the exit code.
func runWorker(in io.Reader, out io.Writer) int {
	// A terminal sends these to its whole foreground group. The parent stops first, reports its
	// results, and ends this process.
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	orders, answers := json.NewDecoder(in), json.NewEncoder(out)
	var j job
	if err := orders.Decode(&j); err != nil {
		return 1
	}
	w, err := newWorker(j)
	if err != nil {
		_ = answers.Encode(answer{Error: err.Error()})
		return 1
	}
	defer w.file.Close()
	if answers.Encode(answer{Direct: w.direct}) != nil {
		return 1
	}
	for {
		var o order
		if orders.Decode(&o) != nil {
			return 0 // the row is done, or the parent is gone
		}
		if answers.Encode(w.round(o.Duration)) != nil {
			return 1
		}
	}
}

// file has the common methods of os.File and aio.File.
type file interface {
	io.ReadWriteSeeker
	io.ReaderAt
	io.WriterAt
	io.WriterTo // for io.Copy
	io.Closer
	Sync() error
	Truncate(size int64) error
}

func openFile(j job) (f file, direct bool, err error) {
	flag := os.O_RDWR
	direct = j.Direct && j.Engine.direct(j.Workload)
	if direct {
		flag |= aio.O_DIRECT // the same number as syscall.O_DIRECT
	}
	if j.Engine != aioEngine {
		if j.Workload == logAppendWork {
			flag |= os.O_APPEND
		}
		f, err := os.OpenFile(j.File, flag, 0)
		return f, direct, err
	}
	a, err := aio.OpenFile(j.File, flag, 0)
	if err != nil {
		return nil, false, err
	}
	return a, a.Direct(), nil
}

// A worker has one file and as many lanes as the row has goroutines.
type worker struct {
	spec   spec
	name   string
	size   int64
	file   file
	direct bool
	warm   bool // the file is in the page cache
	lanes  []*lane

	next atomic.Int64 // for operations that go through the file in order
	log  log          // of logAppendWork

	mu      sync.Mutex // held once per 1024 operations of a lane
	latency latency
}

func newWorker(j job) (*worker, error) {
	f, direct, err := openFile(j)
	if err != nil {
		return nil, err
	}
	w := &worker{
		spec: j.Workload.spec(), name: j.File, size: j.Size,
		file: f, direct: direct, latency: newLatency(),
	}
	if j.Engine == aioEngine && w.spec.batched != nil {
		w.lanes = []*lane{newBatchLane(w, j)}
		return w, nil
	}
	for i := range j.Depth {
		w.lanes = append(w.lanes, newLane(w, j, uint64(i)))
	}
	return w, nil
}

// round runs all lanes for d and then lets each finish its operation: it ends with the last of
// them.
func (w *worker) round(d time.Duration) answer {
	w.latency.Reset()
	if w.spec.before != nil {
		if err := w.spec.before(w); err != nil {
			return answer{Error: firstLine(err.Error())}
		}
	}
	cpu := processCPU()
	start := time.Now()
	deadline := start.Add(d)
	var wg sync.WaitGroup
	for _, l := range w.lanes {
		wg.Go(func() { l.run(deadline) })
	}
	wg.Wait()
	a := answer{Elapsed: time.Since(start), CPU: processCPU() - cpu, Threads: ownThreads()}

	var errs []error
	if w.spec.cached {
		var err error
		a.Cached, err = cachedBytes(w.name)
		errs = append(errs, err)
	}
	for _, l := range w.lanes {
		l.flush()
		a.Ops += l.ops
		errs = append(errs, l.err)
	}
	if err := errors.Join(errs...); err != nil {
		return answer{Error: firstLine(err.Error())}
	}
	if w.spec.weight != nil {
		a.Ops *= w.spec.weight(w.size)
		w.latency.Reset() // of the time before the round
	}
	encoded, err := w.latency.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	if err != nil {
		return answer{Error: fmt.Sprintf("encoding latencies: %v", err)}
	}
	a.Latency = string(encoded)
	return a
}

// A lane has the state of one goroutine, so that two operations share nothing but the file.
type lane struct {
	w       *worker
	do      func(*lane) error
	once    bool
	stride  int64 // bytes from one random offset to the next
	strides uint64
	buf     []byte
	rng     *rand.PCG
	batch   aio.Batch
	bufs    [][]byte        // of the members of batch
	weight  int64           // operations in one call of do
	samples []time.Duration // latencies that are not in the histogram yet
	ops     int64
	err     error
}

// samplesPerLane bounds memory (8 MiB with 1024 lanes, where a histogram for each would be 150),
// and makes the histogram's lock one in a thousand operations.
const samplesPerLane = 1024

func newLane(w *worker, j job, i uint64) *lane {
	// Memory is aligned, unless the operation is not, and has whole blocks, so as not to touch two
	// more.
	stride := (w.spec.length + blockSize - 1) &^ (blockSize - 1)
	l := &lane{
		w:       w,
		do:      w.spec.do,
		once:    w.spec.once,
		stride:  int64(stride),
		strides: uint64(j.Size) / uint64(stride),
		buf:     directio.AlignedBlock(stride)[:w.spec.length],
		rng:     rand.NewPCG(j.Seed, i),
		weight:  1,
		samples: make([]time.Duration, 0, samplesPerLane),
	}
	fillRandom(l.buf, l.rng)
	return l
}

// newBatchLane makes one lane that does the work of all.
func newBatchLane(w *worker, j job) *lane {
	l := newLane(w, j, 0)
	l.do, l.weight = w.spec.batched, int64(j.Depth)
	for range j.Depth {
		l.bufs = append(l.bufs, directio.AlignedBlock(len(l.buf)))
		fillRandom(l.bufs[len(l.bufs)-1], l.rng)
	}
	return l
}

// offset returns a random offset, with an operation's length behind it.
func (l *lane) offset() int64 {
	return int64(l.rng.Uint64()%l.strides) * l.stride
}

// run makes at least one operation. It reads the clock once for each: the end of one is the
// beginning of the next.
func (l *lane) run(deadline time.Time) {
	l.ops, l.err = 0, nil
	samples := l.samples[:0]
	defer func() { l.samples = samples }()
	begin := time.Now()
	for {
		if err := l.do(l); err != nil {
			l.err = err
			return
		}
		end := time.Now()
		samples = append(samples, end.Sub(begin))
		l.ops += l.weight
		if l.once || !end.Before(deadline) {
			return
		}
		if len(samples) == cap(samples) {
			l.samples = samples
			l.flush()
			samples = l.samples
			end = time.Now()
		}
		begin = end
	}
}

// flush moves the samples to the histogram.
func (l *lane) flush() {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	for _, s := range l.samples {
		l.w.latency.record(int64(s), 1)
	}
	l.samples = l.samples[:0]
}

// processCPU returns the user and system time of this process so far. Work on threads of the
// kernel, such as an fsync that was submitted as an iocb, is charged to no process.
func processCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
