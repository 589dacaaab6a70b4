package aio_test

import (
	"errors"
	"math"
	"os"
	"slices"
	"testing"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/internal/aiotest"
)

// A device answers more bytes than there is memory for, beyond the largest offset, as it answers a
// read of a few.
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
