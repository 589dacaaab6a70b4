package fd

import (
	"math"
	"math/big"
	"slices"
	"testing"

	"github.com/go-aio/aio/internal/aiotest"
)

// FuzzAlign compares the arithmetic of alignment with that of math/big.
func FuzzAlign(f *testing.F) {
	for _, off := range []int64{0, 1, 511, 512, 4095, 4096, math.MaxInt64, math.MaxInt64 - 4095, math.MaxInt64 - 4096, 1 << 62} {
		for _, n := range []int{1, 511, 512, 4096, 1<<20 - 1, 1 << 20, math.MaxInt} {
			f.Add(off, n, uint8(9), uint8(12), uint16(off))
		}
	}
	slab := AlignedBuffer(3 << 20)
	f.Fuzz(func(t *testing.T, off int64, n int, unitBits, memBits uint8, address uint16) {
		off, n = max(off, -(off+1)), max(n, -(n+1)) // what is negative never gets here
		unit, mem := 1<<(unitBits%17), 1<<(memBits%13)
		checkWiden(t, off, max(n, 1), unit)
		checkEnd(t, off, n)
		if got, want := inUnits(off, n, unit), off%int64(unit) == 0 && n%unit == 0; got != want {
			t.Errorf("inUnits(%d, %d, %d) is %t", off, n, unit, got)
		}
		shift := int(address) % 4096
		p := slab[shift : shift+n%(2<<20)]
		want := 0
		if off%int64(unit) == 0 && len(p)%unit == 0 && shift%mem == 0 {
			want = len(p)
		}
		if got := directPart(One(p), off, unit, mem).Len(); got != want {
			t.Errorf("directPart(%d bytes at address %d, %d, %d, %d) has %d bytes", len(p), shift, off, unit, mem, got)
		}
		checkBlock(t, 1+n%maxBounceRead)
	})
}

func checkWiden(t *testing.T, off int64, n, unit int) {
	u := big.NewInt(int64(unit))
	lo := big.NewInt(off)
	hi := new(big.Int).Add(lo, big.NewInt(int64(n)))
	lo.Div(lo, u).Mul(lo, u)
	hi.Add(hi, u).Sub(hi, big.NewInt(1)).Div(hi, u).Mul(hi, u)
	gotLo, gotHi, ok := widen(off, n, unit)
	if ok != hi.IsInt64() || ok && (gotLo != lo.Int64() || gotHi != hi.Int64()) {
		t.Errorf("widen(%d, %d, %d) is %d, %d, %t; want %v, %v", off, n, unit, gotLo, gotHi, ok, lo, hi)
	}
}

func checkEnd(t *testing.T, off int64, n int) {
	want := int64(math.MaxInt64)
	if sum := new(big.Int).Add(big.NewInt(off), big.NewInt(int64(n))); sum.IsInt64() {
		want = sum.Int64()
	}
	if got := end(off, n); got != want {
		t.Errorf("end(%d, %d) is %d; want %d", off, n, got, want)
	}
}

// checkBlock takes a Block of n bytes, which should be cut from the smallest that can be, and gives
// it back.
func checkBlock(t *testing.T, n int) {
	class, size := 0, 1<<minBlockBits
	for size < n && size < maxBounce {
		class, size = class+1, size*2
	}
	if size == maxBounce {
		size = maxBounceRead
	}
	if c, s := blockSize(n); c != class || s != size {
		t.Errorf("blockSize(%d) is %d, %d; want %d, %d", n, c, s, class, size)
	}
	b := NewBlock(n)
	p := b.Bytes
	if len(p) != n || cap(p) != size || !addressFits(p, 4096) {
		t.Errorf("a buffer of %d bytes has length %d, capacity %d, aligned %t", n, len(p), cap(p), addressFits(p, 4096))
	}
	b.Free()
}

// TestDirectPart is for what the kernel takes as it is.
func TestDirectPart(t *testing.T) {
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
		{"many before one that does not fit", []int{maxBounce, 512, 100}, 0, 4096, 512, 1, maxBounce},
		{"as many as there may be", blocks(1024), 0, 4096, 512, 1024, 4 << 20},
		{"one more", blocks(1025), 0, 4096, 512, 1024, 4 << 20},
		{"so short that a bounce buffer holds more of them", slices.Repeat([]int{512}, 1032), 0, 4096, 512, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			bufs := aiotest.Split(c.shift, c.lengths...)
			b, ok := Many(bufs)
			if !ok || b.Len() != aiotest.Total(bufs) {
				t.Fatalf("%d bytes, %t; want %d", b.Len(), ok, aiotest.Total(bufs))
			}
			part := directPart(b, 4096, c.unit, c.mem)
			if got := part.Append(nil); len(got) != c.bufs || part.Len() != c.n || aiotest.Total(got) != c.n {
				t.Errorf("%d buffers of %d bytes, %d in all; want %d of %d", len(got), aiotest.Total(got), part.Len(), c.bufs, c.n)
			}
			if n := directPart(b, 512, 4096, c.mem).Len(); n != 0 {
				t.Errorf("%d bytes at an offset that does not fit", n)
			}
		})
	}
}
