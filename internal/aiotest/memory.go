package aiotest

import "unsafe"

// Endless returns a slice of n bytes, of which only the first is memory: for lengths that no machine
// has. Nothing may touch it.
func Endless(n int) []byte {
	// As unsafe.Slice, which checks that there is as much.
	header := struct {
		p        *byte
		len, cap int
	}{new(byte), n, n}
	return *(*[]byte)(unsafe.Pointer(&header))
}
