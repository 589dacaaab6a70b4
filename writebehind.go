package aio

import (
	"errors"
	"io"
	"io/fs"
	"math"
	"slices"
	"sync"
	"syscall"
)

// WriterOptions are what [NewWriter] takes. A field of 0 stands for its default, and a value
// out of range for the nearest in it.
type WriterOptions struct {
	// Offset is where writing begins, in bytes from the beginning of the file.
	Offset int64
	// BlockSize is the length of a request in bytes, 4096 to 64 MiB, rounded up to a
	// multiple of 4096, or of the File's own unit if that is larger; 1 MiB by default.
	BlockSize int
	// Depth is the largest number of blocks that are on their way to the disk, 1 to 256; 4
	// by default. One more is being filled, so a Writer has Depth + 1 times BlockSize of
	// memory, made as it is needed.
	Depth int
	// Exclusive is a promise: until Close nobody else writes to the file or changes its
	// size. It makes Sync after a small Write about twice as fast, which is what a log does.
	//
	// The first Write cuts the file at Offset, if it is longer. From then on the last block
	// is kept in memory, and goes to the disk as whole units of 4096 bytes (or more, where
	// the filesystem's blocks are larger) with zeros behind the last byte; Sync writes up to
	// 1 MiB of zeros ahead, so that most Syncs change nothing but data. So the file ends in
	// zeros, which others see and a crash leaves: a log must be able to tell its last record
	// without the help of the size. Behind the last byte that was synced there is nothing
	// but zeros and parts of what was written later. Close sets the exact size.
	//
	// If Offset is not a multiple of that unit the File must be open for reading too.
	Exclusive bool
}

// A Writer writes a File from one end to the other. It collects what it is given in large
// blocks, of which several are on their way to the disk while the next is being filled: what
// write-back does for the page cache, without the page cache if the File is direct. Only what
// is not a whole block of the filesystem, at the beginning and before a Flush, goes through
// that.
//
// It writes as WriteAt does, and neither uses nor moves the offset of the File's Write; a
// File that was opened with O_APPEND has no WriteAt, and no Writer. A file that grows does so
// in order: at every instant, others find in it a beginning of what has been written, and
// nothing else. Blocks within the size that the file had may get there in any order.
//
// An error is for ever: it is returned by the call that meets it, which may be a later one
// than that which gave the bytes, and by all after it. Then nothing behind the block that
// failed is written any more, and what is before [Writer.Written] is in the file.
//
// All methods may be called concurrently. Each Write is one step to the others: its bytes
// stand together. Flush and Sync cover the Writes that returned before, and Syncs that wait
// at the same time share one (group commit).
//
// Close it before the File. What has not been flushed when a Writer is dropped without Close is lost. It leaves
// nothing else behind.
type Writer struct {
	f     *File
	start int64 // the first byte's offset
	block int   // bytes; multiples of it are where blocks begin
	unit  int   // multiples of it go direct
	depth int

	exclusive bool

	// writing makes a Write one step to the others, also while it waits. It is taken
	// before mu.
	writing sync.Mutex

	mu     sync.Mutex // guards what follows; not held across I/O, but for begin's
	begun  bool       // see begin
	closed bool
	off    int64         // of the next byte
	cur    *writeBlock   // the block that it belongs to; nil if there is none yet
	out    []*writeBlock // on their way, in order of offset
	sent   uint64        // blocks that ever were
	spare  []*writeBlock
	made   int        // blocks that there are
	ended  *sync.Cond // one of out is not there any more, or size has grown
	size   int64      // of the file, as far as we know
	err    error      // the first one; of blocks, that of the lowest offset
	good   int64      // where that stands; math.MaxInt64 if there is none

	syncing bool       // somebody does, for all that wait
	commit  *sync.Cond // he does not any more
	durable int64      // up to here; math.MinInt64 before the first Sync

	claimed bool  // see claim
	zeros   int64 // bytes that reserve wrote last; -1 if there was no room
}

// A writeBlock is a run of bytes that goes to the file: those of buf from lo to hi.
type writeBlock struct {
	buf    []byte
	base   int64 // offset of the first byte of buf
	lo, hi int
	number uint64 // as counted by Writer.sent
	ahead  bool   // room for those after it is to be made, see reserve
	start  func() // writes it, in a goroutine: a go statement with arguments would allocate
}

func (b *writeBlock) first() int64 { return b.base + int64(b.lo) }
func (b *writeBlock) end() int64   { return b.base + int64(b.hi) }

