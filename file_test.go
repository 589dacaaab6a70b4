package aio_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"testing/iotest"
	"time"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/internal/aiotest/subject"
	"github.com/go-aio/aio/internal/inode"
)

// The oracle of these tests is os.File: what is asked of an aio.File is asked of an
// os.File too, step by step, and all that a caller can see must be equal. The steps are
// in internal/aiotest.

// The opening functions have the types of those of package os, but for the File.
var (
	_ func(string) (*aio.File, error)                   = aio.Open
	_ func(string) (*aio.File, error)                   = aio.Create
	_ func(string, int, fs.FileMode) (*aio.File, error) = aio.OpenFile
	_ func(string, string) (*aio.File, error)           = aio.OpenInRoot
	_ func(string, string) (*aio.File, error)           = aio.CreateTemp
	_ func(uintptr, string) *aio.File                   = aio.NewFile
	_ aiotest.File                                      = (*aio.File)(nil)
)

// The children of the tests: processes that lack something, or that write beside us.
func TestMain(m *testing.M) {
	aiotest.Main(m, inode.Count, map[string]func(args []string){
		"refuse": func(args []string) { must(aiotest.Refuse(args[0])) },
		"limit":  func(args []string) { must(aiotest.LimitFileSize(uint64(number(args[0])))) },
		"configure": func(args []string) {
			must(aio.Configure(aio.Config{Depth: number(args[0]), Threads: number(args[1])}))
		},
		"stripes":  stripesChild,
		"hideproc": func([]string) { must(aiotest.HideProc()) },
		"nobody":   func([]string) {},
		"nothing":  func([]string) {},
	})
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	must(err)
	return n
}

func TestMethodSet(t *testing.T) {
	aiotest.Guard(t)
	want, got := reflect.TypeFor[*os.File](), reflect.TypeFor[*aio.File]()
	for w := range want.Methods() {
		g, ok := got.MethodByName(w.Name)
		if !ok {
			t.Errorf("no method %s", w.Name)
			continue
		}
		if a, b := signature(w.Type, want), signature(g.Type, got); a != b {
			t.Errorf("%s is %s; of os.File it is %s", w.Name, b, a)
		}
		if aiotest.Methods[w.Name] == nil {
			t.Errorf("method %s is not tested", w.Name)
		}
	}
}

// signature returns the types of a method, with that of its receiver called *File.
func signature(method, receiver reflect.Type) string {
	return strings.ReplaceAll(method.String(), receiver.String(), "*File")
}

// The zero value of an os.File panics. Ours does what a nil one does.
func TestInvalidFile(t *testing.T) {
	aiotest.Guard(t)
	oracle := aiotest.Package{NewFile: func(uintptr, string) aiotest.File { return (*os.File)(nil) }}
	for name, f := range map[string]*aio.File{"nil": nil, "zero": new(aio.File)} {
		t.Run(name, func(t *testing.T) {
			invalid := aiotest.Package{NewFile: func(uintptr, string) aiotest.File { return f }}
			aiotest.CompareWith(t, t.TempDir(), oracle, invalid, func(s *aiotest.Side) {
				aiotest.Every(s, s.NewFile(0, ""))
			})
			if f.Direct() {
				t.Error("Direct is true")
			}
			if err := f.Datasync(); !errors.Is(err, os.ErrInvalid) {
				t.Errorf("Datasync: %v", err)
			}
		})
	}
}

