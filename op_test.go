package aio_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/internal/aiotest/aiofile"
)

// TestOp checks that an Op returns the results of the call, to every caller and each time.
func TestOp(t *testing.T) {
	aiotest.Guard(t)
	content := aiotest.Pattern(10000, 1)
	for _, m := range aiofile.Modes {
		t.Run(m.Name, func(t *testing.T) {
			f := aiofile.Open(t, aiofile.Put(t, aiotest.Dir(t), "file", content), os.O_RDWR|m.Flag)
			p := make([]byte, 300)
			op := f.StartReadAt(p, 9900)
			for range 2 {
				if n, err := op.Wait(); n != 100 || err != io.EOF {
					t.Errorf("Wait of a read = %d, %v", n, err)
				}
				<-op.Done()
				if err := op.Err(); err != io.EOF {
					t.Errorf("Err of a read = %v", err)
				}
			}
			if !bytes.Equal(p[:100], content[9900:]) {
				t.Error("other bytes were read")
			}
			if n, err := f.StartWriteAt([]byte("some text"), 77).Wait(); n != 9 || err != nil {
				t.Errorf("Wait of a write = %d, %v", n, err)
			}
			if n, err := f.StartSync().Wait(); n != 0 || err != nil {
				t.Errorf("Wait of a sync = %d, %v", n, err)
			}
			f.StartReadAt(make([]byte, 300), 0) // without a Wait
			n, err := f.StartReadAt(p[:9], 77).Wait()
			if n != 9 || err != nil || string(p[:9]) != "some text" {
				t.Errorf("Wait of a read after the write = %d, %v, %q", n, err, p[:9])
			}
		})
	}
}

func TestOpUnderWay(t *testing.T) {
	aiotest.Guard(t)
	f := aiofile.Open(t, aiofile.Put(t, t.TempDir(), "file", []byte("content")), os.O_RDONLY)
	release := aio.HoldThreads(f)
	p := make([]byte, 7)
	op := f.StartReadAt(p, 0)
	select {
	case <-op.Done():
		t.Error("done before it could begin")
	case <-time.After(20 * time.Millisecond):
	}
	if err := op.Err(); err != aio.ErrInProgress {
		t.Errorf("Err of an Op under way = %v", err)
	}
	release()
	if n, err := op.Wait(); n != 7 || err != nil || string(p) != "content" {
		t.Errorf("Wait = %d, %v, %q", n, err, p)
	}
}

// TestOpsAndClose checks that Close does not wait for Ops. Each has the result of a call before
// Close, or of one after it.
func TestOpsAndClose(t *testing.T) {
	aiotest.Guard(t)
	content := aiotest.Pattern(1<<20, 1)
	name := aiofile.Put(t, aiotest.Dir(t), "file", content)
	for _, m := range aiofile.Modes {
		for range aiotest.Scaled(20) {
			f := aiofile.Open(t, name, os.O_RDWR|m.Flag)
			ops, bufs := make([]*aio.Op, 100), make([][]byte, 100)
			for i := range ops {
				bufs[i] = make([]byte, 4096)
				ops[i] = f.StartReadAt(bufs[i], int64(i)*4096)
			}
			if err := f.Close(); err != nil {
				t.Error(err)
			}
			for i, op := range ops {
				n, err := op.Wait()
				switch {
				case err == nil && n == 4096 && bytes.Equal(bufs[i], content[i*4096:][:4096]):
				case n == 0 && errors.Is(err, fs.ErrClosed):
				default:
					t.Errorf("Wait = %d, %v", n, err)
				}
			}
		}
	}
	if _, err := (*aio.File)(nil).StartReadAt(nil, 0).Wait(); err != os.ErrInvalid {
		t.Errorf("an Op of a nil File: %v", err)
	}
}

// A contextual call has the form of the call without a context.
type contextual struct {
	name    string
	call    func(f *aio.File, p []byte, off int64) (int, error)
	context func(ctx context.Context, f *aio.File, p []byte, off int64) (int, error)
}

