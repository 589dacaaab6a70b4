package aio

import (
	"context"
	"errors"
	"sync"

	"github.com/go-aio/aio/internal/fd"
)

// ErrSkipped is the error of the members of a [Batch] that were not begun because one before a
// Barrier failed.
var ErrSkipped = errors.New("aio: not begun, because a member before the barrier failed")

// A Batch is many reads, writes and syncs, of one File or several, that are done together, by one
// goroutine: lio_listio(3) with LIO_WAIT. Its members are added first, by ReadAt, WriteAt, Sync
// and Datasync, and begin with Do, which waits for all of them. What can go to kernel AIO goes
// there by a few calls of io_submit(2), and the goroutine is woken once, when the last is done;
// so a member costs less of the processor than a call of its own.
//
//	var b aio.Batch
//	for i, p := range pages {
//		b.WriteAt(f, p, int64(i)*4096)
//	}
//	b.Barrier()
//	b.Sync(f)
//	err := b.Do(ctx)
//
// # Order
//
// Members run at the same time, in any order; of two writes that overlap either may win. Members
// after a [Batch.Barrier] start only once every earlier member has succeeded. If one fails, with
// io.EOF or any other error, the members after the barrier do not start and have the error
// [ErrSkipped]: a commit record must not be written without its data, nor a Sync vouch for it.
// (lio_listio(3) has no order.)
//
// # Results
//
// Each member has an n and an error of its own, see [Batch.Result]: those that the method of
// the same name of *File would have returned, a nil File's and a closed one's included.
//
// # Buffers
//
// A buffer belongs to the Batch from the call that adds it until Do has returned, and longer if
// Do is to be called again. If two
// members read into the same memory, its contents are unspecified.
// [Batch.Reset] forgets the buffers.
//
// # Concurrency
//
// The zero value is an empty Batch. It is for one goroutine at a time, and must not be copied.
// Different ones may run at the same time, on the same Files, beside all other calls. It may be
// as long as there is memory for; no more of it are under way at a time than [Config] allows.
// Do allocates nothing once there has been a Batch as long.
type Batch struct {
	members []member
	stage   int // number of barriers so far; that of the members added next

	// For the time of Do.
	ctx  context.Context
	runs []*groupRun // of the devices of members that kernel AIO may take; see run

	// Members that are made as ordinary calls, by the goroutine in Do and by others that
	// help it.
	mu       sync.Mutex
	ordinary []int
	taken    int            // the first so many have been begun; guarded by mu, as ordinary is
	helpers  int            // guarded by mu
	help     func()         // b.helper; a method value at each go statement would allocate
	helping  sync.WaitGroup // helpers
}

// A groupRun has what kernel AIO may take of the members between two barriers, for one device. A
// device that hangs does not hold up the others.
type groupRun struct {
	group   fd.Group
	grouped []int // members that are in group, in its order
	next    []int // members that have not been in one
}

// A member is one request of a Batch.
type member struct {
	f     *File
	p     []byte
	off   int64
	kind  memberKind
	stage int
	n     int
	err   error
}

type memberKind uint8

const (
	memberReadAt memberKind = iota
	memberWriteAt
	memberSync
	memberDatasync
)

const (
	// mostGrouped bounds the members in the kernel at a time: each holds a place and, if it is
	// a write, a lock until all are done. A device has no gain from more.
	mostGrouped = 256
	// leastGrouped is the number of members from which a group is worth it.
	leastGrouped = 3
	// mostHelpers bounds the goroutines that make ordinary calls for one Batch.
	mostHelpers = 32
)

// ReadAt adds a f.ReadAt(p, off) and returns its number, for Result.
func (b *Batch) ReadAt(f *File, p []byte, off int64) int {
	return b.add(member{f: f, p: p, off: off, kind: memberReadAt})
}

// WriteAt adds a f.WriteAt(p, off) and returns its number, for Result.
func (b *Batch) WriteAt(f *File, p []byte, off int64) int {
	return b.add(member{f: f, p: p, off: off, kind: memberWriteAt})
}

// Sync adds a f.Sync() and returns its number, for Result. It covers writes of the Batch only if
// a Barrier is between them.
func (b *Batch) Sync(f *File) int { return b.add(member{f: f, kind: memberSync}) }

