package aiotest

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Proc reports whether a file is one of /proc.
func Proc(name string) bool { return strings.HasPrefix(name, "/proc/") }

// DirectOn reports whether files of the filesystem that fd is on have direct I/O. Of some
// filesystems that is known; others are those of [Dir]. Without /proc no file is opened a second
// time.
func DirectOn(fd uintptr) bool {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(fd), &fs); err != nil || !exists("/proc/self/fd") {
		return false
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(fd), &st); err == nil && st.Mode&unix.S_IFMT == unix.S_IFBLK {
		return true
	}
	switch fs.Type {
	case unix.TMPFS_MAGIC, unix.PROC_SUPER_MAGIC:
		return false
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC:
		return true
	}
	return Direct
}

// systemCases need files that only Linux has, and most of them need root.
var systemCases = []Case{
	{Name: "ends of a block device", Do: blockDeviceEnds, Root: true},
}

var systemKinds = []kind{
	{name: "NewFile", flags: openModes, open: func(s *Side, flag int) (File, error) {
		return s.newFile(s.Put("file", Pattern(10000, 1)), flag), nil
	}},
	{name: "NewFile, direct", flags: with(O_DIRECT, openModes[:7]...), open: func(s *Side, flag int) (File, error) {
		return s.newFile(s.Put("file", Pattern(10000, 1)), flag), nil
	}},
	{name: "NewFile of a directory", flags: []int{os.O_RDONLY, os.O_RDONLY | O_PATH}, open: func(s *Side, flag int) (File, error) {
		return s.newFile(s.directory(), flag), nil
	}},
	{
		name: "named pipe, both ends", flags: []int{os.O_RDWR, os.O_RDWR | unix.O_NONBLOCK},
		open: func(s *Side, flag int) (File, error) { return s.OpenFile(s.pipe(), flag, 0) },
		// No other process writes or reads.
		between: func(f File) { f.SetDeadline(time.Now()) },
	},
	{name: "named pipe, last bytes", flags: []int{os.O_RDONLY}, open: func(s *Side, flag int) (File, error) {
		name := s.pipe()
		w := OpenFd(s, name, os.O_RDWR)
		defer unix.Close(int(w))
		if _, err := unix.Write(int(w), Pattern(9000, 1)); err != nil {
			return nil, err
		}
		return s.OpenFile(name, flag, 0)
	}},
	{name: "named pipe with a silent reader", flags: []int{os.O_WRONLY, os.O_WRONLY | os.O_APPEND}, open: func(s *Side, flag int) (File, error) {
		name := s.pipe()
		r := OpenFd(s, name, os.O_RDWR) // it has room for all written bytes
		s.Defer(func() { unix.Close(int(r)) })
		return s.OpenFile(name, flag, 0)
	}},
	{name: "named pipe without a reader", flags: []int{os.O_WRONLY}, open: func(s *Side, flag int) (File, error) {
		name := s.pipe()
		r := OpenFd(s, name, os.O_RDWR)
		defer unix.Close(int(r))
		return s.OpenFile(name, flag, 0)
	}},
	{name: "named pipe, O_PATH", flags: []int{os.O_RDONLY | O_PATH}, open: func(s *Side, flag int) (File, error) {
		return s.OpenFile(s.pipe(), flag, 0)
	}},
	// O_DIRECT makes it a pipe of packets, pipe(2).
	{name: "NewFile of a pipe", flags: []int{0, unix.O_NONBLOCK, O_DIRECT}, open: func(s *Side, flag int) (File, error) {
		var fds [2]int
		if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|flag); err != nil {
			return nil, err
		}
		defer unix.Close(fds[1])
		for _, n := range []int{50, 9000, 4096} {
			if _, err := unix.Write(fds[1], Pattern(n, 1)); err != nil {
				return nil, err
			}
		}
		return s.NewFile(uintptr(fds[0]), "pipe"), nil
	}},
	{name: "file of /proc", flags: []int{os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_RDWR | os.O_APPEND, os.O_RDONLY | O_PATH}, open: func(s *Side, flag int) (File, error) {
		const name = "/proc/self/comm"
		if err := os.WriteFile(name, []byte("aiotest"), 0); err != nil {
			return nil, err
		}
		return s.OpenFile(name, flag, 0)
	}},
	{name: "file of /proc that is for reading", flags: []int{os.O_RDONLY, os.O_RDWR, os.O_RDONLY | O_PATH}, open: func(s *Side, flag int) (File, error) {
		return s.OpenFile("/proc/self/cmdline", flag, 0)
	}},
	{name: "/dev/null", root: true, flags: openModes, open: func(s *Side, flag int) (File, error) {
		return s.OpenFile(s.device("null", unix.S_IFCHR, unix.Mkdev(1, 3)), flag, 0)
	}},
	{name: "/dev/full", root: true, flags: []int{os.O_WRONLY, os.O_WRONLY | os.O_APPEND}, open: func(s *Side, flag int) (File, error) {
		return s.OpenFile(s.device("full", unix.S_IFCHR, unix.Mkdev(1, 7)), flag, 0)
	}},
	{name: "block device", root: true, flags: append(slices.Clone(openModes), os.O_RDWR|os.O_EXCL, os.O_RDWR|os.O_TRUNC), open: func(s *Side, flag int) (File, error) {
		return s.OpenFile(s.blockDevice(), flag, 0)
	}},
	{name: "block device by NewFile", root: true, flags: openModes, open: func(s *Side, flag int) (File, error) {
		return s.newFile(s.blockDevice(), flag), nil
	}},
	{name: "block device by NewFile, direct", root: true, flags: with(O_DIRECT, openModes[:7]...), open: func(s *Side, flag int) (File, error) {
		return s.newFile(s.blockDevice(), flag), nil
	}},
	{name: "file in a mount that is read-only", root: true, flags: readOnly, open: func(s *Side, flag int) (File, error) {
		return s.OpenFile(s.bound("file"), flag, 0o600)
	}},
	{name: "directory in a mount that is read-only", root: true, flags: with(O_TMPFILE, access...), open: func(s *Side, flag int) (File, error) {
		return s.OpenFile(s.bound("."), flag, 0o600)
	}},
	{name: "new file in a mount that is read-only", root: true, flags: with(os.O_CREATE, access...), open: func(s *Side, flag int) (File, error) {
		return s.OpenFile(s.bound("none"), flag, 0o600)
	}},
	{name: "immutable file", flags: openModes, open: func(s *Side, flag int) (File, error) {
		name, err := s.attribute(immutable)
		if err != nil {
			return nil, err
		}
		return s.OpenFile(name, flag, 0)
	}},
	{name: "file that is immutable since it was opened", flags: openModes, open: func(s *Side, flag int) (File, error) {
		name, err := s.attribute(0)
		if err != nil {
			return nil, err
		}
		f, err := s.OpenFile(name, flag, 0)
		if err == nil {
			err = setAttributes(name, immutable)
		}
		return f, err
	}},
	{name: "append-only file", flags: openModes, open: func(s *Side, flag int) (File, error) {
		name, err := s.attribute(appendOnly)
		if err != nil {
			return nil, err
		}
		return s.OpenFile(name, flag, 0)
	}},
}

