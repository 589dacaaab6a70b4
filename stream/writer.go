package stream

import (
	"errors"
	"io"
	"io/fs"
	"math"
	"slices"
	"sync"

	"github.com/go-aio/aio"
)

// WriterOptions are the options of [NewWriter]. A field of 0 stands for its default. A value out of
// range counts as the nearest value in range.
type WriterOptions struct {
	// Offset is where writing begins, in bytes from the beginning of the file.
	Offset int64
	// BlockSize is the length of a request in bytes, from 4096 to 64 MiB. It is rounded up to a
	// multiple of 4096, or of the File's own alignment if that is larger. The default is 1 MiB.
	BlockSize int
	// Depth is the largest number of blocks in flight, from 1 to 256; the default is 4. One more
	// block is being filled, so a Writer uses up to Depth + 1 times BlockSize bytes of memory. It
	// allocates a block when it first needs it.
	Depth int
	// Exclusive is a promise of the caller: until Close nothing else writes to the file or changes
	// its size. It makes Sync after a small Write about twice as fast. It is for logs.
	//
	// The first Write truncates the file to Offset, if it is longer. After that the Writer keeps
	// the last block in memory. It writes whole units of 4096 bytes (or more, where the blocks of
	// the filesystem are larger), with zeros behind the last byte. Sync writes up to 1 MiB of zeros
	// ahead, so that most Syncs change nothing but data. So the file ends in zeros, which others
	// see and which a crash leaves: a log must recognise its last record without the size of the
	// file. Behind the last byte that was synced the file has only zeros and parts of later Writes.
	// Close sets the exact size.
	//
	// If Offset is not a multiple of that unit the File must be open for reading too.
	Exclusive bool
}

// A Writer writes a File from one end to the other. It collects the bytes of many Writes in large
// blocks. Several blocks are in flight while the Writer fills the next one. On a direct File only
// parts of a block of the filesystem, at the beginning and before a Flush, go through the page
// cache.
//
// A Writer writes as WriteAt does. It neither uses nor moves the offset of the File's Write, and
// returns the error of WriteAt for a File that was opened with O_APPEND. A file grows in order: at
// every instant it holds a beginning of the stream, and nothing else. Blocks within the size that
// the file had may be written in any order.
//
// Errors are sticky: a failed write is returned by the first call that observes it, possibly later
// than the Write that supplied the data, and by every call after that. Then the Writer writes
// nothing behind the block that failed, and all bytes before [Writer.Written] are in the file.
//
// All methods may be called concurrently. The bytes of one Write stand together. Flush and Sync
// cover the Writes that returned before. Syncs that wait at the same time share one fdatasync(2)
// (group commit).
//
// Close a Writer before its File. A Writer that is dropped without Close loses what has not been
// flushed, and leaves nothing else behind.
type Writer struct {
	f     *aio.File
	block int // bytes; blocks begin at multiples of it
	unit  int // bytes; multiples of it go direct
	depth int

	exclusive bool

	// writing makes each Write one step to the others, also while it waits. It is taken before mu.
	writing sync.Mutex

	mu       sync.Mutex // guards what follows; not held during I/O, but for that of begin
	closed   bool
	off      int64         // of the next byte
	cur      *writeBlock   // the block of the next byte; nil if there is none yet
	inFlight []*writeBlock // in order of offset
	spare    []*writeBlock
	changed  *sync.Cond // a block has left inFlight, or size has grown
	size     int64      // of the file, as far as the Writer knows; -1 before begin
	err      error      // the first error; of those of blocks, that of the lowest offset
	errOff   int64      // the offset of err; math.MaxInt64 if there is none

	syncing bool       // a Sync is calling Datasync, for all that wait
	synced  *sync.Cond // syncing has ended
	durable int64      // the file is durable up to here; math.MinInt64 before the first Sync

	claimed bool  // see claim
	zeros   int64 // the number of zeros that reserve wrote last; -1 if there was no room
}

// A writeBlock is a run of bytes that goes to the file: those of buf from lo to hi.
type writeBlock struct {
	buf     []byte // nil before the first use
	base    int64  // the offset of the first byte of buf
	lo, hi  int
	reserve bool   // see Writer.reserve
	start   func() // carries the block; a go statement with arguments would allocate
}

func (b *writeBlock) first() int64 { return b.base + int64(b.lo) }
func (b *writeBlock) end() int64   { return b.base + int64(b.hi) }

