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

	"github.com/go-aio/aio"
	"github.com/ncw/directio"
)

// Every round runs in a process of its own. Go does not end idle threads, so in one process the
// thousand threads of os.File would be there, and be counted, when aio.File has its turn.

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

	Computing int     `json:"computing,omitempty"` // goroutines that compute beside the others
	Offered   float64 `json:"offered,omitempty"`   // operations a second of an open loop; 0: closed
	Poisson   bool    `json:"poisson,omitempty"`   // operations of an open loop begin at random
}

// An order is every further line: run one round for this long.
type order struct {
	Duration time.Duration `json:"duration"`
}

// An answer follows every line. The first says only whether the file is direct.
type answer struct {
	Error   string        `json:"error,omitempty"`
	Direct  bool          `json:"direct,omitempty"`
	Ops     int64         `json:"ops,omitempty"`
	Elapsed time.Duration `json:"elapsed,omitempty"`
	CPU     time.Duration `json:"cpu,omitempty"`     // user and system time of the process
	Threads int           `json:"threads,omitempty"` // when the round had ended
	Latency string        `json:"latency,omitempty"` // a histogram, as hdrhistogram encodes it
	Cached  int64         `json:"cached,omitempty"`  // bytes of the file in the page cache, when the round had ended

	Work      int64   `json:"work,omitempty"`       // steps of the goroutines that compute
	BusyShare float64 `json:"busy_share,omitempty"` // see busyShare
	Offered   int64   `json:"offered,omitempty"`    // operations of an open loop, begun or not
	Delay     string  `json:"delay,omitempty"`      // a histogram: from intended to actual start
}

// runWorker is the whole life of a worker; it returns the exit code.
func runWorker(in io.Reader, out io.Writer) int {
	// A terminal sends these to its whole foreground group. The parent stops first and reports what
	// it has, and takes this process with it.
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
	defer w.close()
	if answers.Encode(answer{Direct: w.direct}) != nil {
		return 1
	}
	for {
		var o order
		if orders.Decode(&o) != nil {
			return 0 // the row is over, or the parent is gone
		}
		if answers.Encode(w.round(o.Duration)) != nil {
			return 1
		}
	}
}

// file is what os.File and aio.File have in common here.
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

// A worker has one file and as many lanes as the row has goroutines. In an open loop lanes are
// added while it runs.
type worker struct {
	spec   spec
	name   string
	size   int64
	file   file
	direct bool
	warm   bool // the file has been brought into the page cache
	lanes  []*lane
	load   *load
	alarm  *alarm    // of open, or nil
	open   *openLoop // or nil

	next atomic.Int64 // for operations that go through the file in order
	log  log          // of logAppendWork

	mu      sync.Mutex // held once per 1024 operations of a lane
	latency latency
	delay   latency // from intended to actual start, in an open loop
}

func newWorker(j job) (*worker, error) {
	f, direct, err := openFile(j)
	if err != nil {
		return nil, err
	}
	w := &worker{
		spec: j.Workload.spec(), name: j.File, size: j.Size,
		file: f, direct: direct, latency: newLatency(), delay: newLatency(),
		load: startLoad(j.Computing),
	}
	if j.Offered > 0 {
		if w.alarm, err = newAlarm(); err != nil {
			w.close()
			return nil, err
		}
		w.open = newOpenLoop(w, j, w.alarm.wait)
		return w, nil
	}
	if j.Engine == aioEngine && w.spec.batched != nil {
		w.lanes = []*lane{newBatchLane(w, j)}
		return w, nil
	}
	for i := range j.Depth {
		w.lanes = append(w.lanes, newLane(w, j, uint64(i), samplesPerLane))
	}
	return w, nil
}

func (w *worker) close() {
	w.load.stop()
	if w.alarm != nil {
		w.alarm.close()
	}
	_ = w.file.Close()
}

// round lets all lanes run for d and then finish what they are at: it ends with the last of them.
func (w *worker) round(d time.Duration) answer {
	w.latency.Reset()
	w.delay.Reset()
	if w.spec.before != nil {
		if err := w.spec.before(w); err != nil {
			return answer{Error: firstLine(err.Error())}
		}
	}
	cpu, work, stats := processCPU(), w.load.work(), aio.ReadStats()
	start := time.Now()
	offered, err := w.run(d)
	elapsed := time.Since(start)
	a := answer{
		Elapsed: elapsed, CPU: processCPU() - cpu, Threads: ownThreads(), Offered: offered,
		Work: w.load.work() - work, BusyShare: busyShare(stats, aio.ReadStats()),
	}

	errs := []error{err}
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
		w.latency.Reset() // of something else than one of these
	}
	var errDelay error
	a.Latency, err = w.latency.encode()
	a.Delay, errDelay = w.delay.encode()
	if err := errors.Join(err, errDelay); err != nil {
		return answer{Error: fmt.Sprintf("encoding latencies: %v", err)}
	}
	return a
}

// run returns when all operations that began within d are done. The number of those that were
// offered is that of an open loop, otherwise 0.
func (w *worker) run(d time.Duration) (offered int64, err error) {
	if w.open != nil {
		w.lanes, offered, err = w.open.run(w.lanes, d)
		return offered, err
	}
	deadline := time.Now().Add(d)
	var wg sync.WaitGroup
	for _, l := range w.lanes {
		wg.Go(func() { l.run(deadline) })
	}
	wg.Wait()
	return 0, nil
}

// A lane is what one goroutine has to itself, so that nothing is shared between two operations but
// the file.
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
	delays  []time.Duration // the same, from intended to actual start; of an open loop
	ops     int64
	err     error
}

// samplesPerLane bounds memory (8 MiB with 1024 lanes, where a histogram for each would be 150),
// and makes the histogram's lock one in a thousand operations.
const samplesPerLane = 1024

// newLane has room for so many samples until they are flushed.
func newLane(w *worker, j job, i uint64, samples int) *lane {
	// Aligned, but for operations that are not; and of whole blocks, so as not to touch two more.
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
		samples: make([]time.Duration, 0, samples),
	}
	fillRandom(l.buf, l.rng)
	return l
}

// newBatchLane makes one lane that does the work of all.
func newBatchLane(w *worker, j job) *lane {
	l := newLane(w, j, 0, samplesPerLane)
	l.do, l.weight = w.spec.batched, int64(j.Depth)
	for range j.Depth {
		l.bufs = append(l.bufs, directio.AlignedBlock(len(l.buf)))
		fillRandom(l.bufs[len(l.bufs)-1], l.rng)
	}
	return l
}

// offset is a random one, of which an operation's length is left in the file.
func (l *lane) offset() int64 {
	return int64(l.rng.Uint64()%l.strides) * l.stride
}

// run does at least one operation. The clock is read once for each: the end of one is the
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
	for _, s := range l.delays {
		l.w.delay.record(int64(s), 1)
	}
	l.samples, l.delays = l.samples[:0], l.delays[:0]
}

// processCPU is the user and system time of this process so far. What the kernel does on threads of
// its own, such as an fsync that was submitted as an iocb, is charged to nobody.
func processCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