// NewWriter returns a Writer of f. f stays open when the Writer is closed.
func NewWriter(f *File, o WriterOptions) *Writer {
	unit := minPage
	if f.Direct() {
		unit = max(unit, f.Alignment().Write)
	}
	w := &Writer{
		f:     f,
		start: o.Offset,
		block: streamBlock(o.BlockSize, unit),
		unit:  unit,
		depth: streamDepth(o.Depth),
		off:   o.Offset,
		good:  math.MaxInt64, durable: math.MinInt64,
		exclusive: o.Exclusive,
	}
	w.ended, w.commit = sync.NewCond(&w.mu), sync.NewCond(&w.mu)
	return w
}

// Write takes the bytes of p, which is the caller's again when it returns. It waits while
// Depth blocks are on their way. It returns n < len(p) only with an error.
func (w *Writer) Write(p []byte) (n int, err error) {
	w.writing.Lock()
	defer w.writing.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.begin(); err != nil {
		return 0, err
	}
	for n < len(p) {
		b, err := w.current()
		if err != nil {
			return n, err
		}
		m := copy(b.buf[b.hi:], p[n:])
		w.filled(b, m)
		n += m
	}
	return n, w.err
}

// ReadFrom writes what r has, until its end, where it returns a nil error, or an error of
// either side. r reads right into the blocks. Other Writes wait until it is over; Flush and
// Sync do not.
func (w *Writer) ReadFrom(r io.Reader) (n int64, err error) {
	w.writing.Lock()
	defer w.writing.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.begin(); err != nil {
		return 0, err
	}
	for {
		b, err := w.current()
		if err != nil {
			return n, err
		}
		m, err := w.readFrom(r, b.buf[b.hi:]) // what a Flush takes meanwhile is before that
		w.filled(b, m)
		n += int64(m)
		if err == io.EOF {
			return n, w.err
		}
		if err != nil {
			return n, err
		}
	}
}

// readFrom reads without w.mu, which it has again also if r panics.
func (w *Writer) readFrom(r io.Reader, p []byte) (int, error) {
	w.mu.Unlock()
	defer w.mu.Lock()
	return r.Read(p)
}

// Flush returns when what has been written before is in the file, where others see it. It is
// durable after Sync.
func (w *Writer) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return fs.ErrClosed
	}
	return w.flush(false)
}

// Sync is Flush, and then Datasync of the File: what has been written before is durable. If
// nothing has been since the last Sync, it returns at once.
func (w *Writer) Sync() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return fs.ErrClosed
	}
	for want := w.off; w.err == nil && w.durable < want; {
		if w.syncing {
			w.commit.Wait()
			continue
		}
		w.sync()
	}
	return w.err
}

// sync makes durable what there is, for all that wait for it.
func (w *Writer) sync() {
	w.syncing = true
	off := w.off
	if w.flush(true) == nil {
		w.mu.Unlock()
		err := w.f.Datasync()
		w.mu.Lock()
		if w.fail(err, math.MaxInt64) == nil {
			w.durable = off
		}
	}
	w.syncing = false
	w.commit.Broadcast()
}

// Close is Flush, after which it lets go of the buffers. It does not sync and it does not
// close the File. It waits for all that is on its way, also if there is an error. If the
// Writer is exclusive, it gives the file its exact size, which is where the first error
// stands if there was one. Later calls return [fs.ErrClosed].
func (w *Writer) Close() error {
	w.writing.Lock()
	defer w.writing.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return fs.ErrClosed
	}
	w.closed = true
	err := w.flush(false)
	w.off = w.written() // what is behind an error will never be
	w.cur, w.spare = nil, nil
	if w.claimed {
		if cut := w.cut(); err == nil {
			err = cut
		}
	}
	return err
}

// cut gives the file its exact size. After writes that failed it may have to try again: btrfs
// waits for one such write each time, and fails with its error before it truncates anything
// (btrfs_wait_ordered_range, seen on Linux 6.18).
func (w *Writer) cut() error {
	err := w.f.Truncate(w.off)
	for tries := 0; err != nil && w.err != nil && tries < w.depth; tries++ {
		err = w.f.Truncate(w.off)
	}
	return err
}

// Written returns an offset in the file, in bytes: up to there all that the Writer was given
// has been written. It is durable only after Sync.
func (w *Writer) Written() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.written()
}

