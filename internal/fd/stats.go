package fd

import (
	"sync/atomic"

	"github.com/go-aio/aio/internal/inode"
	"github.com/go-aio/aio/internal/sched"
)

// counts is what is counted here.
var counts struct {
	recentReads, bounced sched.Counter
	bouncedBytes         atomic.Int64
	unsupported, noSpace atomic.Int64 // happen seldom
}

// Stats is what has been counted here and by the inodes.
type Stats struct {
	RecentReads           int64 // reads of direct files that the page cache answered
	Unsupported           int64 // direct transfers that the kernel refused for their form
	NoSpace               int64 // direct writes that did not fit
	Bounced, BouncedBytes int64 // requests by a bounce buffer, and their bytes
	LockWaits             int64 // calls that had to wait for another on the same file
}

// ReadStats returns what has been counted.
func ReadStats() Stats {
	return Stats{
		RecentReads: counts.recentReads.Load(),
		Unsupported: counts.unsupported.Load(),
		NoSpace:     counts.noSpace.Load(),
		Bounced:     counts.bounced.Load(), BouncedBytes: counts.bouncedBytes.Load(),
		LockWaits: inode.Waits(),
	}
}
