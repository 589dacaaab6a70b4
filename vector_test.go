package aio_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"syscall"
	"testing"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/internal/aiotest/subject"
)

// TestVectorDirect is for what the kernel takes as it is.
func TestVectorDirect(t *testing.T) {
	aiotest.Guard(t)
	blocks := func(n int) []int { return slices.Repeat([]int{4096}, n) }
	for _, c := range []struct {
		name      string
		lengths   []int
		shift     int
		unit, mem int
		bufs, n   int
	}{
		{"two blocks", blocks(2), 0, 4096, 512, 2, 8192},
		{"empty ones", []int{0, 4096, -1, 4096, 0}, 0, 4096, 512, 2, 8192},
		{"an address that fits", blocks(2), 512, 4096, 512, 2, 8192},
		{"an address that does not", blocks(2), 256, 4096, 512, 0, 0},
		{"an address that need not", blocks(2), 1, 4096, 1, 2, 8192},
		{"lengths that fit in sum", slices.Repeat([]int{512}, 16), 0, 4096, 512, 16, 8192},
		{"a sum that does not fit", slices.Repeat([]int{512}, 15), 0, 4096, 512, 0, 0},
		{"a length that does not", []int{100, 3996}, 0, 4096, 512, 0, 0},
		{"few blocks before one that does not fit", []int{4096, 4096, 100}, 0, 4096, 512, 0, 0},
		{"many before one that does not fit", []int{aio.MaxBounce, 512, 100}, 0, 4096, 512, 1, aio.MaxBounce},
		{"as many as there may be", blocks(1024), 0, 4096, 512, 1024, 4 << 20},
		{"one more", blocks(1025), 0, 4096, 512, 1024, 4 << 20},
		{"so short that a bounce buffer holds more of them", slices.Repeat([]int{512}, 1032), 0, 4096, 512, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			bufs := aiotest.Split(c.shift, c.lengths...)
			v := aio.VectorOf(bufs)
			defer v.Free()
			got, n := v.Direct(4096, c.unit, c.mem)
			if len(got) != c.bufs || n != c.n || aiotest.Total(got) != n {
				t.Errorf("%d buffers of %d bytes, %d in all; want %d of %d", len(got), aiotest.Total(got), n, c.bufs, c.n)
			}
			if got, _ := v.Direct(512, 4096, c.mem); got != nil {
				t.Errorf("%d buffers at an offset that does not fit", len(got))
			}
			if v.Len() != aiotest.Total(bufs) || aiotest.Total(v.Bufs()) != v.Len() {
				t.Errorf("%d bytes are left; want %d", v.Len(), aiotest.Total(bufs))
			}
		})
	}
}

// TestVectorMoves moves bytes between a vector and one slice, a few at a time.
func TestVectorMoves(t *testing.T) {
	aiotest.Guard(t)
	lengths := []int{3, 0, 1, 4096, -1, 1, 1, 100, 0}
	want := aiotest.Pattern(4202, 1)
	for _, step := range []int{1, 2, 3, 5, 4096, 5000} {
		bufs := aiotest.Split(0, lengths...)
		v := aio.VectorOf(bufs)
		for rest := want; v.Len() > 0; {
			n := v.Scatter(rest[:min(step, len(rest))])
			if n != min(step, len(rest)) {
				t.Fatalf("steps of %d: %d bytes were copied", step, n)
			}
			rest = rest[n:]
			v.Advance(n)
		}
		if len(v.Bufs()) != 0 || !bytes.Equal(aiotest.Join(bufs), want) {
			t.Errorf("steps of %d: %d buffers are left; or the bytes are not those", step, len(v.Bufs()))
		}
		v.Free()
		v = aio.VectorOf(bufs)
		var all []byte
		for v.Len() > 0 {
			p := make([]byte, min(step, v.Len()))
			v.Gather(p)
			all = append(all, p...)
			v.Advance(len(p))
		}
		v.Free()
		if !bytes.Equal(all, want) {
			t.Errorf("steps of %d: other bytes come back", step)
		}
		for i, n := range lengths {
			if len(bufs[i]) != max(n, 0) {
				t.Errorf("steps of %d: buffer %d has become %d bytes long", step, i, len(bufs[i]))
			}
		}
	}
}

// TestVectorTooLong has more bytes than an int can count: the same few again and again, which say
// that they are many.
func TestVectorTooLong(t *testing.T) {
	aiotest.Guard(t)
	piece := aiotest.Endless(math.MaxInt>>17 + 1)
	few, many := slices.Repeat([][]byte{piece}, 1<<17-1), slices.Repeat([][]byte{piece}, 1<<17)
	if v := aio.VectorOf(few); !v.Counted || v.Len() != len(few)*len(piece) {
		t.Errorf("%d bytes, counted %t", v.Len(), v.Counted)
	}
	name := subject.Put(t, aiotest.Dir(t), "file", aiotest.Pattern(8192, 1))
	for _, m := range subject.Modes {
		f := subject.Open(t, name, os.O_RDWR|m.Flag)
		if n, err := f.ReadvAt(many, 0); n != 0 || !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%s: ReadvAt: %d, %v", m.Name, n, err)
		}
		if n, err := f.WritevAt(many, 0); n != 0 || !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%s: WritevAt: %d, %v", m.Name, n, err)
		}
	}
}

// testVectoredAllocs has several buffers: the array of their addresses is all that is made.
func testVectoredAllocs(t *testing.T, f *aio.File) {
	for _, n := range []int{100, 4096} {
		bufs := aiotest.Split(0, n, n, n, n)
		atMost(t, 1, fmt.Sprintf("ReadvAt of four times %d bytes", n), func() error { return second(f.ReadvAt(bufs, 4096)) })
		atMost(t, 1, fmt.Sprintf("WritevAt of four times %d bytes", n), func() error { return second(f.WritevAt(bufs, 4096)) })
	}
}
