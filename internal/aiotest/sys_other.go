//go:build !linux

package aiotest

import (
	"errors"
	"testing"
	"time"
)

// Linux reports whether this system is Linux.
const Linux = false

// Flags of open(2) that package os does not name; none here.
const (
	O_DIRECT  = 0
	O_TMPFILE = 0
	O_PATH    = 0
	O_DSYNC   = 0
)

// Direct reports whether files in Dir have direct I/O.
const Direct = false

// InNamespace does nothing.
func InNamespace() {}

// NeedsMounts skips the test.
func NeedsMounts(t testing.TB) { Needs(t, "Linux", "go test ./... there") }

// Dir returns a directory for the test.
func Dir(t testing.TB) string { return t.TempDir() }

// Chosen reports false: the environment cannot choose the directory.
func Chosen() bool { return false }

// TmpfsDir skips the test.
func TmpfsDir(t testing.TB) string {
	Needs(t, "Linux", "go test ./... there")
	return ""
}

// Offset returns -1.
func Offset(uintptr) int64 { return -1 }

// SetOffset is not available.
func SetOffset(uintptr, int64) error { return errors.ErrUnsupported }

// Fallocate is not available.
func Fallocate(uintptr, bool, int64, int64) error { return errors.ErrUnsupported }

// OpenFd skips the test.
func OpenFd(t testing.TB, _ string, _ int) uintptr {
	Needs(t, "Linux", "go test ./... there")
	return 0
}

// OpenFlags skips the test.
func OpenFlags(t testing.TB, _ int) (flags int, closedByExec bool) {
	Needs(t, "Linux", "go test ./... there")
	return 0, false
}

// Mkfifo skips the test.
func Mkfifo(t testing.TB, _ string) { Needs(t, "Linux", "go test ./... there") }

// Descriptors returns nil.
func Descriptors() []string { return nil }

// LimitFileSize is not available.
func LimitFileSize(uint64) error { return errors.ErrUnsupported }

// SyscallNumbers is empty.
var SyscallNumbers map[string]uint32

// Refuse is not available.
func Refuse(string) error { return errors.ErrUnsupported }

// Storm does nothing.
func Storm() (stop func()) { return func() {} }

// DirtyPages is not available.
func DirtyPages(uintptr) (int, error) { return 0, errors.ErrUnsupported }

// Nowait reports false.
func Nowait(uintptr) bool { return false }

// Tags returns 0.
func Tags(testing.TB, string) int { return 0 }

// HugeBuffer returns a buffer of the longer of HugeLengths.
func HugeBuffer(testing.TB) []byte {
	pageMore, _ := HugeLengths()
	return Buffer(int(pageMore), 0)
}

// processorTimeOf returns the time of the clock, because the processor time is not available.
func processorTimeOf(int) time.Duration { return time.Since(began) }

var began = time.Now()
