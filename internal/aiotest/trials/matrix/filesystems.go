package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/go-aio/aio/internal/aiotest"
	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// deviceSize is that of the devices, in bytes. Their images are sparse.
const deviceSize = 1 << 30

// A place is one of the matrix: a directory in a filesystem.
type place struct {
	name   string
	direct bool // there is direct I/O, of reads at least
	mount  func(dir string) (mounted, error)
}

// A mounted place is where the tests may run.
type mounted struct {
	dir     string
	device  string // under it; "" if there is none
	unmount func() error
}

func places() []place {
	return []place{
		{"ext4, blocks of 4 KiB", true, onDevice(aiotest.Ext4)},
		{"ext4, blocks of 1 KiB", true, onDevice(aiotest.Ext4Small)},
		{"ext4, sectors of 4 KiB", true, onDevice(aiotest.Ext4Large)},
		{"xfs", true, onDevice(aiotest.XFS)},
		{"btrfs", true, onDevice(aiotest.Btrfs)},
		{"btrfs, nodatacow", true, onDevice(aiotest.BtrfsNoCow)},
		{"overlayfs over ext4", true, overlay},
		{"tmpfs", false, onDevice(aiotest.Tmpfs)},
		{"FUSE", false, loopback},
	}
}

// onDevice mounts f at dir, on a loop device of its own.
func onDevice(f aiotest.Filesystem) func(dir string) (mounted, error) {
	return func(dir string) (mounted, error) {
		unmount := func() error { return aiotest.Unmount(dir) }
		if f.Mkfs == nil {
			return mounted{dir, "", unmount}, f.Mount("none", dir)
		}
		image := dir + ".image"
		err := os.WriteFile(image, nil, 0o600)
		if err == nil {
			err = os.Truncate(image, deviceSize)
		}
		if err != nil {
			return mounted{}, err
		}
		defer os.Remove(image) // the device has it open
		device, done, err := aiotest.LoopDevice(image, f.Sector)
		if err != nil {
			return mounted{}, err
		}
		defer done() // the mount holds it from then on
		if err := f.Make(device); err != nil {
			return mounted{}, err
		}
		return mounted{dir, device, unmount}, f.Mount(device, dir)
	}
}

// overlay mounts an ext4 and an overlay of two directories in it.
func overlay(dir string) (mounted, error) {
	below, err := under(dir)
	if err != nil {
		return mounted{}, err
	}
	m := mounted{dir: dir, device: below.device, unmount: func() error {
		if err := aiotest.Unmount(dir); err != nil {
			return err
		}
		return below.unmount()
	}}
	for _, name := range []string{"lower", "upper", "work"} {
		if err := os.Mkdir(filepath.Join(below.dir, name), 0o755); err != nil {
			return m, err
		}
	}
	options := fmt.Sprintf("lowerdir=%[1]s/lower,upperdir=%[1]s/upper,workdir=%[1]s/work", below.dir)
	if err := unix.Mount("overlay", dir, "overlay", 0, options); err != nil {
		return m, fmt.Errorf("mount of overlayfs: %w", err)
	}
	return m, nil
}

// loopback serves a directory of an ext4 by FUSE.
func loopback(dir string) (mounted, error) {
	below, err := under(dir)
	if err != nil {
		return mounted{}, err
	}
	root, err := fs.NewLoopbackRoot(below.dir)
	if err != nil {
		return mounted{}, err
	}
	server, err := fs.Mount(dir, root, &fs.Options{MountOptions: fuse.MountOptions{
		FsName:            "loopback",
		AllowOther:        true,
		DirectMountStrict: true, // there is no fusermount to need
		Options:           []string{"default_permissions"},
	}})
	if err != nil {
		return mounted{}, err
	}
	return mounted{dir: dir, unmount: func() error {
		if err := server.Unmount(); err != nil {
			return err
		}
		return below.unmount()
	}}, nil
}

// under mounts an ext4 beside dir, for what is mounted there.
func under(dir string) (mounted, error) {
	below := dir + ".below"
	if err := os.Mkdir(below, 0o755); err != nil {
		return mounted{}, err
	}
	return onDevice(aiotest.Ext4)(below)
}
