package aiotest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A Filesystem is made on a loop device and mounted by root.
type Filesystem struct {
	Name   string
	Kind   string   // for mount(2)
	Mkfs   []string // the device's name is added; nil if there is no device
	Tool   string   // the Debian package that has mkfs
	Size   int64    // of the device, in bytes; the minimum of Mkfs, or somewhat more
	Sector int      // of the device, in bytes
	NoCow  bool     // its files are made without copy on write, and so without checksums
}

const mib = 1 << 20

// The filesystems that behave differently under direct I/O.
var (
	Ext4       = Filesystem{"ext4", "ext4", []string{"mkfs.ext4", "-q", "-F", "-b", "4096"}, "e2fsprogs", 64 * mib, 512, false}
	Ext4Small  = Filesystem{"ext4 of 1 KiB blocks", "ext4", []string{"mkfs.ext4", "-q", "-F", "-b", "1024"}, "e2fsprogs", 64 * mib, 512, false}
	Ext4Large  = Filesystem{"ext4 of 4 KiB sectors", "ext4", []string{"mkfs.ext4", "-q", "-F", "-b", "4096"}, "e2fsprogs", 64 * mib, 4096, false}
	XFS        = Filesystem{"xfs", "xfs", []string{"mkfs.xfs", "-q", "-f"}, "xfsprogs", 320 * mib, 512, false}
	XFSLarge   = Filesystem{"xfs of 4 KiB sectors", "xfs", []string{"mkfs.xfs", "-q", "-f"}, "xfsprogs", 320 * mib, 4096, false}
	Btrfs      = Filesystem{"btrfs", "btrfs", []string{"mkfs.btrfs", "-q", "-f"}, "btrfs-progs", 128 * mib, 512, false}
	BtrfsNoCow = Filesystem{"btrfs without checksums", "btrfs", []string{"mkfs.btrfs", "-q", "-f"}, "btrfs-progs", 128 * mib, 512, true}
	Tmpfs      = Filesystem{"tmpfs", "tmpfs", nil, "", 0, 0, false}
)

// Make makes the filesystem on a device.
func (f Filesystem) Make(device string) error {
	if f.Mkfs == nil {
		return nil
	}
	if _, err := exec.LookPath(f.Mkfs[0]); err != nil {
		return fmt.Errorf("%s is not installed: package %s", f.Mkfs[0], f.Tool)
	}
	if text, err := exec.Command(f.Mkfs[0], append(f.Mkfs[1:], device)...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", f.Mkfs[0], err, text)
	}
	return nil
}

// Mount mounts a filesystem of Make. The device may be the image of a disk after a power cut: the
// kernel then replays the journal.
func (f Filesystem) Mount(device, dir string) error {
	if err := unix.Mount(device, dir, f.Kind, 0, ""); err != nil {
		return fmt.Errorf("mount of %s: %w", f.Name, err)
	}
	if !f.NoCow {
		return nil
	}
	if err := noCow(dir); err != nil {
		unix.Unmount(dir, unix.MNT_DETACH)
		return err
	}
	return nil
}

// nocowFlag is FS_NOCOW_FL of linux/fs.h, chattr +C.
const nocowFlag = 0x00800000

// noCow sets the attribute of dir that new files in it are without copy on write.
func noCow(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := unix.IoctlSetPointerInt(int(d.Fd()), unix.FS_IOC_SETFLAGS, nocowFlag); err != nil {
		return os.NewSyscallError("FS_IOC_SETFLAGS", err)
	}
	return nil
}

// Unmount unmounts the filesystem at dir. If it is busy, the kernel detaches it now and unmounts it
// later, and Unmount returns an error.
func Unmount(dir string) error {
	err := unix.Unmount(dir, 0)
	if err != nil {
		unix.Unmount(dir, unix.MNT_DETACH)
		return &os.PathError{Op: "umount", Path: dir, Err: err}
	}
	return nil
}

// needs skips the test where the filesystem cannot be made.
func (f Filesystem) needs(t testing.TB) {
	t.Helper()
	NeedsMounts(t)
	if f.Mkfs == nil {
		return
	}
	if _, err := exec.LookPath(f.Mkfs[0]); err != nil {
		Needs(t, f.Mkfs[0]+", of package "+f.Tool, Whole)
	}
	needsLoop(t)
}

