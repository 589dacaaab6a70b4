//go:build linux

package queue

import (
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/go-aio/aio/libaio"
)

// A fakeKernel is a kernel in memory that a test controls. The test chooses which calls fail,
// block or fall short, and which requests are refused, by offset. It also chooses when and in
// what order events come. Like the real kernel it takes requests in order up to the first
// that it refuses, and rings its bell for armed requests only.
type fakeKernel struct {
	t testing.TB

	// Set before the first use.
	capacity int                  // maximum of requests and events inside; 0: unlimited
	slow     func()               // runs inside of each submit
	delay    func() time.Duration // duration of a request; nil: none

	bell   chan struct{} // capacity 1: it coalesces, as an eventfd does
	closed chan struct{}

	mu      sync.Mutex
	arrived sync.Cond // of mu: events have come, or collect must end
	ending  bool
	late    bool // the timeout of collect, or of an earlier one, has passed; the latter is harmless
	timer   *time.Timer
	faults  map[step]fault
	refused map[int64]error // requests that submit refuses, by offset
	results map[int64]int64 // results, by offset, other than all bytes
	held    bool            // requests complete by complete or letGo, not at once
	mute    bool            // completions do not ring the bell
	turns   [3]int
	inside  []request // taken and not complete
	due     []libaio.Event
	head    int                   // index of the first event in due
	busy    map[*libaio.IOCB]bool // from submit until the event is taken
	logging bool                  // and checking; benchmarks do neither
	log     []request             // taken, in order

	submitters, mostSubmitters int
	largestBatch               int
	minEvents                  []int // that collect waited for, one for each call
}

// A step is one call of a kind. The first one has turn 1.
type step struct {
	call callKind
	turn int
}

type callKind int

const (
	submitting callKind = iota
	reaping
	collecting
)

// A fault changes the outcome of a step.
type fault struct {
	err   error           // the call fails
	take  int             // submit takes at most this many, if not 0
	none  bool            // submit takes none and has no error
	block <-chan struct{} // the call waits for it first
}

// A request is an IOCB as the kernel sees it.
type request struct {
	cb     *libaio.IOCB
	opcode uint16
	fd     int32
	buf    uint64
	n      int64
	off    int64
	armed  bool
}

// requestOf reads the struct iocb of aio_abi.h.
func requestOf(cb *libaio.IOCB) request {
	v := (*struct {
		data    uint64
		key     [2]uint32
		opcode  uint16
		reqprio int16
		fd      int32
		buf     uint64
		n, off  int64
		_       uint64
		flags   uint32
		resfd   uint32
	})(unsafe.Pointer(cb))
	return request{
		cb: cb, opcode: v.opcode, fd: v.fd, buf: v.buf, n: v.n, off: v.off, armed: v.flags&1 != 0,
	}
}

// newFake returns a fake kernel and a queue on it.
func newFake(t testing.TB, depth int) (*fakeKernel, *testQueue) {
	k := newFakeKernel(t)
	q := newTestQueue(t, depth, func(int) (kernel, error) { return k, nil })
	return k, q
}

func newFakeKernel(t testing.TB) *fakeKernel {
	k := &fakeKernel{
		t:      t,
		faults: make(map[step]fault), refused: make(map[int64]error), results: make(map[int64]int64),
		busy: make(map[*libaio.IOCB]bool),
		bell: make(chan struct{}, 1), closed: make(chan struct{}),
		logging: true,
	}
	k.arrived.L = &k.mu
	k.timer = time.AfterFunc(time.Hour, func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.late = true
		k.arrived.Broadcast()
	})
	k.timer.Stop()
	t.Cleanup(func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		if n := len(k.inside) + len(k.due) - k.head; n != 0 && !t.Failed() {
			t.Errorf("%d requests or events have been left in the kernel", n)
		}
	})
	return k
}

// begin counts a call and applies the block and the slowness of its step. k.mu is held.
func (k *fakeKernel) begin(c callKind) fault {
	k.turns[c]++
	f := k.faults[step{c, k.turns[c]}]
	if f.block != nil || k.slow != nil && c == submitting {
		k.mu.Unlock()
		if f.block != nil {
			<-f.block
		}
		if k.slow != nil && c == submitting {
			k.slow()
		}
		k.mu.Lock()
	}
	return f
}

func (k *fakeKernel) Submit(iocbs ...*libaio.IOCB) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.submitters++
	defer func() { k.submitters-- }()
	k.mostSubmitters = max(k.mostSubmitters, k.submitters)
	k.largestBatch = max(k.largestBatch, len(iocbs))
	f := k.begin(submitting)
	if f.err != nil || f.none {
		return 0, f.err
	}
	for n, cb := range iocbs {
		r := requestOf(cb)
		err := k.verdict(r)
		switch {
		case n > 0 && (err != nil || n == f.take):
			return n, nil
		case err != nil:
			return 0, err
		}
		k.take(r)
	}
	return len(iocbs), nil
}