// Datasync adds a f.Datasync() and returns its number, for Result. It covers writes of the Batch
// only if a Barrier is between them.
func (b *Batch) Datasync(f *File) int { return b.add(member{f: f, kind: memberDatasync}) }

func (b *Batch) add(m member) int {
	m.stage = b.stage
	b.members = append(b.members, m)
	return len(b.members) - 1
}

// Barrier orders the Batch: members added after it start only once every earlier member has
// succeeded.
func (b *Batch) Barrier() { b.stage++ }

// Len returns the number of members. They are numbered from 0, in the order in which they were
// added; a Barrier is none.
func (b *Batch) Len() int { return len(b.members) }

// Result returns what came of member i in the last Do. n is the number of bytes transferred, 0
// for a sync; before any Do it returns 0, nil. It panics if there is no such member.
func (b *Batch) Result(i int) (n int, err error) { return b.members[i].n, b.members[i].err }

// Reset removes all members. It keeps the memory for the next ones, but no buffer and no File.
func (b *Batch) Reset() {
	clear(b.members)
	b.members, b.stage = b.members[:0], 0
}

// Do runs all members and waits for them. It returns the first error, in the order of members, or
// nil if all of them succeeded. It may be called again, which runs them again.
//
// If ctx has ended nothing begins. If it ends while the Batch is under way, no further member
// begins, and Do still waits for those that have: kernel AIO does not cancel transfers
// (io_cancel(2)), and the buffers are the caller's. Members that were not begun have the error
// context.Cause(ctx).
func (b *Batch) Do(ctx context.Context) error {
	b.ctx = ctx
	defer func() { b.ctx = nil }()
	var first error
	for lo, hi := 0, 0; lo < len(b.members); lo = hi {
		for hi < len(b.members) && b.members[hi].stage == b.members[lo].stage {
			hi++
		}
		if first == nil {
			first = b.run(lo, hi)
		} else {
			b.skip(lo, hi)
		}
	}
	return first
}

// skip leaves out members [lo, hi), because one before them failed or was not begun itself.
func (b *Batch) skip(lo, hi int) {
	err := ErrSkipped
	if b.ctx.Err() != nil {
		err = context.Cause(b.ctx)
	}
	for i := lo; i < hi; i++ {
		b.members[i].n, b.members[i].err = 0, err
	}
}

// run runs members [lo, hi), which have no barrier between them, and returns the first error.
func (b *Batch) run(lo, hi int) error {
	b.ordinary, b.taken = b.ordinary[:0], 0
	devices := 0
	for i := lo; i < hi; i++ {
		if hi-lo >= leastGrouped && b.members[i].mayGroup() {
			devices = max(devices, b.assign(i, devices))
		} else {
			b.ordinary = append(b.ordinary, i)
		}
	}
	if devices == 0 {
		b.getHelp(len(b.ordinary) - 1) // the caller has nothing else to do than the other one
	} else {
		b.getHelp(len(b.ordinary))
		for _, r := range b.runs[1:devices] {
			b.helping.Go(func() {
				b.runGroups(r)
				b.work()
			})
		}
		b.runGroups(b.runs[0])
	}
	b.work()
	b.helping.Wait()
	for i := lo; i < hi; i++ {
		if err := b.members[i].err; err != nil {
			return err
		}
	}
	return nil
}

// assign adds member i to the run of its device, one of the first n of b.runs or the next one, and
// returns the number of that, counted from 1.
func (b *Batch) assign(i, n int) int {
	at := 0
	for at < n && !b.members[b.runs[at].next[0]].f.fd.SameDevice(b.members[i].f.fd) {
		at++
	}
	if at == len(b.runs) {
		b.runs = append(b.runs, new(groupRun))
	}
	r := b.runs[at]
	if at == n {
		r.next = r.next[:0]
	}
	r.next = append(r.next, i)
	return at + 1
}

// runGroups has kernel AIO do the members of r.
func (b *Batch) runGroups(r *groupRun) {
	for rest := r.next; len(rest) > 0; {
		rest = b.runGroup(r, rest)
	}
}

