package aiotest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Linux reports whether this system is Linux.
const Linux = true

// Flags of open(2) that package os does not name.
const (
	O_DIRECT  = unix.O_DIRECT
	O_TMPFILE = unix.O_TMPFILE
	O_PATH    = unix.O_PATH
	O_DSYNC   = unix.O_DSYNC
)

// Direct reports whether files in Dir have direct I/O.
var Direct = os.Getenv(directEnv) != "false" && (Chosen() || !testing.Testing() || base() != "-")

// base is the directory whose files have direct I/O: "" for the directory of temporary files, "."
// for this one, "-" for neither.
var base = sync.OnceValue(func() string {
	for _, where := range []string{"", "."} {
		dir, err := os.MkdirTemp(where, ".aiotest")
		if err != nil {
			continue
		}
		defer os.RemoveAll(dir)
		if direct(dir) == nil {
			return where
		}
	}
	return "-"
})

// Dir returns a directory for the test whose files can be opened for direct I/O, if there is one.
// The environment may choose another: see Environment.
func Dir(t testing.TB) string {
	t.Helper()
	where := os.Getenv(dirEnv)
	if where == "" && base() == "." {
		here, err := os.Getwd()
		if err != nil {
			t.Fatal(err)
		}
		where = here
	}
	if where == "" {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp(where, ".aiotest")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// The environment variables by which a caller chooses the directory of the tests.
const (
	dirEnv    = "AIOTEST_DIR"    // the directory
	directEnv = "AIOTEST_DIRECT" // "false" if there is no direct I/O there
	deviceEnv = "AIOTEST_DEVICE" // the block device that its filesystem is on, if any
)

// Environment returns the environment of tests that run in dir.
func Environment(dir, device string, direct bool) []string {
	return []string{dirEnv + "=" + dir, deviceEnv + "=" + device, directEnv + "=" + strconv.FormatBool(direct)}
}

// Chosen reports whether the environment chose the directory of Dir.
func Chosen() bool { return os.Getenv(dirEnv) != "" }

// Device returns the block device under Dir, or "" if it is not known.
func Device() string { return os.Getenv(deviceEnv) }

// direct tries direct I/O in dir by its own system calls, to check the result of package aio.
func direct(dir string) error {
	name := filepath.Join(dir, "direct")
	fd, err := unix.Open(name, unix.O_RDWR|unix.O_CREAT|unix.O_DIRECT|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return &os.PathError{Op: "open O_DIRECT", Path: name, Err: err}
	}
	defer os.Remove(name)
	defer unix.Close(fd)
	var st unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_DIOALIGN, &st); err != nil {
		return os.NewSyscallError("statx", err)
	}
	if st.Dio_mem_align == 0 || st.Dio_offset_align == 0 {
		return fmt.Errorf("%s: statx(2) reports no alignment of direct I/O", name)
	}
	return nil
}

// TmpfsDir returns a directory in memory, without direct I/O. Where no tmpfs can be found, as in a
// chroot, it mounts one.
func TmpfsDir(t testing.TB) string {
	t.Helper()
	for _, parent := range []string{"/dev/shm", os.TempDir()} {
		var st unix.Statfs_t
		if unix.Statfs(parent, &st) != nil || st.Type != unix.TMPFS_MAGIC {
			continue
		}
		if dir, err := os.MkdirTemp(parent, "aiotest"); err == nil {
			t.Cleanup(func() { os.RemoveAll(dir) })
			return dir
		}
	}
	dir, _ := Tmpfs.NewDir(t)
	return dir
}

// Offset returns the file offset of fd, or -1.
func Offset(fd uintptr) int64 {
	off, err := unix.Seek(int(fd), 0, unix.SEEK_CUR)
	if err != nil {
		return -1
	}
	return off
}

// SetOffset sets the file offset of fd.
func SetOffset(fd uintptr, off int64) error {
	_, err := unix.Seek(int(fd), off, unix.SEEK_SET)
	return err
}

// Fallocate is fallocate(2): space for n bytes at off, or a hole there.
func Fallocate(fd uintptr, hole bool, off, n int64) error {
	mode := uint32(0)
	if hole {
		mode = unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE
	}
	for {
		if err := unix.Fallocate(int(fd), mode, off, n); err != unix.EINTR {
			return err
		}
	}
}

// OpenFd opens a file with the bare flags, as package os would not.
func OpenFd(t testing.TB, name string, flag int) uintptr {
	t.Helper()
	fd, err := unix.Open(name, flag|unix.O_CLOEXEC, 0o644)
	if err != nil {
		t.Fatal(&os.PathError{Op: "open", Path: name, Err: err})
	}
	return uintptr(fd)
}

// OpenFlags returns the flags that fd was opened with, and whether exec closes it.
func OpenFlags(t testing.TB, fd int) (flags int, closedByExec bool) {
	t.Helper()
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		t.Fatal(err)
	}
	of, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	if err != nil {
		t.Fatal(err)
	}
	return flags, of&unix.FD_CLOEXEC != 0
}

// Mkfifo makes a named pipe.
func Mkfifo(t testing.TB, name string) {
	t.Helper()
	if err := unix.Mkfifo(name, 0o600); err != nil {
		t.Fatal(&os.PathError{Op: "mkfifo", Path: name, Err: err})
	}
}

