//go:build !linux

package aiopebble

// Like Pebble's own FS, these do nothing on other systems.

func hasRangeSync(fd uintptr) bool               { return false }
func syncRange(fd uintptr, n int64) error        { return nil }
func preallocate(fd uintptr, off, n int64) error { return nil }
func prefetch(fd uintptr, off, n int64) error    { return nil }
