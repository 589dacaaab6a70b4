package stream

import (
	"io"
	"io/fs"
	"math"
	"sync"

	"github.com/go-aio/aio"
)

// ReaderOptions are the options of [NewReader]. A field of 0 stands for its default. A value out of
// range counts as the nearest value in range.
type ReaderOptions struct {
	// Offset is where reading begins, in bytes from the beginning of the file.
	Offset int64
	// Length is the number of bytes to read. Behind them the Reader requests nothing and is at its
	// end, as an io.SectionReader is. 0 or less means the whole file.
	Length int64
	// BlockSize is the length of a request in bytes, from 4096 to 64 MiB. It is rounded up to a
	// multiple of 4096. The default is 1 MiB.
	BlockSize int
	// Depth is the largest number of blocks to read ahead, from 1 to 256; the default is 4. A
	// Reader uses Depth times BlockSize bytes of memory.
	Depth int
}

// A Reader reads a File from one end to the other, with several large requests in flight ahead of
// its caller.
//
// A Reader reads as ReadAt does. It neither uses nor moves the offset of the File's Read. It
// returns data as of when its block was read, up to Depth blocks earlier, so it may see a
// concurrent write in part.
//
// A Reader is for one goroutine at a time. Close it before the File. A Reader that is dropped
// without Close leaves nothing behind once its last requests have ended.
type Reader struct {
	f     *aio.File
	block int   // bytes
	end   int64 // the offset behind the last byte to read, unless toEOF
	toEOF bool  // no Length was given

	off    int64       // of the next byte to return
	next   int64       // of the next byte to request
	blocks []readBlock // a ring
	first  int         // the index of the block of off
	ahead  int         // blocks from first on that have been requested
	window int         // blocks to keep ahead
	closed bool
}

// A readBlock is a request of a Reader, and its result.
type readBlock struct {
	f       *aio.File
	buf     []byte // nil before the first request
	off     int64
	start   func() // read; a go statement with arguments would allocate
	reading sync.WaitGroup
	left    []byte // to be read, and then read and not returned yet
	err     error  // behind left
}

// NewReader returns a Reader of f. It makes no request before the first call of a method. f must be
// a file with offsets: for any other, the Reader returns the error of ReadAt. Closing the Reader
// does not close f.
func NewReader(f *aio.File, o ReaderOptions) *Reader {
	r := &Reader{
		f:      f,
		block:  blockSize(o.BlockSize, minPage),
		end:    o.Offset + min(o.Length, math.MaxInt64-max(o.Offset, 0)),
		toEOF:  o.Length <= 0,
		off:    o.Offset,
		blocks: make([]readBlock, option(o.Depth, defaultDepth, maxDepth)),
	}
	r.restart()
	return r
}

// Read reads up to len(p) bytes, from one block at most, so n may be less than len(p) in mid-file;
// use [io.ReadFull] to fill p. At the end of the file, or of Length, it returns 0, [io.EOF].
//
// Read returns all bytes before one that cannot be read, and then the error of ReadAt, with n = 0.
// After any error, io.EOF too, the next call tries the same byte again, so a Reader reads on in a
// file that has grown.
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

// WriteTo writes the rest of the file to w, a block at a time and without a copy. At the end it
// returns a nil error. It returns any other error of either side.
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

// Close waits for the requests in flight and releases the buffers. It does not close the File.
// Later calls return [fs.ErrClosed].
func (r *Reader) Close() error {
	if r.closed {
		return fs.ErrClosed
	}
	r.closed = true
	r.restart()
	r.blocks = nil
	return nil
}

// head returns the block of the next byte, with at least that byte in left. If the next byte cannot
// be read it returns the error.
func (r *Reader) head() (*readBlock, error) {
	for {
		if r.pastEnd(r.off) {
			return nil, io.EOF
		}
		r.readAhead()
		b := &r.blocks[r.first]
		b.reading.Wait()
		switch {
		case len(b.left) > 0:
			return b, nil
		case b.err != nil:
			err := b.err
			r.restart()
			return nil, err
		}
		r.advance(b, 0)
	}
}

// advance records that the caller has received n bytes of b, the first block. At the end of b it
// requests the next block.
func (r *Reader) advance(b *readBlock, n int) {
	r.off += int64(n)
	b.left = b.left[n:]
	if len(b.left) == 0 && b.err == nil {
		r.first = (r.first + 1) % len(r.blocks)
		r.ahead--
		r.window = len(r.blocks) // the file goes on behind its first block
		r.readAhead()
	}
}

// restart discards all blocks ahead, so that the next byte is requested again. Without Length it is
// requested in one block, so that a small file costs one request.
func (r *Reader) restart() {
	for i := range r.blocks {
		r.blocks[i].reading.Wait()
	}
	r.next, r.first, r.ahead, r.window = r.off, 0, 0, len(r.blocks)
	if r.toEOF {
		r.window = 1
	}
}

// pastEnd reports whether the byte at off is behind Length.
func (r *Reader) pastEnd(off int64) bool { return !r.toEOF && off >= r.end }

// readAhead requests blocks until the window is full. All but the first begin at a multiple of
// their size.
func (r *Reader) readAhead() {
	for r.ahead < r.window && !r.pastEnd(r.next) {
		n := int64(r.block)
		if r.next > 0 {
			// Near the largest offset one byte is enough to get the error.
			n = max(min(n-r.next%n, math.MaxInt64-r.next), 1)
		}
		if !r.toEOF {
			n = min(n, r.end-r.next)
		}
		b := &r.blocks[(r.first+r.ahead)%len(r.blocks)]
		if b.buf == nil {
			b.f, b.buf, b.start = r.f, aio.AlignedBuffer(r.block), b.read
		}
		b.off, b.left = r.next, b.buf[:n]
		b.reading.Add(1)
		go b.start()
		r.ahead++
		r.next += n
	}
}

// read reads the block. A direct request that meets a bad sector fails as a whole. As the caller is
// to get all bytes before that sector, read goes on one page at a time.
func (b *readBlock) read() {
	defer b.reading.Done()
	n, err := b.f.ReadAt(b.left, b.off)
	if err != nil && err != io.EOF && b.f.Direct() {
		for err = nil; err == nil && n < len(b.left); {
			var m int
			off := b.off + int64(n)
			m, err = b.f.ReadAt(b.left[n:min(n+minPage-int(off%minPage), len(b.left))], off)
			n += m
		}
	}
	b.left, b.err = b.left[:n], err
}
