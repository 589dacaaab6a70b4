package fd

import (
	"context"
	"errors"
	"io/fs"
	"runtime/trace"
	"syscall"

	"github.com/go-aio/aio/internal/inode"
	"github.com/go-aio/aio/internal/sched"
)

// Sync makes the file durable; op is Sync or Datasync. It comes after the Syncs that were
// abandoned.
func (fd *FD) Sync(op Op) error {
	fd.abandonedSyncs.Wait(0, 1)
	return fd.sync(op)
}

// sync makes the file durable by an fsync iocb on the buffered descriptor: always the same one,
// because the kernel reports a write-back error once per descriptor.
func (fd *FD) sync(op Op) error {
	if err := fd.takeSyncErr(); err != nil {
		return err
	}
	if trace.IsEnabled() {
		defer trace.StartRegion(context.Background(), "aio.Sync").End()
	}
	switch c := fd.device.EnterSync(op); c {
	case sched.FewCalls:
		defer fd.device.LeaveSync(c)
		return fd.syncCall(op)
	case sched.BusyCall:
		defer fd.device.LeaveSync(c)
		return fd.syncOnThread(op)
	}
	_, err := fd.call(callQueue, sched.Request{Op: op}, 0)
	switch err {
	case sched.ErrUnavailable, fs.ErrClosed, syscall.EINVAL:
		// EINVAL: before Linux 4.18, or a file that cannot be synced, and fsync(2) says so.
		return fd.syncCall(op)
	}
	return err
}

// syncCall is fsync(2) or fdatasync(2).
func (fd *FD) syncCall(op Op) error {
	thread := fd.device.Thread()
	defer thread.Release(1)
	return fd.syncOnThread(op)
}

// syncOnThread is syncCall of a caller that has a thread.
func (fd *FD) syncOnThread(op Op) error {
	if op == Datasync {
		_, err := fd.call(callDatasync, sched.Request{}, 0)
		if !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
	}
	return bare(fd.file.Sync())
}

// takeSyncErr returns the error of an abandoned Sync, once.
func (fd *FD) takeSyncErr() error {
	if fd.syncErr.Load() == nil { // as nearly always, and nothing writes to that
		return nil
	}
	if err := fd.syncErr.Swap(nil); err != nil {
		return *err
	}
	return nil
}

// A Pending is a write or Sync whose caller may leave before it is done. Then it is abandoned, and
// later calls that it would disturb wait for it.
type Pending = inode.Pending

// PendingWrite returns one of the bytes [off, off+n), for a call that is made now.
func (fd *FD) PendingWrite(off int64, n int) *Pending { return fd.abandoned.New(off, end(off, n)) }

// WritePending is WriteAt for w, which may be abandoned by now.
func (fd *FD) WritePending(w *Pending, b Buffers, off int64) (int, error) {
	if !fd.acquire() {
		return 0, fs.ErrClosed
	}
	defer fd.release()
	w.Wait()
	n, err := fd.writeDirect(b, off)
	return fd.writeRest(b, off, n, err)
}

// PendingSync returns one for a Sync that is made now.
func (fd *FD) PendingSync() *Pending { return fd.abandonedSyncs.New(0, 1) }

// SyncPending is Sync for w, which may be abandoned by now.
func (fd *FD) SyncPending(w *Pending) error {
	w.Wait()
	return fd.sync(Sync)
}

// KeepSyncErr keeps the error of an abandoned Sync for the next one.
func (fd *FD) KeepSyncErr(err error) {
	if err != nil {
		fd.syncErr.Store(&err)
	}
}
