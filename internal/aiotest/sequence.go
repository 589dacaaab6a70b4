package aiotest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A Machine runs programs, which are sequences of operations on Files, on two inodes: one
// through Files of package os alone, the other through Files of the package that is
// tested, several at a time. It compares all outcomes.
type Machine struct {
	testing.TB
	pkg       Package
	dir       string
	source    []byte // content of the file that ReadFrom reads
	want, got *half
	slab      []byte // buffers are cut from it, so that any address is there
	program   []byte
	syncs     int
	log       []string
}

// A half of a Machine is what it does to one inode.
type half struct {
	dir     string
	handles [4]File
	peek    *os.File
	content []byte
}

// NewMachine makes a Machine that keeps its files in dir.
func NewMachine(tb testing.TB, dir string, pkg Package) *Machine {
	tb.Helper()
	m := &Machine{pkg: pkg, dir: dir, source: Pattern(200000, 77), slab: Buffer(2<<20, 0)}
	for _, side := range []string{"want", "got"} {
		side = filepath.Join(dir, side)
		if err := os.MkdirAll(side, 0o755); err != nil {
			tb.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(side, "source"), m.source, 0o644); err != nil {
			tb.Fatal(err)
		}
	}
	return m
}

// Handles 0 and 3 are direct, 1 is plain and 2 is an os.File on either side.
func (m *Machine) open(got bool, i, flag int) (File, error) {
	if !got {
		return OS.OpenFile(m.want.path("file"), flag, 0o644)
	}
	switch i {
	case 2:
		return OS.OpenFile(m.got.path("file"), flag, 0o644)
	case 1:
		return m.pkg.OpenFile(m.got.path("file"), flag, 0o644)
	}
	return m.pkg.OpenFile(m.got.path("file"), flag|O_DIRECT, 0o644)
}

func (h *half) path(name string) string { return filepath.Join(h.dir, name) }

// steps bounds a program, which should be done in a few milliseconds.
const steps = 48

// Run runs a program.
func (m *Machine) Run(t testing.TB, program []byte) {
	t.Helper()
	m.TB, m.program, m.syncs, m.log = t, program, 0, m.log[:0]
	m.want, m.got = &half{dir: filepath.Join(m.dir, "want")}, &half{dir: filepath.Join(m.dir, "got")}
	content := m.source[:m.length()]
	for _, h := range []*half{m.want, m.got} {
		os.Remove(h.path("file"))
		if err := os.WriteFile(h.path("file"), content, 0o644); err != nil {
			t.Fatal(err)
		}
		var err error
		if h.peek, err = os.Open(h.path("file")); err != nil {
			t.Fatal(err)
		}
		defer h.peek.Close()
		for i := range h.handles {
			if h.handles[i], err = m.open(h == m.got, i, os.O_RDWR); err != nil {
				t.Fatal(err)
			}
			defer func() { h.handles[i].Close() }()
		}
	}
	for range steps {
		if len(m.program) == 0 {
			break
		}
		m.step()
		if t.Failed() {
			break
		}
	}
	m.finish()
	if t.Failed() {
		t.Logf("the program, on a file of %d bytes:\n%s", len(content), strings.Join(m.log, "\n"))
	}
}

// next returns the next byte of the program, and zeros after its end.
func (m *Machine) next() int {
	if len(m.program) == 0 {
		return 0
	}
	b := m.program[0]
	m.program = m.program[1:]
	return int(b)
}

// Lengths and offsets come from near where something changes.
var (
	near  = []int{0, 1, 512, 4096, 8192, 12288, 65536, 131072, 1 << 20}
	delta = []int{0, 0, 0, 1, -1, 100, -100, 511, -511, 512, 2048, -2048, 4095, 4096, -4096, 3}
)

func (m *Machine) length() int {
	k := m.next()
	if k < len(near)*16 {
		n := near[k/16] + delta[k%16]
		if n > 140000 && k%4 != 0 {
			n /= 16 // the large ones are slow
		}
		return min(max(n, 0), len(m.source))
	}
	return k<<8 | m.next()
}

