package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/internal/aiotest/trials/fusedisk"
)

// A volume is a filesystem whose power is cut.
type volume struct {
	aiotest.Filesystem
	fsck  []string                          // checks an unmounted device, named last, and changes nothing
	dirty func(device string) (bool, error) // is there a journal to replay?
}

var volumes = map[string]volume{
	"ext4":  {aiotest.Ext4, []string{"e2fsck", "-f", "-n"}, ext4Dirty},
	"xfs":   {aiotest.XFS, []string{"xfs_repair", "-n"}, xfsDirty},
	"btrfs": {aiotest.Btrfs, []string{"btrfs", "check", "--readonly"}, btrfsDirty},
}

// ext4Dirty looks for EXT4_FEATURE_INCOMPAT_RECOVER in the superblock.
func ext4Dirty(device string) (bool, error) {
	features, err := field(device, 1024+0x60, 4)
	return features&0x4 != 0, err
}

func xfsDirty(device string) (bool, error) {
	text, err := exec.Command("xfs_logprint", "-t", device).CombinedOutput()
	if err != nil {
		return false, fmt.Errorf("xfs_logprint: %w\n%s", err, text)
	}
	return bytes.Contains(text, []byte("<DIRTY>")), nil
}

// btrfsDirty looks whether the superblock has a log_root, the tree of syncs since the last
// transaction.
func btrfsDirty(device string) (bool, error) {
	root, err := field(device, 64<<10+0x60, 8)
	return root != 0, err
}

// field reads a number of n bytes.
func field(device string, off int64, n int) (uint64, error) {
	f, err := os.Open(device)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var word [8]byte
	_, err = f.ReadAt(word[:n], off)
	return binary.LittleEndian.Uint64(word[:]), err
}

// check runs fsck on a device that is not mounted.
func (v volume) check(device string) error {
	text, err := exec.Command(v.fsck[0], append(v.fsck[1:], device)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", v.fsck[0], err, text)
	}
	return nil
}

// base makes a disk with an empty filesystem on it, whose free blocks are full of the secret.
func (v volume) base(server *fusedisk.Server, dir string) (*fusedisk.Disk, error) {
	disk := server.Create("base-"+v.Kind, v.Size)
	err := onDevice(disk, func(device string) error {
		if err := v.Make(device); err != nil {
			return err
		}
		return v.mounted(device, dir, fillAndDelete)
	})
	if err != nil {
		return nil, err
	}
	return disk, flush(disk)
}

// onDevice calls do with a loop device over a disk.
func onDevice(d *fusedisk.Disk, do func(device string) error) error {
	device, done, err := aiotest.LoopDevice(d.Path(), sectorSize)
	if err != nil {
		return err
	}
	defer done()
	return do(device)
}

// mounted calls do while the filesystem is mounted at dir.
func (v volume) mounted(device, dir string, do func(dir string) error) error {
	if err := v.Mount(device, dir); err != nil {
		return err
	}
	err := do(dir)
	return errors.Join(err, aiotest.Unmount(dir))
}

// fillAndDelete fills the filesystem with a file, and deletes it.
func fillAndDelete(dir string) error {
	name := filepath.Join(dir, "secret")
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	p := bytes.Repeat([]byte(secret), 1<<20/len(secret))
	for err == nil {
		_, err = f.Write(p)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return os.Remove(name)
}

// flush makes all writes to a disk durable.
func flush(d *fusedisk.Disk) error {
	f, err := os.OpenFile(d.Path(), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