// readOnly are the flags to open a file of a read-only filesystem with: most of them return EROFS.
var readOnly = append(slices.Clone(openModes), os.O_RDONLY|os.O_CREATE, os.O_RDONLY|os.O_TRUNC, os.O_RDONLY|os.O_SYNC)

// newFile passes a descriptor to NewFile. That of an os.File is not direct. That of the other side
// is direct if flag says so, and no result may depend on it.
func (s *Side) newFile(name string, flag int) File {
	s.Helper()
	if !s.Direct {
		flag &^= O_DIRECT
	}
	return s.NewFile(OpenFd(s, name, flag), name)
}

// pipe returns a new named pipe.
func (s *Side) pipe() string {
	s.Helper()
	name := s.Path("pipe")
	os.Remove(name)
	Mkfifo(s, name)
	return name
}

// mount mounts one of the kernel's filesystems on a new directory of this side, until the side's
// end.
func (s *Side) mount(source, name, kind string, flags uintptr, data string) {
	s.Helper()
	if err := os.MkdirAll(s.Path(name), 0o755); err != nil {
		s.Fatal(err)
	}
	if err := unix.Mount(source, s.Path(name), kind, flags, data); err != nil {
		s.Fatalf("mount of %s: %v", name, err)
	}
	s.Defer(func() {
		if err := Unmount(s.Path(name)); err != nil {
			s.Error(err)
		}
	})
}

