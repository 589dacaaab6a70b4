package aiotest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// A Disk is the block device under a filesystem, read past all caches.
type Disk struct {
	Block int // size of the filesystem's blocks, in bytes
	// Clears reports whether a Truncate clears the rest of the block on the device too. On btrfs
	// (Linux 6.18) that rest stays the same until the file grows again.
	Clears bool
	device *os.File
	btrfs  bool // addresses in the filesystem are not those of the device
}

// OpenDisk returns the block device of dir's files. The test closes it at its end. If there is no
// device (tmpfs, FUSE), or it cannot be read, OpenDisk logs that and returns nil.
func OpenDisk(t testing.TB, dir string) *Disk {
	t.Helper()
	probe, err := os.Create(filepath.Join(dir, "probe"))
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(probe.Name())
	defer probe.Close()
	switch _, err := fiemap(probe); {
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOTTY):
		t.Logf("raw blocks are not read: the filesystem has none (%v)", err)
		return nil
	case err != nil:
		t.Fatal(err)
	}
	name := Device()
	if name == "" {
		if name, err = deviceOf(probe); err != nil {
			t.Logf("raw blocks are not read: %v", err)
			return nil
		}
	}
	device, err := os.OpenFile(name, os.O_RDONLY|unix.O_DIRECT, 0)
	if (errors.Is(err, os.ErrPermission) || errors.Is(err, os.ErrNotExist)) && Device() == "" {
		t.Logf("raw blocks are not read: %v", err)
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { device.Close() })
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(probe.Fd()), &fs); err != nil {
		t.Fatal(os.NewSyscallError("fstatfs", err))
	}
	// On 32-bit systems Type is an int32, and the number is not.
	btrfs := uint32(fs.Type) == unix.BTRFS_SUPER_MAGIC
	return &Disk{Block: int(fs.Bsize), Clears: !btrfs, device: device, btrfs: btrfs}
}

// deviceOf returns the name of the block device that f is on. The devices of btrfs and overlayfs
// are not block devices.
func deviceOf(f *os.File) (string, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return "", os.NewSyscallError("fstat", err)
	}
	dev := uint64(st.Dev) //nolint:unconvert // uint32 on 32-bit MIPS
	link := fmt.Sprintf("/sys/dev/block/%d:%d", unix.Major(dev), unix.Minor(dev))
	name, err := os.Readlink(link)
	if err != nil {
		return "", err
	}
	return "/dev/" + filepath.Base(name), nil
}

// Extents returns the extents of a file, in order, with their bytes on the device. It first makes
// the file durable. Nothing may write to the file meanwhile.
func (d *Disk) Extents(name string) ([]Extent, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	list, err := fiemap(f)
	if err != nil {
		return nil, err
	}
	var chunks []chunk
	if d.btrfs {
		if chunks, err = chunksOf(f); err != nil {
			return nil, err
		}
	}
	var extents []Extent
	for _, m := range list {
		e := Extent{State: m.state(), Off: int64(m.logical), Len: int64(m.length)}
		if e.State == Written {
			address, err := translate(chunks, m.physical, m.length)
			if err != nil {
				return nil, err
			}
			if e.Data, err = d.read(address, e.Len); err != nil {
				return nil, err
			}
		}
		extents = append(extents, e)
	}
	return extents, nil
}

// read reads n bytes of the device.
func (d *Disk) read(address, n int64) ([]byte, error) {
	const sector = 4096
	lo, hi := address&^(sector-1), (address+n+sector-1)&^(sector-1)
	p := Buffer(int(hi-lo), 0)
	if _, err := d.device.ReadAt(p, lo); err != nil {
		return nil, err
	}
	return p[address-lo:][:n], nil
}

// A mapping is a struct fiemap_extent of linux/fiemap.h: a piece of a file, and where it
// lies.
type mapping struct {
	logical, physical, length uint64
	flags                     uint32
}

func (m mapping) state() State {
	const (
		unknown   = 0x2 | 0x4 | 0x8 | 0x80 // UNKNOWN, DELALLOC, ENCODED, DATA_ENCRYPTED
		inMeta    = 0x100 | 0x200 | 0x400  // NOT_ALIGNED, DATA_INLINE, DATA_TAIL
		unwritten = 0x800                  // UNWRITTEN
	)
	switch {
	case m.flags&(unknown|inMeta) != 0:
		return Unknown
	case m.flags&unwritten != 0:
		return Zeros
	}
	return Written
}

