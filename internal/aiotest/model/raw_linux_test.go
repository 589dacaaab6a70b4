package model

import (
	"strings"
	"testing"

	"github.com/go-aio/aio/internal/aiotest"
)

// TestRawBlocks is for a machine whose disk may not be read: a small one of our own.
func TestRawBlocks(t *testing.T) {
	dir, device := aiotest.Ext4.NewDir(t)
	for _, env := range aiotest.Environment(dir, device, true) {
		name, value, _ := strings.Cut(env, "=")
		t.Setenv(name, value)
	}
	if raw := run(t, dir, *seed, stepsOr(600)); raw == 0 {
		t.Error("no bytes of the device were compared")
	}
}
