package faults

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"testing"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/internal/aiotest/trials/fusedisk"
	"github.com/go-aio/aio/stream"
)

// streams runs do on two disks, with no oracle: a stream has blocks of its own.
func (on target) streams(t *testing.T, do func(s *stage)) {
	t.Helper()
	_, pkg := on.direct(t)
	on.compare(t, pkg, pkg, func(s *stage) {
		do(s)
		s.Note("done")
	})
}

// TestStreamReadError makes sectors ahead of a Reader unreadable. It returns all bytes before the
// page, and the error once for each try. It goes on when the sectors are good again.
func TestStreamReadError(t *testing.T) {
	each(t, everywhere, func(t *testing.T, on target) {
		on.streams(t, func(s *stage) {
			s.put(fileSize)
			f := s.open(os.O_RDONLY).(*aio.File)
			for _, o := range []stream.ReaderOptions{{}, {BlockSize: 64 << 10, Depth: 8}, {BlockSize: 64 << 10, Offset: 12345}} {
				for _, bad := range []int64{mib + mib/2 + 512, 2*mib - 512, 100_000} {
					s.forget(f)
					s.bad(fusedisk.Read, 1, bad, bad+1)
					readUpTo(s, f, o, bad)
				}
			}
		})
	})
}

func readUpTo(s *stage, f *aio.File, o stream.ReaderOptions, bad int64) {
	s.Helper()
	what := fmt.Sprintf("%+v, bad at %d", o, bad)
	r := stream.NewReader(f, o)
	var got bytes.Buffer
	for range 2 {
		_, err := io.Copy(&got, r)
		if !errors.Is(err, syscall.EIO) {
			s.Errorf("%s: %v", what, err)
		}
		if at := o.Offset + int64(got.Len()); at > bad || at != bad&^4095 && !s.on.buffers && !s.on.noDirect { // FUSE fails requests of 128 KiB
			s.Errorf("%s: the Reader has read up to %d", what, at)
		}
	}
	s.good()
	if _, err := io.Copy(&got, r); err != nil {
		s.Errorf("%s, and good again: %v", what, err)
	}
	if want := content(1, o.Offset, int(fileSize-o.Offset)); !bytes.HasPrefix(got.Bytes(), want) || got.Len() > len(want) && s.on.fs.Size > 0 {
		s.Errorf("%s: %d bytes, not the %d that are there", what, got.Len(), len(want))
	}
	if err := r.Close(); err != nil {
		s.Errorf("%s: Close: %v", what, err)
	}
}

// TestStreamWriteError makes sectors ahead of a Writer unwritable. Its error stays, and all bytes
// before the place that the error names are there.
func TestStreamWriteError(t *testing.T) {
	each(t, unbuffered, func(t *testing.T, on target) {
		on.streams(t, func(s *stage) {
			for _, exclusive := range []bool{false, true} {
				for _, first := range []int{0, fileSize} {
					if first == 0 && on.fs.Size == 0 {
						continue // a device has its size
					}
					writeUpTo(s, stream.WriterOptions{BlockSize: 64 << 10, Exclusive: exclusive}, first)
				}
			}
		})
	})
}

