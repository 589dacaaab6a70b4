package main

import (
	"errors"
	"os"

	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/internal/aiotest/trials/mounts"
)

// deviceSize is the size of the devices, in bytes. Their images are sparse.
const deviceSize = 1 << 30

// A place is a column of the matrix: a directory in a filesystem.
type place struct {
	name   string
	faulty string // its name in the tests of faults
	direct bool   // direct I/O works, for reads at least
	mount  func(dir string) (mounted, error)
}

// A mounted place is ready for the tests.
type mounted struct {
	dir     string
	device  string // under the filesystem; "" if there is none
	unmount func() error
}

func places() []place {
	return []place{
		{"ext4, blocks of 4 KiB", aiotest.Ext4.Name, true, onDevice(aiotest.Ext4)},
		{"ext4, blocks of 1 KiB", aiotest.Ext4Small.Name, true, onDevice(aiotest.Ext4Small)},
		{"ext4, sectors of 4 KiB", aiotest.Ext4Large.Name, true, onDevice(aiotest.Ext4Large)},
		{"xfs", aiotest.XFS.Name, true, onDevice(aiotest.XFS)},
		{"btrfs", aiotest.Btrfs.Name, true, onDevice(aiotest.Btrfs)},
		{"btrfs, nodatacow", aiotest.BtrfsNoCow.Name, true, onDevice(aiotest.BtrfsNoCow)},
		{"overlayfs over ext4", "overlayfs", true, over(mounts.Overlay)},
		{"tmpfs", aiotest.Tmpfs.Name, false, onDevice(aiotest.Tmpfs)},
		{"FUSE", "FUSE", false, over(mounts.Loopback)},
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

// over mounts at dir the result of layer on an ext4.
func over(layer func(below, dir string) (func() error, error)) func(dir string) (mounted, error) {
	return func(dir string) (mounted, error) {
		below, err := under(dir)
		if err != nil {
			return mounted{}, err
		}
		unmount, err := layer(below.dir, dir)
		if err != nil {
			return mounted{}, errors.Join(err, below.unmount())
		}
		return mounted{dir, below.device, func() error { return errors.Join(unmount(), below.unmount()) }}, nil
	}
}

// under mounts an ext4 beside dir, as the lower filesystem of a mount at dir.
func under(dir string) (mounted, error) {
	below := dir + ".below"
	if err := os.Mkdir(below, 0o755); err != nil {
		return mounted{}, err
	}
	return onDevice(aiotest.Ext4)(below)
}
