package aiotest

import "reflect"

// Endless returns a slice of n bytes, of which only the first is memory: for lengths that no machine
// has. Nothing may touch it.
func Endless(n int) []byte {
	return reflect.SliceAt(reflect.TypeFor[byte](), reflect.ValueOf(new(byte)).UnsafePointer(), n).Bytes()
}
