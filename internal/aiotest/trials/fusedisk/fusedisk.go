// Package fusedisk serves disks in memory, as files of a FUSE filesystem, with faults: requests get
// errors, take seconds, overtake one another or are cut short, and the power is cut. A loop device
// over such a file is a block device with these faults, and can carry any filesystem.
package fusedisk

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// A Server serves disks in one directory.
type Server struct {
	dir  string
	fuse *fuse.Server
	root *fs.Inode

	mu    sync.Mutex
	disks map[string]*node
}

// Mount starts a Server in an empty directory. It needs root.
func Mount(dir string) (*Server, error) {
	root := new(fs.Inode)
	server, err := fs.Mount(dir, root, &fs.Options{MountOptions: fuse.MountOptions{
		FsName:            "fusedisk",
		Name:              "fusedisk",
		DirectMountStrict: true,      // no fusermount is needed
		MaxBackground:     1024,      // requests in flight
		MaxWrite:          256 << 10, // more, and the server has no pipe to splice(2) through
		DisableXAttrs:     true,
		DisableSplice:     true,               // it would keep its pipes for good
		ExtraCapabilities: fuse.CAP_ASYNC_DIO, // else a loop device makes one request at a time
	}})
	if err != nil {
		return nil, err
	}
	return &Server{dir: dir, fuse: server, root: root, disks: make(map[string]*node)}, nil
}

// Close unmounts. No disk may be open any more.
func (s *Server) Close() error { return s.fuse.Unmount() }

// Abort ends the connection with the kernel: all requests fail, also those in flight. It is for the
// end of a process that serves its own disks.
func (s *Server) Abort() error {
	var st unix.Stat_t
	if err := unix.Stat(s.dir, &st); err != nil {
		return &os.PathError{Op: "stat", Path: s.dir, Err: err}
	}
	control, err := os.MkdirTemp("", "fusectl")
	if err != nil {
		return err
	}
	defer os.Remove(control)
	if err := unix.Mount("none", control, "fusectl", 0, ""); err != nil {
		return os.NewSyscallError("mount", err)
	}
	defer unix.Unmount(control, unix.MNT_DETACH)
	connection := strconv.Itoa(int(unix.Minor(st.Dev)))
	return os.WriteFile(filepath.Join(control, connection, "abort"), []byte("1"), 0)
}

// Create makes a disk of size zero bytes.
func (s *Server) Create(name string, size int64) *Disk {
	return s.add(newDisk(filepath.Join(s.dir, name), size))
}

// Cut makes a disk in the state of d after a power cut now. All writes before the last Flush are
// there; of the writes since, each sector of 512 bytes or not, as r decides.
func (s *Server) Cut(d *Disk, name string, r *rand.Rand) *Disk {
	to := newDisk(filepath.Join(s.dir, name), d.Size())
	d.cut(to, r)
	return s.add(to)
}

func (s *Server) add(d *Disk) *Disk {
	n := &node{disk: d}
	name := filepath.Base(d.path)
	s.root.AddChild(name, s.root.NewPersistentInode(context.Background(), n, fs.StableAttr{Mode: fuse.S_IFREG}), true)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.disks[name] = n
	return d
}

// Remove removes a disk. Open descriptors keep it.
func (s *Server) Remove(d *Disk) {
	name := filepath.Base(d.path)
	s.mu.Lock()
	n := s.disks[name]
	delete(s.disks, name)
	s.mu.Unlock()
	if n == nil {
		return
	}
	s.root.RmChild(name)
	s.root.NotifyEntry(name)
	n.ForgetPersistent()
}

// A node is a Disk as a file.
type node struct {
	fs.Inode
	disk *Disk
}

var (
	_ fs.NodeOpener    = (*node)(nil)
	_ fs.NodeReader    = (*node)(nil)
	_ fs.NodeWriter    = (*node)(nil)
	_ fs.NodeFsyncer   = (*node)(nil)
	_ fs.NodeGetattrer = (*node)(nil)
	_ fs.NodeSetattrer = (*node)(nil)
)

// Open tells the kernel to keep no page of the file, and to pass on requests side by side: each
// comes to the disk, and as soon as it is made.
func (n *node) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return nil, fuse.FOPEN_DIRECT_IO | fuse.FOPEN_PARALLEL_DIRECT_WRITES, 0
}

// Read is a [Read].
func (n *node) Read(_ context.Context, _ fs.FileHandle, p []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	k, errno := n.disk.read(p, off)
	if errno != 0 {
		return nil, errno // with a result go-fuse would answer that there is nothing to read
	}
	return fuse.ReadResultData(p[:k]), 0
}

// Write is a [Write].
func (n *node) Write(_ context.Context, _ fs.FileHandle, p []byte, off int64) (uint32, syscall.Errno) {
	k, errno := n.disk.write(p, off)
	return uint32(k), errno
}

// Fsync is a [Flush].
func (n *node) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno { return n.disk.flush() }

// Getattr is stat(2).
func (n *node) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.Mode = fuse.S_IFREG | 0o600
	out.Size = uint64(n.disk.Size())
	return 0
}

// Setattr is truncate(2) at most.
func (n *node) Setattr(ctx context.Context, h fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if size, ok := in.GetSize(); ok {
		n.disk.Resize(int64(size))
	}
	return n.Getattr(ctx, h, out)
}