// mountNew makes a filesystem and mounts it on a new directory of this side.
func (s *Side) mountNew(f Filesystem, name, data string) {
	s.Helper()
	f.needs(s)
	device := "none"
	if f.Mkfs != nil {
		var done func()
		device, done = NewLoopDevice(s, f.Size, f.Sector)
		defer done() // the mount holds it from then on
		if err := f.Make(device); err != nil {
			s.Fatal(err)
		}
	}
	s.mount(device, name, f.Kind, 0, data)
}

// device makes a device special file. A test may not change the mode of those in /dev, and
// elsewhere the filesystem may be mounted with nodev.
func (s *Side) device(name string, kind uint32, number uint64) string {
	s.Helper()
	NeedsMounts(s)
	if _, err := os.Stat(s.Path("dev")); err != nil {
		s.mount("aiotest", "dev", "tmpfs", 0, "size=1m")
	}
	name = s.Path("dev/" + name)
	if err := unix.Mknod(name, kind|0o600, int(number)); err != nil && err != unix.EEXIST {
		s.Fatal(&os.PathError{Op: "mknod", Path: name, Err: err})
	}
	return name
}

// blockSize is the size of blockDevice, in bytes: its last sector is alone in its page.
const blockSize = 128<<10 + 512

// blockDevice returns a block device of this side, full of a pattern.
func (s *Side) blockDevice() string {
	s.Helper()
	if name := s.Path("dev/block"); exists(name) {
		return s.Put("dev/block", Pattern(blockSize, 1))
	}
	NeedsMounts(s)
	loop, done := NewLoopDevice(s, blockSize, 512)
	s.Defer(done)
	var st unix.Stat_t
	if err := unix.Stat(loop, &st); err != nil {
		s.Fatal(err)
	}
	s.device("block", unix.S_IFBLK, uint64(st.Rdev)) //nolint:unconvert // uint32 on 32-bit MIPS
	return s.Put("dev/block", Pattern(blockSize, 1))
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// bound returns the path of a file in a directory that is mounted on itself, read-only.
func (s *Side) bound(name string) string {
	s.Helper()
	NeedsMounts(s)
	if exists(s.Path("bound")) {
		return s.Path("bound/" + name)
	}
	if err := os.Mkdir(s.Path("bound"), 0o755); err != nil {
		s.Fatal(err)
	}
	s.Put("bound/file", Pattern(10000, 1))
	s.mount(s.Path("bound"), "bound", "", unix.MS_BIND, "")
	s.remountReadOnly("bound", unix.MS_BIND)
	return s.Path("bound/" + name)
}

func (s *Side) remountReadOnly(name string, flags uintptr) {
	s.Helper()
	if err := unix.Mount("", s.Path(name), "", unix.MS_REMOUNT|unix.MS_RDONLY|flags, ""); err != nil {
		s.Fatalf("remount of %s: %v", name, err)
	}
}

// Attributes of chattr(1), linux/fs.h.
const (
	immutable  = 0x10 // FS_IMMUTABLE_FL
	appendOnly = 0x20 // FS_APPEND_FL
)

// attribute returns a file that has an attribute until the end of this side.
func (s *Side) attribute(attributes int) (string, error) {
	s.Helper()
	name := s.Path("attributed")
	if !exists(name) {
		s.Defer(func() { setAttributes(name, 0) })
	} else if err := setAttributes(name, 0); err != nil {
		return "", err
	}
	return s.Put("attributed", Pattern(10000, 1)), setAttributes(name, attributes)
}

func setAttributes(name string, attributes int) error {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	had, err := unix.IoctlGetInt(fd, unix.FS_IOC_GETFLAGS)
	if err != nil {
		return err
	}
	return unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, had&^(immutable|appendOnly)|attributes)
}

