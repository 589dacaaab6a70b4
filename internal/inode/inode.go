// Package inode keeps direct and buffered writes of one inode apart.
//
// A direct write must not meet a dirty page in the same large folio, nor one that becomes dirty
// during the write. Otherwise the next fsync fails with EIO and the page cache keeps stale bytes.
// So all Files of the process on one inode share one [Inode], with this lock table:
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

// A Key identifies an inode of the system for as long as a File has it open.
type Key struct {
	Dev, Ino uint64
	Block    bool // a block device: Dev is its device number, for any node
}

// An Inode is shared by all Files of the process on one inode. All methods may be called
// concurrently.
type Inode struct {
	key    Key
	opened int // guarded by table.mu

	// direct counts the Files that may write direct. While it is zero, buffered writers skip the
	// lock table and count themselves in untracked. Each side counts itself before it looks at the
	// other's counter, so one of two that meet always sees the other.
	direct    atomic.Int32
	untracked atomic.Int32

	Abandoned Abandoned

	locks  locks
	recent atomic.Pointer[recent] // nil until a buffered write beside direct ones
}

// table holds the open inodes. Lock order: table.mu is never held with another lock.
var table = struct {
	mu     sync.Mutex
	inodes map[Key]*Inode
}{inodes: make(map[Key]*Inode)}

// Open returns the inode of key. Every Open needs a Close.
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

// Close ends one Open. The caller must not hold a lock of the inode.
func (n *Inode) Close() {
	table.mu.Lock()
	defer table.mu.Unlock()
	if n.opened--; n.opened == 0 {
		delete(table.inodes, n.key)
	}
}

// Count returns the number of open inodes.
func Count() int {
	table.mu.Lock()
	defer table.mu.Unlock()
	return len(table.inodes)
}

// AddDirect announces a File that may write direct, before the File's first write.
func (n *Inode) AddDirect() { n.direct.Add(1) }

// RemoveDirect ends one AddDirect, after the File's last write.
func (n *Inode) RemoveDirect() { n.direct.Add(-1) }

// EnterUntracked begins a buffered write of any range without the lock table. It returns false if
// some File may write direct; then the caller takes a lock.
func (n *Inode) EnterUntracked() bool {
	n.untracked.Add(1)
	if n.direct.Load() == 0 {
		return true
	}
	n.untracked.Add(-1)
	return false
}

// LeaveUntracked ends what a successful EnterUntracked began.
func (n *Inode) LeaveUntracked() { n.untracked.Add(-1) }

// Untracked reports whether a buffered write outside of the lock table may be under way. Then the
// caller, which has called AddDirect, must write buffered, too: it cannot wait for a splice(2) from
// a socket, which may never end.
func (n *Inode) Untracked() bool { return n.untracked.Load() != 0 }
