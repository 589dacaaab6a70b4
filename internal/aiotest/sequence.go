package aiotest

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A Machine runs programs, which are sequences of operations on Files, on two inodes: one through
// Files of package os alone, the other through several Files of the package under test. It compares
// all results.
type Machine struct {
	testing.TB
	Options
	pkg       Package
	dir       string
	source    []byte // content of the file that ReadFrom reads
	want, got *half
	slab      []byte // buffers are slices of it, at any address
	program   []byte
	small     bool // the file should stay small, because a large one takes time
	syncs     int
	allocated bool // there may be allocated space that is not written
	next4096  int  // the address of the next buffer, see address
	wrote     struct {
		off int64
		n   int
	}
	log   []string
	count Count
}

// Options of a Machine. The zero value is for the fuzzer, whose programs take a few milliseconds.
type Options struct {
	Steps int // the maximum in a program; 48 if it is 0
	// Long programs have transfers of up to 1 MiB, Files that write at the same time, and other
	// names for the file. After each step all of both files is compared, not just the surroundings
	// of a write.
	Long bool
	// Between, if not nil, is an operation without effect on the file. k is any number.
	Between func(k int)
	// Finished, if not nil, inspects the file of either side in the end, after a Sync. content is
	// the expected content.
	Finished func(t testing.TB, name string, content []byte)
}

// A Count counts the work of a Machine.
type Count struct {
	Steps     int        // operations, on both sides
	Bytes     int64      // compared
	Addresses [4096]bool // of buffers, modulo 4096
}

// Count returns the work of m so far.
func (m *Machine) Count() Count { return m.count }

// A half of a Machine is its operations on one inode.
type half struct {
	dir     string
	handles [6]File
	peek    *os.File
	content []byte
}

