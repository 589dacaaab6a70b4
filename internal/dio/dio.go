// Package dio reports the direct I/O (O_DIRECT, open(2)) that a descriptor allows and opens direct
// descriptors. It makes the synchronous system calls on direct and buffered ones.
package dio

// Kind classifies a file by how it does I/O.
type Kind uint8

// The kinds.
const (
	Other   Kind = iota // pipes, sockets, directories, terminals: left to os.File
	Regular             // a regular file
	Block               // a block device
)

// Info is the part of fstat(2) this library uses.
type Info struct {
	Kind     Kind
	Dev, Ino uint64 // of a block device: its own number, and 0
}

// Limits are the rules of direct I/O on one file, in bytes. Each alignment is a power of two.
type Limits struct {
	Mem   int // alignment of a buffer's address
	Read  int // alignment of a read's offset and length
	Write int // alignment of a direct write's offset and length
	// Writes reports whether a write to the direct descriptor bypasses the page cache. Btrfs with
	// checksums buffers it.
	Writes bool
	// Resident reports whether a direct read needs memory whose pages are present. Btrfs pins a
	// buffer with page faults off, and else reads through the page cache: io_submit(2) blocks.
	Resident bool
	// Fixed reports whether no write can extend the file: a block device.
	Fixed bool
}

// A Direct is a second descriptor of an open file's inode, with O_DIRECT. It is an open file
// description of its own.
type Direct struct {
	Fd int
	Limits
}
