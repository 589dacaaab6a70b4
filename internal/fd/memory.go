package fd

import (
	"sync/atomic"
	"unsafe"

	"github.com/ncw/directio"
)

// addressFits reports whether the address of p is a multiple of mem, a power of two.
func addressFits(p []byte, mem int) bool {
	return uintptr(unsafe.Pointer(unsafe.SliceData(p)))&uintptr(mem-1) == 0
}

// faultIn faults in every page of the buffers for writing and leaves their contents alone, if the
// filesystem reads direct only into memory that has its pages.
func (fd *FD) faultIn(b Buffers) {
	if !fd.direct.Resident {
		return
	}
	for b.Len() > 0 {
		p, _ := b.First()
		b.Advance(len(p))
		// The address is a multiple of 4 bytes.
		for ; len(p) >= 4; p = p[min(len(p), minPage):] {
			// atomic: the compiler would drop a plain self-assignment.
			atomic.AddInt32((*int32)(unsafe.Pointer(unsafe.SliceData(p))), 0)
		}
	}
}

// AlignedBuffer returns n bytes of zeroed memory whose address suits direct I/O on any file.
func AlignedBuffer(n int) []byte {
	if directio.AlignSize == 0 {
		return make([]byte, n) // a system whose direct I/O takes any address
	}
	return directio.AlignedBlock(n)[:n:n]
}

// Bytes returns the bytes of s, to be read only.
func Bytes(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }
