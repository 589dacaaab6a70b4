package aiotest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
)

// Lengths and offsets are near borders: of blocks, pages and buffers.
var (
	near  = []int{0, 1, 512, 4096, 8192, 12288, 65536, 131072, 1 << 20}
	delta = []int{0, 0, 0, 1, -1, 100, -100, 511, -511, 512, 2048, -2048, 4095, 4096, -4096, 3}
)

func (m *Machine) length() int {
	k := m.next()
	if k < len(near)*16 {
		n := near[k/16] + delta[k%16]
		if n > 140000 && (k%4 != 0 || m.small) {
			n /= 16 // the large ones are slow
		}
		return min(max(n, 0), len(m.source))
	}
	return k<<8 | m.next()
}

// address returns any address, relative to a page. A long program takes them in order, so that some
// programs use all of them.
func (m *Machine) address() (shift int) {
	switch k := m.next(); {
	case k < 128 && (!m.Long || k < 16):
		shift = 0
	case k < 192 && (!m.Long || k < 32):
		shift = k % 64 * 64
	case m.Long:
		shift = m.next4096 % 4096
		m.next4096++
	default:
		shift = k<<8&4095 | m.next()
	}
	m.count.Addresses[shift] = true
	return shift
}

// span returns an offset and a length: some whole blocks, or any bytes.
func (m *Machine) span() (off int64, n int) {
	off, n = m.offset(), m.length()
	if m.next()%2 == 0 {
		off, n = off&^4095, min((n+4095)&^4095, len(m.source)&^4095)
	}
	return off, n
}

func (m *Machine) offset() int64 {
	size := m.size(m.want)
	k := m.next()
	d := int64(delta[k%16])
	switch k / 16 {
	case 0, 1:
		return size + d
	case 2:
		return size&^4095 + d
	case 3:
		return m.place(2<<20) + d
	case 4:
		return m.place(m.next() << 12)
	case 5:
		return int64(m.next())<<8 + int64(m.next())
	case 6:
		if d <= 0 {
			return math.MaxInt64 + d
		}
		return -d
	default:
		return m.place(near[k/16-7]) + d
	}
}

// place returns n, or less if the file should stay small.
func (m *Machine) place(n int) int64 {
	if m.small && n > 140000 {
		n /= 16
	}
	return int64(n)
}

func (m *Machine) step() {
	op := m.next()
	i := op >> 4 % len(m.want.handles)
	m.wrote.off, m.wrote.n = 0, 0
	if m.Long && m.next()%4 == 0 {
		m.longStep()
		return
	}
	switch op % 16 {
	case 0, 1:
		off, n := m.span()
		shift := m.address()
		m.both(fmt.Sprintf("WriteAt %d bytes at %d, address %d", n, off, shift), i, func(_ *half, f File) (_ []byte, r []any) {
			m.guarded(n, shift, func(p []byte) {
				m.fill(p)
				r = results(f.WriteAt(p, off))
			})
			return nil, r
		})
		m.wrote.off, m.wrote.n = off, n
	case 2:
		m.writev(i)
	case 3:
		m.readv(i)
	case 4:
		off, n := m.span()
		shift := m.address()
		m.both(fmt.Sprintf("ReadAt %d bytes at %d, address %d", n, off, shift), i, func(_ *half, f File) (b []byte, r []any) {
			m.guarded(n, shift, func(p []byte) {
				k, err := f.ReadAt(p, off)
				b, r = p[:k], results(k, err)
				m.untouched(p[k:])
			})
			return b, r
		})
	case 5:
		n, shift := m.length(), m.address()
		off := Offset(m.want.handles[i].Fd())
		m.both(fmt.Sprintf("Write %d bytes, address %d", n, shift), i, func(_ *half, f File) (_ []byte, r []any) {
			m.guarded(n, shift, func(p []byte) {
				m.fill(p)
				r = results(f.Write(p))
			})
			return nil, r
		})
		m.wrote.off, m.wrote.n = off, n
	case 6:
		m.stream(i, m.next())
	case 7:
		n, shift := m.length(), m.address()
		m.both(fmt.Sprintf("Read %d bytes, address %d", n, shift), i, func(_ *half, f File) (b []byte, r []any) {
			m.guarded(n, shift, func(p []byte) {
				k, err := f.Read(p)
				b, r = p[:k], results(k, err)
				m.untouched(p[k:])
			})
			return b, r
		})
	case 8:
		m.seek(i, m.offset(), m.next()%4)
	case 9:
		m.resize(i, m.next())
	case 10:
		m.sync(i)
	case 11:
		m.reopen(i, m.next())
	case 12:
		m.readFrom(i, m.next(), m.length())
	case 13:
		m.writeTo(i, m.next())
	case 14:
		n := m.length()
		text := string(m.source[:n])
		m.both(fmt.Sprintf("WriteString of %d bytes", n), i, func(_ *half, f File) ([]byte, []any) {
			return nil, results(f.WriteString(text))
		})
	case 15:
		// Later operations find it closed, until it is opened again.
		if m.next()%4 == 0 {
			m.both("Close", i, func(_ *half, f File) ([]byte, []any) { return nil, []any{f.Close()} })
		}
	}
}