var contextuals = []contextual{
	{"read", (*aio.File).ReadAt, func(ctx context.Context, f *aio.File, p []byte, off int64) (int, error) {
		return f.ReadAtContext(ctx, p, off)
	}},
	{"write", (*aio.File).WriteAt, func(ctx context.Context, f *aio.File, p []byte, off int64) (int, error) {
		return f.WriteAtContext(ctx, p, off)
	}},
	{
		"sync", func(f *aio.File, _ []byte, _ int64) (int, error) { return 0, f.Sync() },
		func(ctx context.Context, f *aio.File, _ []byte, _ int64) (int, error) { return 0, f.SyncContext(ctx) },
	},
}

// With a context that does not end, the result is that of the call without one.
func TestContextThatLasts(t *testing.T) {
	aiotest.Guard(t)
	ctx := t.Context()
	const size = 3<<20 + 777
	for _, m := range aiofile.Modes {
		for _, flag := range []int{os.O_RDWR, os.O_RDONLY, os.O_WRONLY, os.O_RDWR | os.O_APPEND} {
			dir := aiotest.Dir(t)
			var files [2]*aio.File
			for i := range files {
				files[i] = aiofile.Open(t, aiofile.Put(t, dir, fmt.Sprint(i), aiotest.Pattern(size, 1)), flag|m.Flag)
			}
			for _, c := range contextuals {
				for i, n := range []int{0, 1, 4096, 5000, 1 << 20, 1<<20 + 1, 2<<20 + 4096} {
					for j, off := range []int64{-1, 0, 100, 8192, size - 10, size, size + 1<<20, 1<<63 - 1} {
						if !aiotest.SomeOrFull(i + j) {
							continue
						}
						a, b := aiotest.Pattern(n, 2), aiotest.Pattern(n, 2)
						wantN, want := c.call(files[0], a, off)
						gotN, got := c.context(ctx, files[1], b, off)
						if gotN != wantN || aiotest.Describe(got) != aiotest.Describe(rename(want, files[1].Name())) {
							t.Errorf("%s, flags %#x: %s of %d bytes at %d: %d, %s; want %d, %s", m.Name, flag, c.name, n, off,
								gotN, aiotest.Describe(got), wantN, aiotest.Describe(want))
						}
						if !bytes.Equal(a, b) {
							t.Errorf("%s: %s of %d bytes at %d: other bytes", m.Name, c.name, n, off)
						}
					}
				}
			}
			x, err := os.ReadFile(files[0].Name())
			y, err2 := os.ReadFile(files[1].Name())
			if err != nil || err2 != nil || !bytes.Equal(x, y) {
				t.Errorf("%s, flags %#x: the files differ: %v, %v", m.Name, flag, err, err2)
			}
		}
	}
}

// rename puts this name into an error of another file.
func rename(err error, name string) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return &fs.PathError{Op: path.Op, Path: name, Err: path.Err}
	}
	return err
}

var errCause = errors.New("a cause")

// TestContextThatHasEnded checks that a call with an ended context does nothing.
func TestContextThatHasEnded(t *testing.T) {
	aiotest.Guard(t)
	content := aiotest.Pattern(10000, 1)
	cancelled, cancel := context.WithCancelCause(context.Background())
	cancel(errCause)
	late, cancelLate := context.WithTimeout(context.Background(), -1)
	defer cancelLate()
	for _, m := range aiofile.Modes {
		name := aiofile.Put(t, aiotest.Dir(t), "file", content)
		f := aiofile.Open(t, name, os.O_RDWR|m.Flag)
		for _, c := range contextuals {
			for _, ctx := range []context.Context{cancelled, late} {
				p := aiotest.Pattern(4096, 9)
				n, err := c.context(ctx, f, p, 0)
				wantEnded(t, c.name, f, ctx, n, err)
				if !bytes.Equal(p, aiotest.Pattern(4096, 9)) {
					t.Errorf("%s: the buffer has changed", c.name)
				}
			}
		}
		if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s: the file has changed, %v", m.Name, err)
		}
	}
	for _, c := range contextuals {
		if _, err := c.context(cancelled, nil, nil, 0); err != os.ErrInvalid {
			t.Errorf("%s of a nil File: %v", c.name, err)
		}
	}
}

