// Package layers mounts filesystems that are made of a directory of another.
package layers

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/go-aio/aio/internal/aiotest"
)

// Overlay mounts at dir an overlay of directories that it makes in below.
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

// Loopback serves below at dir by FUSE.
func Loopback(below, dir string) (unmount func() error, err error) {
	root, err := fs.NewLoopbackRoot(below)
	if err != nil {
		return nil, err
	}
	server, err := fs.Mount(dir, root, &fs.Options{MountOptions: fuse.MountOptions{
		FsName:            "loopback",
		AllowOther:        true, // as any user
		DirectMountStrict: true, // there is no fusermount to need
		Options:           []string{"default_permissions"},
	}})
	if err != nil {
		return nil, err
	}
	return server.Unmount, nil
}