// fiemap returns the extents of a file, by the ioctl FS_IOC_FIEMAP, which writes the file back
// first.
func fiemap(f *os.File) ([]mapping, error) {
	const (
		request = 0xC020660B // FS_IOC_FIEMAP
		header  = 32         // sizeof(struct fiemap)
		extent  = 56         // sizeof(struct fiemap_extent)
		count   = 256
		sync    = 1 // FIEMAP_FLAG_SYNC
		last    = 1 // FIEMAP_EXTENT_LAST
	)
	var all []mapping
	for start := uint64(0); ; {
		var b [header + count*extent]byte
		ne := binary.NativeEndian
		ne.PutUint64(b[0:], start)
		ne.PutUint64(b[8:], math.MaxUint64-start)
		ne.PutUint32(b[16:], sync)
		ne.PutUint32(b[24:], count)
		if err := ioctl(f, "FS_IOC_FIEMAP", request, b[:]); err != nil {
			return nil, err
		}
		n := ne.Uint32(b[20:])
		for i := range n {
			e := b[header+i*extent:]
			m := mapping{ne.Uint64(e), ne.Uint64(e[8:]), ne.Uint64(e[16:]), ne.Uint32(e[40:])}
			all = append(all, m)
			start = m.logical + m.length
			if m.flags&last != 0 {
				return all, nil
			}
		}
		if n == 0 {
			return all, nil
		}
	}
}

// ioctl calls ioctl(2) with a structure that the kernel reads and writes.
func ioctl(f *os.File, name string, request uintptr, arg []byte) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), request, reflect.ValueOf(arg).Pointer())
	runtime.KeepAlive(arg)
	if errno != 0 {
		return os.NewSyscallError(name, errno)
	}
	return nil
}

// A chunk is a range of btrfs's addresses and its offset on the device.
type chunk struct{ logical, length, physical uint64 }

// translate returns the address on the device of an address in the filesystem. Without chunks both
// are the same.
func translate(chunks []chunk, address, n uint64) (int64, error) {
	if chunks == nil {
		return int64(address), nil
	}
	for _, c := range chunks {
		if c.logical <= address && address+n <= c.logical+c.length {
			return int64(address - c.logical + c.physical), nil
		}
	}
	return 0, fmt.Errorf("address %d is in no chunk", address)
}

// chunksOf returns the chunks of the btrfs that f is on, by the ioctl BTRFS_IOC_TREE_SEARCH
// (linux/btrfs.h, linux/btrfs_tree.h). Of two copies of a chunk it takes the first.
func chunksOf(f *os.File) ([]chunk, error) {
	const (
		request   = 0xD0009411 // BTRFS_IOC_TREE_SEARCH
		chunkTree = 3          // BTRFS_CHUNK_TREE_OBJECTID
		objectid  = 256        // BTRFS_FIRST_CHUNK_TREE_OBJECTID
		item      = 228        // BTRFS_CHUNK_ITEM_KEY
		striped   = 8 | 64 | 128 | 256
		key       = 104 // sizeof(struct btrfs_ioctl_search_key)
		header    = 32  // sizeof(struct btrfs_ioctl_search_header)
		stripes   = 48  // offset of the stripes in a struct btrfs_chunk
	)
	ne, le := binary.NativeEndian, binary.LittleEndian
	var b [4096]byte
	ne.PutUint64(b[0:], chunkTree)
	ne.PutUint64(b[8:], objectid)
	ne.PutUint64(b[16:], objectid)
	ne.PutUint64(b[32:], math.MaxUint64) // the largest offset, from 0
	ne.PutUint64(b[48:], math.MaxUint64) // the largest transaction, from 0
	ne.PutUint32(b[56:], item)
	ne.PutUint32(b[60:], item)
	const most = 25 // items, which fit
	ne.PutUint32(b[64:], most)
	if err := ioctl(f, "BTRFS_IOC_TREE_SEARCH", request, b[:]); err != nil {
		return nil, err
	}
	n := ne.Uint32(b[64:])
	if n >= most {
		return nil, errors.New("more chunks than a small filesystem has")
	}
	chunks := []chunk{}
	for at := key; n > 0; n-- {
		logical, length := ne.Uint64(b[at+16:]), ne.Uint32(b[at+28:])
		c := b[at+header:]
		if kind := le.Uint64(c[24:]); kind&striped != 0 {
			return nil, fmt.Errorf("a chunk of type %#x is on several devices", kind)
		}
		chunks = append(chunks, chunk{logical, le.Uint64(c), le.Uint64(c[stripes+8:])})
		at += header + int(length)
	}
	return chunks, nil
}