// runGroup has kernel AIO do as many members, from the first of next on, as there is room for
// now, and returns the others. No lock and no room is waited for while any is held, so two
// members that overlap, or two Batches, do not wait for one another.
func (b *Batch) runGroup(r *groupRun, next []int) (rest []int) {
	if b.ctx.Err() != nil {
		b.leave(next) // to be ended there
		return nil
	}
	n := b.fillGroup(r, next)
	crowded := n < len(next) && len(r.grouped) < mostHelpers
	if crowded {
		// Other requests have most of the room, and those that wait are served first. Wait like
		// them.
		waiting := next[n:min(len(next), n+mostHelpers)]
		b.leave(waiting)
		n += len(waiting)
	}
	r.group.Run()
	b.settle(r)
	r.group.Free()
	if crowded {
		b.work()
	}
	return next[n:]
}

// fillGroup begins members from the first of next on, as many as their device has room for. It
// leaves those that are not for kernel AIO. It returns how many it has dealt with.
func (b *Batch) fillGroup(r *groupRun, next []int) int {
	r.grouped = r.grouped[:0]
	for n, i := range next {
		if len(r.grouped) == mostGrouped {
			return n
		}
		m := &b.members[i]
		switch r.group.Add(m.f.fd, m.op(), m.p, m.off) {
		case fd.Admitted:
			r.grouped = append(r.grouped, i)
		case fd.DeviceFull:
			return n
		case fd.Ordinary:
			b.leave(next[n : n+1])
		}
	}
	return len(next)
}

// settle takes the results of the group. What the kernel could not take is made as ordinary calls.
func (b *Batch) settle(r *groupRun) {
	for n, i := range r.grouped {
		m := &b.members[i]
		var ok bool
		if m.n, m.err, ok = r.group.Finish(n); !ok {
			b.leave(r.grouped[n : n+1])
			continue
		}
		m.err = m.f.wrapErr(m.kind.name(), m.err)
	}
}

// leave has members made as ordinary calls.
func (b *Batch) leave(members []int) {
	b.mu.Lock()
	b.ordinary = append(b.ordinary, members...)
	b.mu.Unlock()
	b.getHelp(len(members))
}

// getHelp starts goroutines that make ordinary calls: so many, if there are not enough already.
func (b *Batch) getHelp(n int) {
	if n <= 0 {
		return
	}
	if b.help == nil {
		b.help = b.helper
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for range min(n, mostHelpers-b.helpers) {
		b.helpers++
		b.helping.Add(1)
		go b.help()
	}
}

func (b *Batch) helper() {
	defer b.helping.Done()
	for b.workOne() {
	}
	b.mu.Lock()
	b.helpers--
	b.mu.Unlock()
}

// work makes ordinary calls until none is left to begin.
func (b *Batch) work() {
	for b.workOne() {
	}
}

// workOne makes one ordinary call. It returns false if there is none to begin.
func (b *Batch) workOne() bool {
	b.mu.Lock()
	if b.taken == len(b.ordinary) {
		b.mu.Unlock()
		return false
	}
	m := &b.members[b.ordinary[b.taken]]
	b.taken++
	b.mu.Unlock()
	if b.ctx.Err() != nil {
		m.n, m.err = 0, context.Cause(b.ctx)
	} else {
		m.call()
	}
	return true
}

// call makes m the ordinary call.
func (m *member) call() {
	switch m.kind {
	case memberReadAt:
		m.n, m.err = m.f.ReadAt(m.p, m.off)
	case memberWriteAt:
		m.n, m.err = m.f.WriteAt(m.p, m.off)
	case memberSync:
		m.n, m.err = 0, m.f.Sync()
	case memberDatasync:
		m.n, m.err = 0, m.f.Datasync()
	}
}

// mayGroup reports whether m is a transfer that a direct File takes as it is.
func (m *member) mayGroup() bool {
	if m.kind > memberWriteAt || m.f.engine() == nil || m.kind == memberWriteAt && m.f.appends {
		return false
	}
	return m.f.fd.MayGroup(m.op(), m.p, m.off)
}

func (m *member) op() fd.Op {
	if m.kind == memberReadAt {
		return fd.Read
	}
	return fd.Write
}

// name returns the Op of an fs.PathError.
func (k memberKind) name() string {
	if k == memberReadAt {
		return "read"
	}
	return "write"
}