func (w *Writer) written() int64 {
	off := min(w.off, w.good)
	if w.cur != nil {
		off = min(off, w.cur.first())
	}
	for _, b := range w.out {
		off = min(off, b.first())
	}
	return off
}

// begin comes before the first byte, and looks for errors before all others.
func (w *Writer) begin() error {
	if w.closed {
		return fs.ErrClosed
	}
	if w.begun {
		return w.err
	}
	w.begun = true
	if f := w.f; f != nil && (f.appends || w.start < 0) {
		_, err := f.WriteAt(nil, w.start) // has the error for that
		return w.fail(err, w.start)
	}
	fi, err := w.f.Stat()
	if errors.Is(err, fs.ErrClosed) {
		err = w.f.wrapErr("write", fs.ErrClosed)
	}
	if err != nil {
		return w.fail(err, w.start)
	}
	if w.size = fi.Size(); !fi.Mode().IsRegular() {
		w.size = math.MaxInt64 // a block device does not grow
	}
	if w.exclusive {
		return w.fail(w.claim(), w.start)
	}
	return nil
}

// current returns the block for the next byte. It waits for a spare one if it must.
func (w *Writer) current() (*writeBlock, error) {
	if w.off > math.MaxInt64-int64(w.block) {
		return nil, w.fail(w.f.wrapErr("write", syscall.EINVAL), w.off) // as pwrite(2)
	}
	for w.cur == nil && w.err == nil {
		b := w.spareBlock()
		if b == nil {
			w.ended.Wait()
			continue
		}
		b.ahead = false
		b.lo = int(w.off % int64(w.block))
		b.hi, b.base = b.lo, w.off-int64(b.lo)
		w.cur = b
	}
	return w.cur, w.err
}

// filled takes note that b, the current block, has n bytes more. When it is full it goes its
// way.
func (w *Writer) filled(b *writeBlock, n int) {
	b.hi += n
	w.off += int64(n)
	if b.hi == w.block {
		w.cur = nil
		if b.lo < b.hi {
			w.send(b)
			go b.start()
			return
		}
		w.keep(b) // flushed to the last byte
	}
}

// spareBlock returns one that is not in use, or nil.
func (w *Writer) spareBlock() *writeBlock {
	if last := len(w.spare) - 1; last >= 0 {
		b := w.spare[last]
		w.spare = w.spare[:last]
		return b
	}
	if w.made > w.depth {
		return nil
	}
	w.made++
	b := &writeBlock{buf: AlignedBuffer(w.block)}
	b.start = func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.carry(b)
	}
	return b
}

// keep makes b a spare block.
func (w *Writer) keep(b *writeBlock) {
	w.spare = append(w.spare, b)
	w.ended.Broadcast()
}

// send makes b the last of those on their way. carry must follow.
func (w *Writer) send(b *writeBlock) {
	w.sent++
	b.number = w.sent
	w.out = append(w.out, b)
}

// carry writes b when its turn has come.
func (w *Writer) carry(b *writeBlock) {
	for w.waits(b) {
		w.ended.Wait()
	}
	if w.err == nil || b.first() < w.good { // what is before the byte that failed is to be there
		w.reserve(b)
		w.mu.Unlock()
		n, err := w.write(b)
		w.mu.Lock()
		_ = w.fail(err, b.first()+int64(n))
		if err == nil {
			w.size = max(w.size, b.end())
		}
	}
	i := slices.Index(w.out, b)
	w.out = slices.Delete(w.out, i, i+1)
	w.keep(b)
}

// waits reports whether b has to wait for one before it: the file grows in order, and what is
// written again, with more behind it, in that order too.
func (w *Writer) waits(b *writeBlock) bool {
	switch {
	case w.out[0] == b:
		return false
	case b.end() > w.size:
		return true
	case !w.exclusive:
		return false
	}
	before := w.out[slices.Index(w.out, b)-1]
	return before.end() > b.base+int64(w.down(b.lo))
}

// flush sends what the current block has, and waits for that and all before it. ahead is
// whether many more like this are to be expected.
func (w *Writer) flush(ahead bool) error {
	b := w.tail()
	last := w.sent
	if b != nil {
		b.ahead = ahead && w.exclusive
		w.carry(b)
	}
	for len(w.out) > 0 && w.out[0].number <= last {
		w.ended.Wait()
	}
	return w.err
}

