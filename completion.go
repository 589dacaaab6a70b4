package aio

import (
	"context"
	"errors"
	"io/fs"
	"sync/atomic"

	"github.com/go-aio/aio/internal/fd"
)

// An Op is an asynchronous ReadAt, WriteAt or Sync. [File.StartReadAt], [File.StartWriteAt] and
// [File.StartSync] are POSIX's aio_read(3), aio_write(3) and aio_fsync(3); Done and Wait are its
// aio_suspend(3) and aio_return(3).
//
// An Op costs a goroutine that waits, and in a direct File no thread. It need not be waited
// for: one that is dropped completes all the same. All methods may be called concurrently, and
// more than once.
type Op struct {
	done  chan struct{}
	n     int // this and err are written before done is closed
	err   error
	state atomic.Uint32 // of an Op that its caller may abandon; see attend
}

// start runs call in a goroutine of its own.
func start(call func() (int, error)) *Op {
	op := &Op{done: make(chan struct{})}
	go func() {
		op.n, op.err = call()
		close(op.done)
	}()
	return op
}

// StartReadAt starts a [File.ReadAt]. p belongs to the Op until it is done. Close waits for
// no Op: one that Close overtakes returns fs.ErrClosed, and any other completes.
func (f *File) StartReadAt(p []byte, off int64) *Op {
	return start(func() (int, error) { return f.ReadAt(p, off) })
}

// StartWriteAt starts a [File.WriteAt]. p belongs to the Op, and must not be changed, until it
// is done. Two writes that overlap may take effect in either order unless the second is
// started when the first is done.
func (f *File) StartWriteAt(p []byte, off int64) *Op {
	return start(func() (int, error) { return f.WriteAt(p, off) })
}

// StartSync starts a [File.Sync]. It covers the writes that are done before it is started.
func (f *File) StartSync() *Op {
	return start(func() (int, error) { return 0, f.Sync() })
}

// Done returns a channel that is closed when the Op is done, for select.
func (op *Op) Done() <-chan struct{} { return op.done }

// Wait waits until the Op is done and returns what the call returned; n is 0 for a Sync.
func (op *Op) Wait() (n int, err error) {
	<-op.done
	return op.n, op.err
}

// ErrInProgress is what [Op.Err] returns while the Op is under way, as aio_error(3) returns
// EINPROGRESS.
var ErrInProgress = errors.New("aio: operation in progress")

// Err returns [ErrInProgress] while the Op is under way, and then the error of the call, as Wait
// does. It does not wait.
func (op *Op) Err() error {
	select {
	case <-op.done:
		return op.err
	default:
		return ErrInProgress
	}
}

// Kernel AIO cannot cancel a transfer (io_cancel(2) answers EINVAL): the kernel may read or
// write the memory of a request until its event arrives. So a call that may be abandoned runs in a
// goroutine of its own, on a copy of the caller's buffer. An abandoned Op keeps its references, its
// locks and its memory until the kernel is done.

// States of an Op that attend has started.
const (
	underWay uint32 = iota
	finished
	abandoned
)

// admit takes memory for a call of size bytes with a context, and waits for that as long as ctx
// lasts. attend gives it back.
func (f *File) admit(ctx context.Context, name string, size int) error {
	if f.fd.AcquireCopy(ctx, size) {
		return nil
	}
	return f.contextErr(ctx, name, false)
}

// attend runs call, which uses size bytes of the library's memory, and waits for it as long as ctx
// lasts. Without an error the caller calls free; with one the call is abandoned, and free is called
// when it is done. w is what later calls wait for if it is abandoned; nil for a read.
func (f *File) attend(
	ctx context.Context, name string, size int, w *fd.Pending,
	call func() (int, error), free func(*Op),
) (*Op, error) {
	op := &Op{done: make(chan struct{})}
	go func() {
		op.n, op.err = call()
		if op.state.CompareAndSwap(underWay, finished) {
			close(op.done)
			return
		}
		free(op)
		if w != nil {
			w.Done()
		}
		f.fd.ReleaseCopy(size)
	}()
	select {
	case <-op.done:
		f.fd.ReleaseCopy(size)
		return op, nil
	case <-ctx.Done():
	}
	// All is noted before the goroutine can see that it is on its own.
	if w != nil {
		w.Abandon()
	}
	if op.state.CompareAndSwap(underWay, abandoned) {
		return nil, f.contextErr(ctx, name, true)
	}
	if w != nil {
		w.Done()
	}
	<-op.done
	f.fd.ReleaseCopy(size)
	return op, nil
}

// A contextError says that a context ended a call.
type contextError struct {
	cause, err error // context.Cause, and the context's Err
	left       bool  // the request is still under way
}

func (e *contextError) Error() string {
	if e.left {
		return e.cause.Error() + " (the request is under way, its outcome unknown)"
	}
	return e.cause.Error()
}

func (e *contextError) Unwrap() []error { return []error{e.cause, e.err} }

func (f *File) contextErr(ctx context.Context, name string, left bool) error {
	return f.wrapErr(name, &contextError{cause: context.Cause(ctx), err: ctx.Err(), left: left})
}

