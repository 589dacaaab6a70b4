package aio_test

import (
	"os"
	"path/filepath"
	"testing"
	"unsafe"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/internal/aiotest/aiofile"
)

func TestAlignedBuffer(t *testing.T) {
	for _, n := range []int{0, 1, 4095, 4096, 1 << 20} {
		p := aio.AlignedBuffer(n)
		if len(p) != n || cap(p) != n {
			t.Errorf("%d bytes: length %d, capacity %d", n, len(p), cap(p))
		}
		if n > 0 && uintptr(unsafe.Pointer(&p[0]))%4096 != 0 {
			t.Errorf("%d bytes at %p", n, &p[0])
		}
		for _, c := range p {
			if c != 0 {
				t.Fatalf("%d bytes are not zeroed", n)
			}
		}
	}
	for _, n := range []int{-1, -4096, -5000} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("AlignedBuffer(%d) does not panic", n)
				}
			}()
			aio.AlignedBuffer(n)
		}()
	}
}

// TestAlignment checks that a transfer which keeps to the Alignment is not copied, and that any
// other is.
func TestAlignment(t *testing.T) {
	aiotest.Guard(t)
	name := aiofile.Put(t, aiotest.Dir(t), "file", aiotest.Pattern(1<<20, 1))
	buffered := aiofile.Open(t, name, os.O_RDWR)
	if a := buffered.Alignment(); a != (aio.Alignment{}) {
		t.Errorf("a buffered File: %+v", a)
	}
	if a := (*aio.File)(nil).Alignment(); a != (aio.Alignment{}) {
		t.Errorf("a nil File: %+v", a)
	}
	if a := aiofile.Open(t, filepath.Dir(name), os.O_RDONLY|aio.O_DIRECT).Alignment(); a != (aio.Alignment{}) {
		t.Errorf("a directory: %+v", a)
	}
	f := aiofile.Open(t, name, os.O_RDWR|aio.O_DIRECT)
	if !f.Direct() {
		aiotest.NeedsDirect(t)
	}
	a := f.Alignment()
	for _, n := range []int{a.Memory, a.Read, a.Write} {
		if n&(n-1) != 0 || n > 64<<10 {
			t.Errorf("%+v", a)
		}
	}
	if a.Memory == 0 || a.Read == 0 {
		t.Fatalf("a direct File: %+v", a)
	}
	copies := func(p []byte, off int) int64 {
		before := aio.ReadStats().Bounced
		if _, err := f.ReadAt(p, int64(off)); err != nil {
			t.Fatal(err)
		}
		return aio.ReadStats().Bounced - before
	}
	p := aio.AlignedBuffer(4 * a.Read)
	if n := copies(p[:2*a.Read], a.Read); n != 0 {
		t.Errorf("an aligned read made %d copies", n)
	}
	if n := copies(p[:a.Read], a.Read+1); n != 1 {
		t.Errorf("a read at an odd offset made %d copies", n)
	}
	if n := copies(p[:a.Read-1], 0); n != 1 {
		t.Errorf("a read of an odd length made %d copies", n)
	}
	if n := copies(p[1:a.Read+1], 0); n != 1 && a.Memory > 1 {
		t.Errorf("a read to an odd address made %d copies", n)
	}
}
