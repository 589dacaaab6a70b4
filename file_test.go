package aio_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"reflect"
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
	"github.com/go-aio/aio/internal/aiotest/aiofile"
)

// The oracle of these tests is os.File: the tests make the same calls on an aio.File and on an
// os.File, step by step, and all results that a caller can observe must be equal. The steps are in
// internal/aiotest.

// The opening functions have the types of those of package os, except for the File.
var (
	_ func(string) (*aio.File, error)                   = aio.Open
	_ func(string) (*aio.File, error)                   = aio.Create
	_ func(string, int, fs.FileMode) (*aio.File, error) = aio.OpenFile
	_ func(string, string) (*aio.File, error)           = aio.OpenInRoot
	_ func(string, string) (*aio.File, error)           = aio.CreateTemp
	_ func(uintptr, string) *aio.File                   = aio.NewFile
	_ aiotest.File                                      = (*aio.File)(nil)
)

func TestMain(m *testing.M) {
	aiofile.Main(m, map[string]func(args []string){
		"hideproc": func([]string) { aiofile.Must(aiotest.HideProc()) },
		"nobody":   func([]string) {},
		"nothing":  func([]string) {},
	})
}

func TestMethodSet(t *testing.T) {
	aiotest.Guard(t)
	want, got := reflect.TypeFor[*os.File](), reflect.TypeFor[*aio.File]()
	for i := range want.NumMethod() {
		w := want.Method(i)
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

// signature returns the types of a method, with its receiver called *File.
func signature(method, receiver reflect.Type) string {
	return strings.ReplaceAll(method.String(), receiver.String(), "*File")
}

// The zero value of an os.File panics. A zero File returns the errors of a nil one.
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
	for _, m := range aiofile.Modes {
		for _, busy := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/busy=%t", m.Name, busy), func(t *testing.T) {
				if busy {
					defer crowded(t, aiofile.Put(t, dir, "other", aiotest.Pattern(8192, 1)), 16)()
				}
				aiotest.Compare(t, dir, aiofile.Package(t, m.Flag), func(s *aiotest.Side) {
					s.Put("file", aiotest.Pattern(10000, 1))
					f := s.MustOpen("file", os.O_RDWR)
					if g, ok := f.(*aio.File); ok {
						defer func() {
							if err := g.Datasync(); !errors.Is(err, fs.ErrClosed) {
								t.Errorf("Datasync: %v", err)
							}
						}()
						if busy {
							defer aio.Hold(g)() // like a request in flight
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

// TestContractByOtherForms runs the contract of Ops, of calls with a context and of Batches.
func TestContractByOtherForms(t *testing.T) {
	aiotest.NeedsTime(t)
	dir := aiotest.Dir(t)
	for _, c := range aiotest.Contract {
		if c.Root && !aiotest.FullLength() {
			continue // of TestContract
		}
		t.Run(c.Name, func(t *testing.T) {
			aiotest.Guard(t)
			aiotest.Compare(t, dir, aiofile.Roundabout(t, aio.O_DIRECT), c.Do)
		})
	}
}

// TestContractTmpfs runs the contract where there is no direct I/O.
func TestContractTmpfs(t *testing.T) {
	aiotest.NeedsTime(t)
	testContract(t, aiotest.TmpfsDir(t), false)
}

func testContract(t *testing.T, dir string, direct bool) {
	for _, m := range aiofile.Modes {
		for _, c := range aiotest.Contract {
			if c.Root && aiotest.InChild() && os.Geteuid() != 0 {
				continue // it runs in the parent, which is root
			}
			if c.Root && !aiotest.FullLength() && (testing.Short() || !direct) {
				continue // loop devices are slow
			}
			t.Run(m.Name+"/"+c.Name, func(t *testing.T) {
				aiotest.Guard(t)
				p := aiofile.Package(t, m.Flag)
				p.Direct = p.Direct && direct
				aiotest.Compare(t, dir, p, c.Do)
			})
		}
	}
}

// withContract returns the pattern of the tests that a child runs: another one, and the contract.
// Unless at full length it is only that of direct Files, and with -short there is none.
func withContract(other string) string {
	switch {
	case aiotest.FullLength():
		return "^(TestContract|" + other + ")$"
	case aiotest.Brief():
		return "^" + other + "$"
	}
	return "^(TestContract|" + other + ")$/^direct$"
}

// TestRefused runs the contract without kernel AIO.
func TestRefused(t *testing.T) {
	aiotest.NeedsTime(t)
	aiotest.Beside(t)
	aiofile.Refused(t, withContract("TestContract"))
}

// Parts of the contract need more than a directory: other processes, and filesystems that are
// nearly full.

// withoutDirect is package aio; it opens with O_DIRECT where there is no direct I/O.
func withoutDirect(t *testing.T) aiotest.Package {
	p := aiofile.Package(t, aio.O_DIRECT)
	p.OpenFile = func(name string, flag int, perm fs.FileMode) (aiotest.File, error) {
		f, err := aio.OpenFile(name, flag|aio.O_DIRECT, perm)
		if f.Direct() {
			t.Errorf("%s: Direct is true", name)
		}
		return aiotest.Lift(f, err)
	}
	return p
}

// TestNotRoot runs the contract as an unprivileged user. The creator of a file of mode 0444 has it
// open for writing, and cannot open it again.
func TestNotRoot(t *testing.T) {
	if !aiotest.InChild() {
		aiotest.Beside(t)
		aiotest.Guard(t)
		aiotest.RunAsNobody(t, aiotest.Dir(t), withContract("TestNotRoot"))
		return
	}
	aiotest.Guard(t)
	if os.Geteuid() == 0 {
		t.Fatal("we are root")
	}
	dir := aiotest.Dir(t)
	for _, flag := range []int{os.O_RDWR, os.O_WRONLY, os.O_RDWR | os.O_APPEND, os.O_RDWR | os.O_SYNC} {
		for _, perm := range []fs.FileMode{0o444, 0} {
			aiotest.Compare(t, dir, withoutDirect(t), func(s *aiotest.Side) {
				f, err := s.OpenFile(s.Path("file"), flag|os.O_CREATE|os.O_EXCL, perm)
				s.Opened("OpenFile", f, err)
				again, err := s.OpenFile(s.Path("file"), flag, 0)
				s.Opened("OpenFile again", again, err)
				transfers(s, f)
				aiotest.Every(s, f)
			})
		}
	}
}

// TestWithoutProc runs the contract without /proc, which a File needs for its direct descriptor.
func TestWithoutProc(t *testing.T) {
	if !aiotest.InChild() {
		aiotest.Beside(t)
		aiotest.Guard(t)
		aiotest.RunWithoutProc(t, aiotest.Dir(t), withContract("TestWithoutProc"))
		return
	}
	aiotest.Guard(t)
	dir := aiotest.Dir(t)
	aiotest.Compare(t, dir, withoutDirect(t), func(s *aiotest.Side) {
		f, err := s.OpenFile(s.Path("file"), os.O_RDWR|os.O_CREATE, 0o644)
		s.Opened("OpenFile", f, err)
		transfers(s, f)
		aiotest.Every(s, f)
	})
	// Here the direct descriptor has no buffered one beside it, as in an os.File.
	aiotest.Compare(t, dir, withoutDirect(t), func(s *aiotest.Side) {
		name := s.Put("file", aiotest.Pattern(8192, 1))
		f := s.NewFile(aiotest.OpenFd(s, name, os.O_RDWR|aio.O_DIRECT), name)
		s.Opened("NewFile", f, nil)
		transfers(s, f)
		aiotest.Every(s, f)
	})
}

// TestDescriptorLimit opens a File where it may have one descriptor, none, or two but the queue
// none.
func TestDescriptorLimit(t *testing.T) {
	aiotest.Guard(t)
	if !aiotest.InChild() {
		aiotest.RunChild(t, "^TestDescriptorLimit$", "nothing")
		return
	}
	dir := aiotest.Dir(t)
	for _, m := range aiofile.Modes {
		aiotest.Compare(t, dir, aiofile.Package(t, m.Flag), func(s *aiotest.Side) {
			name := s.Put("file", aiotest.Pattern(10000, 1))
			release := aiotest.LeaveDescriptors(s, 0)
			s.Defer(release)
			f, err := s.OpenFile(name, os.O_RDWR, 0)
			s.Opened("OpenFile", f, err)
			f, err = s.OpenFile(s.Path("new"), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
			s.Opened("OpenFile of a new file", f, err)
			f, err = s.Open(name)
			s.Opened("Open", f, err)
			f, err = s.CreateTemp(s.Dir, "temp")
			s.Note("CreateTemp", f == nil, errors.Is(err, fs.ErrNotExist), errors.Unwrap(err))
			f, err = s.OpenInRoot(s.Dir, "file")
			s.Opened("OpenInRoot", f, err)
		})
	}
	aiotest.Compare(t, dir, withoutDirect(t), func(s *aiotest.Side) {
		name := s.Put("file", aiotest.Pattern(10000, 1))
		release := aiotest.LeaveDescriptors(s, 1)
		s.Defer(release)
		f, err := s.OpenFile(name, os.O_RDWR, 0)
		s.Opened("OpenFile", f, err)
		transfers(s, f)
		aiotest.Every(s, f)
	})
	aiotest.Compare(t, dir, aiofile.Package(t, aio.O_DIRECT), func(s *aiotest.Side) {
		name := s.Put("file", aiotest.Pattern(10000, 1))
		f := s.MustOpen("file", os.O_RDWR)
		release := aiotest.LeaveDescriptors(s, 0)
		s.Defer(release)
		transfers(s, f)
		for range 3 { // enough at once to go through the queue
			together(s, "ReadAt", func() (int, error) { return f.ReadAt(aiotest.Buffer(4096, 0), 4096) })
			together(s, "WriteAt", func() (int, error) { return f.WriteAt(aiotest.Buffer(4096, 0), 4096) })
			together(s, "Sync", func() (int, error) { return 0, f.Sync() })
		}
		aiotest.Every(s, f)
		s.Note("name", name)
	})
}

// transfers reads and writes some bytes, and opens nothing.
func transfers(s *aiotest.Side, f aiotest.File) {
	for _, n := range []int{4096, 100, 8192, 70000} {
		p, what := aiotest.Buffer(n, 0), fmt.Sprintf(" %d bytes", n)
		copy(p, aiotest.Pattern(n, byte(n)))
		k, err := f.WriteAt(p, 4096)
		s.Note("WriteAt"+what, k, err)
		k, err = f.Write(p)
		s.Note("Write"+what, k, err)
		k, err = f.ReadAt(p, 8192)
		s.Note("ReadAt"+what, k, err, p[:k])
		k, err = f.Read(p)
		s.Note("Read"+what, k, err, p[:k])
		copied, err := f.ReadFrom(strings.NewReader("some text"))
		s.Note("ReadFrom", copied, err)
		at, err := f.Seek(-1000, io.SeekCurrent)
		s.Note("Seek", at, err)
		copied, err = f.WriteTo(io.Discard)
		s.Note("WriteTo", copied, err)
		s.Note("Sync", f.Sync(), aiotest.Offset(f.Fd()))
		fi, err := f.Stat()
		s.Note("Stat", fi.Size(), err)
	}
}

// together makes a call many times at once.
func together(s *aiotest.Side, what string, call func() (int, error)) {
	type outcome struct {
		n   int
		err error
	}
	outcomes := make(chan outcome)
	const calls = 64
	for range calls {
		go func() {
			n, err := call()
			outcomes <- outcome{n, err}
		}()
	}
	for range calls {
		o := <-outcomes
		s.Note(what, o.n, o.err)
	}
}

// TestReadOnlyFilesystem runs on filesystems that are mounted read-only.
func TestReadOnlyFilesystem(t *testing.T) { aiofile.OnSmall(t, aiotest.ReadOnly) }

// TestFullFilesystem runs on filesystems without space.
func TestFullFilesystem(t *testing.T) {
	aiotest.NeedsTime(t)
	aiofile.OnSmall(t, aiotest.Full)
}

// TestAlmostFullFilesystem runs on filesystems with less space than it writes.
func TestAlmostFullFilesystem(t *testing.T) {
	aiotest.NeedsTime(t)
	aiofile.OnSmall(t, aiotest.AlmostFull)
}

// TestCopyWaits copies to a buffered File during a direct write of the same pages: every kind of
// copy waits.
func TestCopyWaits(t *testing.T) {
	aiotest.NeedsTime(t)
	aiotest.Guard(t)
	dir := aiotest.Dir(t)
	from := aiofile.Put(t, dir, "from", aiotest.Pattern(100_000, 1))
	to := aiofile.Put(t, dir, "to", make([]byte, 100_000))
	direct := aiofile.Open(t, to, os.O_RDWR|aio.O_DIRECT)
	if !direct.Direct() {
		aiotest.NeedsDirect(t)
	}
	for name, do := range map[string]func(to, from *aio.File) (int64, error){
		"ReadFrom": func(to, from *aio.File) (int64, error) { return to.ReadFrom(from) },
		"WriteTo":  func(to, from *aio.File) (int64, error) { return from.WriteTo(to) },
		"io.Copy":  func(to, from *aio.File) (int64, error) { return io.Copy(to, from) },
		"io.CopyN": func(to, from *aio.File) (int64, error) { return io.CopyN(to, from, 50_000) },
	} {
		t.Run(name, func(t *testing.T) {
			over := aio.DirectWrite(direct, 0, 4096)
			done := make(chan error, 1)
			go func() {
				_, err := do(aiofile.Open(t, to, os.O_RDWR), aiofile.Open(t, from, os.O_RDONLY))
				done <- err
			}()
			select {
			case err := <-done:
				t.Errorf("did not wait, %v", err)
				over()
				return
			case <-time.After(50 * time.Millisecond):
			}
			over()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

// TestCloseMeanwhile closes a File during a call that moves its offset. The call completes as if it
// had ended before Close. If it has not begun to transfer, it may return fs.ErrClosed.
func TestCloseMeanwhile(t *testing.T) {
	aiotest.NeedsTime(t)
	aiotest.Guard(t)
	dir := aiotest.Dir(t)
	content := aiotest.Pattern(300_000, 1)
	for n, direct := range map[int]bool{4096: true, 65536: true, 100_001: false} {
		name := aiofile.Put(t, dir, "file", content)
		f, other := aiofile.Open(t, name, os.O_RDWR|aio.O_DIRECT), aiofile.Open(t, name, os.O_RDWR|aio.O_DIRECT)
		if !f.Direct() {
			aiotest.NeedsDirect(t)
		}
		direct = direct && f.Alignment().Write != 0
		want := aiotest.Pattern(n, 2)
		over := aio.DirectWrite(other, 0, 1<<20)
		done := make(chan error, 1)
		go func() {
			p := aiotest.Buffer(n, 0)
			copy(p, want)
			_, err := f.Write(p)
			done <- err
		}()
		time.Sleep(50 * time.Millisecond)
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		over()
		err := <-done
		if err != nil && (direct || !errors.Is(err, fs.ErrClosed)) {
			t.Errorf("Write of %d bytes: %v", n, err)
		}
		if err != nil {
			want = content[:n]
		}
		if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got[:n], want) || !bytes.Equal(got[n:], content[n:]) {
			t.Errorf("%d bytes: the file is another, %v", n, err)
		}
	}
}

// TestHugeTransfers makes transfers longer than the maximum of the kernel, or of os.
//
// It needs 2 GiB of address space, but only some MiB of memory: see aiotest.HugeBuffer. ru_maxrss
// counts each mapping: 1.1 GiB, and 2 GiB at full length. All other tests of this package together
// stay below 256 MiB.
func TestHugeTransfers(t *testing.T) {
	aiotest.NeedsTime(t)
	if math.MaxInt == math.MaxInt32 {
		aiotest.Needs(t, "lengths of 64 bits", "GOARCH=amd64 go test .")
	}
	p, dir := aiotest.HugeBuffer(t), aiotest.Dir(t)
	_, byteMore := aiotest.HugeLengths()
	const begin, end = 4096, aiotest.HugeSize - 8192
	t.Run("read at the end", func(t *testing.T) {
		aiotest.Guard(t)
		aiotest.Compare(t, dir, aiofile.Package(t, aio.O_DIRECT), aiotest.HugeReads(p, end))
	})
	if testing.Short() || aiotest.Race || aiotest.Chosen() || !aiotest.FullLength() {
		return // it needs time, and room on the filesystem
	}
	t.Run("read/a page more", func(t *testing.T) {
		aiotest.Guard(t)
		aiotest.Compare(t, dir, aiofile.Package(t, aio.O_DIRECT), aiotest.HugeReads(p, begin, end))
	})
	t.Run("read/a byte more", func(t *testing.T) {
		aiotest.Guard(t)
		aiotest.Compare(t, dir, aiofile.Package(t, aio.O_DIRECT), aiotest.HugeReads(p[:byteMore], begin, end))
	})
	t.Run("write/direct", func(t *testing.T) {
		aiotest.Guard(t)
		aiotest.Compare(t, dir, aiofile.Package(t, aio.O_DIRECT), aiotest.HugeWrites(p))
	})
}

func TestConfigure(t *testing.T) {
	aiotest.Guard(t)
	for _, c := range []aio.Config{{Depth: -1}, {Depth: 65537}, {Threads: -1}, {Threads: 10001}, {SyncLimit: 10001}, {Depth: math.MaxInt32}} {
		if err := aio.Configure(c); err == nil || !strings.Contains(err.Error(), "must be") {
			t.Errorf("Configure(%+v): %v", c, err)
		}
	}
	f := aiofile.Open(t, aiofile.Put(t, aiotest.Dir(t), "file", []byte("text")), os.O_RDONLY)
	if _, err := f.ReadAt(make([]byte, 4), 0); err != nil {
		t.Fatal(err)
	}
	if err := aio.Configure(aio.Config{}); err == nil {
		t.Error("Configure after the first use succeeded")
	}
	if aiotest.InChild() {
		return // called twice, by now
	}
	aiotest.Beside(t)
	aiofile.Cramped(t, withContract("TestConfigure"))
}

// TestFileSizeLimit makes writes that reach RLIMIT_FSIZE within a block.
func TestFileSizeLimit(t *testing.T) {
	aiotest.Guard(t)
	if !aiotest.Linux {
		aiotest.Needs(t, "RLIMIT_FSIZE", "go test ./... on Linux")
	}
	const limit = 10000
	if !aiotest.InChild() {
		aiotest.RunChild(t, "^TestFileSizeLimit$", "limit", strconv.Itoa(limit))
		return
	}
	dir := aiotest.Dir(t)
	for _, m := range aiofile.Modes {
		aiotest.Compare(t, dir, aiofile.Package(t, m.Flag), func(s *aiotest.Side) {
			for _, off := range []int64{0, 1, 4096, 8192, 9999, limit, 12288} {
				for _, n := range []int{1, 1808, 4096, 8192, 70000} {
					os.Remove(s.Path("file"))
					f := s.MustOpen("file", os.O_RDWR|os.O_CREATE)
					what := fmt.Sprintf("%d bytes at %d", n, off)
					_, err := f.WriteAt(aiotest.Pattern(n, 1), off) // os.File does not count the bytes written
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

// TestDirectDescriptor checks the flags of the direct descriptor.
func TestDirectDescriptor(t *testing.T) {
	aiotest.Guard(t)
	if !aiotest.Direct {
		aiotest.NeedsDirect(t)
	}
	const kept = os.O_RDWR | os.O_WRONLY | os.O_SYNC | aiotest.O_DSYNC | os.O_APPEND
	name := aiofile.Put(t, aiotest.Dir(t), "file", nil)
	for _, flag := range []int{os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_RDWR | os.O_SYNC, os.O_RDWR | aiotest.O_DSYNC, os.O_WRONLY | os.O_APPEND} {
		f := aiofile.Open(t, name, flag|os.O_CREATE|os.O_TRUNC|aio.O_DIRECT)
		got, closed := aiotest.OpenFlags(t, aio.DirectFd(f))
		if want := flag &^ os.O_APPEND; got&kept != want || got&aio.O_DIRECT == 0 || !closed {
			t.Errorf("opened with %#x: the direct descriptor has %#x; closed by exec %t", flag, got, closed)
		}
		if got, closed = aiotest.OpenFlags(t, int(f.Fd())); got&kept != flag || got&aio.O_DIRECT != 0 || !closed {
			t.Errorf("opened with %#x: the buffered descriptor has %#x; closed by exec %t", flag, got, closed)
		}
	}
}

// TestDatasync compares the errors of Datasync, which os lacks, with those of Sync.
func TestDatasync(t *testing.T) {
	aiotest.Guard(t)
	if !aiotest.Linux {
		aiotest.Needs(t, "/proc", "go test ./... on Linux")
	}
	other := aiofile.Put(t, aiotest.Dir(t), "file", aiotest.Pattern(8192, 1))
	for _, name := range []string{other, "/proc/version", "/dev/null"} {
		for _, crowd := range []int{0, 16} {
			stop := crowded(t, other, crowd)
			f, g := aiofile.Open(t, name, os.O_RDONLY), aiofile.OpenOS(t, name, os.O_RDONLY)
			if got, want := aiotest.Describe(f.Datasync()), aiotest.Describe(g.Sync()); got != want {
				t.Errorf("%s: %s; want %s", name, got, want)
			}
			stop()
		}
	}
}

// TestThreads runs sync requests of a crowd in a process that may have four of them at a time.
func TestThreads(t *testing.T) {
	aiotest.Guard(t)
	if !aiotest.InChild() {
		aiotest.RunChild(t, "^TestThreads$", "configure", "64", "4")
		return
	}
	name := aiofile.Put(t, aiotest.Dir(t), "file", aiotest.Pattern(1<<20, 1))
	before := pprof.Lookup("threadcreate").Count()
	var wg sync.WaitGroup
	for i := range 500 {
		f := aiofile.Open(t, name, os.O_RDWR|os.O_SYNC|aiofile.Modes[i%2].Flag)
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
	if aiotest.Brief() {
		content = content[:700]
	}
	name := aiofile.Put(t, aiotest.Dir(t), "file", content)
	for _, m := range aiofile.Modes {
		if err := iotest.TestReader(aiofile.Open(t, name, m.Flag), content); err != nil {
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
	aiofile.Put(t, dir, "empty", nil)
	aiofile.Put(t, dir, "a/some", aiotest.Pattern(600, 1))
	aiofile.Put(t, dir, "a/b/block", aiotest.Pattern(512, 1))
	for _, m := range aiofile.Modes {
		if err := fstest.TestFS(aioFS{dir, m.Flag}, "empty", "a/some", "a/b/block"); err != nil {
			t.Errorf("%s: %v", m.Name, err)
		}
	}
}

func TestDirect(t *testing.T) {
	aiotest.Guard(t)
	name := aiofile.Put(t, aiotest.Dir(t), "file", aiotest.Pattern(8192, 1))
	for _, m := range aiofile.Modes {
		f := aiofile.Open(t, name, os.O_RDWR|m.Flag)
		if want := aiotest.Direct && m.Flag != 0; f.Direct() != want {
			t.Errorf("%s: Direct is %t", m.Name, f.Direct())
		}
		f.Close()
		if want := aiotest.Direct && m.Flag != 0; f.Direct() != want {
			t.Errorf("%s: Direct is %t after Close", m.Name, f.Direct())
		}
	}
}

// TestExtendingWrites makes writes for which io_submit(2) would block.
func TestExtendingWrites(t *testing.T) {
	aiotest.Guard(t)
	f := aiofile.Open(t, aiofile.Put(t, aiotest.Dir(t), "file", aiotest.Pattern(256<<10, 1)), os.O_RDWR|aio.O_DIRECT)
	if !f.Direct() {
		aiotest.NeedsDirect(t)
	}
	check := func(what string, end int64, want bool) {
		t.Helper()
		if got := !aio.Extends(f, end); got != want {
			t.Errorf("%s: a write up to %d goes to kernel AIO: %t", what, end, got)
		}
	}
	check("a file of 256 KiB", 256<<10, true)
	check("a file of 256 KiB", 260<<10, false)
	if _, err := f.WriteAt(aiotest.Pattern(4096, 1), 256<<10); err != nil {
		t.Fatal(err)
	}
	check("extended by 4 KiB", 260<<10, true)
	check("extended by 4 KiB", 264<<10, false)
	if err := f.Truncate(4096); err != nil {
		t.Fatal(err)
	}
	check("cut to 4 KiB", 4096, true)
	check("cut to 4 KiB", 8192, false)
	if err := os.Truncate(f.Name(), 1<<20); err != nil {
		t.Fatal(err)
	}
	check("extended by os.Truncate, to 1 MiB", 1<<20, true)
	if err := f.Allocate(1<<20, 1<<20); err != nil {
		t.Fatal(err)
	}
	check("allocated up to 2 MiB", 2<<20, true)
	check("allocated up to 2 MiB", 2<<20+4096, false)
	if err := f.PunchHole(0, 2<<20); err != nil {
		t.Fatal(err)
	}
	check("a hole of 2 MiB", 2<<20, true)
}

// TestReadOfDirtyPages checks that a read of dirty pages uses the page cache. A direct read
// would make the kernel write the pages first.
func TestReadOfDirtyPages(t *testing.T) {
	aiotest.Guard(t)
	f := aiofile.Open(t, aiofile.Put(t, aiotest.Dir(t), "file", aiotest.Pattern(256<<10, 1)), os.O_RDWR|aio.O_DIRECT)
	if !f.Direct() {
		aiotest.NeedsDirect(t)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	want := aiotest.Pattern(256<<10, 1)
	write := func(p []byte, off int) {
		t.Helper()
		if _, err := f.WriteAt(p, int64(off)); err != nil {
			t.Fatal(err)
		}
		copy(want[off:], p)
	}
	read := func(off, n int) {
		t.Helper()
		p := aiotest.Buffer(n, 0)
		if _, err := f.ReadAt(p, int64(off)); err != nil || !bytes.Equal(p, want[off:off+n]) {
			t.Fatalf("ReadAt(%d bytes, %d): %v, or other bytes than were written", n, off, err)
		}
	}
	write([]byte("odd"), 10001)
	read(10001, 3)
	read(8192, 4096)
	nowait := aiotest.Nowait(f.Fd()) // overlayfs does not know it
	if dirty, err := aiotest.DirtyPages(f.Fd()); nowait && err == nil && dirty == 0 {
		t.Error("the page has been written to the disk to be read")
	}
	// A block that is written direct is not looked for in the page cache. Other readers may have
	// seen the block before it reached the disk, and the pages in the cache are older.
	if nowait && !aio.Recent(f, 8192, 12288) {
		t.Error("it is not remembered that the block is in the page cache")
	}
	writes := f.Alignment().Write != 0
	write(aiotest.Pattern(8192, 3), 8192)
	if writes && aio.Recent(f, 8192, 8193) {
		t.Error("a block that has been written past the page cache is looked for there")
	}
	read(10001, 3)
	read(8192, 8192)
	write([]byte("again"), 8190)
	read(8190, 5)
	read(0, 64<<10) // more than the cache has
	read(8190, 5)
	write([]byte("gone soon"), 8190)
	if err := f.PunchHole(4096, 4096); err != nil {
		t.Fatal(err)
	}
	clear(want[4096:8192])
	if aio.Recent(f, 8190, 8199) {
		t.Error("a hole is looked for in the page cache")
	}
	read(8190, 9)
}

// TestAllocs runs a crowd of readers in its second half, so that requests go through the queue.
func TestAllocs(t *testing.T) {
	aiotest.Guard(t)
	if aiotest.Race {
		aiotest.NeedsNoRace(t)
	}
	name := aiofile.Put(t, aiotest.Dir(t), "file", aiotest.Pattern(4<<20, 1))
	for _, crowd := range []int{0, 16} {
		if crowd > 0 && aiotest.Brief() {
			continue
		}
		for _, m := range aiofile.Modes {
			t.Run(fmt.Sprintf("%s/crowd=%d", m.Name, crowd), func(t *testing.T) {
				f := aiofile.Open(t, name, os.O_RDWR|m.Flag)
				defer crowded(t, name, crowd)()
				testAllocs(t, f)
				testVectoredAllocs(t, f)
			})
		}
	}
}

// crowded starts goroutines that read until the returned function is called.
func crowded(t *testing.T, name string, n int) (stop func()) {
	var quit atomic.Bool
	var wg, started sync.WaitGroup
	for range n {
		f, p := aiofile.Open(t, name, os.O_RDONLY|aio.O_DIRECT), aiotest.Buffer(4096, 0)
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
		t.Helper()
		aiotest.AllocsAtMost(t, 0, what, call)
	}
	for i, n := range []int{100, 4096, 4097, 65536, 65536 + 100, 1<<20 + 1} {
		for _, shift := range []int{0, 1} {
			p := aiotest.Buffer(n, shift)
			for j, off := range []int64{0, 1, 4096} {
				if !aiotest.SomeOrFull(i + j + shift) {
					continue
				}
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
	check("Allocate", func() error { return supported(f.Allocate(0, 4096)) })
	check("PunchHole", func() error { return supported(f.PunchHole(8192, 4096)) })
}

// supported returns err, or nil if the filesystem does not support the call.
func supported(err error) error {
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	return err
}

// TestDescriptors counts the descriptors of a File: one more if it is direct, which outlives Close
// during calls that use it.
func TestDescriptors(t *testing.T) {
	aiotest.Guard(t)
	if !aiotest.Direct {
		aiotest.NeedsDirect(t)
	}
	name := aiofile.Put(t, aiotest.Dir(t), "file", nil)
	count := func() (n int) {
		for _, open := range aiotest.Descriptors() {
			if open == name {
				n++
			}
		}
		return n
	}
	for i, m := range aiofile.Modes {
		f := aiofile.Open(t, name, os.O_RDWR|m.Flag)
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
