package model

import (
	"strings"
	"testing"

	"github.com/go-aio/aio/internal/aiotest"
)

// TestRawBlocks runs on a small disk of its own, for machines whose disk may not be read.
func TestRawBlocks(t *testing.T) {
	dir, device := aiotest.Ext4.NewDir(t)
	for _, env := range aiotest.Environment(dir, device, true) {
		name, value, _ := strings.Cut(env, "=")
		t.Setenv(name, value)
	}
	// Some programs leave a file whose blocks have no places on the device.
	var raw int64
	for i := uint64(0); raw == 0 && i < 10 && !t.Failed(); i++ {
		raw = run(t, dir, *seed+100*i, stepsOr(600))
	}
	if raw == 0 {
		t.Error("no bytes of the device were compared")
	}
}
