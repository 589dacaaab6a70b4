package aio_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/internal/aiotest/aiofile"
)

// A batched is what a Batch has for a member, or a barrier.
type batched struct {
	call string // "ReadAt", "WriteAt", "Sync" or "Barrier"
	f    aiotest.File
	p    []byte
	off  int64
}

// inBatch makes calls of aio.Files in one Batch and others one after the other, and notes what
// became of each.
func inBatch(s *aiotest.Side, calls ...batched) {
	s.Helper()
	var b aio.Batch
	var first error
	note := func(c batched, n int, err error) {
		if first == nil {
			first = err
		}
		if c.call != "ReadAt" {
			c.p = nil
		}
		s.Note(fmt.Sprintf("%s of %d bytes at %d", c.call, len(c.p), c.off), n, err, c.p[:min(n, len(c.p))])
	}
	var added []batched
	for _, c := range calls {
		f, ours := c.f.(*aio.File)
		switch {
		case c.call == "Barrier":
			b.Barrier()
			continue
		case !ours:
			n, err := c.alone()
			note(c, n, err)
			continue
		case c.call == "ReadAt":
			b.ReadAt(f, c.p, c.off)
		case c.call == "WriteAt":
			b.WriteAt(f, c.p, c.off)
		case c.call == "Sync":
			b.Sync(f)
		}
		added = append(added, c)
	}
	if b.Len() != len(added) {
		s.Errorf("Len is %d, and %d have been added", b.Len(), len(added))
	}
	err := b.Do(context.Background())
	for i, c := range added {
		n, err := b.Result(i)
		note(c, n, err)
	}
	if b.Len() > 0 && err != first {
		s.Errorf("Do returned %v, and the first error is %v", err, first)
	}
}

func (c batched) alone() (int, error) {
	switch c.call {
	case "ReadAt":
		return c.f.ReadAt(c.p, c.off)
	case "WriteAt":
		return c.f.WriteAt(c.p, c.off)
	default:
		return 0, c.f.Sync()
	}
}

// eachMode runs a test on Files of each mode.
func eachMode(t *testing.T, test func(t *testing.T, flag int)) {
	for _, m := range aiofile.Modes {
		t.Run(m.Name, func(t *testing.T) {
			aiotest.Guard(t)
			test(t, m.Flag)
		})
	}
}

// reads are reads that fit direct I/O, so that there is a group, and such as do not.
func reads(f aiotest.File) (all []batched) {
	for _, r := range []struct {
		n, shift int
		off      int64
	}{
		{4096, 0, 0}, {4096, 0, 4096}, {8192, 0, 40960}, {1 << 20, 0, 0}, // as they should be
		{4096, 1, 8192}, {100, 0, 4096}, {4096, 0, 100}, {5000, 3, 5000}, // not aligned
		{8192, 0, 96 << 10}, {4096, 0, 96 << 10}, {100, 0, 99990}, // across the end
		{4096, 0, 1 << 20}, {512, 0, 100352}, {4096, 0, 1 << 43}, // beyond it
		{0, 0, 0}, {0, 0, -1}, {4096, 0, -4096}, {4096, 0, -1}, // nothing
		{8192, 0, math.MaxInt64 - 4095}, {1, 0, math.MaxInt64},
	} {
		all = append(all, batched{"ReadAt", f, aiotest.Buffer(r.n, r.shift), r.off})
	}
	return append(all, batched{"ReadAt", f, nil, 0}, batched{call: "Sync", f: f})
}

// writes are the like, to a file that ends at 100000; no two of them overlap.
func writes(f aiotest.File) (all []batched) {
	for i, w := range []struct {
		n, shift int
		off      int64
	}{
		{4096, 0, 0},
		{4096, 0, 4096},
		{8192, 0, 40960},
		{16384, 0, 65536},
		{4096, 1, 8192},
		{100, 0, 12288},
		{4096, 0, 20000},
		{5000, 3, 25000},
		{4096, 0, 118784},
		{200, 0, 110000},
		{4096, 0, 4 << 20}, // extend the file
		{0, 0, 0},
		{0, 0, -1},
		{4096, 0, -4096},
		{8192, 0, math.MaxInt64 - 4095},
		{4096, 0, 1 << 62},
	} {
		p := aiotest.Buffer(w.n, w.shift)
		copy(p, aiotest.Pattern(w.n, byte(i)))
		all = append(all, batched{"WriteAt", f, p, w.off})
	}
	return all
}

