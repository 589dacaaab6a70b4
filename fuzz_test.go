package aio_test

import (
	"flag"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/internal/aiotest/subject"
)

// FuzzAlign compares the arithmetic of alignment with that of math/big.
func FuzzAlign(f *testing.F) {
	for _, off := range []int64{0, 1, 511, 512, 4095, 4096, math.MaxInt64, math.MaxInt64 - 4095, math.MaxInt64 - 4096, 1 << 62} {
		for _, n := range []int{1, 511, 512, 4096, 1<<20 - 1, 1 << 20, math.MaxInt} {
			f.Add(off, n, uint8(9), uint8(12), uint16(off))
		}
	}
	slab, bounce := aio.AlignedBuffer(3<<20), aio.NewBounce()
	f.Fuzz(func(t *testing.T, off int64, n int, unitBits, memBits uint8, address uint16) {
		off, n = max(off, -(off+1)), max(n, -(n+1)) // what is negative never gets here
		unit, mem := 1<<(unitBits%17), 1<<(memBits%13)
		checkWiden(t, off, max(n, 1), unit)
		checkEnd(t, off, n)
		if got, want := aio.InUnits(off, n, unit), off%int64(unit) == 0 && n%unit == 0; got != want {
			t.Errorf("inUnits(%d, %d, %d) is %t", off, n, unit, got)
		}
		shift := int(address) % 4096
		p := slab[shift : shift+n%(2<<20)]
		want := off%int64(unit) == 0 && len(p)%unit == 0 && shift%mem == 0
		if got := aio.Aligned(p, off, unit, mem); got != want {
			t.Errorf("aligned(%d bytes at address %d, %d, %d, %d) is %t", len(p), shift, off, unit, mem, got)
		}
		checkBounce(t, bounce, 1+n%aio.MaxBounceRead)
	})
}

func checkWiden(t *testing.T, off int64, n, unit int) {
	u := big.NewInt(int64(unit))
	lo := big.NewInt(off)
	hi := new(big.Int).Add(lo, big.NewInt(int64(n)))
	lo.Div(lo, u).Mul(lo, u)
	hi.Add(hi, u).Sub(hi, big.NewInt(1)).Div(hi, u).Mul(hi, u)
	gotLo, gotHi, ok := aio.Widen(off, n, unit)
	if ok != hi.IsInt64() || ok && (gotLo != lo.Int64() || gotHi != hi.Int64()) {
		t.Errorf("widen(%d, %d, %d) is %d, %d, %t; want %v, %v", off, n, unit, gotLo, gotHi, ok, lo, hi)
	}
}

func checkEnd(t *testing.T, off int64, n int) {
	want := int64(math.MaxInt64)
	if sum := new(big.Int).Add(big.NewInt(off), big.NewInt(int64(n))); sum.IsInt64() {
		want = sum.Int64()
	}
	if got := aio.End(off, n); got != want {
		t.Errorf("end(%d, %d) is %d; want %d", off, n, got, want)
	}
}

// checkBounce takes a buffer of n bytes, which should be cut from the smallest that can
// be, and gives it back.
func checkBounce(t *testing.T, b interface {
	Get(n int) []byte
	Put(p []byte)
}, n int,
) {
	class, size := 0, aio.MinBounce
	for size < n && size < aio.MaxBounce {
		class, size = class+1, size*2
	}
	if size == aio.MaxBounce {
		size = aio.MaxBounceRead
	}
	if got := aio.ClassOf(n); got != class {
		t.Errorf("classOf(%d) is %d; want %d", n, got, class)
	}
	p := b.Get(n)
	if len(p) != n || cap(p) != size || !aio.Aligned(p, 0, 1, 4096) {
		t.Errorf("a buffer of %d bytes has length %d, capacity %d, aligned %t", n, len(p), cap(p), aio.Aligned(p, 0, 1, 4096))
	}
	b.Put(p)
}

// FuzzFile runs sequences of operations on os.Files and on aio.Files; see
// aiotest.Machine.
func FuzzFile(f *testing.F) {
	for seed := range uint64(aiotest.ScaledOrFull(60)) {
		r := rand.New(rand.NewPCG(seed, 1))
		program := make([]byte, 20+r.IntN(200))
		for i := range program {
			program[i] = byte(r.Uint32())
		}
		f.Add(program)
	}
	if flag.Lookup("test.fuzz").Value.String() != "" {
		// One operation at a time would never come to kernel AIO.
		subject.Must(aio.Configure(aio.Config{Synchronous: -1}))
	}
	m := aiotest.NewMachine(f, aiotest.Dir(f), subject.Roundabout(f, 0), aiotest.Options{})
	f.Fuzz(func(t *testing.T, program []byte) {
		aiotest.Guard(t)
		m.Run(t, program)
	})
}