// wantEnded checks the error of a call whose context has ended.
func wantEnded(t *testing.T, op string, f *aio.File, ctx context.Context, n int, err error) {
	t.Helper()
	path, ok := err.(*fs.PathError)
	if !ok || path.Op != op || path.Path != f.Name() || n != 0 {
		t.Errorf("%s: %d, %s", op, n, aiotest.Describe(err))
	}
	if !errors.Is(err, context.Cause(ctx)) || !errors.Is(err, ctx.Err()) {
		t.Errorf("%s: %v is not both %v and %v", op, err, context.Cause(ctx), ctx.Err())
	}
}

// TestContextAllocs checks that a context that cannot end costs nothing.
func TestContextAllocs(t *testing.T) {
	aiotest.Guard(t)
	if aiotest.Race {
		aiotest.NeedsNoRace(t)
	}
	f := aiofile.Open(t, aiofile.Put(t, aiotest.Dir(t), "file", aiotest.Pattern(8192, 1)), os.O_RDWR|aio.O_DIRECT)
	p := aio.AlignedBuffer(4096)
	for _, c := range contextuals {
		aiotest.AllocsAtMost(t, 0, c.name, func() error { return second(c.context(context.Background(), f, p, 0)) })
	}
}

// abandoned makes a call whose context ends while it is in flight.
func abandoned(t *testing.T, c contextual, f *aio.File, p []byte, off int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
	defer cancel()
	start := time.Now()
	n, err := c.context(ctx, f, p, off)
	wantEnded(t, c.name, f, ctx, n, err)
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("%s returned after %v", c.name, took)
	}
}

// settleDetached waits until all abandoned calls are done.
func settleDetached(t *testing.T, f *aio.File, goroutines int) {
	t.Helper()
	aiotest.Until(t, "abandoned calls are done", func() bool {
		used, _ := aio.Detached(f)
		return used == 0 && runtime.NumGoroutine() <= goroutines+1 // the reaper
	})
}

// TestContextAbandoned checks that an abandoned call leaves the caller's memory alone, and keeps
// the descriptor open.
func TestContextAbandoned(t *testing.T) {
	aiotest.Guard(t)
	content := aiotest.Pattern(10000, 1)
	name := aiofile.Put(t, aiotest.Dir(t), "file", content)
	f := aiofile.Open(t, name, os.O_RDWR)
	goroutines := runtime.NumGoroutine()
	release := aio.HoldThreads(f)
	p := aiotest.Pattern(4096, 9)
	abandoned(t, contextuals[2], f, nil, 0) // in a crowd a Sync needs no thread
	for range 20 {
		abandoned(t, contextuals[0], f, p, 0)
		abandoned(t, contextuals[1], f, p, 0)
	}
	if used, _ := aio.Detached(f); used < 40*4096 {
		t.Errorf("%d bytes for 41 abandoned calls", used)
	}
	written := slices.Clone(p)
	clear(p)
	release()
	settleDetached(t, f, goroutines)
	if slices.Max(p) != 0 {
		t.Error("a read has changed the buffer that it was to leave alone")
	}
	got, err := os.ReadFile(name)
	if err != nil || !bytes.Equal(got, append(written, content[4096:]...)) {
		t.Errorf("the file differs from the bytes of the writes; %v", err)
	}
}

