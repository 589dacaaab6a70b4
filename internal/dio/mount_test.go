//go:build linux

package dio

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// A filesystem is one that the tests make and mount.
type filesystem struct {
	name   string
	kind   string   // for mount(2)
	mkfs   []string // the device's name is added
	tool   string   // the package that has mkfs
	size   int64    // of the device, in bytes
	sector int      // of the device, in bytes
}

const mib = 1 << 20

var (
	ext4      = filesystem{"ext4", "ext4", []string{"mkfs.ext4", "-q", "-b", "4096"}, "e2fsprogs", 64 * mib, 512}
	ext4small = filesystem{"ext4 of 1 KiB blocks", "ext4", []string{"mkfs.ext4", "-q", "-b", "1024"}, "e2fsprogs", 64 * mib, 512}
	ext4large = filesystem{"ext4 of 4 KiB sectors", "ext4", []string{"mkfs.ext4", "-q", "-b", "4096"}, "e2fsprogs", 64 * mib, 4096}
	xfs       = filesystem{"xfs", "xfs", []string{"mkfs.xfs", "-q"}, "xfsprogs", 320 * mib, 512}
	xfslarge  = filesystem{"xfs of 4 KiB sectors", "xfs", []string{"mkfs.xfs", "-q"}, "xfsprogs", 320 * mib, 4096}
	btrfs     = filesystem{"btrfs", "btrfs", []string{"mkfs.btrfs", "-q"}, "btrfs-progs", 128 * mib, 512}
	tmpfs     = filesystem{"tmpfs", "tmpfs", nil, "", 0, 0}
)

// mount returns a directory in a new filesystem, or skips the test.
func (f filesystem) mount(t *testing.T) (dir string) {
	t.Helper()
	if os.Getenv(inNamespace) == "" {
		t.Skipf("%s: only root may mount a filesystem, in a namespace of its own", f.name)
	}
	dir = t.TempDir()
	device := "none"
	if f.mkfs != nil {
		if _, err := exec.LookPath(f.mkfs[0]); err != nil {
			t.Skipf("%s is not installed: package %s", f.mkfs[0], f.tool)
		}
		var done func()
		device, done = loopDevice(t, f.size, f.sector)
		defer done() // the mount holds it from then on
		if text, err := exec.Command(f.mkfs[0], append(f.mkfs[1:], device)...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", f.mkfs[0], err, text)
		}
	}
	if err := unix.Mount(device, dir, f.kind, 0, ""); err != nil {
		t.Fatalf("mount of %s: %v", f.name, err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("umount of %s: %v", f.name, err)
			unix.Unmount(dir, unix.MNT_DETACH)
		}
	})
	return dir
}

// loopDevice makes a block device of a new file. It goes away when nobody has it open or
// mounted any more, and done closes the descriptor that keeps it so far.
func loopDevice(t *testing.T, size int64, sector int) (device string, done func()) {
	t.Helper()
	image, err := os.Create(filepath.Join(t.TempDir(), "image"))
	if err != nil {
		t.Fatal(err)
	}
	defer image.Close()
	if err := image.Truncate(size); err != nil {
		t.Fatal(err)
	}
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no loop devices here: %v", err)
	}
	defer control.Close()
	config := unix.LoopConfig{Fd: uint32(image.Fd()), Size: uint32(sector)}
	config.Info.Flags = unix.LO_FLAGS_AUTOCLEAR
	for range 100 {
		i, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			t.Fatalf("LOOP_CTL_GET_FREE: %v", err)
		}
		device = fmt.Sprintf("/dev/loop%d", i)
		fd, err := unix.Open(device, unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatalf("open %s: %v", device, err)
		}
		switch err := unix.IoctlLoopConfigure(fd, &config); err {
		case nil:
			return device, func() { unix.Close(fd) }
		case unix.EBUSY: // somebody else was faster
			unix.Close(fd)
		default:
			unix.Close(fd)
			t.Fatalf("LOOP_CONFIGURE of %s: %v", device, err)
		}
	}
	t.Fatal("no free loop device")
	return "", nil
}
