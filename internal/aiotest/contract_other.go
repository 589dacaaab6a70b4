//go:build !linux

package aiotest

import (
	"errors"
	"testing"
)

// These exist on Linux only.
var (
	systemCases []Case
	systemKinds []kind
)

// A Filesystem is mounted by root.
type Filesystem struct{ Name string }

// Small is empty.
var Small []Filesystem

// ReadOnly, Full, AlmostFull and LastRoom are for Small.
var ReadOnly, Full, AlmostFull, LastRoom func(f Filesystem) func(s *Side)

// Proc reports whether a file is one of /proc.
func Proc(string) bool { return false }

// DirectOn reports whether files of the filesystem that fd is on have direct I/O.
func DirectOn(uintptr) bool { return false }

// RunAsNobody skips the test.
func RunAsNobody(t testing.TB, _, _ string) { NeedsMounts(t) }

// RunWithoutProc skips the test.
func RunWithoutProc(t testing.TB, _, _ string) { NeedsMounts(t) }

// HideProc is not available.
func HideProc() error { return errors.ErrUnsupported }

// LeaveDescriptors skips the test.
func LeaveDescriptors(t testing.TB, _ int) (release func()) {
	Needs(t, "Linux", "go test ./... there")
	return nil
}
