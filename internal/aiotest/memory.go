package aiotest

import "reflect"

// Endless returns a slice of n bytes that has memory for the first only, for lengths that no
// machine has. Callers must not touch the rest.
func Endless(n int) []byte {
	return reflect.SliceAt(reflect.TypeFor[byte](), reflect.ValueOf(new(byte)).UnsafePointer(), n).Bytes()
}