// blockDeviceEnds reads and writes around the end of a block device, which no write moves: ENOSPC.
func blockDeviceEnds(s *Side) {
	name := s.blockDevice()
	for _, flag := range []int{os.O_RDWR, os.O_RDWR | os.O_APPEND, os.O_RDWR | os.O_SYNC} {
		f, err := s.OpenFile(name, flag, 0)
		s.Opened(fmt.Sprintf("open with flags %#x", flag), f, err)
		for _, off := range []int64{
			0, 512, 4096, 120 << 10, 124 << 10, 128<<10 - 1, 128 << 10, 128<<10 + 1,
			blockSize - 1, blockSize, blockSize + 1, 132 << 10, 1 << 20, 1 << 40,
		} {
			for _, n := range []int{0, 1, 512, 513, 4096, 8192, 70000, blockSize, 132 << 10, 1<<20 + 4096} {
				s.aroundEnd(f, n, off)
			}
			s.look(f)
		}
		s.Note("Seek to the end", results(f.Seek(0, io.SeekEnd))...)
		s.Note("ReadFrom at the end", results(f.ReadFrom(strings.NewReader("some text")))...)
		s.Note("WriteTo at the end", results(f.WriteTo(io.Discard))...)
		for _, size := range []int64{0, 4096, blockSize, 2 << 20, -1} {
			s.Note("Truncate", f.Truncate(size))
		}
		s.Note("Sync", f.Sync())
		s.Note("Close", f.Close())
	}
}

func (s *Side) aroundEnd(f File, n int, off int64) {
	what := fmt.Sprintf(" %d bytes at %d", n, off)
	p := alignedPattern(n, byte(n+int(off)))
	s.Note("WriteAt"+what, results(f.WriteAt(p, off))...)
	s.Note("ReadAt"+what, readAt(f, Buffer(n, 0), off)...)
	s.Note("Seek", results(f.Seek(off, io.SeekStart))...)
	s.Note("Write"+what, results(f.Write(p))...)
	s.Note("offset", Offset(f.Fd()))
	s.Note("Seek back", results(f.Seek(off, io.SeekStart))...)
	s.Note("Read"+what, read(f, Buffer(n, 1))...)
}

// RunAsNobody runs tests in a [Child] of the user nobody, in a directory of its own below dir.
func RunAsNobody(t testing.TB, dir, pattern string) {
	t.Helper()
	NeedsMounts(t)
	const nobody = 65534
	if err := os.Chown(dir, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	// The user nobody may not search the directories above dir, so the directory gets another path.
	reachable, err := os.MkdirTemp("/tmp", "aiotest")
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(reachable)
	if err := unix.Mount(dir, reachable, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := Unmount(reachable); err != nil {
			t.Error(err)
		}
	}()
	cmd := Child(t, pattern, "nobody")
	cmd.Path = "/proc/self/exe" // nor the directories above the program
	cmd.Env = append(cmd.Env, Environment(reachable, Device(), Direct)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	Succeeds(t, cmd, pattern, "nobody")
}

// RunWithoutProc runs tests in a [Child] without /proc, where no File has direct I/O.
func RunWithoutProc(t testing.TB, dir, pattern string) {
	t.Helper()
	NeedsMounts(t)
	cmd := Child(t, pattern, "hideproc")
	cmd.Env = append(cmd.Env, Environment(dir, Device(), false)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	Succeeds(t, cmd, pattern, "hideproc")
}

// HideProc mounts an empty directory on /proc.
func HideProc() error {
	err := unix.Mount("none", "/proc", "tmpfs", unix.MS_RDONLY, "size=4k")
	if err == nil && exists("/proc/self") {
		err = unix.EBUSY
	}
	return err
}

// LeaveDescriptors opens files until the process may open no more than n. release
// closes them.
func LeaveDescriptors(t testing.TB, n int) (release func()) {
	t.Helper()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	few := limit
	few.Cur = 256
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	var fds []int
	for {
		fd, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 0)
		if err == unix.EMFILE {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		fds = append(fds, fd)
	}
	for range n {
		unix.Close(fds[len(fds)-1])
		fds = fds[:len(fds)-1]
	}
	return func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			t.Error(err)
		}
	}
}