// TestBatch has results compared with those of os.File, call by call.
func TestBatch(t *testing.T) {
	dir := aiotest.Dir(t)
	eachMode(t, func(t *testing.T, flag int) {
		aiotest.Compare(t, dir, aiofile.Package(t, flag), func(s *aiotest.Side) {
			content := aiotest.Pattern(100000, 1)
			name := s.Put("file", content)
			f := s.MustOpen("file", os.O_RDWR)
			inBatch(s)
			inBatch(s, reads(f)...)
			inBatch(s, writes(f)...)
			s.State(f)
			inBatch(s, append(reads(f), reads(f)...)...)
			for _, flag := range []int{os.O_RDONLY, os.O_WRONLY, os.O_RDWR | os.O_APPEND, os.O_RDWR | os.O_SYNC} {
				if err := os.WriteFile(name, content, 0o644); err != nil {
					s.Fatal(err)
				}
				g := s.MustOpen("file", flag)
				inBatch(s, reads(g)...)
				inBatch(s, writes(g)...)
				s.State(g)
			}
			f.Close()
			inBatch(s, reads(f)...)
			inBatch(s, writes(f)...)
		})
	})
}

// TestBatchRandom has writes of any place and length, no two of which overlap but many share a
// block, and reads of the same.
func TestBatchRandom(t *testing.T) {
	dir := aiotest.Dir(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	eachMode(t, func(t *testing.T, flag int) {
		aiotest.Compare(t, dir, aiofile.Package(t, flag), func(s *aiotest.Side) {
			r := rand.New(rand.NewPCG(seed, 0))
			s.Put("file", aiotest.Pattern(r.IntN(400000), 1))
			f := s.MustOpen("file", os.O_RDWR)
			for range aiotest.Scaled(60) {
				var w, all []batched
				for off := int64(0); len(w) < 40; {
					n := r.IntN(20000)
					if r.IntN(2) == 0 {
						off, n = (off+4095)&^4095, (n+4095)&^4095
					}
					p := aiotest.Buffer(n, r.IntN(4)/3*r.IntN(512))
					copy(p, aiotest.Pattern(n, byte(r.IntN(256))))
					w = append(w, batched{"WriteAt", f, p, off})
					all = append(all, batched{"ReadAt", f, aiotest.Buffer(n, 0), off})
					off += int64(n + r.IntN(3)/2*r.IntN(30000))
				}
				w = append(w, batched{call: "Barrier"}, batched{call: "Sync", f: f}, batched{call: "Barrier"})
				inBatch(s, append(w, all...)...)
				s.State(f)
				s.Note("Truncate", f.Truncate(r.Int64N(400000)))
			}
		})
	})
}

// TestBatchOfFiles has members of Files that are not alike in one Batch.
func TestBatchOfFiles(t *testing.T) {
	dir := aiotest.Dir(t)
	eachMode(t, func(t *testing.T, flag int) {
		aiotest.Compare(t, dir, aiofile.Package(t, flag), func(s *aiotest.Side) {
			s.Put("file", aiotest.Pattern(100000, 1))
			s.Put("other", aiotest.Pattern(100000, 2))
			closed := s.MustOpen("file", os.O_RDWR)
			closed.Close()
			aiotest.Mkfifo(s, s.Path("pipe"))
			files := []aiotest.File{
				s.MustOpen("file", os.O_RDWR), s.MustOpen("other", os.O_RDONLY), closed,
				s.MustOpen("pipe", os.O_RDWR), s.MustOpen(".", os.O_RDONLY),
			}
			var all []batched
			for i, f := range files {
				for j := range 6 {
					off := int64(12*i+2*j) * 4096
					all = append(all, batched{"ReadAt", f, aiotest.Buffer(4096, 0), off})
					if j > 2 { // a block that nobody reads
						all = append(all, batched{"WriteAt", f, aiotest.Buffer(4096, 0), 100*4096 + off})
					}
				}
				all = append(all, batched{call: "Sync", f: f})
			}
			inBatch(s, all...)
			s.State(files[0])
		})
	})
}

func TestBatchOfInvalidFiles(t *testing.T) {
	aiotest.Guard(t)
	var b aio.Batch
	for _, f := range []*aio.File{nil, new(aio.File)} {
		b.ReadAt(f, make([]byte, 4096), 0)
		b.WriteAt(f, make([]byte, 4096), 0)
		b.Sync(f)
		b.Datasync(f)
	}
	if err := b.Do(context.Background()); err != os.ErrInvalid {
		t.Errorf("Do: %v", err)
	}
	for i := range b.Len() {
		if n, err := b.Result(i); n != 0 || err != os.ErrInvalid {
			t.Errorf("member %d: %d, %v", i, n, err)
		}
	}
}

// pages returns n aligned pages, each of one byte that is not another's nor 0.
func pages(n int) [][]byte {
	all := make([][]byte, n)
	for i := range all {
		all[i] = aiotest.Buffer(4096, 0)
		copy(all[i], bytes.Repeat([]byte{byte(i%255 + 1)}, 4096))
	}
	return all
}

// blank makes a file of n pages of zeros that have their place on the disk.
func blank(t *testing.T, n, flag int) *aio.File {
	t.Helper()
	f := aiofile.Open(t, aiofile.Put(t, aiotest.Dir(t), "file", make([]byte, n*4096)), os.O_RDWR|flag)
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	return f
}

// TestBatchInOrder has each page written and then read, copied and synced, again and again with
// one Batch.
func TestBatchInOrder(t *testing.T) {
	eachMode(t, func(t *testing.T, flag int) {
		const n = 40
		f := blank(t, 2*n, flag)
		var b aio.Batch
		from, to := pages(n), pages(n)
		for round := range 5 {
			b.Reset()
			for i, p := range from {
				p[0] = byte(round)
				b.WriteAt(f, p, int64(i)*4096)
			}
			b.Barrier()
			for i := range from {
				b.ReadAt(f, to[i], int64(i)*4096)
			}
			b.Barrier()
			b.Barrier()
			for i := range from {
				b.WriteAt(f, to[i], int64(n+i)*4096)
			}
			b.Barrier()
			b.Sync(f)
			b.Datasync(f)
			if b.Len() != 3*n+2 {
				t.Errorf("Len is %d", b.Len())
			}
			if err := b.Do(context.Background()); err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(f.Name())
			if err != nil {
				t.Fatal(err)
			}
			for i := range 2 * n {
				if !bytes.Equal(got[i*4096:][:4096], from[i%n]) {
					t.Errorf("round %d: page %d is another", round, i)
				}
			}
		}
	})
}

// TestBatchSkips has what comes after a barrier left out, because something before it failed.
func TestBatchSkips(t *testing.T) {
	eachMode(t, func(t *testing.T, flag int) {
		f := blank(t, 8, flag)
		closed := aiofile.Open(t, f.Name(), os.O_RDWR|flag)
		closed.Close()
		var b aio.Batch
		page := pages(1)[0]
		for i := range 4 {
			b.WriteAt(f, page, int64(i)*4096)
		}
		b.ReadAt(f, aiotest.Buffer(4096, 0), 1<<20)
		failed := b.WriteAt(closed, page, 0)
		b.Barrier()
		for i := range 4 {
			b.WriteAt(f, page, int64(4+i)*4096)
		}
		b.Barrier()
		b.Sync(f)
		if err := b.Do(context.Background()); err == nil || err.Error() != "EOF" {
			t.Errorf("Do: %v", err)
		}
		for i := range b.Len() {
			n, err := b.Result(i)
			switch {
			case i < 4 && (n != 4096 || err != nil):
				t.Errorf("member %d before the barrier: %d, %v", i, n, err)
			case i == failed && (n != 0 || !errors.Is(err, os.ErrClosed)):
				t.Errorf("that of the closed File: %d, %v", n, err)
			case i > failed && (n != 0 || err != aio.ErrSkipped):
				t.Errorf("member %d after the barrier: %d, %v", i, n, err)
			}
		}
		got, err := os.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, append(bytes.Repeat(page, 4), make([]byte, 4*4096)...)) {
			t.Error("what was to be left out has been written")
		}
	})
}

