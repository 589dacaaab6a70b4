// Package queue submits requests to kernel AIO. All requests of the process go through it.
//
// A request owns a slot: its control block, its result, its wakeup channel and, by that control
// block, its buffer. It takes this way:
//
//	Lane.Do -> pending -> io_submit(2), called by a submitter
//	        -> the mapped ring -> deliver -> the slot's channel
//
// Completions are taken by the submitter that has just been in the kernel, by the reaper, or by the
// goroutine that collects. The reaper sleeps in the runtime's poller on an eventfd, so no thread is
// parked in the kernel. Neither goroutine nor context exists before the first request.
package queue

import (
	"errors"
	"math"
	"sync"
)

// ErrUnavailable reports that the kernel cannot take the request. Nothing has been transferred, and
// a synchronous system call may succeed.
var ErrUnavailable = errors.New("kernel AIO is not available")

// DefaultDepth is the usual maximum of requests in the kernel.
const DefaultDepth = 1024

// An Op is what a [Request] does.
type Op uint8

// The operations.
const (
	Read     Op = iota // pread(2), or preadv(2) of several buffers
	Write              // pwrite(2), or pwritev(2)
	Sync               // fsync(2)
	Datasync           // fdatasync(2)
)

// A Request is one system call's worth of work. It is a value, which flows from the caller of a
// File down to the kernel. All memory that it has is reachable from it by real pointers.
type Request struct {
	Op   Op
	Fd   int     // the descriptor
	Bufs Buffers // of a Read or Write
	Off  int64   // in bytes, of a Read or Write
}

// MaxBuffers is the largest number of buffers that preadv(2), pwritev(2) and io_submit(2) take
// (IOV_MAX).
const MaxBuffers = 1024

// Buffers are the memory of a transfer: bytes that stand in one buffer or in several. The zero
// value has none. It is a value: to shorten one changes neither another copy nor the slice of
// buffers that it was made of.
type Buffers struct {
	first []byte   // has a byte of them, unless there are none
	rest  [][]byte // what follows; may have empty ones, and bytes that do not belong to them
	n     int      // bytes
}

// One returns the Buffers of one buffer.
func One(p []byte) Buffers { return Buffers{first: p, n: len(p)} }

// Many returns the Buffers of several, of which some may be empty. It is not ok if there are more
// bytes than an int can count.
func Many(bufs [][]byte) (b Buffers, ok bool) {
	for _, p := range bufs {
		if len(p) > math.MaxInt-b.n {
			return b, false
		}
		b.n += len(p)
	}
	b.rest = bufs
	b.Advance(0)
	return b, true
}

// Len returns the number of bytes.
func (b Buffers) Len() int { return b.n }

// First returns the bytes that stand in the first buffer, and reports whether these are all.
func (b Buffers) First() (p []byte, all bool) {
	if b.n > len(b.first) {
		return b.first, false
	}
	return b.first[:b.n], true
}

// Head returns the first n bytes of b, or all if there are no more.
func (b Buffers) Head(n int) Buffers {
	b.n = min(b.n, n)
	return b
}

// Advance drops the first n bytes, of which there must be as many.
func (b *Buffers) Advance(n int) {
	b.n -= n
	if b.n == 0 {
		b.first, b.rest = nil, nil
		return
	}
	for n >= len(b.first) {
		n -= len(b.first)
		b.first, b.rest = b.rest[0], b.rest[1:]
	}
	b.first = b.first[n:]
}

// AtMost reports whether there are certainly no more than n buffers, without counting them.
func (b Buffers) AtMost(n int) bool { return len(b.rest) < n }

// Append appends the buffers that are not empty to list, and returns that.
func (b Buffers) Append(list [][]byte) [][]byte {
	for p, rest, n := b.first, b.rest, b.n; n > 0; p, rest = rest[0], rest[1:] {
		if p = p[:min(len(p), n)]; len(p) == 0 {
			continue
		}
		list = append(list, p)
		if n -= len(p); n == 0 {
			break
		}
	}
	return list
}

// A List is Buffers in the form that system calls take.
type List struct{ Bufs [][]byte }

var lists = sync.Pool{New: func() any { return new(List) }}

// List returns the buffers that are not empty. Free gives the List back.
func (b Buffers) List() *List {
	l := lists.Get().(*List)
	l.Bufs = b.Append(l.Bufs[:0])
	return l
}

// Free lets go of the buffers.
func (l *List) Free() {
	clear(l.Bufs)
	if cap(l.Bufs) <= 2*MaxBuffers {
		lists.Put(l)
	}
}

// Gather fills p with the first bytes of b, which has as many.
func (b Buffers) Gather(p []byte) {
	for len(p) > 0 {
		first, _ := b.First()
		n := copy(p, first)
		p = p[n:]
		b.Advance(n)
	}
}

// Scatter copies p to the beginning of b and returns the number of bytes copied.
func (b Buffers) Scatter(p []byte) (n int) {
	for n < len(p) && b.n > 0 {
		first, _ := b.First()
		m := copy(first, p[n:])
		n += m
		b.Advance(m)
	}
	return n
}
