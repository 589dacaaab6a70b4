//go:build linux

package queue

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"testing"
	"unsafe"

	"github.com/go-aio/aio/internal/aiotest"
	"golang.org/x/sys/unix"
)

// These tests use real seccomp filters. A filter is permanent, so each test has its own
// process.

// forbiddenChild is the environment variable that names the case to such a process.
const forbiddenChild = "AIO_QUEUE_TEST_FORBIDDEN"

// noSeccomp is the exit code of a process that may not use seccomp(2).
const noSeccomp = 77

// A forbidden case reads block 3 of a file with some system calls forbidden.
var forbidden = map[string]struct {
	before, after []uint32 // forbidden before the first request, and after it
	works         bool     // whether the requests after that succeed
}{
	"io_setup":        {[]uint32{unix.SYS_IO_SETUP}, nil, false},
	"io_submit":       {[]uint32{unix.SYS_IO_SUBMIT}, nil, false},
	"eventfd2":        {[]uint32{unix.SYS_EVENTFD2}, nil, false},
	"io_submit later": {nil, []uint32{unix.SYS_IO_SUBMIT}, false},
	// The mapped ring can be read without io_getevents(2).
	"io_getevents":       {[]uint32{unix.SYS_IO_GETEVENTS}, nil, true},
	"io_getevents later": {nil, []uint32{unix.SYS_IO_GETEVENTS}, true},
}

func TestForbiddenSystemCalls(t *testing.T) {
	aiotest.NeedsTime(t)
	for name := range forbidden {
		t.Run(name, func(t *testing.T) {
			aiotest.Guard(t)
			fd, err := unix.Dup(directFile(t, 4))
			if err != nil {
				t.Fatal(err)
			}
			file := os.NewFile(uintptr(fd), "blocks")
			defer file.Close()
			cmd := exec.Command("/proc/self/exe")
			cmd.Env = append(os.Environ(), forbiddenChild+"="+name)
			cmd.ExtraFiles = []*os.File{file}
			text, err := cmd.CombinedOutput()
			if cmd.ProcessState.ExitCode() == noSeccomp {
				aiotest.Needs(t, "seccomp(2), which returns "+string(text), aiotest.Whole)
			}
			if err != nil {
				t.Errorf("%v\n%s", err, text)
			}
		})
	}
}

// runForbidden runs one case in its process. Descriptor 3 is the file.
func runForbidden(name string) (code int) {
	defer aiotest.GuardProcess(name)()
	c := forbidden[name]
	q := queueOn(64, newContext)
	var mu sync.Mutex
	complain := func(format string, a ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Printf(format+"\n", a...)
		code = 1
	}
	read := func(works bool) {
		p := alignedBlocks(1)
		n, err := q.Do(req(Read, 3, p, 3*block))
		switch {
		case works && (n != block || err != nil || !slices.Equal(p, patternOf(3, 0))):
			complain("Do = %d, %v, want %d bytes of block 3", n, err, block)
		case !works && (n != 0 || err != ErrUnavailable):
			complain("Do = %d, %v, want ErrUnavailable", n, err)
		}
	}
	if r, w, err := os.Pipe(); err == nil { // the runtime's poller opens descriptors
		r.Close()
		w.Close()
	}
	files := aiotest.OpenFiles()
	if c.before != nil {
		forbid(c.before)
	} else {
		read(true)
		read(true)
		forbid(c.after)
	}
	for range 5 {
		read(c.works)
	}
	// The reaper collects for this crowd.
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			for range 20 {
				read(c.works)
			}
		})
	}
	all.Wait()
	// An unusable context has been released.
	now := aiotest.OpenFiles()
	if !c.works && c.before != nil && (contexts() != 0 || !slices.Equal(now, files)) {
		complain("%d contexts are left, and the files %q, before %q", contexts(), now, files)
	}
	return code
}

// forbid makes system calls fail with EPERM, on all threads and permanently.
func forbid(calls []uint32) {
	const numberAt = 0 // in struct seccomp_data
	program := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: numberAt}}
	for _, nr := range calls {
		program = append(program,
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: nr},
			unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)})
	}
	program = append(program,
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW})
	fprog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	runtime.LockOSThread() // PR_SET_NO_NEW_PRIVS applies to a thread; TSYNC copies it to the others
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		fmt.Print(err)
		os.Exit(noSeccomp)
	}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&fprog)))
	if errno != 0 {
		fmt.Print(errno)
		os.Exit(noSeccomp)
	}
}
