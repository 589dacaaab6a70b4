//go:build !linux

package aiopebble

// As Pebble's own FS, which does none of this elsewhere.

func hasRangeSync(fd uintptr) bool               { return false }
func syncRange(fd uintptr, n int64) error        { return nil }
func preallocate(fd uintptr, off, n int64) error { return nil }
func prefetch(fd uintptr, off, n int64) error    { return nil }
