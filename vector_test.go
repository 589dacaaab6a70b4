package aio_test

import (
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"syscall"
	"testing"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/internal/aiotest/aiofile"
)

// TestVectorTooLong passes more bytes than an int can count: the same few again and again, with
// large lengths.
func TestVectorTooLong(t *testing.T) {
	aiotest.Guard(t)
	piece := aiotest.Endless(math.MaxInt>>17 + 1)
	many := slices.Repeat([][]byte{piece}, 1<<17)
	name := aiofile.Put(t, aiotest.Dir(t), "file", aiotest.Pattern(8192, 1))
	for _, m := range aiofile.Modes {
		f := aiofile.Open(t, name, os.O_RDWR|m.Flag)
		if n, err := f.ReadvAt(many, 0); n != 0 || !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%s: ReadvAt: %d, %v", m.Name, n, err)
		}
		if n, err := f.WritevAt(many, 0); n != 0 || !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%s: WritevAt: %d, %v", m.Name, n, err)
		}
	}
}

// TestVectorOfADevice reads more bytes from a device than there is memory, beyond the largest
// offset. The result is that of a read of a few.
func TestVectorOfADevice(t *testing.T) {
	aiotest.Guard(t)
	theirs, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	ours, err := aio.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	bufs := slices.Repeat([][]byte{aiotest.Endless(math.MaxInt >> 12)}, 1<<10)
	n, err := ours.ReadvAt(bufs, math.MaxInt64)
	wantN, want := theirs.ReadAt(make([]byte, 4096), math.MaxInt64)
	if n != wantN || errors.Unwrap(err) != errors.Unwrap(want) {
		t.Errorf("ReadvAt = %d, %v; os.File's ReadAt = %d, %v", n, err, wantN, want)
	}
}

// testVectoredAllocs passes several buffers. Only the array of their addresses is allocated.
func testVectoredAllocs(t *testing.T, f *aio.File) {
	for _, n := range []int{100, 4096} {
		bufs := aiotest.Split(0, n, n, n, n)
		aiotest.AllocsAtMost(t, 1, fmt.Sprintf("ReadvAt of four times %d bytes", n), func() error { return second(f.ReadvAt(bufs, 4096)) })
		aiotest.AllocsAtMost(t, 1, fmt.Sprintf("WritevAt of four times %d bytes", n), func() error { return second(f.WritevAt(bufs, 4096)) })
	}
}
