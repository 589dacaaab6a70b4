package aiotest

import (
	"os"
	"testing"
	"time"
)

// Tests have three lengths. go test runs a part that takes a minute, and a smaller one with -short.
// At full length they take minutes, and less with -short. CI and the trials run them at full
// length.

// fullEnv asks for the full length.
const fullEnv = "AIOTEST_FULL"

// AtFullLength is the environment of tests that run at full length.
const AtFullLength = fullEnv + "=1"

// FullLength reports whether tests run at full length.
func FullLength() bool { return os.Getenv(fullEnv) == "1" }

// Whole is the command that runs all tests at full length, on filesystems that they make.
const Whole = "go -C internal/aiotest/trials test ./... as root, with e2fsprogs, xfsprogs and btrfs-progs"

// Needs skips the test, and names the missing thing and the command that runs the test.
func Needs(t testing.TB, what, command string) {
	t.Helper()
	t.Skipf("needs %s: run %s", what, command)
}

// NeedsDirect skips a test of direct I/O.
func NeedsDirect(t testing.TB) {
	t.Helper()
	Needs(t, "direct I/O", "TMPDIR=DIR go test ./..., with a DIR on ext4 or xfs")
}

// NeedsTime skips a test with -short, but not at full length.
func NeedsTime(t testing.TB) {
	t.Helper()
	if Brief() {
		Needs(t, "more time", "go test ./... without -short")
	}
}

// Brief reports whether the tests run with -short, and not at full length. The tests must then end
// within seconds. A child always runs with -short, and still tests something.
func Brief() bool { return testing.Short() && !FullLength() && !InChild() }

// NeedsNoRace skips a test that fails under the race detector, which allocates.
func NeedsNoRace(t testing.TB) {
	t.Helper()
	Needs(t, "no race detector", "go test ./...")
}

// Scaled returns n, or less where time is short.
func Scaled(n int) int {
	switch {
	case testing.Short():
		n = n/10 + 1
	case Race:
		n = n/5 + 1
	}
	if !FullLength() {
		n = n/4 + 1
	}
	return n
}

// ScaledOrFull is Scaled, but at full length it returns n with -short, too.
func ScaledOrFull(n int) int {
	if FullLength() {
		return n
	}
	return Scaled(n)
}

// Some reports whether to run number i of a list: each, or every third, or every ninth.
func Some(i int) bool {
	step := 1
	if testing.Short() {
		step *= 3
	}
	if !FullLength() {
		step *= 3
	}
	return i%step == 0
}

// SomeOrFull is Some, but at full length it reports true with -short, too.
func SomeOrFull(i int) bool { return FullLength() || Some(i) }

// Lasting returns d, a duration, or less if the tests do not run at full length.
func Lasting(d time.Duration) time.Duration {
	switch {
	case FullLength():
		return d
	case testing.Short():
		return d / 20
	}
	return d / 4
}

// Beside runs a test of children in parallel with other tests, after all the rest. It does not
// where such a test alone comes near its deadline: with the race detector, and on a filesystem that
// may be FUSE.
func Beside(t *testing.T) {
	if !Race && !Chosen() {
		t.Parallel()
	}
}
