//go:build linux

package queue

import (
	"syscall"
	"testing"
	"time"

	"github.com/go-aio/aio/internal/aiotest"
)

// In these tests sweep cannot read the ring. A seccomp filter refuses io_getevents(2), and a
// goroutine that came before the filter is in that call for longer than reapTries last.

// Signalled completions are delivered.
func TestSweepOfSignalledCompletions(t *testing.T) {
	k, q := newFake(t, 64)
	k.hold()
	q.dog.every = time.Hour // without the watchdog
	done := startAll(t, k, q, upTo(20)...)
	aiotest.Until(t, "the kernel has all", func() bool {
		return k.insideNow() == 20 && countSubmitters(q) == 0
	})
	for i := 1; i <= 20; i++ {
		k.at(collecting, k.calls(collecting)+i, fault{err: syscall.EPERM})
	}
	k.complete(1) // signalled; the reaper drains, then collects: a crowd
	want(t, 1, done[0], 1, nil)
	aiotest.Until(t, "io_getevents is refused", func() bool { return q.collector.refused.Load() })
	aiotest.Until(t, "the first sweep is over", func() bool { return !q.collector.held() })
	k.complete(upTo(20)[1:]...)
	wantDone(t, upTo(20)[1:], done[1:])
}

// Quiet completions are delivered once the ring can be read again. If sweep gave up, no
// goroutine would collect them, and later completions would be quiet, too.
func TestSweepUntilTheRingCanBeRead(t *testing.T) {
	aiotest.NeedsTime(t)
	k, q := newFake(t, 64)
	q.dog.every = time.Hour
	k.hold()
	group := startGroup(q, upTo(20)...) // quiet: its owner collects
	aiotest.Until(t, "the owner collects", func() bool {
		return q.collector.held() && k.insideNow() == 20
	})
	n, m := k.calls(collecting), k.calls(reaping)
	for i := 1; i <= 50; i++ {
		k.at(collecting, n+i, fault{err: syscall.EPERM})
	}
	for i := 1; i <= 2*reapTries+10; i++ {
		k.at(reaping, m+i, fault{err: syscall.EPERM})
	}
	aiotest.Until(t, "sweep has met all refusals", func() bool {
		return k.calls(reaping) >= m+2*reapTries
	})
	k.complete(upTo(20)...)
	// The ring can be read again, and more requests are made.
	k.letGo()
	other := start(q, 30)
	aiotest.Until(t, "a request that comes later is done", func() bool { return len(other) > 0 })
	aiotest.Until(t, "the group is done", func() bool { return len(group) > 0 })
}