// address is any, relative to a page.
func (m *Machine) address() int {
	switch k := m.next(); {
	case k < 128:
		return 0
	case k < 192:
		return (k - 128) * 64
	default:
		return k<<8&4095 | m.next()
	}
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
		return 2<<20 + d
	case 4:
		return int64(m.next()) << 12
	case 5:
		return int64(m.next())<<8 + int64(m.next())
	case 6:
		if d <= 0 {
			return math.MaxInt64 + d
		}
		return -d
	default:
		return int64(near[k/16-7]) + d
	}
}

func (m *Machine) size(h *half) int64 {
	fi, err := h.peek.Stat()
	if err != nil {
		m.Fatal(err)
	}
	return fi.Size()
}

// both does the same on both sides. do returns what to compare and the bytes that were
// read.
func (m *Machine) both(what string, i int, do func(h *half, f File) ([]byte, []any)) {
	m.Helper()
	m.log = append(m.log, fmt.Sprintf("handle %d: %s", i, what))
	wantBytes, wantValues := do(m.want, m.want.handles[i])
	wantBytes = bytes.Clone(wantBytes)
	gotBytes, gotValues := do(m.got, m.got.handles[i])
	want, got := m.text(m.want, wantValues), m.text(m.got, gotValues)
	if want != got {
		m.Errorf("%s:\n  os:  %s\n  aio: %s", what, want, got)
	}
	if !bytes.Equal(wantBytes, gotBytes) {
		m.Errorf("%s: other bytes, from index %d of %d", what, mismatch(wantBytes, gotBytes), len(wantBytes))
	}
	for j := range m.want.handles {
		if want, got := Offset(m.want.handles[j].Fd()), Offset(m.got.handles[j].Fd()); want != got {
			m.Errorf("%s: the offset of handle %d is %d; want %d", what, j, got, want)
		}
	}
	if want, got := m.size(m.want), m.size(m.got); want != got {
		m.Errorf("%s: the size is %d; want %d", what, got, want)
	}
}

func (m *Machine) text(h *half, values []any) string {
	var b strings.Builder
	for _, v := range values {
		b.WriteString(describe(v))
		b.WriteByte(' ')
	}
	return strings.ReplaceAll(b.String(), h.dir, "DIR")
}