// TestContextLaterWrites checks that an abandoned write does not overwrite a later write or
// Truncate.
func TestContextLaterWrites(t *testing.T) {
	aiotest.NeedsTime(t)
	aiotest.Guard(t)
	old, later := aiotest.Pattern(4096, 8), aiotest.Pattern(4096, 9)
	for name, c := range map[string]struct {
		do   func(f *aio.File) error
		want func(content []byte) []byte
	}{
		"WriteAt": {func(f *aio.File) error { _, err := f.WriteAt(later, 0); return err }, nil},
		"unaligned WriteAt": {
			func(f *aio.File) error { _, err := f.WriteAt(later[1:], 1); return err },
			func(p []byte) []byte { p[0] = old[0]; return p },
		},
		"WritevAt": {func(f *aio.File) error { _, err := f.WritevAt([][]byte{later[:100], later[100:]}, 0); return err }, nil},
		"Write":    {func(f *aio.File) error { _, err := f.Write(later); return err }, nil},
		"ReadFrom": {func(f *aio.File) error { _, err := f.ReadFrom(bytes.NewReader(later)); return err }, nil},
		"Truncate": {func(f *aio.File) error { return f.Truncate(0) }, func([]byte) []byte { return nil }},
		"WriteAtContext": {func(f *aio.File) error {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			_, err := f.WriteAtContext(ctx, later, 0)
			return err
		}, nil},
	} {
		for _, m := range aiofile.Modes {
			t.Run(name+"/"+m.Name, func(t *testing.T) {
				file := aiofile.Put(t, aiotest.Dir(t), "file", make([]byte, 8192))
				f, g := aiofile.Open(t, file, os.O_RDWR), aiofile.Open(t, file, os.O_RDWR|m.Flag)
				goroutines := runtime.NumGoroutine()
				release := aio.HoldThreads(f)
				var holding sync.WaitGroup
				abandoned(t, contextuals[1], f, old, 0) // waits for a thread
				holding.Go(func() {
					if err := c.do(g); err != nil {
						t.Error(err)
					}
				})
				time.Sleep(5 * time.Millisecond) // so that the write could do harm
				release()
				holding.Wait()
				settleDetached(t, f, goroutines)
				want := append(slices.Clone(later), make([]byte, 4096)...)
				if c.want != nil {
					want = c.want(want)
				}
				if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, want) {
					t.Errorf("the older write has come later; %v", err)
				}
			})
		}
	}
}

// TestContextAndBatch checks that a member of a Batch waits for an abandoned write, also for one
// that itself waits and has no lock yet. (They are in different folios of 2 MiB, or the lock table
// would keep them apart.)
func TestContextAndBatch(t *testing.T) {
	aiotest.Guard(t)
	if !aiotest.Direct {
		aiotest.NeedsDirect(t)
	}
	const far = 4 << 20
	file := aiofile.Put(t, aiotest.Dir(t), "file", make([]byte, far+3*4096))
	f, g := aiofile.Open(t, file, os.O_RDWR), aiofile.Open(t, file, os.O_RDWR|aio.O_DIRECT)
	goroutines := runtime.NumGoroutine()
	release := aio.HoldThreads(f)
	abandoned(t, contextuals[1], f, aiotest.Pattern(100, 7), 0)        // waits for a thread
	abandoned(t, contextuals[1], f, aiotest.Pattern(far+3*4096, 8), 0) // waits for that
	later, p := aiotest.Pattern(3*4096, 9), aio.AlignedBuffer(3*4096)
	copy(p, later)
	var b aio.Batch
	for i := range 3 {
		b.WriteAt(g, p[i*4096:][:4096], int64(far+i*4096))
	}
	done := make(chan error, 1)
	go func() { done <- b.Do(t.Context()) }()
	time.Sleep(5 * time.Millisecond) // so that the write could do harm
	release()
	if err := <-done; err != nil {
		t.Error(err)
	}
	settleDetached(t, f, goroutines)
	if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got[far:], later) {
		t.Errorf("an older write has come later; %v", err)
	}
}

// TestContextAndClose checks that Close leaves the descriptor to abandoned calls only.
func TestContextAndClose(t *testing.T) {
	aiotest.Guard(t)
	name := aiofile.Put(t, aiotest.Dir(t), "file", make([]byte, 8192))
	goroutines := runtime.NumGoroutine()
	before := aiotest.OpenFiles()
	f, err := aio.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	release := aio.HoldThreads(f)
	for _, c := range contextuals {
		abandoned(t, c, f, aiotest.Pattern(4096, 9), 0)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	release()
	settleDetached(t, f, goroutines)
	aiotest.Settle(t, "descriptors are left", func() bool { return len(aiotest.OpenFiles()) <= len(before) })
}

// TestContextBudget checks that abandoned calls stay within their memory, and that others wait for
// it.
func TestContextBudget(t *testing.T) {
	aiotest.NeedsTime(t)
	aiotest.Guard(t)
	name := filepath.Join(aiotest.Dir(t), "file")
	f := aiofile.Open(t, name, os.O_RDWR|os.O_CREATE)
	goroutines := runtime.NumGoroutine()
	release := aio.HoldThreads(f)
	p := make([]byte, 1<<20)
	_, limit := aio.Detached(f)
	for i := range limit >> 20 {
		abandoned(t, contextuals[1], f, p, i<<20)
	}
	used, _ := aio.Detached(f)
	if used != limit {
		t.Errorf("%d calls of 1 MiB use %d bytes", limit>>20, used)
	}
	for _, c := range contextuals { // these have not begun
		abandoned(t, c, f, p[:100], 0)
	}
	if now, _ := aio.Detached(f); now != used {
		t.Errorf("%d bytes more than the limit", now-used)
	}
	ctx := t.Context()
	waiting := make(chan error)
	go func() { waiting <- f.SyncContext(ctx) }()
	time.Sleep(5 * time.Millisecond)
	release()
	if err := <-waiting; err != nil {
		t.Error(err)
	}
	settleDetached(t, f, goroutines)
	if fi, err := f.Stat(); err != nil || fi.Size() != limit {
		t.Errorf("the file has %d bytes, %v; want %d", fi.Size(), err, limit)
	}
}

// TestContextStorm ends contexts at any time, beside other calls. Each byte is that of the last
// completed write, or of a write abandoned after it.
func TestContextStorm(t *testing.T) {
	aiotest.Guard(t)
	const writers, block = 32, 4096
	name := aiofile.Put(t, aiotest.Dir(t), "file", make([]byte, writers*block))
	goroutines := runtime.NumGoroutine()
	var all sync.WaitGroup
	for i := range writers {
		all.Go(func() {
			f, err := aio.OpenFile(name, os.O_RDWR|aiofile.Modes[i%2].Flag, 0)
			if err != nil {
				t.Error(err)
				return
			}
			defer f.Close()
			p, q := aio.AlignedBuffer(block), make([]byte, block)
			for g := range byte(aiotest.Scaled(200)) {
				for j := range p {
					p[j] = g
				}
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(g%8)*20*time.Microsecond)
				_, err := f.WriteAtContext(ctx, p[i/2%2:], int64(i*block+i/2%2))
				cancel()
				if err != nil && !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
				if g%4 != 0 {
					continue
				}
				if _, err := f.WriteAt(p, int64(i*block)); err != nil {
					t.Error(err)
				}
				if _, err := f.ReadAt(q, int64(i*block)); err != nil || !bytes.Equal(p, q) {
					t.Errorf("writer %d: after the write of %d, %v: %d", i, g, err, slices.Compact(q))
				}
			}
		})
	}
	all.Wait()
	settleDetached(t, aiofile.Open(t, name, os.O_RDWR), goroutines)
}

// TestContextBeyondAllOffsets reads to beyond the largest offset, in several requests.
func TestContextBeyondAllOffsets(t *testing.T) {
	aiotest.Guard(t)
	name := aiofile.Put(t, aiotest.Dir(t), "file", make([]byte, 8192))
	oracle, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer oracle.Close()
	p := make([]byte, 3<<20)
	const off = math.MaxInt64 - 2<<20
	want, wantErr := oracle.ReadAt(p, off)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for _, flag := range []int{0, aio.O_DIRECT} {
		n, err := aiofile.Open(t, name, os.O_RDONLY|flag).ReadAtContext(ctx, p, off)
		if n != want || fmt.Sprint(err) != fmt.Sprint(wantErr) {
			t.Errorf("flag %#x: %d, %v; os.File: %d, %v", flag, n, err, want, wantErr)
		}
	}
	cancel()
	if _, err := aiofile.Open(t, name, os.O_RDONLY).ReadAtContext(ctx, p, off); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of the context: %v", err)
	}
}

func second[N any](_ N, err error) error { return err }
