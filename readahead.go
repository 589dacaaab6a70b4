package aio

import (
	"io"
	"io/fs"
	"math"
	"slices"
)

// ReaderOptions are what [NewReader] takes. A field of 0 stands for its default, and a value
// out of range for the nearest in it.
type ReaderOptions struct {
	// Offset is where reading begins, in bytes from the beginning of the file.
	Offset int64
	// Length is the number of bytes to read, after which the Reader is at its end, as an
	// io.SectionReader is: nothing behind them is asked for. 0 and less is all of the file.
	Length int64
	// BlockSize is the length of a request in bytes, 4096 to 64 MiB, rounded up to a
	// multiple of 4096; 1 MiB by default.
	BlockSize int
	// Depth is the largest number of blocks that are read ahead, 1 to 256; 4 by default.
	// So much memory a Reader has: Depth times BlockSize.
	Depth int
}

// Ranges and defaults of ReaderOptions and WriterOptions.
const (
	minPage            = 4096 // the smallest size of a page
	defaultStreamBlock = 1 << 20
	maxStreamBlock     = 64 << 20
	defaultStreamDepth = 4
	maxStreamDepth     = 256
)

// streamBlock and streamDepth make of an option the number that it stands for. unit is what
// a block is a multiple of.
func streamBlock(n, unit int) int {
	if n <= 0 {
		n = defaultStreamBlock
	}
	return (min(n, maxStreamBlock) + unit - 1) / unit * unit
}

func streamDepth(n int) int {
	if n <= 0 {
		n = defaultStreamDepth
	}
	return min(n, maxStreamDepth)
}

// A Reader reads a File from one end to the other, with several large requests in flight
// ahead of its user: what the kernel's readahead does for the page cache, without the page
// cache if the File is direct.
//
// It reads as ReadAt does, and neither uses nor moves the offset of the File's Read. What it
// hands out is what was in the file when the block was read, which may be up to Depth blocks
// ago: who writes to the file meanwhile is seen in part.
//
// A Reader is for one goroutine at a time. Close it before the File. One that is dropped without Close leaves nothing
// behind but for the time that its last requests take.
type Reader struct {
	f     *File
	block int // bytes
	depth int
	end   int64 // of a Reader of so many bytes, the offset behind them
	whole bool  // there is no such end

	off    int64        // of the next byte to hand out
	next   int64        // of the next byte to ask for
	window int          // blocks to have ahead
	ahead  []*readBlock // asked for, in order of offset
	spare  []*readBlock
	closed bool
}

// A readBlock is a request of a Reader, and what came of it.
type readBlock struct {
	f    *File
	buf  []byte
	off  int64
	want int // bytes

	under bool          // under way; ready will say that it is not
	ready chan struct{} // capacity 1, so that nobody needs to be there
	start func()        // read, in a goroutine: a go statement with arguments would allocate
	left  []byte        // what has been read and not handed out
	err   error         // behind left
}

// NewReader returns a Reader of f, which asks for nothing before its first call. f stays
// open when the Reader is closed. It must be a file that has offsets: any other answers as
// its ReadAt does.
func NewReader(f *File, o ReaderOptions) *Reader {
	r := &Reader{
		f:     f,
		block: streamBlock(o.BlockSize, minPage),
		depth: streamDepth(o.Depth),
		end:   o.Offset + min(o.Length, math.MaxInt64-max(o.Offset, 0)),
		whole: o.Length <= 0,
		off:   o.Offset, next: o.Offset,
	}
	r.window = r.firstWindow()
	return r
}

// Read reads up to len(p) bytes, from one block at most, so n may be less than len(p) in
// mid-file; [io.ReadFull] is for who wants all. At the end of the file, or of Length, it returns
// 0, [io.EOF].
//
// All bytes before one that cannot be read are returned first, and then the error of ReadAt,
// with n = 0. After any error, io.EOF too, the next call tries again at the same byte: a file
// that has grown meanwhile is read on.
func (r *Reader) Read(p []byte) (n int, err error) {
	if r.closed {
		return 0, fs.ErrClosed
	}
	if len(p) == 0 {
		return 0, nil
	}
	b, err := r.head()
	if err != nil {
		return 0, err
	}
	n = copy(p, b.left)
	r.advance(b, n)
	return n, nil
}

