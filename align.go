package aio

import "github.com/go-aio/aio/internal/fd"

// An Alignment says what direct I/O on a file needs in order to go without a copy, in bytes. Each
// is a power of two. It is the kernel's answer (statx(2), STATX_DIOALIGN), not a constant.
type Alignment struct {
	Memory int // the address of a buffer
	Read   int // offset and length of a read
	Write  int // offset and length of a write that is to go direct; 0 if none does
}

// Alignment returns the alignment of f. It is zero for a File that is not direct.
func (f *File) Alignment() Alignment {
	var a Alignment
	if d := f.engine(); d != nil {
		a.Memory, a.Read, a.Write = d.Alignment()
	}
	return a
}

// AlignedBuffer returns n bytes of zeroed memory whose address is a multiple of 4096 bytes: a
// transfer of whole blocks never needs a bounce buffer. It panics if n is negative.
func AlignedBuffer(n int) []byte { return fd.AlignedBuffer(n) }