// TestBatchOverlaps has members of several Batches, and other writers, meet in a few pages. A page
// written at once is one writer's.
func TestBatchOverlaps(t *testing.T) {
	eachMode(t, func(t *testing.T, flag int) {
		const n = 8
		f := blank(t, n, flag)
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				var b aio.Batch
				mine := pages(64)
				for range aiotest.Scaled(100) {
					b.Reset()
					for _, p := range mine {
						b.WriteAt(f, p, rand.Int64N(n)*4096)
					}
					b.WriteAt(f, mine[0][:10], rand.Int64N(n)*4096+rand.Int64N(4096-10))
					b.Barrier()
					b.Sync(f)
					if err := b.Do(context.Background()); err != nil {
						t.Error(err)
					}
				}
			})
			wg.Go(func() {
				p := pages(n)[i]
				for range aiotest.Scaled(300) {
					if _, err := f.WriteAt(p, rand.Int64N(n)*4096); err != nil {
						t.Error(err)
					}
					if err := f.Truncate(n * 4096); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		var b aio.Batch
		for _, p := range pages(n) {
			for range 10 {
				b.WriteAt(f, p, 0)
			}
		}
		if err := b.Do(context.Background()); err != nil {
			t.Error(err)
		}
		got, err := os.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got[:4096], bytes.Repeat(got[:1], 4096)) || got[0] == 0 || got[0] > n {
			t.Error("a page is of several writers, or of none")
		}
		wantNothingHeld(t, f)
	})
}

