//go:build linux

// Package lifetime tests the end of Files, buffers and processes with requests in flight, and that
// nothing is left of them.
package lifetime

import (
	"testing"

	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/internal/aiotest/aiofile"
)

func TestMain(m *testing.M) {
	aiofile.Main(m, map[string]func(args []string){
		"busy":  busyChild,
		"alone": func([]string) {}, // a process that has done nothing else
	})
}

// withoutKernel matches the tests that must pass in any process.
const withoutKernel = "^(TestCloseInFlight|TestDroppedInFlight)$"

// TestRefused runs them in processes in which a seccomp filter refuses kernel AIO, or part of it.
func TestRefused(t *testing.T) {
	aiotest.NeedsTime(t)
	aiofile.Refused(t, withoutKernel)
}

// TestCramped runs them in a process with room for one request.
func TestCramped(t *testing.T) {
	aiotest.NeedsTime(t)
	aiofile.Cramped(t, withoutKernel)
}
