package fusedisk

import (
	"bytes"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// An Op is the kind of a [Request].
type Op int

// The requests that reach a disk.
const (
	Read Op = iota
	Write
	Flush // fsync(2) of the file; of a loop device, a flush of its write cache
)

func (op Op) String() string { return [...]string{"read", "write", "flush"}[op] }

// A Request comes from the kernel.
type Request struct {
	Op  Op
	N   int64 // number of requests of this Op since Inject, including this one
	Off int64 // bytes
	Len int   // bytes

	// Data is the data of a write, or the disk's data for a read. It is valid until decide returns.
	Data []byte
}

// A Fault is the fate of a [Request]. The zero Fault is none.
type Fault struct {
	Delay time.Duration // before the rest
	Errno syscall.Errno // instead of the transfer
	Short int           // bytes at the end that are not transferred
	Lose  bool          // report success and do nothing
}

const (
	sectorSize = 512  // a power cut keeps or loses it as a whole
	chunkSize  = 4096 // the disk has chunks only where it was written
)

type chunk [chunkSize]byte

// A Disk is a file in memory. It has a write cache: writes are durable after the next Flush.
type Disk struct {
	path string

	counts [3]atomic.Int64 // requests by Op
	inject atomic.Pointer[injection]

	mu      sync.RWMutex
	size    int64
	chunks  map[int64]*chunk
	cached  int // see Lost
	lost    int
	durable map[int64]*chunk // as of the last Flush, of the chunks written since; nil for one of zeros
}

// An injection counts the requests since it was set.
type injection struct {
	decide func(Request) Fault
	counts [3]atomic.Int64
}

func newDisk(path string, size int64) *Disk {
	return &Disk{path: path, size: size, chunks: make(map[int64]*chunk), durable: make(map[int64]*chunk)}
}

// Path returns the path of the disk's file.
func (d *Disk) Path() string { return d.path }

// Count returns the number of requests so far.
func (d *Disk) Count(op Op) int64 { return d.counts[op].Load() }

// Inject sets decide, which returns the fault of each request from now on; nil means none. Many
// goroutines call decide at a time. While decide waits, its request waits.
func (d *Disk) Inject(decide func(Request) Fault) {
	if decide == nil {
		d.inject.Store(nil)
		return
	}
	d.inject.Store(&injection{decide: decide})
}

// fault counts a request and waits for its fault.
func (d *Disk) fault(op Op, off int64, p []byte) Fault {
	d.counts[op].Add(1)
	in := d.inject.Load()
	if in == nil {
		return Fault{}
	}
	if op == Read {
		d.peek(p, off)
	}
	f := in.decide(Request{Op: op, N: in.counts[op].Add(1), Off: off, Len: len(p), Data: p})
	time.Sleep(f.Delay)
	return f
}

func (d *Disk) read(p []byte, off int64) (int, syscall.Errno) {
	f := d.fault(Read, off, p)
	if f.Errno != 0 {
		return 0, f.Errno
	}
	return max(d.peek(p, off)-f.Short, 0), 0
}

// peek reads without a fault.
func (d *Disk) peek(p []byte, off int64) int {
	d.mu.RLock()
	defer d.mu.RUnlock()
	n := int(min(int64(len(p)), max(d.size-off, 0)))
	eachChunk(p[:n], off, func(i int64, part []byte, at int) {
		if c := d.chunks[i]; c != nil {
			copy(part, c[at:])
		} else {
			clear(part)
		}
	})
	return n
}

func (d *Disk) write(p []byte, off int64) (int, syscall.Errno) {
	f := d.fault(Write, off, p)
	if f.Errno != 0 {
		return 0, f.Errno
	}
	n := max(len(p)-f.Short, 0)
	if f.Lose {
		return n, 0
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	eachChunk(p[:n], off, func(i int64, part []byte, at int) { copy(d.dirty(i)[at:], part) })
	d.size = max(d.size, off+int64(n))
	return n, 0
}

// dirty returns a chunk for writing.
func (d *Disk) dirty(i int64) *chunk {
	c := d.chunks[i]
	_, dirty := d.durable[i]
	if !dirty {
		d.durable[i] = c
	}
	if c == nil || !dirty {
		fresh := new(chunk)
		if c != nil {
			*fresh = *c
		}
		c, d.chunks[i] = fresh, fresh
	}
	return c
}

func (d *Disk) flush() syscall.Errno {
	f := d.fault(Flush, 0, nil)
	if f.Errno != 0 || f.Lose {
		return f.Errno
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.durable)
	return 0
}

// eachChunk calls do for each part of p, at offset off of the disk, that lies in one chunk: number
// i, from byte at on.
func eachChunk(p []byte, off int64, do func(i int64, part []byte, at int)) {
	for len(p) > 0 {
		at := int(off % chunkSize)
		n := min(len(p), chunkSize-at)
		do(off/chunkSize, p[:n], at)
		p, off = p[n:], off+int64(n)
	}
}

// Size returns the size of the disk in bytes.
func (d *Disk) Size() int64 {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.size
}

// Resize changes the size of the disk in bytes. Bytes beyond it are lost.
func (d *Disk) Resize(size int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, c := range d.chunks {
		if keep := size - i*chunkSize; keep < chunkSize && c != nil {
			clear(d.dirty(i)[max(keep, 0):])
		}
	}
	d.size = size
}

// cut copies to the empty disk to the state after a power cut now: all durable bytes, and of those
// written since, each sector or not, as r decides.
func (d *Disk) cut(to *Disk, r *rand.Rand) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	keep := r.Float64() // nearly all of the cache in some cuts, nearly nothing in others
	for i, c := range d.chunks {
		old, dirty := d.durable[i]
		if !dirty {
			to.chunks[i] = c // both disks copy it before they write
			continue
		}
		left := new(chunk)
		if old != nil {
			*left = *old
		}
		for at := 0; at < chunkSize; at += sectorSize {
			if bytes.Equal(left[at:at+sectorSize], c[at:at+sectorSize]) {
				continue
			}
			to.cached++
			if r.Float64() < keep {
				copy(left[at:at+sectorSize], c[at:])
			} else {
				to.lost++
			}
		}
		to.chunks[i] = left
	}
}

// Unflushed reports whether the write cache is dirty.
func (d *Disk) Unflushed() bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return len(d.durable) > 0
}

// Lost describes a disk made by Server.Cut: the number of sectors in the write cache at the cut,
// and how many of these lost their last write.
func (d *Disk) Lost() (cached, lost int) { return d.cached, d.lost }