// wantNothingHeld fails the test if a lock or a turn has been left.
func wantNothingHeld(t *testing.T, f *aio.File) {
	t.Helper()
	if err := f.Truncate(0); err != nil { // waits for every lock
		t.Error(err)
	}
	if _, n := aio.DevicePlaces(f); n != 0 {
		t.Errorf("%d turns of the device have not been given back", n)
	}
}

// TestBatchLarge has more members than there is room for.
func TestBatchLarge(t *testing.T) {
	aiotest.NeedsTime(t)
	eachMode(t, func(t *testing.T, flag int) {
		const n = 3000
		f := blank(t, n, flag)
		stop := crowded(t, f.Name(), 8)
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				var b aio.Batch
				from := pages(n)
				for i, p := range from {
					b.WriteAt(f, p, int64(i)*4096)
				}
				b.Barrier()
				to := pages(n + 1)[1:]
				for i := range from {
					b.ReadAt(f, to[i], int64(i)*4096)
				}
				if err := b.Do(context.Background()); err != nil {
					t.Error(err)
				}
				for i := range from {
					if !bytes.Equal(from[i], to[i]) {
						t.Fatalf("page %d is another", i)
					}
				}
			})
		}
		wg.Wait()
		stop()
		wantNothingHeld(t, f)
	})
}

// TestBatchRefused has no kernel AIO, TestBatchCramped has little room.
func TestBatchRefused(t *testing.T) {
	aiotest.NeedsTime(t)
	aiofile.Refused(t, "^TestBatch(|Random|OfFiles|InOrder|Skips|Overlaps|Cancelled)$")
}

func TestBatchCramped(t *testing.T) {
	aiotest.NeedsTime(t)
	aiotest.Beside(t)
	aiotest.Guard(t)
	for i, depth := range []string{"1", "7", "32"} {
		if !aiotest.SomeOrFull(i) {
			continue
		}
		aiotest.RunChild(t, "^TestBatch(|Random|OfFiles|InOrder|Skips|Overlaps|Large|Cancelled)$", "configure", depth, "1")
	}
}

// TestBatchGroups is for members that go to the kernel together.
func TestBatchGroups(t *testing.T) {
	aiotest.Guard(t)
	if !aiotest.Direct {
		aiotest.NeedsDirect(t)
	}
	f := blank(t, 64, aio.O_DIRECT)
	for _, n := range []int{1, 2, 3, 32} {
		var r, w aio.Batch
		for i, p := range pages(n) {
			r.ReadAt(f, p, int64(i)*4096)
			w.WriteAt(f, p, int64(i)*4096)
		}
		checkGrouped(t, &r, "reads", n)
		if f.Alignment().Write != 0 {
			checkGrouped(t, &w, "writes", n)
		}
	}
}