func writeUpTo(s *stage, o stream.WriterOptions, first int) {
	s.Helper()
	const bad = mib + 70_000
	what := fmt.Sprintf("%+v, a file of %d bytes", o, first)
	s.put(first)
	f := s.open(os.O_RDWR).(*aio.File)
	if first == 0 && f.Truncate(0) != nil {
		s.Fatal("Truncate")
	}
	s.bad(fusedisk.Write, 2, bad, bad+1)
	w := stream.NewWriter(f, o)
	_, err := io.Copy(w, bytes.NewReader(content(2, 0, 2*mib)))
	if err == nil {
		err = w.Flush()
	}
	if !errors.Is(err, syscall.EIO) {
		s.Errorf("%s: %v", what, err)
	}
	for _, again := range []error{w.Flush(), w.Sync(), w.Close()} {
		if !errors.Is(again, syscall.EIO) {
			s.Errorf("%s: later: %v", what, again)
		}
	}
	at := w.Written()
	if at > bad || at < bad-64<<10 {
		s.Errorf("%s: written up to %d", what, at)
	}
	s.good()
	got := make([]byte, at)
	if _, err := f.ReadAt(got, 0); err != nil || !bytes.Equal(got, content(2, 0, int(at))) {
		s.Errorf("%s: %v, or other bytes than were written", what, err)
	}
	if fi, err := f.Stat(); first == 0 && (err != nil || fi.Size() > 2*mib || o.Exclusive && fi.Size() != at) {
		s.Errorf("%s: of %d bytes, %v", what, fi.Size(), err)
	}
}

// TestStreamNoSpace fills a filesystem by a Writer. The bytes that the Writer reports as written
// are there, and so is the rest once there is space.
func TestStreamNoSpace(t *testing.T) {
	aiotest.NeedsMounts(t)
	for _, flag := range []int{0, aio.O_DIRECT} {
		for _, exclusive := range []bool{false, true} {
			t.Run(fmt.Sprintf("direct=%t/exclusive=%t", flag != 0, exclusive), func(t *testing.T) {
				aiotest.Guard(t)
				dir, _ := small.NewDir(t)
				f, err := aio.OpenFile(dir+"/file", os.O_RDWR|os.O_CREATE|flag, 0o600)
				must(err)
				defer f.Close()
				w := stream.NewWriter(f, stream.WriterOptions{BlockSize: 64 << 10, Exclusive: exclusive})
				_, err = io.Copy(w, bytes.NewReader(content(2, 0, 17*mib)))
				if err == nil {
					err = w.Sync()
				}
				if again := w.Close(); !errors.Is(err, syscall.ENOSPC) || !errors.Is(again, syscall.ENOSPC) {
					t.Errorf("%v; then %v", err, again)
				}
				at := w.Written()
				got, err := os.ReadFile(f.Name())
				must(err)
				if at < 8*mib || int64(len(got)) < at || !bytes.HasPrefix(content(2, 0, 17*mib), got) || exclusive && int64(len(got)) != at {
					t.Errorf("written up to %d; the file has %d bytes, or others", at, len(got))
				}
			})
		}
	}
}

// TestStreamSyncError fails the flushes of a disk while many goroutines append to an exclusive
// Writer. All later Syncs return the error, and the bytes that the Writer reports as written are
// there.
func TestStreamSyncError(t *testing.T) {
	each(t, onDevice, func(t *testing.T, on target) {
		on.streams(t, func(s *stage) {
			f := s.open(os.O_RDWR).(*aio.File)
			w := stream.NewWriter(f, stream.WriterOptions{BlockSize: 16 << 10, Exclusive: true})
			var wg sync.WaitGroup
			s.inject(fusedisk.Fault{Errno: syscall.EIO}, func(r fusedisk.Request) bool { return r.Op == fusedisk.Flush && r.N > 20 })
			for g := range 8 {
				wg.Go(func() {
					p := bytes.Repeat([]byte{byte('a' + g)}, 300)
					for {
						_, err := w.Write(p)
						if err == nil {
							err = w.Sync()
						}
						if err == nil {
							continue
						}
						if !errors.Is(err, syscall.EIO) {
							s.Error(err)
						}
						return
					}
				})
			}
			wg.Wait()
			if err := w.Close(); !errors.Is(err, syscall.EIO) {
				s.Error(err)
			}
			s.good()
			got := make([]byte, w.Written())
			if _, err := f.ReadAt(got, 0); err != nil || len(got) == 0 || bytes.IndexByte(got, 0) >= 0 {
				s.Errorf("%d bytes, of which one is not there: %v", len(got), err)
			}
		})
	})
}
