//go:build !linux

package aiotest

import (
	"errors"
	"testing"
)

// A Disk is the block device under a filesystem; there is none here.
type Disk struct {
	Block  int
	Clears bool
}

// OpenDisk returns nil.
func OpenDisk(t testing.TB, _ string) *Disk {
	t.Log("raw blocks cannot be read on this system")
	return nil
}

// Extents is not available.
func (d *Disk) Extents(string) ([]Extent, error) { return nil, errors.ErrUnsupported }
