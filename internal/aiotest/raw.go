package aiotest

import (
	"bytes"
	"fmt"
)

// A State is the state of an extent, as the filesystem reports it.
type State int

const (
	Written State = iota // its bytes are on the device
	Zeros                // a hole, or allocated and not written: it reads as zeros
	Unknown              // within the metadata, compressed or encrypted
)

// An Extent is a piece of a file as it lies on the block device.
type Extent struct {
	State
	Off  int64
	Len  int64
	Data []byte // read from the device, if the State is Written
}

// CheckExtents compares the bytes of a file on a block device with its content, in blocks of the
// given size: the extents must match, and the content outside of them must be zeros. It returns the
// number of bytes compared on the device, and the device's bytes between the end of the file and
// the end of the block.
func CheckExtents(extents []Extent, content []byte, block int) (n int64, tail []byte, err error) {
	size, at := int64(len(content)), int64(0)
	last := (size + int64(block) - 1) / int64(block) * int64(block)
	for _, e := range append(extents, Extent{State: Zeros, Off: size}) {
		lo, hi := min(e.Off, size), min(e.Off+e.Len, size)
		if hole := content[min(at, lo):lo]; !allZeros(hole) {
			return n, nil, fmt.Errorf("a hole from %d to %d; the file has something else than zeros there", at, lo)
		}
		switch at = max(at, hi); e.State {
		case Zeros:
			if !allZeros(content[lo:hi]) {
				return n, nil, fmt.Errorf("%d bytes at %d were never written; the file has something else than zeros there", hi-lo, lo)
			}
		case Written:
			got, want := e.Data[:hi-lo], content[lo:hi]
			if !bytes.Equal(got, want) {
				i := mismatch(got, want)
				return n, nil, fmt.Errorf("byte %d, of a file of %d, is %#x on the device; want %#x", lo+int64(i), size, got[i], want[i])
			}
			n += hi - lo
			if e.Off < last && e.Off+e.Len > size {
				tail = append(tail, e.Data[max(size-e.Off, 0):min(last-e.Off, e.Len)]...)
			}
		}
	}
	return n, tail, nil
}

func allZeros(p []byte) bool { return len(bytes.Trim(p, "\x00")) == 0 }