// needsLoop skips the test where no loop device can be made.
func needsLoop(t testing.TB) {
	t.Helper()
	if _, err := os.Stat(loopControl); err != nil {
		Needs(t, "loop devices, "+loopControl, Whole)
	}
}

// loopControl is the device that makes loop devices.
const loopControl = "/dev/loop-control"

// NewDir returns a directory in a new filesystem, and its device, if it has one. It skips the test
// where that needs root.
func (f Filesystem) NewDir(t testing.TB) (dir, device string) {
	t.Helper()
	f.needs(t)
	dir, device = t.TempDir(), "none"
	if f.Mkfs != nil {
		var done func()
		device, done = NewLoopDevice(t, f.Size, f.Sector)
		defer done() // the mount holds it from then on
		if err := f.Make(device); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Mount(device, dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := Unmount(dir); err != nil {
			t.Error(err)
		}
	})
	return dir, device
}

// NewLoopDevice makes a block device of a new file. The kernel removes the device after its last
// close and unmount. done closes the descriptor that keeps it until then.
func NewLoopDevice(t testing.TB, size int64, sector int) (device string, done func()) {
	t.Helper()
	NeedsMounts(t)
	needsLoop(t)
	image := filepath.Join(t.TempDir(), "image")
	err := os.WriteFile(image, nil, 0o600)
	if err == nil {
		err = os.Truncate(image, size)
	}
	if err == nil {
		device, done, err = LoopDevice(image, sector)
	}
	if err != nil {
		t.Fatal(err)
	}
	return device, done
}

// LoopDevice makes a block device of a file. The kernel removes the device after its last close and
// unmount. done closes the descriptor that keeps it until then.
func LoopDevice(image string, sector int) (device string, done func(), err error) {
	file, err := os.OpenFile(image, os.O_RDWR, 0)
	if err != nil {
		return "", nil, err
	}
	defer file.Close()
	control, err := os.OpenFile(loopControl, os.O_RDWR, 0)
	if err != nil {
		return "", nil, err
	}
	defer control.Close()
	config := unix.LoopConfig{Fd: uint32(file.Fd()), Size: uint32(sector)}
	config.Info.Flags = unix.LO_FLAGS_AUTOCLEAR
	for range 100 {
		i, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return "", nil, os.NewSyscallError("LOOP_CTL_GET_FREE", err)
		}
		device = fmt.Sprintf("/dev/loop%d", i)
		fd, err := unix.Open(device, unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			return "", nil, &os.PathError{Op: "open", Path: device, Err: err}
		}
		err = unix.IoctlLoopConfigure(fd, &config)
		if err == nil {
			return device, func() { unix.Close(fd) }, nil
		}
		unix.Close(fd)
		if err != unix.EBUSY { // else another process was faster
			return "", nil, &os.PathError{Op: "LOOP_CONFIGURE", Path: device, Err: err}
		}
	}
	return "", nil, errors.New("no free loop device")
}

// inNamespace is the environment variable that tells a process of [InNamespace] that it
// may mount.
const inNamespace = "AIOTEST_IN_NAMESPACE"

// NeedsMounts skips a test that must mount something where that is not allowed.
func NeedsMounts(t testing.TB) {
	t.Helper()
	if os.Getenv(inNamespace) == "" || os.Geteuid() != 0 {
		Needs(t, "root, to mount a filesystem in a namespace of its own", Whole)
	}
}

// InNamespace runs the program again in a mount namespace of its own, where that is allowed, and
// exits with its status. A mount there ends with the last process of the namespace. In such a
// namespace InNamespace does nothing.
func InNamespace() {
	if os.Getenv(inNamespace) != "" || os.Geteuid() != 0 {
		return
	}
	runtime.LockOSThread() // Pdeathsig is sent when the thread ends
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), inNamespace+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	switch err := cmd.Run(); {
	case err == nil:
		os.Exit(0)
	case errors.As(err, new(*exec.ExitError)):
		os.Exit(max(1, cmd.ProcessState.ExitCode()))
	}
	runtime.UnlockOSThread() // not allowed here; tests that need mounts will report it
}
