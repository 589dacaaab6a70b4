package fd

import (
	"github.com/go-aio/aio/internal/inode"
	"github.com/go-aio/aio/internal/sched"
)

// A Group is transfers of files of one device that are given to the kernel together and waited for
// together. It goes so:
//
//	g.Add(fd, op, p, off) // of each; see Admission
//	g.Run()
//	g.Finish(i)           // of each that was admitted
//	g.Free()
//
// No lock and no room is waited for while any is held, so two Groups do not wait for one another.
// Each transfer gives back its lock and its room as soon as it is done. The zero value is ready. It
// is for one goroutine at a time.
type Group struct {
	group   sched.Group
	device  *sched.Device
	members []member
}

// A member is a transfer that was admitted.
type member struct {
	fd  *FD
	op  Op
	p   []byte
	off int64
}

// An Admission is the outcome of [Group.Add].
type Admission uint8

// The outcomes.
const (
	Admitted   Admission = iota
	DeviceFull           // the device has no room for it now
	Ordinary             // a call of its own does better, or has to wait
)

// SameDevice reports whether transfers of fd and other may be in one Group.
func (fd *FD) SameDevice(other *FD) bool { return fd.device == other.device }

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

// Add admits a transfer for which MayGroup is true, if it need not wait for anything: it takes
// what that holds while it is under way, which is a call of the FD, room in the kernel's queue and,
// for a write, its lock.
func (g *Group) Add(fd *FD, op Op, p []byte, off int64) Admission {
	g.device = fd.device
	m := member{fd: fd, op: op, p: p, off: off}
	switch {
	case op == Read && fd.inode.Recent(off, end(off, len(p))) || !fd.acquire():
		return Ordinary
	case !fd.device.TryReserve():
		fd.release()
		return DeviceFull
	case op == Write && !m.lock():
		fd.device.Unreserve()
		fd.release()
		return Ordinary
	case op == Read:
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

// Run gives the transfers to the kernel and waits for all of them.
func (g *Group) Run() {
	if g.group.Done == nil {
		g.group.Done = g.done
	}
	if len(g.members) > 0 {
		g.device.Run(&g.group)
	}
}

// done gives back what transfer i holds.
func (g *Group) done(i int) {
	m := &g.members[i]
	if m.op == Write {
		m.fd.inode.Unlock(m.lockRange())
	}
	m.fd.device.Unreserve()
}

// Finish returns what the transfer that was admitted as number i, from 0, has come to: the n and
// the error of ReadAt or WriteAt. It makes what the request left undone. ok is false if the kernel
// could not take the request, and it is to be a call of its own.
func (g *Group) Finish(i int) (n int, err error, ok bool) {
	n, err = g.group.Result(i)
	return g.members[i].finish(n, err)
}

// finish is Finish of m, whose request has returned n and err.
func (m *member) finish(n int, err error) (int, error, bool) {
	defer m.fd.release()
	switch {
	case err == sched.ErrUnavailable:
		return 0, nil, false
	case err == nil && n == len(m.p):
		return n, nil, true
	case m.op == Read:
		n, err = m.fd.read(One(m.p), m.off, len(m.p), n, err)
	default:
		n, err = m.fd.writeOn(One(m.p), m.off, n, err)
	}
	return n, err, true
}

// Free forgets the transfers. The memory for them is kept.
func (g *Group) Free() {
	g.group.Free()
	clear(g.members)
	g.members, g.device = g.members[:0], nil
}