// WriteTo writes the rest of the file to w, a block at a time and without a copy of it, until
// the end, where it returns a nil error, or an error of either side. w must not keep or change
// what it is given, as for any [io.Writer].
func (r *Reader) WriteTo(w io.Writer) (n int64, err error) {
	if r.closed {
		return 0, fs.ErrClosed
	}
	for {
		b, err := r.head()
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		want := len(b.left)
		m, err := w.Write(b.left)
		m = min(max(m, 0), want)
		r.advance(b, m)
		n += int64(m)
		if err != nil {
			return n, err
		}
		if m < want {
			return n, io.ErrShortWrite
		}
	}
}

// Close waits for the requests in flight and lets go of the buffers. It does not close the
// File. Later calls return [fs.ErrClosed].
func (r *Reader) Close() error {
	if r.closed {
		return fs.ErrClosed
	}
	r.closed = true
	r.restart()
	r.spare = nil
	return nil
}

// head returns the block of the next byte, of which it has at least that, or the error that
// stands there.
func (r *Reader) head() (*readBlock, error) {
	for {
		if r.over(r.off) {
			return nil, io.EOF
		}
		r.readAhead()
		b := r.ahead[0]
		b.wait()
		switch {
		case len(b.left) > 0:
			return b, nil
		case b.err != nil:
			err := b.err
			r.restart()
			return nil, err
		}
		r.window = r.depth // the file goes on: a small one has cost one request
		r.retire(b)
	}
}

// advance takes note that n bytes of b, the first block, have been handed out. As soon as it
// is used up, the next one is asked for.
func (r *Reader) advance(b *readBlock, n int) {
	r.off += int64(n)
	b.left = b.left[n:]
	if len(b.left) > 0 || b.err != nil {
		return
	}
	r.window = r.depth
	r.retire(b)
	r.readAhead()
}

// retire makes the first block, b, a spare one.
func (r *Reader) retire(b *readBlock) {
	r.ahead = slices.Delete(r.ahead, 0, 1)
	r.spare = append(r.spare, b)
}

// restart forgets what has been read ahead, so that the next byte will be asked for again.
func (r *Reader) restart() {
	for len(r.ahead) > 0 {
		b := r.ahead[0]
		b.wait()
		b.left, b.err = nil, nil
		r.retire(b)
	}
	r.next, r.window = r.off, r.firstWindow()
}

// firstWindow is one block of a file that may be small; a caller who knows the length knows better.
func (r *Reader) firstWindow() int {
	if r.whole {
		return 1
	}
	return r.depth
}

// over reports whether the byte at off is behind Length.
func (r *Reader) over(off int64) bool { return !r.whole && off >= r.end }

// readAhead asks for blocks until there are as many ahead as there should be. All but the
// first begin at a multiple of their size.
func (r *Reader) readAhead() {
	for len(r.ahead) < r.window && !r.over(r.next) {
		n := int64(r.block)
		if r.next > 0 {
			// Near the largest offset a byte is enough to get the error.
			n = max(min(n-r.next%n, math.MaxInt64-r.next), 1)
		}
		if !r.whole {
			n = min(n, r.end-r.next)
		}
		r.ahead = append(r.ahead, r.spareBlock().ask(r.next, int(n)))
		r.next += n
	}
}

func (r *Reader) spareBlock() *readBlock {
	if last := len(r.spare) - 1; last >= 0 {
		b := r.spare[last]
		r.spare = r.spare[:last]
		return b
	}
	b := &readBlock{f: r.f, buf: AlignedBuffer(r.block), ready: make(chan struct{}, 1)}
	b.start = b.read
	return b
}

// ask begins to read n bytes at off.
func (b *readBlock) ask(off int64, n int) *readBlock {
	b.off, b.want, b.under = off, n, true
	go b.start()
	return b
}

// wait returns when the request has ended.
func (b *readBlock) wait() {
	if b.under {
		<-b.ready
		b.under = false
	}
}

func (b *readBlock) read() {
	n, err := b.f.ReadAt(b.buf[:b.want], b.off)
	if err != nil && err != io.EOF && b.f.Direct() {
		n, err = b.readPages(n)
	}
	b.left, b.err = b.buf[:n], err
	b.ready <- struct{}{}
}

// readPages reads on from byte n, one page at a time. A direct request that meets a sector
// that cannot be read fails as a whole, and what is before that must be handed out.
func (b *readBlock) readPages(n int) (int, error) {
	for n < b.want {
		off := b.off + int64(n)
		m, err := b.f.ReadAt(b.buf[n:min(n+minPage-int(off%minPage), b.want)], off)
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}
