//go:build linux

package lifetime

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/internal/aiotest/aiofile"
)

// A crowd uses one File by every method that transfers. The file begins with lines, a region for
// each goroutine. The rest is for calls that move the offset, whose position is unknown, and
// contains nothing but one letter.
type crowd struct {
	f       *aio.File
	done    [crowdKinds]atomic.Int64
	issued  [crowdSize]atomic.Uint32 // generation of a region
	written [crowdSize]atomic.Uint32 // acknowledged by WriteAt
}

const (
	crowdSize   = 192 // goroutines
	crowdKinds  = 16  // of calls
	crowdRegion = 16384
	lines       = crowdSize * crowdRegion // bytes
	letter      = 'a'
)

// letters are the bytes of one stream write.
var letters = bytes.Repeat([]byte{letter}, 5000)

// crowdCalls lists the calls: goroutine i makes the one at i modulo their number.
var crowdCalls = [crowdKinds]struct {
	name string
	call func(c *crowd, i int, p []byte) error
}{
	{"ReadAt", (*crowd).readAt},
	{"WriteAt", (*crowd).writeAt},
	{"ReadAt unaligned", (*crowd).readAtUnaligned},
	{"WriteAt unaligned", (*crowd).writeAtUnaligned},
	{"Read", (*crowd).read},
	{"Write", (*crowd).write},
	{"ReadFrom", (*crowd).readFrom},
	{"WriteTo", (*crowd).writeTo},
	{"Truncate", (*crowd).truncate},
	{"Sync", func(c *crowd, _ int, _ []byte) error { return c.f.Sync() }},
	{"Datasync", func(c *crowd, _ int, _ []byte) error { return c.f.Datasync() }},
	{"WriteAt of blocks", (*crowd).writeAt},
	{"ReadvAt", (*crowd).readvAt},
	{"WritevAt", (*crowd).writevAt},
	{"Allocate", (*crowd).allocate},
	{"PunchHole", (*crowd).punchHole},
}

func (c *crowd) readAt(i int, p []byte) error {
	off := int64(i * crowdRegion)
	n, err := c.f.ReadAt(p[:8192], off)
	return c.checkRead(p[:n], 8192, off, err)
}

func (c *crowd) readAtUnaligned(i int, p []byte) error {
	off := int64(i*crowdRegion + lineSize)
	n, err := c.f.ReadAt(p[1:][:5*lineSize], off)
	return c.checkRead(p[1:][:n], 5*lineSize, off, err)
}

func (c *crowd) readvAt(i int, p []byte) error {
	off := int64(i * crowdRegion)
	n, err := c.f.ReadvAt([][]byte{p[:4096], p[4096:8192]}, off)
	return c.checkRead(p[:n], 8192, off, err)
}

func (c *crowd) checkRead(p []byte, want int, off int64, err error) error {
	if len(p) < want && err == nil {
		return fmt.Errorf("ReadAt: %d bytes of %d and no error", len(p), want)
	}
	if err := checkLines(p[:len(p)&^(lineSize-1)], 1, off, anyGeneration); err != nil {
		return err
	}
	return err
}

func (c *crowd) writeAt(i int, p []byte) error {
	return c.writeLines(i, p[:crowdRegion], int64(i*crowdRegion))
}

func (c *crowd) writevAt(i int, p []byte) error {
	return c.writeLinesBy(i, p[:crowdRegion], int64(i*crowdRegion), func(p []byte, off int64) (int, error) {
		return c.f.WritevAt([][]byte{p[:8192], p[8192:]}, off)
	})
}

// writeAtUnaligned writes the whole region in parts that are no whole blocks.
func (c *crowd) writeAtUnaligned(i int, p []byte) error {
	return c.writeLines(i, p[1:][:crowdRegion-lineSize], int64(i*crowdRegion))
}

func (c *crowd) writeLines(i int, p []byte, off int64) error {
	return c.writeLinesBy(i, p, off, c.f.WriteAt)
}

func (c *crowd) writeLinesBy(i int, p []byte, off int64, write func(p []byte, off int64) (int, error)) error {
	generation := c.issued[i].Add(1)
	putLines(p, 1, off, generation)
	n, err := write(p, off)
	if err != nil {
		return err
	}
	if n != len(p) {
		return io.ErrShortWrite
	}
	c.written[i].Store(generation)
	return nil
}