func (k *fakeKernel) verdict(r request) error {
	if k.capacity > 0 && len(k.inside)+len(k.due)-k.head >= k.capacity {
		return syscall.EAGAIN
	}
	if len(k.refused) == 0 {
		return nil
	}
	return k.refused[r.off]
}

func (k *fakeKernel) take(r request) {
	if k.logging {
		if k.busy[r.cb] {
			k.t.Errorf("the slot of %d is submitted while it is in flight", r.off)
		}
		k.busy[r.cb] = true
		k.log = append(k.log, r)
	}
	if k.held {
		k.inside = append(k.inside, r)
		return
	}
	if k.delay == nil {
		k.finish(r)
		return
	}
	time.AfterFunc(k.delay(), func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.finish(r)
	})
}

// finish puts the event of r in the ring. k.mu is held.
func (k *fakeKernel) finish(r request) {
	res := r.n
	if len(k.results) > 0 {
		if other, ok := k.results[r.off]; ok {
			res = other
		}
	}
	k.due = append(k.due, libaio.Event{Obj: r.cb, Res: res})
	k.arrived.Broadcast()
	if r.armed && !k.mute {
		signal(k.bell)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (k *fakeKernel) reap(events []libaio.Event) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if f := k.begin(reaping); f.err != nil {
		return 0, f.err
	}
	return k.events(events), nil
}

func (k *fakeKernel) collect(
	minEvents int, events []libaio.Event, timeout time.Duration,
) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if f := k.begin(collecting); f.err != nil {
		return 0, f.err
	}
	k.minEvents = append(k.minEvents, minEvents)
	k.late = false
	if timeout >= 0 {
		k.timer.Reset(timeout)
		defer k.timer.Stop()
	}
	for len(k.due)-k.head < minEvents && !k.late {
		if k.ending {
			return 0, syscall.EINVAL
		}
		k.arrived.Wait()
	}
	return k.events(events), nil
}

// events moves events out of the ring. k.mu is held.
func (k *fakeKernel) events(events []libaio.Event) int {
	n := copy(events, k.due[k.head:])
	if k.logging {
		for _, e := range events[:n] {
			delete(k.busy, e.Obj)
		}
	}
	if k.head += n; k.head == len(k.due) {
		clear(k.due)
		k.due, k.head = k.due[:0], 0
	}
	return n
}

func (k *fakeKernel) watch(fn func()) {
	for {
		select {
		case <-k.bell:
			fn()
		case <-k.closed:
			return
		}
	}
}

func (k *fakeKernel) waiting() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.due) > k.head
}

func (k *fakeKernel) state() string { return "" }

func (k *fakeKernel) ring() { signal(k.bell) }

func (k *fakeKernel) arm(cb *libaio.IOCB) { cb.SetEventfd(0) }

func (k *fakeKernel) close() {
	close(k.closed)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ending = true
	k.arrived.Broadcast()
}

// at sets the fault of a call, counted from 1.
func (k *fakeKernel) at(c callKind, turn int, f fault) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.faults[step{c, turn}] = f
}

// refuse makes submit refuse the request at off with err, or take it if err is nil.
func (k *fakeKernel) refuse(off int64, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.refused[off] = err
}

// answer makes the request at off complete with res.
func (k *fakeKernel) answer(off, res int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.results[off] = res
}

// hold makes later requests wait for complete or letGo.
func (k *fakeKernel) hold() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.held = true
}

// silence switches the bell of completions off or on.
func (k *fakeKernel) silence(mute bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.mute = mute
}

// complete finishes held requests, in the order of offsets.
func (k *fakeKernel) complete(offsets ...int64) {
	k.t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, off := range offsets {
		i := slices.IndexFunc(k.inside, func(r request) bool { return r.off == off })
		if i < 0 {
			k.t.Errorf("there is no request at %d to complete", off)
			continue
		}
		r := k.inside[i]
		k.inside = slices.Delete(k.inside, i, i+1)
		k.finish(r)
	}
}

// letGo completes the held requests and holds no later ones.
func (k *fakeKernel) letGo() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.held = false
	for _, r := range k.inside {
		k.finish(r)
	}
	k.inside = nil
}

// knock rings the bell, with or without events.
func (k *fakeKernel) knock() { signal(k.bell) }

// calls returns the number of calls of a kind so far.
func (k *fakeKernel) calls(c callKind) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.turns[c]
}

// insideNow returns the number of requests that are taken and not complete.
func (k *fakeKernel) insideNow() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.inside)
}

// order returns the offsets of the requests taken, in order.
func (k *fakeKernel) order() []int64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	offsets := make([]int64, len(k.log))
	for i, r := range k.log {
		offsets[i] = r.off
	}
	return offsets
}
