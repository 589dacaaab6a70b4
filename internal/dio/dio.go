// Package dio says what direct I/O (O_DIRECT, open(2)) a descriptor allows, opens its
// direct twin, and makes the plain system calls on both.
package dio

// A Kind is what matters to us of a file's type.
type Kind uint8

// The kinds.
const (
	Other   Kind = iota // pipes, sockets, directories, terminals: os.File's business alone
	Regular             // a regular file
	Block               // a block device
)

// An Info is what fstat(2) says of a descriptor.
type Info struct {
	Kind     Kind
	Dev, Ino uint64 // of a block device: its own number, and 0
}

// Limits are the rules of direct I/O on one file, in bytes. Each alignment is a power
// of two.
type Limits struct {
	Mem   int // alignment of a buffer's address
	Read  int // alignment of a read's offset and length
	Write int // alignment of a write's offset and length, for it to go direct
	// Writes is whether a direct write is direct. It is false where the filesystem
	// would buffer it (btrfs with checksums).
	Writes bool
	// Resident is whether a read is direct only into memory that has its pages, and
	// otherwise goes through the page cache, for which io_submit(2) blocks: btrfs pins a
	// buffer with page faults off.
	Resident bool
	// Fixed is whether no write can extend the file: a block device.
	Fixed bool
}

// A Twin is a second descriptor of an open file's inode, with O_DIRECT. It is an open
// file description of its own.
type Twin struct {
	Fd int
	Limits
}