func (c *crowd) read(_ int, p []byte) error {
	n, err := c.f.Read(p[:3000])
	if err == io.EOF {
		_, err = c.f.Seek(lines, io.SeekStart)
	}
	if err := onlyLetters(p[:n], err); err != nil {
		return err
	}
	return c.rewind(nil)
}

// onlyLetters checks bytes read from the file's second part, which may have holes after a Truncate
// and a later write.
func onlyLetters(p []byte, err error) error {
	for _, b := range p {
		if b != letter && b != 0 {
			return fmt.Errorf("read %q", p)
		}
	}
	return err
}

func (c *crowd) write(int, []byte) error {
	n, err := c.f.Write(letters)
	if n < len(letters) && err == nil {
		return io.ErrShortWrite
	}
	return c.rewind(err)
}

// rewind keeps the file small, and lets other goroutines use the offset: os.File's lock of it
// (internal/poll.fdMutex) is not fair.
func (c *crowd) rewind(err error) error {
	if err != nil {
		return err
	}
	time.Sleep(time.Millisecond)
	off, err := c.f.Seek(0, io.SeekCurrent)
	if err == nil && off > lines+1<<20 {
		_, err = c.f.Seek(lines, io.SeekStart)
	}
	return err
}

func (c *crowd) readFrom(int, []byte) error {
	n, err := c.f.ReadFrom(bytes.NewReader(letters))
	if int(n) < len(letters) && err == nil {
		return io.ErrShortWrite
	}
	return c.rewind(err)
}

func (c *crowd) writeTo(int, []byte) error {
	_, err := c.f.WriteTo(new(letterSink))
	if errors.Is(err, errFull) {
		err = nil
	}
	return c.rewind(err)
}

// A letterSink accepts only letters, and only a few pieces: beside other writers the end of the
// file may be far.
type letterSink struct{ pieces int }

var errFull = errors.New("the sink is full")

func (s *letterSink) Write(p []byte) (int, error) {
	if s.pieces++; s.pieces > 4 {
		return 0, errFull
	}
	return len(p), onlyLetters(p, nil)
}

func (c *crowd) truncate(i int, _ []byte) error {
	time.Sleep(time.Millisecond) // it excludes all other calls
	return c.f.Truncate(lines + int64(i)*100)
}

func (c *crowd) allocate(int, []byte) error {
	time.Sleep(time.Millisecond)
	return supported(c.f.Allocate(0, lines))
}

// punchHole punches a hole among the letters.
func (c *crowd) punchHole(i int, _ []byte) error {
	time.Sleep(time.Millisecond)
	return supported(c.f.PunchHole(lines+int64(i)*100, 5000))
}

// supported returns err, or nil if the filesystem does not support the call.
func supported(err error) error {
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	return err
}

// start starts goroutines that call until they find the File closed. It returns once every kind of
// call has been made. wait waits for the goroutines.
func (c *crowd) start(t *testing.T) (wait func()) {
	t.Helper()
	var wg sync.WaitGroup
	for i := range crowdSize {
		k := i % crowdKinds
		wg.Go(func() {
			p := aiotest.Buffer(crowdRegion+1, 0)
			for {
				err := crowdCalls[k].call(c, i, p)
				if errors.Is(err, fs.ErrClosed) {
					return
				}
				if err != nil {
					t.Errorf("%s: %v", crowdCalls[k].name, err)
					return
				}
				c.done[k].Add(1)
			}
		})
	}
	if !aiotest.Eventually(func() bool { return len(c.missing()) == 0 || t.Failed() }) {
		t.Fatalf("no call of %q has returned yet\n%s", c.missing(), aiotest.Stacks())
	}
	return wg.Wait
}

// missing returns the kinds of calls that have not been made yet.
func (c *crowd) missing() (names []string) {
	for i := range c.done {
		if c.done[i].Load() == 0 {
			names = append(names, crowdCalls[i].name)
		}
	}
	return names
}

// check reads the regions: each contains the generation that WriteAt acknowledged, or a newer one.
func (c *crowd) check(t *testing.T, name string) {
	t.Helper()
	f := aiofile.OpenOS(t, name, os.O_RDONLY)
	got := make([]byte, lines)
	if n, err := f.ReadAt(got, 0); n != lines {
		t.Fatal(n, err)
	}
	for i := range crowdSize {
		off := int64(i * crowdRegion)
		region := got[off:][:crowdRegion]
		if crowdCalls[i%crowdKinds].name == "WriteAt unaligned" {
			region = region[:crowdRegion-lineSize]
		}
		err := checkLines(region, 1, off, func(_ int64, g uint32) bool {
			return g >= c.written[i].Load() && g <= c.issued[i].Load()
		})
		if err != nil {
			t.Errorf("written %d times and tried %d: %v", c.written[i].Load(), c.issued[i].Load(), err)
		}
	}
	f.Close()
}