// longStep is an operation of long programs only.
func (m *Machine) longStep() {
	switch k := m.next(); {
	case k < 60:
		m.rename(m.next(), m.next())
	case k < 236:
		if m.Between != nil {
			m.Between(k)
		}
	default:
		m.together(2+k%3, 8192<<(k/3%4))
	}
}

func (m *Machine) sync(i int) {
	if m.syncs++; m.syncs > 1 && !m.Long {
		return // it is slow
	}
	m.both("Sync", i, func(_ *half, f File) ([]byte, []any) { return nil, []any{f.Sync()} })
}

// names are those that the file may have. At least one exists.
var names = []string{"file", "link", "other"}

// name returns an existing name of the file.
func (m *Machine) name() string {
	for _, name := range names {
		if _, err := os.Lstat(m.want.path(name)); err == nil {
			return name
		}
	}
	m.Fatal("the file has no name")
	return ""
}

// rename gives the file another name, or removes one.
func (m *Machine) rename(k, what int) {
	from, to := names[k%len(names)], names[k/16%len(names)]
	switch what % 3 {
	case 0:
		m.both("link "+from+" "+to, -1, func(h *half, _ File) ([]byte, []any) {
			return nil, []any{os.Link(h.path(from), h.path(to))}
		})
	case 1:
		m.both("rename "+from+" "+to, -1, func(h *half, _ File) ([]byte, []any) {
			return nil, []any{os.Rename(h.path(from), h.path(to))}
		})
	case 2:
		if from == m.name() {
			return // it may be the last
		}
		m.both("unlink "+from, -1, func(h *half, _ File) ([]byte, []any) {
			return nil, []any{os.Remove(h.path(from))}
		})
	}
}

// seek keeps the offset small enough that a write does not make a large file.
func (m *Machine) seek(i int, off int64, whence int) {
	const seekData = 3
	if whence == seekData {
		// For a negative offset btrfs returns ENXIO once the file has been written back, and 0
		// before, to any caller (Linux 6.18).
		off = max(off, 0)
	}
	if whence == seekData && m.allocated {
		return // in unwritten space the result depends on the page cache
	}
	m.both(fmt.Sprintf("Seek %d, %d", off, whence), i, func(_ *half, f File) ([]byte, []any) {
		return nil, results(f.Seek(off, whence))
	})
	if at := Offset(m.want.handles[i].Fd()); at > 3<<20 {
		m.both("Seek back", i, func(_ *half, f File) ([]byte, []any) {
			return nil, results(f.Seek(at%8192, io.SeekStart))
		})
	}
}

var flags = []int{
	os.O_RDWR, os.O_RDWR, os.O_RDONLY, os.O_WRONLY, os.O_RDWR | os.O_APPEND, os.O_WRONLY | os.O_APPEND,
	os.O_RDWR | os.O_SYNC, os.O_RDWR | O_DSYNC, os.O_RDWR | os.O_TRUNC, os.O_RDWR | os.O_CREATE | os.O_EXCL,
}

// modes is the number of flags that neither change the file nor require its absence.
const modes = 8

func (m *Machine) flag(k int) int {
	if !m.Long {
		return flags[k] &^ (os.O_SYNC | O_DSYNC) // slow
	}
	return flags[k]
}

func (m *Machine) reopen(i, k int) {
	flag := m.flag(k % len(flags))
	m.both(fmt.Sprintf("opened again with flags %#x", flag), i, func(h *half, f File) ([]byte, []any) {
		closed := f.Close()
		again, err := m.open(h == m.got, i, flag)
		if err == nil {
			h.handles[i] = again
		}
		return nil, []any{closed, err}
	})
}

