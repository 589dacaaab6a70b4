package sqlite

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/go-aio/aio"
	"github.com/ncruces/go-sqlite3/vfs"
	"golang.org/x/sys/unix"
)

// again returns an aio.File on the file that f has open.
//
// A buffered one has a duplicate of f's descriptor: temporary files have no name for another open,
// and a write-back error is reported once for each open file description. A direct one is opened
// again; if that fails, it is buffered. Closing either releases no lock of f, as it would a POSIX
// lock, because f has open file description locks (fcntl(2)), or flock(2)'s.
func again(f vfs.File, flags vfs.OpenFlag, direct bool) (*aio.File, error) {
	of, ok := f.(interface {
		syscall.Conn
		Name() string
	})
	if !ok {
		return nil, errors.New(`sqlite: the files of the VFS "os" have no descriptor`)
	}
	conn, err := of.SyscallConn()
	if err != nil {
		return nil, err
	}
	// Control keeps f open meanwhile.
	var file *aio.File
	cerr := conn.Control(func(fd uintptr) {
		if direct {
			file = reopen(int(fd), of.Name(), flags)
		}
		if file == nil {
			file, err = duplicate(fd, of.Name())
		}
	})
	return file, errors.Join(err, cerr)
}

func duplicate(fd uintptr, name string) (*aio.File, error) {
	dup, err := retry(func() (int, error) { return unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) })
	if err != nil {
		return nil, err
	}
	return aio.NewFile(uintptr(dup), name), nil
}

// reopen returns a direct File, or nil.
func reopen(of int, name string, flags vfs.OpenFlag) *aio.File {
	mode := unix.O_RDONLY
	if flags&vfs.OPEN_READWRITE != 0 {
		mode = unix.O_RDWR
	}
	fd, err := retry(func() (int, error) {
		return unix.Open(fmt.Sprintf("/proc/self/fd/%d", of), mode|unix.O_DIRECT|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil
	}
	f := aio.NewFile(uintptr(fd), name)
	if !f.Direct() {
		// Such a File would refuse misaligned calls.
		f.Close()
		return nil
	}
	return f
}

func retry(fn func() (int, error)) (n int, err error) {
	for {
		if n, err = fn(); err != unix.EINTR {
			return n, err
		}
	}
}