func TestClosedFile(t *testing.T) {
	aiotest.Guard(t)
	dir := aiotest.Dir(t)
	for _, m := range subject.Modes {
		for _, busy := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/busy=%t", m.Name, busy), func(t *testing.T) {
				if busy {
					defer crowded(t, subject.Put(t, dir, "other", aiotest.Pattern(8192, 1)), 16)()
				}
				aiotest.Compare(t, dir, subject.Package(t, m.Flag), func(s *aiotest.Side) {
					s.Put("file", aiotest.Pattern(10000, 1))
					f := s.MustOpen("file", os.O_RDWR)
					if g, ok := f.(*aio.File); ok {
						defer func() {
							if err := g.Datasync(); !errors.Is(err, fs.ErrClosed) {
								t.Errorf("Datasync: %v", err)
							}
						}()
						if busy {
							defer aio.Hold(g)() // as a request under way would
						}
					}
					s.Note("Close", f.Close())
					aiotest.Every(s, f)
				})
			})
		}
	}
}

func TestContract(t *testing.T) {
	testContract(t, aiotest.Dir(t), true)
}

// TestContractTmpfs is the contract where there is no direct I/O.
func TestContractTmpfs(t *testing.T) {
	testContract(t, aiotest.TmpfsDir(t), false)
}

func testContract(t *testing.T, dir string, direct bool) {
	for _, m := range subject.Modes {
		for _, c := range aiotest.Contract {
			if c.Root && aiotest.InChild() && os.Geteuid() != 0 {
				continue // it runs in the parent, which is root
			}
			t.Run(m.Name+"/"+c.Name, func(t *testing.T) {
				aiotest.Guard(t)
				p := subject.Package(t, m.Flag)
				p.Direct = p.Direct && direct
				aiotest.Compare(t, dir, p, c.Do)
			})
		}
	}
}

// withoutKernel are the tests that must pass in any process.
const withoutKernel = "^(TestContract|TestConcurrent|TestCloseInFlight|TestStripes)$"

// TestRefused is for processes that a seccomp filter keeps from kernel AIO, or from part
// of it.
func TestRefused(t *testing.T) {
	if !aiotest.Linux {
		t.Skip("there is no kernel AIO to refuse")
	}
	for _, name := range []string{"io_setup", "io_submit", "io_getevents"} {
		t.Run(name, func(t *testing.T) {
			aiotest.Guard(t)
			aiotest.RunChild(t, withoutKernel, "refuse", name)
		})
	}
}

func TestConfigure(t *testing.T) {
	aiotest.Guard(t)
	for _, c := range []aio.Config{{Depth: -1}, {Depth: 65537}, {Threads: -1}, {Threads: 10001}, {Depth: math.MaxInt32}} {
		if err := aio.Configure(c); err == nil || !strings.Contains(err.Error(), "must be") {
			t.Errorf("Configure(%+v): %v", c, err)
		}
	}
	f := subject.Open(t, subject.Put(t, aiotest.Dir(t), "file", []byte("text")), os.O_RDONLY)
	if _, err := f.ReadAt(make([]byte, 4), 0); err != nil {
		t.Fatal(err)
	}
	if err := aio.Configure(aio.Config{}); err == nil {
		t.Error("Configure after the first use succeeded")
	}
	if aiotest.InChild() {
		return // called twice, by now
	}
	// With room for one everywhere, what waits for itself waits for ever.
	aiotest.RunChild(t, withoutKernel+"|^TestConfigure$", "configure", "1", "1")
}

// TestFileSizeLimit is for writes that run into RLIMIT_FSIZE within a block.
func TestFileSizeLimit(t *testing.T) {
	aiotest.Guard(t)
	if !aiotest.Linux {
		t.Skip("no RLIMIT_FSIZE")
	}
	const limit = 10000
	if !aiotest.InChild() {
		aiotest.RunChild(t, "^TestFileSizeLimit$", "limit", strconv.Itoa(limit))
		return
	}
	dir := aiotest.Dir(t)
	for _, m := range subject.Modes {
		aiotest.Compare(t, dir, subject.Package(t, m.Flag), func(s *aiotest.Side) {
			for _, off := range []int64{0, 1, 4096, 8192, 9999, limit, 12288} {
				for _, n := range []int{1, 1808, 4096, 8192, 70000} {
					os.Remove(s.Path("file"))
					f := s.MustOpen("file", os.O_RDWR|os.O_CREATE)
					what := fmt.Sprintf("%d bytes at %d", n, off)
					_, err := f.WriteAt(aiotest.Pattern(n, 1), off) // os.File does not count what it wrote
					s.Note("WriteAt "+what, err)
					s.State(f)
					_, err = f.Seek(off, io.SeekStart)
					s.Note("Seek", err)
					k, err := f.Write(aiotest.Pattern(n, 2))
					s.Note("Write "+what, k, err)
					s.State(f)
					s.Note("Truncate", f.Truncate(off))
					s.State(f)
				}
			}
		})
	}
}

