//go:build linux

package lifetime

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/internal/aiotest/aiofile"
)

// A taker is a descriptor that may take the number of a File that is being closed. check returns an
// error if a stray call used it.
type taker struct {
	kind  string
	fds   []int
	check func() error
	close func()
}

// victimSize is the length of the files that must not change.
const victimSize = 256 << 10

// takers open descriptors of every sort that reveals a stray call.
//
// On a pipe and a socket pread(2), pwrite(2) and fsync(2) fail, and read(2) and write(2) take or
// leave bytes. On a descriptor opened with O_PATH everything fails with EBADF, which no other call
// here returns. So it reveals a stray fsync(2), which changes nothing.
var takers = []func(victim string) (*taker, error){pathTaker, readWriteTaker, readOnlyTaker, pipeTaker, socketTaker}

func pathTaker(victim string) (*taker, error) {
	fd, err := unix.Open(victim, unix.O_PATH|unix.O_CLOEXEC, 0)
	return &taker{"O_PATH", []int{fd}, func() error { return nil }, func() { unix.Close(fd) }}, err
}

func readWriteTaker(victim string) (*taker, error) { return fileTaker(victim, os.O_RDWR) }
func readOnlyTaker(victim string) (*taker, error)  { return fileTaker(victim, os.O_RDONLY) }

// fileTaker finds a stray write by the contents, in the end, and a stray read(2) or write(2) by the
// offset.
func fileTaker(victim string, flag int) (*taker, error) {
	f, err := os.OpenFile(victim, flag, 0)
	if err != nil {
		return nil, err
	}
	return &taker{"file", []int{int(f.Fd())}, func() error {
		if off := aiotest.Offset(f.Fd()); off != 0 {
			return errors.New("a stray call has moved the offset of a file to " + strconv.FormatInt(off, 10))
		}
		return nil
	}, func() { f.Close() }}, nil
}

func pipeTaker(string) (*taker, error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, err
	}
	return pairTaker("pipe", fds, fds[1], fds[0])
}

func socketTaker(string) (*taker, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	return pairTaker("socket", fds, fds[1], fds[0])
}

// pairTaker keeps a few bytes in a pipe or socket, which must contain exactly these in the end.
func pairTaker(kind string, fds [2]int, in, out int) (*taker, error) {
	const bait = "bait"
	if _, err := unix.Write(in, []byte(bait)); err != nil {
		return nil, err
	}
	return &taker{kind, fds[:], func() error {
		p := make([]byte, 100)
		if n, err := unix.Read(out, p); err != nil || string(p[:n]) != bait {
			return errors.New("in the " + kind + " is " + strconv.Quote(string(p[:max(n, 0)])))
		}
		if n, err := unix.Read(out, p); err != unix.EAGAIN {
			return errors.New("a stray call has written to the " + kind + ": " + strconv.Quote(string(p[:max(n, 0)])))
		}
		return nil
	}, func() {
		unix.Close(in)
		unix.Close(out)
	}}, nil
}

// numbers returns the descriptors that lead to the file.
func numbers(name string) []int {
	var fds []int
	for _, open := range aiotest.OpenFiles() {
		number, target, _ := strings.Cut(open, " ")
		if n, err := strconv.Atoi(number); err == nil && target == name {
			fds = append(fds, n)
		}
	}
	return fds
}

// strayCalls use a File in every way until they find it closed.
var strayCalls = []func(f *aio.File, i int, p []byte) error{
	func(f *aio.File, i int, p []byte) error { _, err := f.ReadAt(p[:4096], int64(i*8192)); return err },
	func(f *aio.File, i int, p []byte) error { _, err := f.WriteAt(p[:4096], int64(i*8192)); return err },
	func(f *aio.File, i int, p []byte) error { _, err := f.WriteAt(p[:100], int64(i*8192)); return err },
	func(f *aio.File, _ int, _ []byte) error { return f.Sync() },
	func(f *aio.File, _ int, _ []byte) error { return f.Datasync() },
	func(f *aio.File, _ int, p []byte) error {
		_, err := f.Read(p[:5000])
		if err == io.EOF {
			_, err = f.Seek(0, io.SeekStart)
		}
		return err
	},
	func(f *aio.File, _ int, p []byte) error {
		off, err := f.Write(p[:100])
		if err == nil && off > 0 {
			_, err = f.Seek(0, io.SeekStart)
		}
		return err
	},
	func(f *aio.File, i int, _ []byte) error { return f.Truncate(512<<10 + int64(i)) },
}

