package apart

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/internal/aiotest/trials/fusedisk"
)

// A keeper is a process that makes disks hang or slow, and makes them answer again. A process whose own
// threads hang in the kernel cannot be ended, so it must not be the only one that can free them.
type keeper struct {
	mu     sync.Mutex
	stdin  io.WriteCloser
	stdout *bufio.Reader
	dir    string // of the FUSE filesystem
}

// longest bounds the time that a disk hangs, whatever has become of the test.
const longest = 60 * time.Second

// slowness is how long a request of a slow disk takes.
const slowness = 50 * time.Millisecond

// The orders of a keeper, each with a path.
const (
	freezeOrder  = "freeze"
	thawOrder    = "thaw"
	stallOrder   = "stall"
	slowOrder    = "slow"
	releaseOrder = "release"
)

// newKeeper starts a keeper, which serves a disk of size bytes.
func newKeeper(t *testing.T, size int64) *keeper {
	t.Helper()
	k := &keeper{dir: t.TempDir()}
	cmd := aiotest.Child(t, "", "keep", k.dir, fmt.Sprint(size))
	var err error
	if k.stdin, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	k.stdout = bufio.NewReader(stdout)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		k.stdin.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the keeper: %v", err)
		}
	})
	if err := k.answer(); err != nil {
		t.Fatal(err)
	}
	return k
}

// disk is the path of the disk that the keeper serves.
func (k *keeper) disk() string { return filepath.Join(k.dir, diskName) }

const diskName = "disk"

// do gives an order and waits until the keeper has carried it out.
func (k *keeper) do(order, path string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, err := fmt.Fprintln(k.stdin, order, path); err != nil {
		return err
	}
	return k.answer()
}

func (k *keeper) answer() error {
	line, err := k.stdout.ReadString('\n')
	if err != nil {
		return fmt.Errorf("the keeper has ended: %w", err)
	}
	if line != "ok\n" {
		return errors.New("the keeper: " + strings.TrimSpace(line))
	}
	return nil
}

// keep is the main function of the process of a keeper.
func keep(args []string) {
	var size int64
	_, err := fmt.Sscan(args[1], &size)
	must(err)
	server, err := fusedisk.Mount(args[0])
	must(err)
	disk := server.Create(diskName, size)
	fmt.Println("ok")
	hung := make(map[string]func() error) // what ends it, by path
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		order, path, _ := strings.Cut(lines.Text(), " ")
		if err := obey(hung, disk, order, path); err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println("ok")
	}
	for _, end := range hung {
		end() // ends once what has been frozen is thawed
	}
	if server.Close() != nil {
		server.Abort() // the test has left it busy
	}
	os.Exit(0)
}

func obey(hung map[string]func() error, disk *fusedisk.Disk, order, path string) error {
	var end func() error
	switch order {
	case freezeOrder:
		if err := freeze(path, fifreeze); err != nil {
			return err
		}
		end = sync.OnceValue(func() error { return freeze(path, fithaw) })
	case stallOrder:
		released := make(chan struct{})
		disk.Inject(func(fusedisk.Request) fusedisk.Fault {
			<-released
			return fusedisk.Fault{}
		})
		end = sync.OnceValue(func() error {
			disk.Inject(nil)
			close(released)
			return nil
		})
	case slowOrder:
		disk.Inject(func(fusedisk.Request) fusedisk.Fault { return fusedisk.Fault{Delay: slowness} })
		end = sync.OnceValue(func() error {
			disk.Inject(nil)
			return nil
		})
	default:
		if hung[path] == nil {
			return fmt.Errorf("%s does not hang", path)
		}
		end := hung[path]
		delete(hung, path)
		return end()
	}
	hung[path] = end
	time.AfterFunc(longest, func() { end() })
	return nil
}

// Requests of ioctl(2), from linux/fs.h.
const (
	fifreeze = 0xc0045877
	fithaw   = 0xc0045878
)

// freeze makes the ioctl(2) on the filesystem that is mounted at dir.
func freeze(dir string, request uint) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return os.NewSyscallError("ioctl", unix.IoctlSetInt(int(d.Fd()), request, 0))
}