// readFrom copies from a buffer, or from another file.
func (m *Machine) readFrom(i, k, n int) {
	m.both(fmt.Sprintf("ReadFrom of %d bytes, source %d", n, k%4), i, func(h *half, f File) ([]byte, []any) {
		if k%4 == 0 {
			return nil, results(f.ReadFrom(bytes.NewReader(m.source[:n])))
		}
		pkg, flag := m.pkg, os.O_RDONLY
		if k%4 == 1 || h == m.want {
			pkg = OS
		}
		if k%4 == 2 {
			flag |= O_DIRECT
		}
		src, err := pkg.OpenFile(h.path("source"), flag, 0)
		if err != nil {
			m.Fatal(err)
		}
		defer src.Close()
		if _, err := src.Seek(int64(k)*100, io.SeekStart); err != nil {
			m.Fatal(err)
		}
		limited := &io.LimitedReader{R: src, N: int64(n)}
		copied, err := f.ReadFrom(limited)
		if err != nil {
			// os.File returns the name of the call that copies between files, and finds the closed
			// File before it reads.
			return nil, []any{copied, errors.Is(err, fs.ErrClosed), errors.Is(err, syscall.EBADF)}
		}
		return nil, []any{copied, limited.N, Offset(src.Fd())}
	})
}

// writeTo copies to a buffer or to another file.
func (m *Machine) writeTo(i, k int) {
	m.both(fmt.Sprintf("WriteTo, sink %d", k%4), i, func(h *half, f File) ([]byte, []any) {
		if k%4 == 0 {
			var b bytes.Buffer
			n, err := f.WriteTo(&b)
			return b.Bytes(), []any{n, err}
		}
		pkg, flag := m.pkg, os.O_RDWR|os.O_CREATE|os.O_TRUNC
		if k%4 == 1 || h == m.want {
			pkg = OS
		}
		if k%4 == 2 {
			flag |= O_DIRECT
		}
		sink, err := pkg.OpenFile(h.path("sink"), flag, 0o644)
		if err != nil {
			m.Fatal(err)
		}
		defer sink.Close()
		n, err := f.WriteTo(sink)
		content, err2 := os.ReadFile(h.path("sink"))
		if err2 != nil {
			m.Fatal(err2)
		}
		if err != nil {
			// os.File attributes errors of the call that copies between files to the sink.
			return content, []any{n, errors.Is(err, fs.ErrClosed), errors.Is(err, syscall.EBADF)}
		}
		return content, []any{n, err}
	})
}

// A part is a write of one of several Files.
type part struct {
	handle int
	off    int64
	p      []byte
}

// together writes to the same few blocks by several Files: on the side of os one after the other,
// on the other side all at the same time, each many times, so that they do meet. Overlapping writes
// are of the same bytes, so their order does not matter. An os.File would not take part in the lock
// table, so there is none.
func (m *Machine) together(n, size int) {
	const room = 512 << 10 // of the slab, for each
	m.reopen(0, 0)
	m.reopen(1, 0) // one direct, one buffered that can write; the others may be either
	first := min(max(m.offset(), 0), 2<<20) &^ 4095
	all := make([]byte, size)
	m.fill(all)
	parts := make([]part, n)
	for j := range parts {
		i := []int{0, 1, 0, 1, 0, 3, 4, 5}[m.next()%8]
		lo := m.next() * size / 256
		hi := min(lo+1+m.length(), size)
		if m.next()%2 == 0 {
			lo, hi = lo&^4095, (hi+4095)&^4095
		}
		at := j*room + m.address()
		parts[j] = part{i, first + int64(lo), m.slab[at:][:hi-lo]}
		copy(parts[j].p, all[lo:hi])
	}
	var what strings.Builder
	for _, w := range parts {
		fmt.Fprintf(&what, ", handle %d %d bytes at %d", w.handle, len(w.p), w.off)
	}
	m.both("at the same time WriteAt"+what.String(), -1, func(h *half, _ File) ([]byte, []any) {
		times := 1
		if h == m.got {
			times = 12
			defer m.reading(h.handles[0], first)()
		}
		outcomes := make([]any, n*times)
		var wg sync.WaitGroup
		for k := range outcomes {
			w := parts[k/times]
			wg.Go(func() {
				for range min(times, 4) {
					outcomes[k] = results(h.handles[w.handle].WriteAt(w.p, w.off))
				}
			})
			if h == m.want {
				wg.Wait()
			}
		}
		wg.Wait()
		var all []any
		for k, o := range outcomes {
			if k%times == 0 || m.text(h, []any{o}) != m.text(h, []any{outcomes[k-1]}) {
				all = append(all, o)
			}
		}
		return nil, all
	})
	m.wrote.off, m.wrote.n = first, size
}

// reading keeps enough reads in flight that direct writes beside them are async.
func (m *Machine) reading(f File, off int64) (stop func()) {
	var quit atomic.Bool
	var wg sync.WaitGroup
	for range 12 {
		wg.Go(func() {
			for p := Buffer(4096, 0); !quit.Load(); {
				if _, err := f.ReadAt(p, off); err != nil && err != io.EOF {
					m.Errorf("ReadAt beside writes: %v", err)
					return
				}
			}
		})
	}
	return func() {
		quit.Store(true)
		wg.Wait()
	}
}