// tail sends a copy of what the current block has and was not sent before, so that more may
// be written to that meanwhile. It returns nil if there is nothing.
func (w *Writer) tail() *writeBlock {
	for w.err == nil && w.cur != nil && w.cur.lo < w.cur.hi {
		b := w.spareBlock()
		if b == nil {
			w.ended.Wait() // by then the current block may be another
			continue
		}
		c := w.cur
		b.base, b.lo, b.hi = c.base, c.lo, c.hi
		from := w.down(c.lo) // what is before c.lo in its unit, only writeUnits makes use of
		copy(b.buf[from:b.hi], c.buf[from:])
		c.lo = c.hi
		w.send(b)
		return b
	}
	return nil
}

// fail takes note of an error of the bytes from off on, and returns the one that counts.
func (w *Writer) fail(err error, off int64) error {
	if err != nil && (w.err == nil || off < w.good) {
		w.err, w.good = err, off
	}
	return w.err
}

// write writes b, and what is whole blocks of it by itself, so that it can go direct. It
// returns how much it has certainly written.
func (w *Writer) write(b *writeBlock) (n int, err error) {
	if w.exclusive {
		return w.writeUnits(b)
	}
	lo, hi := w.up(b.lo), w.down(b.hi)
	if lo >= hi {
		lo, hi = b.lo, b.hi
	}
	for _, p := range [...][2]int{{b.lo, lo}, {lo, hi}, {hi, b.hi}} {
		if p[0] == p[1] {
			continue
		}
		if _, err := w.f.WriteAt(b.buf[p[0]:p[1]], b.base+int64(p[0])); err != nil {
			return p[0] - b.lo, err
		}
	}
	return b.hi - b.lo, nil
}

// down and up are the multiples of the unit next to n.
func (w *Writer) down(n int) int { return n / w.unit * w.unit }
func (w *Writer) up(n int) int   { return w.down(n + w.unit - 1) }

// What a Writer does that has the file to itself: it writes the last unit again and again,
// each time with more in it, where others have to leave that to the page cache.

// claim cuts the file where the Writer begins, and reads what the first unit has before that.
func (w *Writer) claim() error {
	if regular := w.size != math.MaxInt64; regular && w.size > w.start {
		if err := w.f.Truncate(w.start); err != nil {
			return err
		}
		w.size = w.start
	}
	b, err := w.current()
	if err != nil {
		return err
	}
	head := b.buf[w.down(b.lo):b.lo]
	if len(head) > 0 {
		n, err := w.f.ReadAt(head, w.start-int64(len(head)))
		clear(head[n:]) // where the file ends before
		if err != nil && err != io.EOF {
			return err
		}
	}
	w.claimed = w.size != math.MaxInt64
	return nil
}

// writeUnits is write of whole units, with zeros behind the last byte.
func (w *Writer) writeUnits(b *writeBlock) (n int, err error) {
	lo, hi := w.down(b.lo), w.up(b.hi)
	clear(b.buf[b.hi:hi]) // of a block that is not full it is a copy, see tail
	if _, err := w.f.WriteAt(b.buf[lo:hi], b.base+int64(lo)); err != nil {
		return 0, err
	}
	return b.hi - b.lo, nil
}

// Bytes that reserve writes at a time: twice as many each time.
const (
	leastZeros = 64 << 10
	mostZeros  = 1 << 20
)

// zeros are mostZeros of them. Nobody writes to them, so they are one page of the kernel's.
var zeros = sync.OnceValue(func() []byte { return AlignedBuffer(mostZeros) })

// reserve writes zeros behind b, if that is beyond what has been written of the file and more
// Syncs are to be expected. An fdatasync(2) after a write into them has no journal to write:
// neither the size changes nor does a block become one that has been written.
func (w *Writer) reserve(b *writeBlock) {
	if !b.ahead || b.end() <= w.size || w.zeros < 0 {
		return
	}
	// b is the first of those on their way, see waits; all others wait for the new size.
	n := min(max(2*w.zeros, leastZeros), mostZeros)
	end := b.base + int64(w.up(b.hi))
	w.mu.Unlock()
	_, err := w.f.WriteAt(zeros()[:n], end)
	w.mu.Lock()
	if err != nil {
		// There is no room for more than is needed. What did fit has the room that b needs. b has an error of its own, if any.
		_ = w.f.Truncate(w.size)
		w.zeros = -1
		return
	}
	w.zeros, w.size = n, end+n
	w.ended.Broadcast()
}
