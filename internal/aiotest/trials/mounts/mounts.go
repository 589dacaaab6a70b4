// Package mounts mounts a directory of one filesystem as another filesystem.
package mounts

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/go-aio/aio/internal/aiotest"
)

// Overlay mounts at dir an overlay of directories that it creates in below.
func Overlay(below, dir string) (unmount func() error, err error) {
	for _, name := range []string{"lower", "upper", "work"} {
		if err := os.MkdirAll(filepath.Join(below, name), 0o755); err != nil {
			return nil, err
		}
	}
	options := fmt.Sprintf("lowerdir=%[1]s/lower,upperdir=%[1]s/upper,workdir=%[1]s/work", below)
	if err := unix.Mount("overlay", dir, "overlay", 0, options); err != nil {
		return nil, fmt.Errorf("mount of overlayfs: %w", err)
	}
	return func() error { return aiotest.Unmount(dir) }, nil
}
