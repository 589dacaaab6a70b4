package aiotest

import (
	"os"
	"testing"
	"time"
)

// Tests have two lengths. Without more, go test runs a part that takes a minute, and a smaller one
// with -short, for whoever has just cloned the repository. At full length they take minutes, and less
// with -short: so they are run by CI and by the trials.

// fullEnv asks for the full length.
const fullEnv = "AIOTEST_FULL"

// AtFullLength is the environment of tests that run at full length.
const AtFullLength = fullEnv + "=1"

// FullLength reports whether tests run at full length.
func FullLength() bool { return os.Getenv(fullEnv) == "1" }

// Whole is the command that runs all tests at full length, on filesystems that they make.
const Whole = "go -C internal/aiotest/trials test ./... as root, with e2fsprogs, xfsprogs and btrfs-progs"

// Needs skips the test, and says what it lacks and which command runs it.
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

// Brief reports whether the tests run with -short, and not at full length: it is a matter of seconds.
// A child is always run with -short, but not in vain.
func Brief() bool { return testing.Short() && !FullLength() && !InChild() }

// NeedsNoRace skips a test that the race detector fails, which allocates.
func NeedsNoRace(t testing.TB) {
	t.Helper()
	Needs(t, "no race detector", "go test ./...")
}

// Scaled is n, or less where time is short.
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

// ScaledOrFull is Scaled where at full length it is n with -short, too.
func ScaledOrFull(n int) int {
	if FullLength() {
		return n
	}
	return Scaled(n)
}

// Some reports whether number i of a list has a turn: each has, or every third, or every ninth.
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

// SomeOrFull is Some where at full length each has a turn with -short, too.
func SomeOrFull(i int) bool { return FullLength() || Some(i) }

// Lasting is d, for which something goes on, or less if the tests do not run at full length.
func Lasting(d time.Duration) time.Duration {
	switch {
	case FullLength():
		return d
	case testing.Short():
		return d / 20
	}
	return d / 4
}

// Beside runs a test beside others after all the rest, if its work is done by children. It does
// not where one of them takes so long already that its deadline is near: with the race detector,
// and on a filesystem that may be FUSE.
func Beside(t *testing.T) {
	if !Race && !Chosen() {
		t.Parallel()
	}
}