// TestTwin looks at the flags of the direct descriptor.
func TestTwin(t *testing.T) {
	aiotest.Guard(t)
	if !aiotest.Direct {
		t.Skip("there is no direct I/O")
	}
	const kept = os.O_RDWR | os.O_WRONLY | os.O_SYNC | aiotest.O_DSYNC | os.O_APPEND
	name := subject.Put(t, aiotest.Dir(t), "file", nil)
	for _, flag := range []int{os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_RDWR | os.O_SYNC, os.O_RDWR | aiotest.O_DSYNC, os.O_WRONLY | os.O_APPEND} {
		f := subject.Open(t, name, flag|os.O_CREATE|os.O_TRUNC|aio.O_DIRECT)
		got, closed := aiotest.OpenFlags(t, aio.TwinFd(f))
		if want := flag &^ os.O_APPEND; got&kept != want || got&aio.O_DIRECT == 0 || !closed {
			t.Errorf("opened with %#x: the twin has %#x; closed by exec %t", flag, got, closed)
		}
		if got, closed = aiotest.OpenFlags(t, int(f.Fd())); got&kept != flag || got&aio.O_DIRECT != 0 || !closed {
			t.Errorf("opened with %#x: the plain descriptor has %#x; closed by exec %t", flag, got, closed)
		}
	}
}

// Datasync has no counterpart in os; its errors are those of Sync.
func TestDatasync(t *testing.T) {
	aiotest.Guard(t)
	if !aiotest.Linux {
		t.Skip("no /proc")
	}
	other := subject.Put(t, aiotest.Dir(t), "file", aiotest.Pattern(8192, 1))
	for _, name := range []string{other, "/proc/version", "/dev/null"} {
		for _, crowd := range []int{0, 16} {
			stop := crowded(t, other, crowd)
			f, g := subject.Open(t, name, os.O_RDONLY), subject.OpenOS(t, name, os.O_RDONLY)
			if got, want := aiotest.Describe(f.Datasync()), aiotest.Describe(g.Sync()); got != want {
				t.Errorf("%s: %s; want %s", name, got, want)
			}
			stop()
		}
	}
}