// newCrowd returns a File for a crowd.
func newCrowd(t *testing.T, dir string, flag int) (c *crowd, name string) {
	content := make([]byte, lines)
	putLines(content, 1, 0, 0)
	name = aiofile.Put(t, dir, "file", content)
	c = &crowd{f: aiofile.Open(t, name, os.O_RDWR|flag)}
	if _, err := c.f.Seek(lines, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	return c, name
}

// TestCloseEveryCall closes a File during hundreds of calls of every kind. Each call completes, or
// returns fs.ErrClosed, and acknowledged bytes are there.
func TestCloseEveryCall(t *testing.T) {
	aiotest.NeedsTime(t)
	aiotest.Guard(t)
	dir := aiotest.Dir(t)
	for _, m := range aiofile.Modes {
		var worst time.Duration
		calls := int64(0)
		for range aiotest.Scaled(3) {
			c, name := newCrowd(t, dir, m.Flag)
			wait := c.start(t)
			start := time.Now()
			err := c.f.Close()
			worst = max(worst, time.Since(start))
			if err != nil {
				t.Error(err)
			}
			if err := c.f.Close(); !errors.Is(err, fs.ErrClosed) {
				t.Errorf("the second Close: %v", err)
			}
			wait()
			c.check(t, name)
			for i := range c.done {
				calls += c.done[i].Load()
			}
		}
		t.Logf("%s: %d calls; Close took up to %v", m.Name, calls, worst)
	}
}

// TestCloseDoesNotWait closes a File while a call waits for a peer that acts only after Close has
// returned.
func TestCloseDoesNotWait(t *testing.T) {
	aiotest.Guard(t)
	dir := aiotest.Dir(t)
	for _, m := range aiofile.Modes {
		t.Run(m.Name+"/ReadFrom", func(t *testing.T) {
			aiotest.Compare(t, dir, aiofile.Package(t, m.Flag), func(s *aiotest.Side) {
				f := s.MustOpen("file", os.O_RDWR|os.O_CREATE)
				r, w := io.Pipe()
				result := make(chan error)
				go func() {
					_, err := f.ReadFrom(r)
					result <- err
				}()
				w.Write([]byte("some")) // the call is under way now
				w.Write(nil)            // and has asked for more
				s.Note("Close", f.Close())
				go w.Write([]byte("more"))
				s.Note("ReadFrom", errors.Is(<-result, fs.ErrClosed))
				s.Note("Close", f.Close())
				r.Close()
			})
		})
		t.Run(m.Name+"/WriteTo", func(t *testing.T) {
			aiotest.Compare(t, dir, aiofile.Package(t, m.Flag), func(s *aiotest.Side) {
				s.Put("file", aiotest.Pattern(3<<20, 1)) // more than one piece
				f := s.MustOpen("file", os.O_RDWR)
				r, w := io.Pipe()
				result := make(chan error)
				go func() {
					_, err := f.WriteTo(w)
					result <- err
				}()
				r.Read(make([]byte, 1))
				s.Note("Close", f.Close())
				go io.Copy(io.Discard, r)
				s.Note("WriteTo", errors.Is(<-result, fs.ErrClosed))
				r.Close()
			})
		})
	}
}

// TestCloseTogether closes a File from several goroutines at once: exactly one succeeds.
func TestCloseTogether(t *testing.T) {
	aiotest.Guard(t)
	name := aiofile.Put(t, aiotest.Dir(t), "file", aiotest.Pattern(8192, 1))
	for i := range aiotest.Scaled(500) {
		f := aiofile.Open(t, name, os.O_RDWR|aiofile.Modes[i%2].Flag)
		var closed atomic.Int64
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				p := aiotest.Buffer(4096, 0)
				if _, err := f.ReadAt(p, 0); err != nil && !errors.Is(err, fs.ErrClosed) {
					t.Error(err)
				}
				switch err := f.Close(); {
				case err == nil:
					closed.Add(1)
				case !errors.Is(err, fs.ErrClosed):
					t.Error(err)
				}
				runtime.Gosched()
			})
		}
		wg.Wait()
		if n := closed.Load(); n != 1 {
			t.Fatalf("%d of 8 closed the File", n)
		}
	}
}