// NewMachine makes a Machine that keeps its files in dir.
func NewMachine(tb testing.TB, dir string, pkg Package, opt Options) *Machine {
	tb.Helper()
	m := &Machine{pkg: pkg, dir: dir, Options: opt, source: Pattern(200000, 77), slab: Buffer(2<<20, 0)}
	if m.Steps == 0 {
		m.Steps = 48
	}
	if m.Long {
		m.source = Pattern(3<<20, 77)
	}
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

// Handle 2 is an os.File on either side, 1 and 5 are buffered and the others direct.
func (m *Machine) open(got bool, i, flag int) (File, error) {
	if !got {
		return OS.OpenFile(m.want.path(m.name()), flag, 0o644)
	}
	name := m.got.path(m.name())
	switch i % 4 {
	case 2:
		return OS.OpenFile(name, flag, 0o644)
	case 1:
		return m.pkg.OpenFile(name, flag, 0o644)
	}
	return m.pkg.OpenFile(name, flag|O_DIRECT, 0o644)
}

func (h *half) path(name string) string { return filepath.Join(h.dir, name) }

// Run runs a program.
func (m *Machine) Run(t testing.TB, program []byte) {
	t.Helper()
	m.program, m.small = program, false
	m.run(t, m.length())
}

// RunOn runs a program on a file of that size. The first buffer is at that address modulo 4096. If
// the file is small, most programs keep it so.
func (m *Machine) RunOn(t testing.TB, size, address int, program []byte) {
	t.Helper()
	m.program, m.next4096 = program, address
	m.small = m.next()%8 > 0 && size < 1<<20
	m.run(t, size)
}

func (m *Machine) run(t testing.TB, size int) {
	t.Helper()
	m.TB, m.syncs, m.log, m.allocated = t, 0, m.log[:0], false
	m.want, m.got = &half{dir: filepath.Join(m.dir, "want")}, &half{dir: filepath.Join(m.dir, "got")}
	defer m.close()
	m.start(m.source[:size])
	for range m.Steps {
		if len(m.program) == 0 {
			break
		}
		m.step()
		if m.check(); t.Failed() {
			break
		}
	}
	m.finish()
	m.count.Steps += len(m.log)
	if t.Failed() {
		t.Logf("the program, on a file of %d bytes:\n%s", size, strings.Join(m.log, "\n"))
	}
}

// start makes the file and opens it.
func (m *Machine) start(content []byte) {
	m.Helper()
	var flag [len(m.want.handles)]int
	for i := range flag {
		if flag[i] = os.O_RDWR; i > 2 {
			flag[i] = m.flag(m.next() % modes)
		}
	}
	for _, h := range []*half{m.want, m.got} {
		for _, name := range names {
			os.Remove(h.path(name))
		}
		if err := os.WriteFile(h.path(names[0]), content, 0o644); err != nil {
			m.Fatal(err)
		}
		var err error
		if h.peek, err = os.OpenFile(h.path(names[0]), os.O_RDWR, 0); err != nil {
			m.Fatal(err)
		}
		for i := range h.handles {
			if h.handles[i], err = m.open(h == m.got, i, flag[i]); err != nil {
				m.Fatal(err)
			}
		}
	}
	m.log = append(m.log, fmt.Sprintf("opened with flags %#x", flag))
}

func (m *Machine) close() {
	for _, h := range []*half{m.want, m.got} {
		h.peek.Close()
		for _, f := range h.handles {
			if f != nil {
				f.Close()
			}
		}
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

func (m *Machine) size(h *half) int64 {
	fi, err := h.peek.Stat()
	if err != nil {
		m.Fatal(err)
	}
	return fi.Size()
}

// both does the same on both sides, with handle i if i is not negative. do returns the values to
// compare and the bytes read.
func (m *Machine) both(what string, i int, do func(h *half, f File) ([]byte, []any)) {
	m.Helper()
	if i >= 0 {
		what = fmt.Sprintf("handle %d: %s", i, what)
	}
	i = max(i, 0)
	m.log = append(m.log, what)
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
	m.count.Bytes += int64(len(wantBytes))
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

// canary fills buffers and their surroundings.
const canary = 0xA5

// guarded calls do with a buffer whose surroundings must not change.
func (m *Machine) guarded(n, shift int, do func(p []byte)) {
	const guard = 128
	lo := 4096 + shift
	around := m.slab[lo-guard : lo+n+guard]
	for i := range around {
		around[i] = canary
	}
	do(m.slab[lo : lo+n]) // with the capacity to write past the length
	for i := range guard {
		if around[i] != canary || around[guard+n+i] != canary {
			m.Error("a byte beside the buffer has changed")
			return
		}
	}
}

// fill makes bytes to be written that differ from those of the steps before.
func (m *Machine) fill(p []byte) {
	from := len(m.log) * 37 % 10000
	copy(p[copy(p, m.source[from:]):], m.source)
}

// untouched checks the rest of a read's buffer, after the reported bytes. The kernel may have
// zeroed it after the end of a file.
func (m *Machine) untouched(rest []byte) {
	for i, b := range rest {
		if b != canary && b != 0 {
			m.Errorf("byte %d of %d after those that were read has become %#x", i, len(rest), b)
			return
		}
	}
}

// check compares the files after a step: all bytes, or those around a write.
func (m *Machine) check() {
	m.Helper()
	const most, margin = 4 << 20, 4096
	size := m.size(m.want)
	if m.Long && size <= most {
		m.compare(0, int(size)+1)
		return
	}
	if lo := max(m.wrote.off-margin, 0); m.wrote.n > 0 {
		m.compare(lo, int(min(int64(m.wrote.n+2*margin), math.MaxInt64-lo)))
	}
	if size > most {
		m.shrink(size % 9000)
	}
}

// shrink makes the files small again. A file that ends at the largest offset cannot be read whole.
func (m *Machine) shrink(size int64) {
	m.Helper()
	m.log = append(m.log, fmt.Sprintf("truncated to %d by an os.File", size))
	for _, h := range []*half{m.want, m.got} {
		if err := h.peek.Truncate(size); err != nil {
			m.Fatal(err)
		}
	}
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
	m.count.Bytes += int64(len(m.want.content))
	if !bytes.Equal(m.want.content, m.got.content) {
		m.Errorf("the files differ from byte %d on", off+int64(mismatch(m.want.content, m.got.content)))
	}
}

// syncAll makes the files durable. Each open file reports a write-back error once.
func (m *Machine) syncAll() {
	for i := range m.want.handles {
		m.both("Sync in the end", i, func(_ *half, f File) ([]byte, []any) { return nil, []any{f.Sync()} })
	}
	for _, h := range []*half{m.want, m.got} {
		if err := h.peek.Sync(); err != nil {
			m.Errorf("Sync by an os.File: %v", err)
		}
	}
}

// finish compares all of both files, in the page cache and on the disk.
func (m *Machine) finish() {
	if m.Long {
		m.syncAll()
	}
	size := m.size(m.want)
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
	m.count.Bytes += int64(n)
	if m.Finished == nil {
		return
	}
	for _, h := range []*half{m.want, m.got} {
		m.Finished(m.TB, h.path(m.name()), m.want.content)
	}
}