func checkGrouped(t *testing.T, b *aio.Batch, what string, n int) {
	t.Helper()
	if err := b.Do(context.Background()); err != nil {
		t.Error(err)
	}
	if n < 3 {
		n = 0
	}
	if got := aio.Grouped(b); got != n {
		t.Errorf("%d %s went to the kernel together, want %d", got, what, n)
	}
}

// A countdown is a context that ends when it has been asked so often.
type countdown struct {
	context.Context
	left atomic.Int64
}

var errCountdown = errors.New("the countdown is over")

func (c *countdown) Err() error {
	if c.left.Add(-1) < 0 {
		return errCountdown
	}
	return nil
}

// TestBatchCancelled has the context end at every point of a Batch.
func TestBatchCancelled(t *testing.T) {
	eachMode(t, func(t *testing.T, flag int) {
		const n = 300 // more than one group
		f := blank(t, n, flag)
		all := pages(n)
		for left := range int64(12) {
			ctx := &countdown{Context: context.Background()}
			ctx.left.Store(left)
			var b aio.Batch
			for i, p := range all {
				b.WriteAt(f, p, int64(i)*4096)
			}
			b.WriteAt(f, all[0][:100], 100)
			b.Barrier()
			b.Sync(f)
			err := b.Do(ctx)
			begun := 0
			for i := range b.Len() - 1 {
				n, err := b.Result(i)
				switch {
				case err == nil && n > 0:
					begun++
				case n != 0 || err != errCountdown:
					t.Errorf("member %d of a Batch that was ended: %d, %v", i, n, err)
				}
			}
			if left == 0 && begun > 0 {
				t.Errorf("%d have been begun, although the context had ended", begun)
			}
			whole := begun == n+1
			if whole != (err == nil) && err != errCountdown {
				t.Errorf("Do: %v, and %d are done", err, begun)
			}
		}
		wantNothingHeld(t, f)
	})
}

func TestBatchCause(t *testing.T) {
	aiotest.Guard(t)
	f := blank(t, 4, 0)
	ctx, cancel := context.WithCancelCause(context.Background())
	cause := errors.New("the cause")
	cancel(cause)
	var b aio.Batch
	for i, p := range pages(4) {
		b.WriteAt(f, p, int64(i)*4096)
	}
	b.Barrier()
	b.Sync(f)
	if err := b.Do(ctx); err != cause {
		t.Errorf("Do: %v", err)
	}
	for i := range b.Len() {
		if n, err := b.Result(i); n != 0 || err != cause {
			t.Errorf("member %d: %d, %v", i, n, err)
		}
	}
	got, err := os.ReadFile(f.Name())
	if err != nil || !bytes.Equal(got, make([]byte, 4*4096)) {
		t.Errorf("something has been written; %v", err)
	}
	if err := b.Do(context.Background()); err != nil {
		t.Errorf("Do again: %v", err)
	}
	if n, err := b.Result(3); n != 4096 || err != nil {
		t.Errorf("member 3 in the end: %d, %v", n, err)
	}
	b.Reset()
	if b.Len() != 0 || b.Do(ctx) != nil {
		t.Error("there is something in a Batch without members")
	}
}

// TestBatchAllocs is TestAllocs of a Batch.
func TestBatchAllocs(t *testing.T) {
	aiotest.Guard(t)
	if aiotest.Race {
		aiotest.NeedsNoRace(t)
	}
	for _, crowd := range []int{0, 16} {
		eachMode(t, func(t *testing.T, flag int) {
			const n = 32
			f := blank(t, n, flag)
			defer crowded(t, f.Name(), crowd)()
			var b aio.Batch
			all := pages(n)
			aiotest.AllocsAtMost(t, 0, "a Batch of reads", func() error {
				b.Reset()
				for i, p := range all {
					b.ReadAt(f, p, int64(i)*4096)
				}
				return b.Do(context.Background())
			})
			aiotest.AllocsAtMost(t, 0, "a Batch of writes and a Sync", func() error {
				b.Reset()
				for i, p := range all {
					b.WriteAt(f, p, int64(i)*4096)
				}
				b.WriteAt(f, all[0][:100], 10)
				b.Barrier()
				b.Sync(f)
				return b.Do(context.Background())
			})
		})
	}
}