// TestThreads has a crowd make plain system calls in a process that may have four at a
// time.
func TestThreads(t *testing.T) {
	aiotest.Guard(t)
	if !aiotest.InChild() {
		aiotest.RunChild(t, "^TestThreads$", "configure", "64", "4")
		return
	}
	name := subject.Put(t, aiotest.Dir(t), "file", aiotest.Pattern(1<<20, 1))
	before := pprof.Lookup("threadcreate").Count()
	var wg sync.WaitGroup
	for i := range 500 {
		f := subject.Open(t, name, os.O_RDWR|os.O_SYNC|subject.Modes[i%2].Flag)
		wg.Go(func() {
			if _, err := f.WriteAt([]byte("some text"), int64(i)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := pprof.Lookup("threadcreate").Count() - before; n > 20 {
		t.Errorf("%d more threads", n)
	}
}

func TestReader(t *testing.T) {
	aiotest.Guard(t)
	content := aiotest.Pattern(4500, 1)
	name := subject.Put(t, aiotest.Dir(t), "file", content)
	for _, m := range subject.Modes {
		if err := iotest.TestReader(subject.Open(t, name, m.Flag), content); err != nil {
			t.Errorf("%s: %v", m.Name, err)
		}
	}
}

// aioFS is a filesystem of aio.Files.
type aioFS struct {
	dir  string
	flag int
}

func (fsys aioFS) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	f, err := aio.OpenFile(filepath.Join(fsys.dir, filepath.FromSlash(name)), fsys.flag, 0)
	if err != nil {
		return nil, err // not f: an interface that holds a nil *File is not nil
	}
	return f, nil
}

func TestFS(t *testing.T) {
	aiotest.Guard(t)
	dir := aiotest.Dir(t)
	if err := os.MkdirAll(filepath.Join(dir, "a", "b"), 0o755); err != nil {
		t.Fatal(err)
	}
	subject.Put(t, dir, "empty", nil)
	subject.Put(t, dir, "a/some", aiotest.Pattern(600, 1))
	subject.Put(t, dir, "a/b/block", aiotest.Pattern(512, 1))
	for _, m := range subject.Modes {
		if err := fstest.TestFS(aioFS{dir, m.Flag}, "empty", "a/some", "a/b/block"); err != nil {
			t.Errorf("%s: %v", m.Name, err)
		}
	}
}

func TestDirect(t *testing.T) {
	aiotest.Guard(t)
	name := subject.Put(t, aiotest.Dir(t), "file", aiotest.Pattern(8192, 1))
	for _, m := range subject.Modes {
		f := subject.Open(t, name, os.O_RDWR|m.Flag)
		if want := aiotest.Direct && m.Flag != 0; f.Direct() != want {
			t.Errorf("%s: Direct is %t", m.Name, f.Direct())
		}
		f.Close()
		if want := aiotest.Direct && m.Flag != 0; f.Direct() != want {
			t.Errorf("%s: Direct is %t after Close", m.Name, f.Direct())
		}
	}
}

// TestAllocs has a crowd read in the background in its second half, so that requests go
// through the shared queue and not the one-request lane.
func TestAllocs(t *testing.T) {
	aiotest.Guard(t)
	if aiotest.Race {
		t.Skip("the race detector allocates")
	}
	name := subject.Put(t, aiotest.Dir(t), "file", aiotest.Pattern(4<<20, 1))
	for _, crowd := range []int{0, 16} {
		for _, m := range subject.Modes {
			t.Run(fmt.Sprintf("%s/crowd=%d", m.Name, crowd), func(t *testing.T) {
				f := subject.Open(t, name, os.O_RDWR|m.Flag)
				defer crowded(t, name, crowd)()
				testAllocs(t, f)
			})
		}
	}
}

// crowded starts goroutines that read until the returned function is called.
func crowded(t *testing.T, name string, n int) (stop func()) {
	var quit atomic.Bool
	var wg, started sync.WaitGroup
	for range n {
		f, p := subject.Open(t, name, os.O_RDONLY|aio.O_DIRECT), aiotest.Buffer(4096, 0)
		started.Add(1)
		wg.Go(func() {
			started.Done()
			for !quit.Load() {
				if _, err := f.ReadAt(p, 4096); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	started.Wait()
	time.Sleep(time.Millisecond) // by now they should be in the kernel
	return func() {
		quit.Store(true)
		wg.Wait()
	}
}

func testAllocs(t *testing.T, f *aio.File) {
	check := func(what string, call func() error) {
		least := math.Inf(1)
		for range 3 { // those of the crowd and of the runtime count too, now and then
			least = min(least, testing.AllocsPerRun(20, func() {
				if err := call(); err != nil {
					t.Errorf("%s: %v", what, err)
				}
			}))
			if least == 0 {
				return
			}
		}
		t.Errorf("%s: %v allocations", what, least)
	}
	for _, n := range []int{100, 4096, 4097, 65536, 65536 + 100, 1<<20 + 1} {
		for _, shift := range []int{0, 1} {
			p := aiotest.Buffer(n, shift)
			for _, off := range []int64{0, 1, 4096} {
				what := fmt.Sprintf("%d bytes at %d, address %d", n, off, shift)
				check("ReadAt "+what, func() error { _, err := f.ReadAt(p, off); return err })
				check("WriteAt "+what, func() error { _, err := f.WriteAt(p, off); return err })
			}
		}
	}
	p := aiotest.Buffer(4096, 0)
	check("Seek", func() error { _, err := f.Seek(0, io.SeekStart); return err })
	check("Read", func() error { _, err := f.Read(p[:10]); return err })
	check("Write", func() error { _, err := f.Write(p); return err })
	check("WriteString", func() error { _, err := f.WriteString("text"); return err })
	check("Sync", f.Sync)
	check("Datasync", f.Datasync)
	check("Truncate", func() error { return f.Truncate(4 << 20) })
}

// A layout says who writes where in TestStripes.
type layout struct {
	name           string
	width, stripes int // bytes, number
	writers        int
}

var layouts = []layout{
	{"100 stripes of 40 bytes in one block", 40, 100, 100},
	{"40 stripes of 100 bytes in one block", 100, 40, 100}, // some have the same to say
	{"100 stripes of 100 bytes in three blocks", 100, 100, 100},
}

// value is what a stripe is full of after a round.
func value(round, stripe int) byte { return byte(round*31 + stripe*7 + 1) }

// byChild reports whether a writer is in the other process.
func byChild(writer int) bool { return writer%10 == 9 }

// TestStripes has a hundred writers write bytes of one block that do not overlap,
// through eight Files, an os.File and another process. None may be lost.
func TestStripes(t *testing.T) {
	for i, l := range layouts {
		t.Run(l.name, func(t *testing.T) {
			aiotest.Guard(t)
			testStripes(t, i)
		})
	}
}

func testStripes(t *testing.T, number int) {
	l := layouts[number]
	name := subject.Put(t, aiotest.Dir(t), "file", make([]byte, l.width*l.stripes))
	writers := []io.WriterAt{subject.OpenOS(t, name, os.O_RDWR)}
	for i := range 8 {
		writers = append(writers, subject.Open(t, name, os.O_RDWR|subject.Modes[i%2].Flag))
	}
	child := func(int) {}
	if !aiotest.InChild() {
		child = startStripes(t, name, number)
	}
	reader, direct := subject.OpenOS(t, name, os.O_RDONLY), subject.Open(t, name, os.O_RDONLY|aio.O_DIRECT)
	got := aiotest.Buffer(l.width*l.stripes, 0)
	for round := range aiotest.Scaled(1000) {
		var wg sync.WaitGroup
		wg.Go(func() { child(round) })
		for w := range l.writers {
			if byChild(w) && !aiotest.InChild() {
				continue
			}
			wg.Go(func() {
				if err := l.write(writers[w%len(writers)], w, round); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		l.check(t, reader, got, round)
		if round%16 == 0 {
			l.check(t, direct, got, round)
		}
		if t.Failed() {
			return
		}
	}
}

func (l layout) write(f io.WriterAt, writer, round int) error {
	stripe := writer % l.stripes
	_, err := f.WriteAt(bytes.Repeat([]byte{value(round, stripe)}, l.width), int64(stripe*l.width))
	return err
}

func (l layout) check(t *testing.T, f io.ReaderAt, p []byte, round int) {
	t.Helper()
	clear(p)
	if n, err := f.ReadAt(p, 0); n != len(p) {
		t.Fatal(n, err)
	}
	for i, b := range p {
		if want := value(round, i/l.width); b != want {
			t.Fatalf("round %d, %T: byte %d, of stripe %d, is %d; want %d", round, f, i, i/l.width, b, want)
		}
	}
}

// startStripes starts the other process and returns what has it write its part of a
// round.
func startStripes(t *testing.T, file string, number int) (write func(round int)) {
	cmd := aiotest.Child(t, "^$", "stripes", file, strconv.Itoa(number))
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	answers := bufio.NewScanner(out)
	return func(round int) {
		fmt.Fprintln(in, round)
		if !answers.Scan() || answers.Text() != strconv.Itoa(round) {
			t.Errorf("the other process answers %q to round %d", answers.Text(), round)
		}
	}
}

// stripesChild is the other process: it reads the numbers of rounds, writes and answers.
func stripesChild(args []string) {
	l := layouts[number(args[1])]
	var files []*aio.File
	for _, m := range subject.Modes {
		f, err := aio.OpenFile(args[0], os.O_RDWR|m.Flag, 0)
		must(err)
		files = append(files, f)
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var wg sync.WaitGroup
		for w := range l.writers {
			if byChild(w) {
				wg.Go(func() { must(l.write(files[w/10%2], w, number(in.Text()))) })
			}
		}
		wg.Wait()
		fmt.Println(in.Text())
	}
	os.Exit(0)
}

// TestSize watches the size of a file that grows through direct Files: it is exact after
// each write and never goes back, and behind it are the bytes that were written.
func TestSize(t *testing.T) {
	aiotest.Guard(t)
	dir := aiotest.Dir(t)
	for _, flag := range []int{0, os.O_APPEND} {
		t.Run(fmt.Sprintf("O_APPEND=%t", flag != 0), func(t *testing.T) {
			name := subject.Put(t, dir, "file", nil)
			f := subject.Open(t, name, os.O_RDWR|flag|aio.O_DIRECT)
			defer aiotest.WatchSize(t, subject.OpenOS(t, name, os.O_RDONLY))()
			size := int64(0)
			for i := range aiotest.Scaled(2000) {
				// Every other one begins at a block.
				n := []int{100, 3996, 4096, 8192, 1, 4095, 70000, 4096 - 70000%4096}[i%8]
				p := aiotest.Pattern(n, byte(i))
				_, err := f.Seek(size, io.SeekStart)
				if err == nil && (i%3 != 0 || flag != 0) {
					_, err = f.Write(p)
				} else if err == nil {
					_, err = f.WriteAt(p, size)
				}
				size += int64(n)
				fi, err2 := os.Stat(name)
				if err != nil || err2 != nil || fi.Size() != size {
					t.Fatal(err, err2, fi.Size(), size)
				}
			}
		})
	}
}

// TestConcurrent has everything happen at once, with signals and collections.
func TestConcurrent(t *testing.T) {
	for _, procs := range []int{1, 8} {
		t.Run(fmt.Sprintf("GOMAXPROCS=%d", procs), func(t *testing.T) {
			aiotest.Guard(t)
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
			if pprof.StartCPUProfile(io.Discard) == nil { // for its signals
				defer pprof.StopCPUProfile()
			}
			defer aiotest.Storm()()
			aiotest.Hammer(t, aiotest.Dir(t), subject.Package(t, 0), 24, 192<<10, aiotest.Scaled(300))
		})
	}
}

// TestOneFolio has direct and buffered writes meet in one large folio of the page cache,
// where the kernel, left alone, loses bytes and fails the next Sync with EIO.
func TestOneFolio(t *testing.T) {
	aiotest.Guard(t)
	aiotest.Hammer(t, aiotest.Dir(t), subject.Package(t, 0), 15, 128<<10, aiotest.Scaled(500))
}

// TestOpenedWhileCopying opens a direct File while somebody copies to a plain one, which
// no lock of ours can end: writes to the same place, here of the same bytes, must not go
// past the page cache, or the next Sync fails.
func TestOpenedWhileCopying(t *testing.T) {
	aiotest.Guard(t)
	const blocks = 16
	want := aiotest.Pattern(blocks*4096, 1)
	name := subject.Put(t, aiotest.Dir(t), "file", want)
	for range aiotest.Scaled(20) {
		plain := subject.Open(t, name, os.O_RDWR)
		r, w := io.Pipe()
		var writers, copying sync.WaitGroup
		copying.Go(func() {
			if _, err := plain.ReadFrom(&rewinding{r, plain}); err != nil {
				t.Errorf("ReadFrom: %v", err)
			}
		})
		w.Write(want[:4096])
		direct := subject.Open(t, name, os.O_RDWR|aio.O_DIRECT)
		var written atomic.Bool
		for range 32 { // so many that they are in the kernel at the same time
			writers.Go(func() {
				for i := range 2 * blocks {
					off := i % blocks * 4096
					if _, err := direct.WriteAt(want[off:][:4096], int64(off)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		go func() {
			writers.Wait()
			written.Store(true)
		}()
		for i := 1; !written.Load() || i%blocks != 0; i++ {
			w.Write(want[i%blocks*4096:][:4096])
		}
		w.Close()
		copying.Wait()
		for _, f := range []*aio.File{plain, direct} {
			if err := f.Sync(); err != nil {
				t.Error(err)
			}
			got := aiotest.Buffer(len(want), 0)
			if n, err := f.ReadAt(got, 0); n != len(want) || !bytes.Equal(got, want) {
				t.Errorf("direct %t: %d, %v: not what was written", f.Direct(), n, err)
			}
			f.Close()
		}
	}
}

// rewinding has what is copied from it to f go to the same place again and again.
type rewinding struct {
	io.Reader
	f *aio.File
}

func (r *rewinding) Read(p []byte) (int, error) {
	if off, err := r.f.Seek(0, io.SeekCurrent); err != nil || off >= 16*4096 {
		if _, err := r.f.Seek(0, io.SeekStart); err != nil {
			return 0, err
		}
	}
	return r.Reader.Read(p)
}

// TestCloseInFlight closes Files that hundreds of calls use: each is done, or finds the
// File closed.
func TestCloseInFlight(t *testing.T) {
	aiotest.Guard(t)
	content := bytes.Repeat([]byte("text"), 256<<10)
	name := subject.Put(t, aiotest.Dir(t), "file", content)
	for i := range aiotest.Scaled(6) {
		f := subject.Open(t, name, os.O_RDWR|subject.Modes[i%2].Flag)
		var wg sync.WaitGroup
		var done atomic.Int64
		for c := range 300 {
			wg.Go(func() {
				n := []int{4096, 100, 70000}[c%3]
				p := aiotest.Buffer(n, c%2*7)
				for {
					err := callSome(f, p, c, content)
					if errors.Is(err, fs.ErrClosed) {
						return
					}
					if err != nil {
						t.Errorf("call %d: %v", c, err)
						return
					}
					done.Add(1)
				}
			})
		}
		for done.Load() < 200 {
			runtime.Gosched()
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		wg.Wait()
	}
	if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, content) {
		t.Error("the content is not what it was", err)
	}
}

func callSome(f *aio.File, p []byte, c int, content []byte) error {
	off := int64(c % 64 * 8192)
	switch {
	case c%64 == 0:
		return f.Sync()
	case c%4 == 0:
		n, err := f.WriteAt(content[off:][:len(p)], off)
		if n < len(p) && err == nil {
			return io.ErrShortWrite
		}
		return err
	}
	n, err := f.ReadAt(p, off)
	if !bytes.Equal(p[:n], content[off:][:n]) {
		return errors.New("not what is there")
	}
	if n < len(p) && err == nil {
		return io.ErrUnexpectedEOF
	}
	return err
}

// TestReusedDescriptor closes Files in use while others are opened, which get their
// numbers. No byte may come from there, or go there.
func TestReusedDescriptor(t *testing.T) {
	aiotest.Guard(t)
	dir := aiotest.Dir(t)
	const size = 256 << 10
	ours, theirs := bytes.Repeat([]byte("o"), size), bytes.Repeat([]byte("t"), size)
	name, other := subject.Put(t, dir, "ours", ours), subject.Put(t, dir, "theirs", theirs)
	for round := range aiotest.Scaled(300) {
		f := subject.Open(t, name, os.O_RDWR|aio.O_DIRECT)
		var wg sync.WaitGroup
		for c := range 48 {
			wg.Go(func() {
				p := aiotest.Buffer(4096, c%3/2) // with a bounce buffer, some
				for {
					var err error
					if c%2 == 0 {
						copy(p, ours)
						_, err = f.WriteAt(p, int64(c*4096))
					} else if _, err = f.ReadAt(p, int64(c*4096)); err == nil && !bytes.Equal(p, ours[:4096]) {
						t.Errorf("read %q", p[:16])
					}
					if err != nil {
						if !errors.Is(err, fs.ErrClosed) {
							t.Error(err)
						}
						return
					}
				}
			})
		}
		time.Sleep(time.Duration(round%10) * 50 * time.Microsecond)
		var files [4]*os.File
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		for i := range files {
			files[i], _ = os.OpenFile(other, os.O_RDWR|aio.O_DIRECT, 0)
		}
		wg.Wait()
		got := aiotest.Buffer(size, 0)
		if n, err := files[0].ReadAt(got, 0); n != size || !bytes.Equal(got, theirs) {
			t.Fatalf("round %d: %d, %v: the other file has been written to", round, n, err)
		}
		for _, f := range files {
			f.Close()
		}
	}
}

// TestDropped drops Files without Close, some with calls under way.
func TestDropped(t *testing.T) {
	aiotest.Guard(t)
	content := aiotest.Pattern(1<<20, 1)
	name := subject.Put(t, aiotest.Dir(t), "file", content)
	files, inodes := len(aiotest.Descriptors()), inode.Count()
	var wg sync.WaitGroup
	for i := range aiotest.Scaled(100) {
		f, err := aio.OpenFile(name, os.O_RDWR|subject.Modes[i%2].Flag, 0)
		if err != nil {
			t.Fatal(err)
		}
		for c := range i % 7 {
			wg.Go(func() {
				p := aiotest.Buffer(4096+c, c%2)
				off := int64(c * 4096)
				var err error
				switch c % 3 {
				case 0:
					_, err = f.WriteAt(content[off:][:4096], off)
				case 1:
					err = f.Sync()
				default:
					if _, err = f.ReadAt(p, off); !bytes.Equal(p, content[off:][:len(p)]) {
						t.Error("not what is there")
					}
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
		if i%10 == 0 {
			runtime.GC()
		}
	}
	wg.Wait()
	aiotest.Settle(t, "Files that were dropped are open still", func() bool {
		// The queue, once made, has a descriptor more.
		return len(aiotest.Descriptors()) <= files+1 && inode.Count() == inodes
	})
}

// TestDescriptors counts those of a File: a twin more if it is direct, which outlives
// Close as long as a call uses it.
func TestDescriptors(t *testing.T) {
	aiotest.Guard(t)
	if !aiotest.Direct {
		t.Skip("descriptors cannot be counted")
	}
	name := subject.Put(t, aiotest.Dir(t), "file", nil)
	count := func() (n int) {
		for _, open := range aiotest.Descriptors() {
			if open == name {
				n++
			}
		}
		return n
	}
	for i, m := range subject.Modes {
		f := subject.Open(t, name, os.O_RDWR|m.Flag)
		if n := count(); n != 1+i {
			t.Errorf("%s: %d descriptors", m.Name, n)
		}
		release := aio.Hold(f)
		f.Close()
		if n := count(); n != i {
			t.Errorf("%s: %d descriptors after Close, with a call under way", m.Name, n)
		}
		release()
		if n := count(); n != 0 {
			t.Errorf("%s: %d descriptors after Close", m.Name, n)
		}
	}
}
