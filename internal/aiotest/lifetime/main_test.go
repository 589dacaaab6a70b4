//go:build linux

// Package lifetime tests how Files, their buffers and their processes end while requests
// are in flight, and what is left of them.
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

// withoutKernel are the tests that must pass in any process.
const withoutKernel = "^(TestCloseInFlight|TestDroppedInFlight)$"

// TestRefused is for processes that a seccomp filter keeps from kernel AIO, or from part
// of it.
func TestRefused(t *testing.T) {
	aiotest.NeedsTime(t)
	aiofile.Refused(t, withoutKernel)
}

// TestCramped is for a process with room for one request.
func TestCramped(t *testing.T) {
	aiotest.NeedsTime(t)
	aiofile.Cramped(t, withoutKernel)
}
