package fd

import (
	"github.com/go-aio/aio/internal/inode"
	"github.com/go-aio/aio/internal/sched"
)

// A Group is transfers of one FD or several that are given to the kernel together and waited for
// together. It goes so:
//
//	room := g.Reserve(most)
//	g.Add(fd, op, p, off) // up to room times; see Admission
//	g.Run()
//	g.Finish(i)           // of each that was admitted
//	g.Free()
//
// No lock and no place is waited for while any is held, so two Groups do not wait for one another.
// The zero value is ready. It is for one goroutine at a time.
type Group struct {
	group   sched.Group
	members []member
}

// A member is a transfer that was admitted.
type member struct {
	fd  *FD
	op  Op
	p   []byte
	off int64
	n   int
	err error
}

// An Admission is the outcome of [Group.Add].
type Admission uint8

// The outcomes.
const (
	Admitted   Admission = iota
	DeviceFull           // the device has no place for it now
	Ordinary             // a call of its own does better, or has to wait
)

// MayGroup reports whether a transfer is one that the kernel takes as it is.
func (fd *FD) MayGroup(op Op, p []byte, off int64) bool {
	t := fd.direct
	if t == nil || off < 0 || len(p) == 0 || len(p) > maxDirect || !addressFits(p, t.Mem) {
		return false
	}
	if op == Read {
		return inUnits(off, len(p), t.Read)
	}
	return t.Writes && inUnits(off, len(p), t.Write)
}

// Reserve takes places for up to most transfers and returns how many. It does not wait.
func (g *Group) Reserve(most int) int { return sched.Reserve(&g.group, most) }

// Add admits a transfer for which MayGroup is true, if it need not wait for anything: it takes
// what that holds while it is under way, which is a call of the FD, a place of the device and, for
// a write, its lock.
func (g *Group) Add(fd *FD, op Op, p []byte, off int64) Admission {
	m := member{fd: fd, op: op, p: p, off: off}
	if op == Read && fd.inode.Recent(off, end(off, len(p))) || !fd.acquire() {
		return Ordinary
	}
	if !fd.device.TryAcquire() {
		fd.release()
		return DeviceFull
	}
	if op == Write && !m.lock() {
		fd.device.Release()
		fd.release()
		return Ordinary
	}
	if op == Read {
		fd.faultIn(One(p))
	}
	g.group.Add(sched.Request{Op: op, Fd: fd.direct.Fd, Bufs: One(p), Off: off})
	g.members = append(g.members, m)
	return Admitted
}

// lockRange is the lock of a write.
func (m *member) lockRange() inode.Range {
	return inode.Range{Class: inode.Direct, Lo: m.off, Hi: end(m.off, len(m.p))}
}

// lock takes the lock and does what writeDirect does before its first request. It returns false if
// the lock is not free, or if the write is not for kernel AIO.
func (m *member) lock() bool {
	fd, r := m.fd, m.lockRange()
	if fd.inode.Untracked() || !fd.abandoned.None() || !fd.inode.TryLock(r) {
		return false
	}
	if fd.Extends(m.off + int64(len(m.p))) {
		fd.inode.Unlock(r)
		return false
	}
	fd.inode.Forget(r.Lo, r.Hi)
	return true
}

// Run gives the transfers to the kernel and waits for all of them. Then it gives back their locks
// and places.
func (g *Group) Run() {
	sched.Run(&g.group)
	for i := range g.members {
		m := &g.members[i]
		m.n, m.err = g.group.Result(i)
		if m.op == Write {
			m.fd.inode.Unlock(m.lockRange())
		}
		m.fd.device.Release()
	}
	sched.Free(&g.group)
}

// Finish returns what the transfer that was admitted as number i, from 0, has come to: the n and
// the error of ReadAt or WriteAt. It makes what the request left undone. ok is false if the kernel
// could not take the request, and it is to be a call of its own.
func (g *Group) Finish(i int) (n int, err error, ok bool) {
	m := &g.members[i]
	defer m.fd.release()
	switch {
	case m.err == sched.ErrUnavailable:
		return 0, nil, false
	case m.err == nil && m.n == len(m.p):
		return m.n, nil, true
	case m.op == Read:
		n, err = m.fd.read(One(m.p), m.off, len(m.p), m.n, m.err)
	default:
		n, err = m.fd.writeOn(One(m.p), m.off, m.n, m.err)
	}
	return n, err, true
}

// Free forgets the transfers. The memory for them is kept.
func (g *Group) Free() {
	clear(g.members)
	g.members = g.members[:0]
}