// ReadAtContext is [File.ReadAt] for as long as ctx lasts. When that ends first, the call returns
// at once, with the number of bytes that it has put into the beginning of p, and an error that
// is context.Cause(ctx) and ctx.Err() to errors.Is. Nothing is written to p after that, whatever
// the disk still does: the kernel cannot cancel a read, so the library reads into memory of its
// own, in pieces of 1 MiB, and copies what has come.
//
// With a ctx that has ended already nothing is read. One that cannot end, such as
// context.Background, makes this ReadAt, without the copy.
//
// Abandoned calls keep their memory, and Close leaves the descriptors to them, until the disk
// answers. While calls with a context, abandoned or not, have 64 MiB in sum, further ones wait.
func (f *File) ReadAtContext(ctx context.Context, p []byte, off int64) (n int, err error) {
	if ctx.Done() == nil || f.inner() == nil {
		return f.ReadAt(p, off)
	}
	if fd.Overflows(off, len(p)) {
		if ctx.Err() != nil {
			return 0, f.contextErr(ctx, "read", false)
		}
		return f.ReadAt(p, off) // which asks no disk
	}
	for {
		m, err := f.readDetached(ctx, p[n:min(len(p), n+fd.MaxCopy)], off+int64(n))
		n += m
		if err != nil || n == len(p) {
			return n, err
		}
	}
}

func (f *File) readDetached(ctx context.Context, p []byte, off int64) (int, error) {
	if err := f.admit(ctx, "read", len(p)); err != nil {
		return 0, err
	}
	buf := fd.NewBlock(len(p))
	free := func(*Op) { buf.Free() }
	read := func() (int, error) { return f.ReadAt(buf.Bytes, off) }
	op, err := f.attend(ctx, "read", len(p), nil, read, free)
	if err != nil {
		return 0, err
	}
	defer free(op)
	copy(p, buf.Bytes[:op.n])
	return op.n, op.err
}

// WriteAtContext is [File.WriteAt] for as long as ctx lasts. When that ends first, the call returns
// at once, with n = 0 and an error that is context.Cause(ctx) and ctx.Err() to errors.Is. Then
// it is unknown whether the bytes are written or will be: the kernel cannot cancel a write. p is
// the caller's again, because the library writes a copy of it. Later writes to the same bytes, and
// Truncate, come after this write.
//
// With a ctx that has ended already nothing is written. One that cannot end makes this WriteAt,
// without the copy. What [File.ReadAtContext] says of abandoned calls holds here too.
func (f *File) WriteAtContext(ctx context.Context, p []byte, off int64) (n int, err error) {
	if ctx.Done() == nil || f.inner() == nil {
		return f.WriteAt(p, off)
	}
	if err := f.admit(ctx, "write", len(p)); err != nil {
		return 0, err
	}
	buf := fd.NewBlock(len(p))
	copy(buf.Bytes, p)
	free := func(*Op) { buf.Free() }
	var w *fd.Pending
	if f.fd != nil && off >= 0 && len(p) > 0 {
		w = f.fd.PendingWrite(off, len(p))
	}
	write := func() (int, error) { return f.writeDetached(buf.Bytes, off, w) }
	op, err := f.attend(ctx, "write", len(p), w, write, free)
	if err != nil {
		return 0, err
	}
	free(op)
	return op.n, op.err
}

// writeDetached is WriteAt for w, which may be abandoned by now.
func (f *File) writeDetached(p []byte, off int64, w *fd.Pending) (int, error) {
	if w == nil || f.appends {
		return f.inner().WriteAt(p, off)
	}
	n, err := f.fd.WritePending(w, fd.One(p), off)
	return n, f.wrapErr("write", err)
}

// SyncContext is [File.Sync] for as long as ctx lasts. When that ends first, the call returns at
// once, with an error that is context.Cause(ctx) and ctx.Err() to errors.Is, and it is unknown
// whether the file is durable. fsync(2) reports a write-back error once. If an abandoned call meets
// one, the next Sync, Datasync or SyncContext returns it.
func (f *File) SyncContext(ctx context.Context) error {
	if ctx.Done() == nil || f.inner() == nil {
		return f.Sync()
	}
	if err := f.admit(ctx, "sync", 0); err != nil {
		return err
	}
	var w *fd.Pending
	if f.fd != nil {
		w = f.fd.PendingSync()
	}
	sync := func() (int, error) { return 0, f.syncDetached(w) }
	op, err := f.attend(ctx, "sync", 0, w, sync, f.keepSyncErr)
	if err != nil {
		return err
	}
	return op.err
}

// syncDetached is Sync for w, which may be abandoned by now.
func (f *File) syncDetached(w *fd.Pending) error {
	if w == nil {
		return f.inner().Sync()
	}
	return f.wrapErr("sync", f.fd.SyncPending(w))
}

// keepSyncErr keeps the error of an abandoned Sync.
func (f *File) keepSyncErr(op *Op) {
	if err := op.err; err != nil && f.fd != nil {
		f.fd.KeepSyncErr(err.(*fs.PathError).Err)
	}
}
