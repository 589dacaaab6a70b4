// Package inode keeps direct and buffered writes of one inode apart.
//
// A direct write that meets a dirty page, or one that becomes dirty while it is
// under way, in the same large folio makes the next fsync fail with EIO and leaves
// stale bytes in the page cache. So every File of the process that has the inode
// open goes through the one [Inode] of it, whose lock table is this:
//
//	held \ wants  Direct [lo,hi)               Buffered [lo,hi)             Exclusive
//	Direct        waits if bytes overlap       waits if folios overlap      waits
//	Buffered      waits if folios overlap      goes                         waits
//	Exclusive     waits                        waits                        waits
//
// Reads and fsync take no lock.
package inode

import (
	"sync"
	"sync/atomic"
)

// A Key names an inode of the system for as long as someone has it open.
type Key struct {
	Dev, Ino uint64
	Block    bool // a block device: Dev is its device number, whatever node it was opened by
}

// An Inode is shared by all Files of the process on one inode. All methods may be
// called concurrently.
type Inode struct {
	key    Key
	opened int // guarded by table.mu

	// direct counts the Files that may write past the page cache. While it is zero,
	// buffered writers stay out of the lock table and count themselves in loose.
	// Each side announces itself before it looks at the other's counter, so one of
	// two that meet always sees the other.
	direct atomic.Int32
	loose  atomic.Int32

	Leftovers Leftovers

	locks  locks
	recent atomic.Pointer[recent] // nil until a buffered write beside direct ones
}

// table holds the inodes that are open. Lock order: table.mu is never held with
// another lock.
var table = struct {
	mu     sync.Mutex
	inodes map[Key]*Inode
}{inodes: make(map[Key]*Inode)}

// Open returns the inode of that key. Every Open needs a Close.
func Open(key Key) *Inode {
	table.mu.Lock()
	defer table.mu.Unlock()
	n := table.inodes[key]
	if n == nil {
		n = &Inode{key: key}
		table.inodes[key] = n
	}
	n.opened++
	return n
}

// Close ends what Open began. No lock of the caller may be held.
func (n *Inode) Close() {
	table.mu.Lock()
	defer table.mu.Unlock()
	if n.opened--; n.opened == 0 {
		delete(table.inodes, n.key)
	}
}

// Count returns the number of inodes that are open.
func Count() int {
	table.mu.Lock()
	defer table.mu.Unlock()
	return len(table.inodes)
}

// AddDirect announces a File that may write direct; it comes before the File's first
// write. RemoveDirect takes it back, after its last.
func (n *Inode) AddDirect() { n.direct.Add(1) }

// RemoveDirect takes back one AddDirect.
func (n *Inode) RemoveDirect() { n.direct.Add(-1) }

// EnterLoose begins a buffered write, of any range, without the lock table. It
// returns false if some File may write direct; then the caller takes a lock.
// LeaveLoose ends it.
func (n *Inode) EnterLoose() bool {
	n.loose.Add(1)
	if n.direct.Load() == 0 {
		return true
	}
	n.loose.Add(-1)
	return false
}

// LeaveLoose ends what a successful EnterLoose began.
func (n *Inode) LeaveLoose() { n.loose.Add(-1) }

// Loose reports whether a buffered write may be under way that is not in the lock
// table. Then a write must be buffered too: a splice(2) from a socket has no end that
// one could wait for. The caller has called AddDirect, so what is not seen here will
// see that.
func (n *Inode) Loose() bool { return n.loose.Load() != 0 }