// Descriptors returns the targets of the open descriptors of the process.
func Descriptors() []string {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range list {
		// The descriptor of the directory itself is closed by now.
		if name, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil {
			names = append(names, name)
		}
	}
	return names
}

// LimitFileSize sets RLIMIT_FSIZE of the process to n bytes.
func LimitFileSize(n uint64) error {
	return unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: n, Max: n})
}

// SyscallNumbers are the system calls of kernel AIO that Refuse can refuse.
var SyscallNumbers = map[string]uint32{
	"io_setup":     unix.SYS_IO_SETUP,
	"io_submit":    unix.SYS_IO_SUBMIT,
	"io_getevents": unix.SYS_IO_GETEVENTS,
}

// Refuse makes a system call fail with EPERM from now on, in all threads, like the seccomp profile
// of a container.
func Refuse(name string) error {
	nr, ok := SyscallNumbers[name]
	if !ok {
		return fmt.Errorf("no system call %q", name)
	}
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // seccomp_data.nr
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: nr, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	prog := &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	runtime.LockOSThread() // no_new_privs is per thread, TSYNC gives it to the others
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return os.NewSyscallError("prctl", err)
	}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_TSYNC, reflect.ValueOf(prog).Pointer())
	runtime.KeepAlive(prog)
	if errno != 0 {
		return os.NewSyscallError("seccomp", errno)
	}
	return nil
}

// signal sends the process SIGURG, by which the runtime preempts goroutines: it may interrupt any
// system call.
func signal() { unix.Kill(unix.Getpid(), unix.SIGURG) }

// Storm sends signals to the process, and runs the collector, until stop is called.
func Storm() (stop func()) {
	quit, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for i := 0; ; i++ {
			select {
			case <-quit:
				return
			default:
			}
			signal()
			if i%64 == 0 {
				runtime.GC()
			}
			time.Sleep(50 * time.Microsecond)
		}
	}()
	return func() {
		close(quit)
		<-ended
	}
}

// DirtyPages returns how many pages of a file are in the page cache and not on the disk
// (cachestat(2), Linux 6.5).
func DirtyPages(fd uintptr) (int, error) {
	var stat unix.Cachestat_t
	err := unix.Cachestat(uint(fd), &unix.CachestatRange{}, &stat, 0)
	return int(stat.Dirty + stat.Writeback), err
}

// Nowait reports whether preadv2(2) on fd knows RWF_NOWAIT.
func Nowait(fd uintptr) bool {
	_, err := unix.Preadv2(int(fd), [][]byte{make([]byte, 1)}, 0, unix.RWF_NOWAIT)
	return err != unix.EOPNOTSUPP
}

// Tags returns how many requests the block device under dir takes at a time, as the kernel shows
// it, or 0 if it does not.
func Tags(t testing.TB, dir string) int {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		t.Fatal(err)
	}
	device := fmt.Sprintf("/sys/dev/block/%d:%d", unix.Major(uint64(st.Dev)), unix.Minor(uint64(st.Dev))) //nolint:unconvert // uint32 on 32-bit MIPS
	for _, disk := range []string{device, device + "/.."} {                                               // of a partition it is the second
		queues, _ := filepath.Glob(disk + "/mq/*")
		if len(queues) == 0 {
			continue
		}
		text, err := os.ReadFile(disk + "/queue/nr_requests")
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		return n * len(queues)
	}
	return 0
}

// HugeBuffer returns a buffer of the longer of HugeLengths. Around each of hugeMarks it has memory
// of its own. Between them the same 2 MiB repeat, since no test looks at the bytes read or written
// there.
func HugeBuffer(t testing.TB) []byte {
	t.Helper()
	const piece, own = 2 << 20, 1 << 20
	pageMore, _ := HugeLengths()
	size := (int(pageMore) + piece - 1) &^ (piece - 1)
	p, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		t.Fatal(os.NewSyscallError("mmap", err))
	}
	t.Cleanup(func() { unix.Munmap(p) })
	fd, err := unix.MemfdCreate("huge", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(os.NewSyscallError("memfd_create", err))
	}
	defer unix.Close(fd)
	if err := unix.Ftruncate(fd, piece); err != nil {
		t.Fatal(os.NewSyscallError("ftruncate", err))
	}
	for at := 0; at < size; at += piece {
		if slices.ContainsFunc(hugeMarks, func(mark int64) bool {
			return int64(at) < mark+own && mark-own < int64(at+piece)
		}) {
			continue
		}
		_, err := unix.MmapPtr(fd, 0, reflect.ValueOf(&p[at]).UnsafePointer(), piece, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_FIXED)
		if err != nil {
			t.Fatal(os.NewSyscallError("mmap", err))
		}
	}
	return p[:pageMore]
}

// processorTimeOf returns the processor time of another process, and of its children that have
// ended, so far.
func processorTimeOf(pid int) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// The second field, the name, may contain any character. utime is the 14th: proc_pid_stat(5).
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	ticks := 0
	for _, i := range []int{11, 12, 13, 14} {
		if i < len(fields) {
			n, _ := strconv.Atoi(fields[i])
			ticks += n
		}
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}