// NewWriter returns a Writer of f. Closing the Writer does not close f.
func NewWriter(f *aio.File, o WriterOptions) *Writer {
	unit := max(minPage, f.Alignment().Write)
	w := &Writer{
		f: f, unit: unit, exclusive: o.Exclusive,
		block: blockSize(o.BlockSize, unit),
		depth: option(o.Depth, defaultDepth, maxDepth),
		off:   o.Offset, size: -1, errOff: math.MaxInt64, durable: math.MinInt64,
	}
	w.changed, w.synced = sync.NewCond(&w.mu), sync.NewCond(&w.mu)
	for range w.depth + 1 {
		b := new(writeBlock)
		b.start = func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.carry(b)
		}
		w.spare = append(w.spare, b)
	}
	return w
}

// Write writes the bytes of p, of which it keeps a copy until they are in the file. It waits while
// Depth blocks are in flight. It returns n < len(p) only with an error.
func (w *Writer) Write(p []byte) (n int, err error) {
	written, err := w.fill(int64(len(p)), func(buf []byte) (int, error) {
		m := copy(buf, p)
		p = p[m:]
		return m, nil
	})
	return int(written), err
}

// ReadFrom writes all that r returns until io.EOF, where it returns a nil error. It returns any
// other error of either side. Other Writes wait until ReadFrom has ended; Flush and Sync do not.
func (w *Writer) ReadFrom(r io.Reader) (n int64, err error) {
	return w.fill(math.MaxInt64, func(buf []byte) (int, error) {
		w.mu.Unlock() // a Flush meanwhile takes only bytes before buf
		defer w.mu.Lock()
		return r.Read(buf)
	})
}

// fill adds up to most bytes to the blocks, as source returns them until io.EOF.
func (w *Writer) fill(most int64, source func(buf []byte) (int, error)) (n int64, err error) {
	w.writing.Lock()
	defer w.writing.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.begin(); err != nil {
		return 0, err
	}
	for n < most {
		b, err := w.current()
		if err != nil {
			return n, err
		}
		m, err := source(b.buf[b.hi:])
		w.filled(b, m)
		n += int64(m)
		if err == io.EOF {
			break
		}
		if err != nil {
			return n, err
		}
	}
	return n, w.err
}

// Flush waits until the bytes of all earlier Writes are in the file, where others see them.
func (w *Writer) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return fs.ErrClosed
	}
	return w.flush(false)
}

// Sync is Flush, and then Datasync of the File: the bytes of all earlier Writes are durable. If
// nothing was written since the last Sync, it returns at once.
func (w *Writer) Sync() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return fs.ErrClosed
	}
	for want := w.off; w.err == nil && w.durable < want; {
		if w.syncing {
			w.synced.Wait()
			continue
		}
		w.sync()
	}
	return w.err
}

// sync makes durable all that has been written, for every Sync that waits.
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
	w.synced.Broadcast()
}

// Close is Flush, and then releases the buffers. It neither syncs nor closes the File. It waits for
// all blocks in flight, also after an error. If the Writer is exclusive, Close sets the exact size
// of the file, which after an error is the offset of that error. Later calls return [fs.ErrClosed].
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
	w.off = w.written() // bytes behind an error will never be written
	w.cur, w.spare = nil, nil
	if w.claimed {
		if cut := w.cut(); err == nil {
			err = cut
		}
	}
	return err
}

// Written returns the offset in the file, in bytes, up to which the file has all that was given to
// the Writer. It is durable only after Sync.
func (w *Writer) Written() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.written()
}

func (w *Writer) written() int64 {
	off := min(w.off, w.errOff)
	if w.cur != nil {
		off = min(off, w.cur.first())
	}
	for _, b := range w.inFlight {
		off = min(off, b.first())
	}
	return off
}

// begin prepares the file before the first byte.
func (w *Writer) begin() error {
	if w.closed {
		return fs.ErrClosed
	}
	if w.err != nil || w.size >= 0 {
		return w.err
	}
	// An invalid File, one in append mode, and a negative offset fail without a byte to write.
	if _, err := w.f.WriteAt(nil, w.off); err != nil {
		return w.fail(err, w.off)
	}
	fi, err := w.f.Stat()
	if errors.Is(err, fs.ErrClosed) {
		_, err = w.f.Write(nil) // the error of a write to a closed File
	}
	if err != nil {
		return w.fail(err, w.off)
	}
	if w.size = fi.Size(); !fi.Mode().IsRegular() {
		w.size = math.MaxInt64 // a block device does not grow
	}
	if w.exclusive {
		return w.fail(w.claim(), w.off)
	}
	return nil
}

