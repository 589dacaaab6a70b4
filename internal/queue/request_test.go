package queue

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"github.com/go-aio/aio/internal/aiotest"
)

// req returns the Request of one buffer.
func req(op Op, fd int, p []byte, off int64) Request {
	return Request{Op: op, Fd: fd, Bufs: One(p), Off: off}
}

// reqVec returns the Request of several buffers.
func reqVec(op Op, fd int, bufs [][]byte, off int64) Request {
	b, _ := Many(bufs)
	return Request{Op: op, Fd: fd, Bufs: b, Off: off}
}

// Buffers behave like one buffer that holds the bytes of all. They leave the slice that they
// were made from alone.
func TestBuffers(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		var bufs [][]byte
		var all []byte
		for range rng.IntN(6) {
			p := make([]byte, rng.IntN(5))
			for i := range p {
				p[i] = byte(rng.Uint32())
			}
			bufs, all = append(bufs, p), append(all, p...)
		}
		before := slices.Clone(bufs)
		b, ok := Many(bufs)
		if !ok || b.Len() != len(all) {
			t.Fatalf("Many(%d bytes) has %d, %t", len(all), b.Len(), ok)
		}
		n := rng.IntN(len(all) + 1)
		b.Advance(n)
		all = all[n:]
		h := rng.IntN(len(all) + 2)
		head := b.Head(h)
		h = min(h, len(all))
		if got := bytes.Join(head.Append(nil), nil); !bytes.Equal(got, all[:h]) {
			t.Fatalf("the first %d of %x are %x", h, all, got)
		}
		p := make([]byte, h)
		if head.Gather(p); !bytes.Equal(p, all[:h]) {
			t.Fatalf("Gather of %x = %x", all[:h], p)
		}
		first, one := b.First()
		if one != (len(b.Append(nil)) <= 1) || !bytes.HasPrefix(all, first) ||
			len(all) > 0 && len(first) == 0 {
			t.Fatalf("First of %x = %x, %t", all, first, one)
		}
		for i := range p {
			p[i]++
		}
		if m := head.Scatter(p); m != h {
			t.Fatalf("Scatter(%d) = %d", h, m)
		}
		if got := bytes.Join(b.Append(nil), nil); !bytes.Equal(got, append(slices.Clone(p), all[h:]...)) {
			t.Fatalf("after Scatter of %x: %x", p, got)
		}
		for i := range bufs {
			if unsafe.SliceData(bufs[i]) != unsafe.SliceData(before[i]) || len(bufs[i]) != len(before[i]) {
				t.Fatal("the slice of buffers has changed")
			}
		}
	}
}

func ExampleBuffers_Head() {
	b, _ := Many([][]byte{[]byte("one"), nil, []byte("two")})
	fmt.Printf("%q\n", b.Head(4).Append(nil))
	// Output: ["one" "t"]
}

// The test counts as many bytes as an int can hold, and one buffer more.
func TestManyOverflows(t *testing.T) {
	piece := aiotest.Endless(math.MaxInt>>17 + 1)
	few, many := slices.Repeat([][]byte{piece}, 1<<17-1), slices.Repeat([][]byte{piece}, 1<<17)
	if b, ok := Many(few); !ok || b.Len() != len(few)*len(piece) {
		t.Errorf("%d bytes, counted %t", b.Len(), ok)
	}
	if _, ok := Many(many); ok {
		t.Error("Many counts more bytes than an int can hold")
	}
}