// TestNumbersTakenOver closes Files in use, while descriptors of all sorts are opened as fast as
// possible, and get the numbers. No call of the Files may reach one of them. The test goes on until
// descriptors of each sort had such a number.
func TestNumbersTakenOver(t *testing.T) {
	aiotest.Guard(t)
	dir := aiotest.Dir(t)
	theirs := bytes.Repeat([]byte("t"), victimSize)
	name, victim := aiofile.Put(t, dir, "ours", bytes.Repeat([]byte("o"), 512<<10)), aiofile.Put(t, dir, "theirs", theirs)
	opened, taken := 0, make(map[string]int)
	for round := 0; round < aiotest.Scaled(150) || len(taken) < 4; round++ {
		f := aiofile.Open(t, name, os.O_RDWR|aiofile.Modes[round%2].Flag)
		ours := numbers(name)
		if len(ours) == 0 {
			t.Fatal("the File has no descriptor")
		}
		var wg sync.WaitGroup
		var calls atomic.Int64
		for i := range 6 * len(strayCalls) {
			wg.Go(func() {
				p := bytes.Repeat([]byte("o"), 8192)
				for {
					err := strayCalls[i%len(strayCalls)](f, i, p)
					if errors.Is(err, fs.ErrClosed) {
						return
					}
					if err != nil {
						t.Errorf("call %d: %s", i%len(strayCalls), aiotest.Describe(err))
						return
					}
					calls.Add(1)
				}
			})
		}
		aiotest.Until(t, "calls are in flight", func() bool { return calls.Load() > int64(round%7*20) || t.Failed() })
		var ended atomic.Bool
		closed := make(chan error, 1)
		go func() {
			closed <- f.Close()
			wg.Wait()
			ended.Store(true)
		}()
		opened += takeOver(t, round, victim, ours, &ended, taken)
		if err := <-closed; err != nil {
			t.Error(err)
		}
		f = nil
		if t.Failed() {
			return
		}
	}
	if got, err := os.ReadFile(victim); err != nil || !bytes.Equal(got, theirs) {
		t.Error("the other file has been written to", err)
	}
	t.Logf("of %d descriptors these had the number of a File that was being closed: %v", opened, taken)
}

// takeOver opens descriptors until the calls on the File have ended, and some more. It counts in
// taken the descriptors that got one of the File's numbers.
func takeOver(t *testing.T, round int, victim string, ours []int, ended *atomic.Bool, taken map[string]int) (opened int) {
	var held []*taker
	for i, last := round, false; !last; i++ {
		last = ended.Load()
		k, err := takers[i%len(takers)](victim)
		if err != nil {
			t.Fatal(err)
		}
		opened += len(k.fds)
		held = append(held, k)
		if !slices.ContainsFunc(k.fds, func(fd int) bool { return slices.Contains(ours, fd) }) {
			if len(held) > 6 {
				drop(t, held[0])
				held = held[1:]
			}
			continue
		}
		taken[k.kind]++
		if len(held) > 16 {
			break // a descriptor with a number of the File stays open to the end
		}
	}
	for !ended.Load() {
		unix.Nanosleep(&unix.Timespec{Nsec: 20000}, nil)
	}
	for _, k := range held {
		drop(t, k)
	}
	return opened
}

func drop(t *testing.T, k *taker) {
	t.Helper()
	if err := k.check(); err != nil {
		t.Error(err)
	}
	k.close()
}