func mismatch(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// guarded calls do with a buffer whose surroundings must not change.
func (m *Machine) guarded(n, shift int, do func(p []byte)) {
	const guard = 128
	const canary = 0xA5
	lo := 4096 + shift
	around := m.slab[lo-guard : lo+n+guard]
	for i := range around {
		around[i] = canary
	}
	do(m.slab[lo : lo+n]) // with the capacity to do wrong
	for i := range guard {
		if around[i] != canary || around[guard+n+i] != canary {
			m.Error("a byte beside the buffer has changed")
			return
		}
	}
}

// fill makes bytes to be written that differ from those of the steps before.
func (m *Machine) fill(p []byte) { copy(p, m.source[len(m.log)*37%10000:]) }

func (m *Machine) step() {
	op := m.next()
	i := op >> 6
	switch op % 16 {
	case 0, 1, 2:
		off, n, shift := m.offset(), m.length(), m.address()
		m.both(fmt.Sprintf("WriteAt %d bytes at %d, address %d", n, off, shift), i, func(_ *half, f File) (_ []byte, r []any) {
			m.guarded(n, shift, func(p []byte) {
				m.fill(p)
				r = written(f.WriteAt(p, off))
			})
			return nil, r
		})
		m.window(off, n)
	case 3, 4:
		off, n, shift := m.offset(), m.length(), m.address()
		m.both(fmt.Sprintf("ReadAt %d bytes at %d, address %d", n, off, shift), i, func(_ *half, f File) (b []byte, r []any) {
			m.guarded(n, shift, func(p []byte) {
				k, err := f.ReadAt(p, off)
				b, r = p[:k], results(k, err)
			})
			return b, r
		})
	case 5, 6:
		n, shift := m.length(), m.address()
		off := Offset(m.want.handles[i].Fd())
		m.both(fmt.Sprintf("Write %d bytes, address %d", n, shift), i, func(_ *half, f File) (_ []byte, r []any) {
			m.guarded(n, shift, func(p []byte) {
				m.fill(p)
				r = results(f.Write(p))
			})
			return nil, r
		})
		m.window(off, n)
	case 7:
		n, shift := m.length(), m.address()
		m.both(fmt.Sprintf("Read %d bytes, address %d", n, shift), i, func(_ *half, f File) (b []byte, r []any) {
			m.guarded(n, shift, func(p []byte) {
				k, err := f.Read(p)
				b, r = p[:k], results(k, err)
			})
			return b, r
		})
	case 8:
		m.seek(i, m.offset(), m.next()%4)
	case 9:
		size := m.offset()
		m.both(fmt.Sprintf("Truncate to %d", size), i, func(_ *half, f File) ([]byte, []any) {
			return nil, []any{f.Truncate(size)}
		})
	case 10:
		if m.syncs++; m.syncs > 1 {
			return // it is slow
		}
		m.both("Sync", i, func(_ *half, f File) ([]byte, []any) { return nil, []any{f.Sync()} })
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

// window compares what is around a write.
func (m *Machine) window(off int64, n int) {
	const margin = 4096
	lo := max(off-margin, 0)
	if lo > math.MaxInt64-1<<30 {
		return
	}
	m.compare(lo, n+2*margin)
}

// compare reads a range of both files through the page cache.
func (m *Machine) compare(off int64, n int) {
	m.Helper()
	for _, h := range []*half{m.want, m.got} {
		if cap(h.content) < n {
			h.content = make([]byte, n)
		}
		k, err := h.peek.ReadAt(h.content[:n], off)
		if err != nil && err != io.EOF {
			m.Fatal(err)
		}
		h.content = h.content[:k]
	}
	if !bytes.Equal(m.want.content, m.got.content) {
		m.Errorf("the files differ from byte %d on", off+int64(mismatch(m.want.content, m.got.content)))
	}
}

// seek keeps the offset where a write does not make a large file.
func (m *Machine) seek(i int, off int64, whence int) {
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
	os.O_RDWR | os.O_TRUNC, os.O_RDWR | os.O_CREATE | os.O_EXCL,
}

func (m *Machine) reopen(i, k int) {
	flag := flags[k%len(flags)]
	m.both(fmt.Sprintf("opened again with flags %#x", flag), i, func(h *half, f File) ([]byte, []any) {
		closed := f.Close()
		again, err := m.open(h == m.got, i, flag)
		if err == nil {
			h.handles[i] = again
		}
		return nil, []any{closed, err}
	})
}

// readFrom copies from a buffer, or from some place of another file.
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
			// os names the call that copies between files, and finds out before it reads.
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
			// os blames the sink for what the call that copies between files says.
			return content, []any{n, errors.Is(err, fs.ErrClosed), errors.Is(err, syscall.EBADF)}
		}
		return content, []any{n, err}
	})
}

// finish compares all of both files, as they are in the page cache and on the disk.
func (m *Machine) finish() {
	size := m.size(m.want)
	if size > 8<<20 {
		m.Fatalf("the file has grown to %d bytes", size)
	}
	m.compare(0, int(size)+1)
	f, err := m.open(true, 0, os.O_RDONLY)
	if err != nil {
		m.Fatal(err)
	}
	defer f.Close()
	direct := m.slab
	if len(direct) < int(size)+1 {
		direct = make([]byte, size+1)
	}
	n, err := f.ReadAt(direct[:size+1], 0)
	if err != io.EOF || !bytes.Equal(direct[:n], m.want.content) {
		m.Errorf("direct: %d bytes of %d, %v; or they differ", n, size, err)
	}
}