// current returns the block for the next byte. It waits while all blocks are in use.
func (w *Writer) current() (*writeBlock, error) {
	if w.off > math.MaxInt64-int64(w.block) {
		_, err := w.f.WriteAt([]byte{0}, math.MaxInt64) // the error of pwrite(2), EINVAL
		return nil, w.fail(err, w.off)
	}
	for w.cur == nil && w.err == nil {
		b := w.spareBlock()
		if b == nil {
			w.changed.Wait()
			continue
		}
		b.reserve = false
		b.lo = int(w.off % int64(w.block))
		b.hi, b.base = b.lo, w.off-int64(b.lo)
		w.cur = b
	}
	return w.cur, w.err
}

// filled records n more bytes in b, the current block. It starts to write a full block.
func (w *Writer) filled(b *writeBlock, n int) {
	b.hi += n
	w.off += int64(n)
	if b.hi < w.block {
		return
	}
	w.cur = nil
	if b.lo == b.hi { // it has been flushed to the last byte
		w.recycle(b)
		return
	}
	w.inFlight = append(w.inFlight, b)
	go b.start()
}

// spareBlock returns a block that is not in use, or nil.
func (w *Writer) spareBlock() *writeBlock {
	last := len(w.spare) - 1
	if last < 0 {
		return nil
	}
	b := w.spare[last]
	w.spare = w.spare[:last]
	if b.buf == nil {
		b.buf = aio.AlignedBuffer(w.block)
	}
	return b
}

// recycle makes b a spare block.
func (w *Writer) recycle(b *writeBlock) {
	w.spare = append(w.spare, b)
	w.changed.Broadcast()
}

// carry waits for the blocks that must be written before b, writes b, and recycles it.
func (w *Writer) carry(b *writeBlock) {
	for w.mustWait(b) {
		w.changed.Wait()
	}
	if w.err == nil || b.first() < w.errOff { // all bytes before the error are written
		w.reserve(b)
		w.mu.Unlock()
		n, err := w.write(b)
		w.mu.Lock()
		_ = w.fail(err, b.first()+int64(n))
		if err == nil {
			w.size = max(w.size, b.end())
		}
	}
	i := slices.Index(w.inFlight, b)
	w.inFlight = slices.Delete(w.inFlight, i, i+1)
	w.recycle(b)
}

// mustWait reports whether an earlier block must be written before b. That keeps two orders: the
// file grows from the front, and a unit that is written again gets its longer content last.
func (w *Writer) mustWait(b *writeBlock) bool {
	switch {
	case w.inFlight[0] == b:
		return false
	case b.end() > w.size:
		return true
	case !w.exclusive:
		return false
	}
	before := w.inFlight[slices.Index(w.inFlight, b)-1]
	return before.end() > b.base+int64(w.down(b.lo))
}

// flush writes the bytes of the current block, and waits for them and for all blocks before them.
// reserve says that more Syncs are expected.
func (w *Writer) flush(reserve bool) error {
	b := w.tail()
	end := w.off // all bytes before it are in flight or written
	if b != nil {
		b.reserve = reserve && w.exclusive
		w.carry(b)
	}
	for len(w.inFlight) > 0 && w.inFlight[0].first() < end {
		w.changed.Wait()
	}
	return w.err
}

// tail sends a copy of the bytes of the current block that were not sent before, so that Writes may
// add to that block meanwhile. It returns nil if there are none.
func (w *Writer) tail() *writeBlock {
	for w.err == nil && w.cur != nil && w.cur.lo < w.cur.hi {
		b := w.spareBlock()
		if b == nil {
			w.changed.Wait() // the current block may be another one after that
			continue
		}
		c := w.cur
		b.base, b.lo, b.hi = c.base, c.lo, c.hi
		from := w.down(c.lo) // writeUnits needs the bytes of the unit before c.lo too
		copy(b.buf[from:b.hi], c.buf[from:])
		c.lo = c.hi
		w.inFlight = append(w.inFlight, b)
		return b
	}
	return nil
}

// fail records err at offset off, and returns the error with the lowest offset so far.
func (w *Writer) fail(err error, off int64) error {
	if err != nil && (w.err == nil || off < w.errOff) {
		w.err, w.errOff = err, off
	}
	return w.err
}

// write writes b, with a request of its own for the whole units, so that these go direct. It
// returns the number of bytes that are certainly in the file.
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

// down and up return the nearest multiple of the unit, at most n and at least n.
func (w *Writer) down(n int) int { return n / w.unit * w.unit }
func (w *Writer) up(n int) int   { return w.down(n + w.unit - 1) }
