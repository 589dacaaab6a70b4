package aio

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/go-aio/aio/internal/fd"
)

// An Op is an asynchronous [File.ReadAt], [File.WriteAt] or [File.Sync]. It costs a goroutine that
// waits, and in a direct File no thread. One that is dropped completes all the same. All methods
// may be called concurrently, and more than once.
type Op struct {
	done    chan struct{}
	n       int // this and err are written before done is closed
	err     error
	settled atomic.Bool // see attend
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

// StartReadAt starts a [File.ReadAt]. p belongs to the Op until it is done. Close waits for no Op:
// one that Close overtakes returns fs.ErrClosed, and any other completes.
func (f *File) StartReadAt(p []byte, off int64) *Op {
	return start(func() (int, error) { return f.ReadAt(p, off) })
}

// StartWriteAt starts a [File.WriteAt]. p belongs to the Op, and must not be changed, until it is
// done. Two writes that overlap may take effect in either order unless the second is started when
// the first is done.
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

// ErrInProgress is what [Op.Err] returns while the Op is under way, as EINPROGRESS of aio_error(3).
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

// Kernel AIO cannot cancel a transfer (io_cancel(2) answers EINVAL): the kernel may read or write
// the memory of a request until its event arrives. So a call that may be abandoned runs in a
// goroutine of its own, on a copy of the caller's buffer. An abandoned call keeps its locks and its
// memory until the kernel is done.

// admit takes memory for a call of size bytes with a context, and waits for that as long as ctx
// lasts. attend gives it back.
func (f *File) admit(ctx context.Context, name string, size int) error {
	if f.fd.AcquireCopy(ctx, size) {
		return nil
	}
	return f.contextErr(ctx, name, false)
}

// attend runs call, which uses size bytes of the library's memory, and waits for it as long as ctx
// lasts. With an error the call is abandoned, and free is called when it is done. w is what later
// calls wait for then; nil for a read.
func (f *File) attend(
	ctx context.Context, name string, size int, w *fd.Pending,
	call func() (int, error), free func(),
) (*Op, error) {
	op := &Op{done: make(chan struct{})}
	go func() {
		defer close(op.done)
		defer f.fd.ReleaseCopy(size)
		op.n, op.err = call()
		if op.settled.Swap(true) { // it was abandoned
			free()
			if w != nil {
				w.Done()
			}
		}
	}()
	select {
	case <-op.done:
		return op, nil
	case <-ctx.Done():
	}
	// All is noted before the goroutine can see that it is on its own.
	if w != nil {
		w.Abandon()
	}
	if !op.settled.Swap(true) {
		return nil, f.contextErr(ctx, name, true)
	}
	if w != nil {
		w.Done()
	}
	<-op.done
	return op, nil
}

// contextErr returns the error of a call that ctx ended. It is the cause and the context's Err to
// errors.Is, and reads as the cause: %.0w prints nothing. left says that the request is under way.
func (f *File) contextErr(ctx context.Context, name string, left bool) error {
	more := ""
	if left {
		more = " (the request is under way, its outcome unknown)"
	}
	return f.wrapErr(name, fmt.Errorf("%w%s%.0w", context.Cause(ctx), more, ctx.Err()))
}

// ReadAtContext is [File.ReadAt] for as long as ctx lasts. When that ends first, the call returns
// at once, with the number of bytes that it has put into the beginning of p, and an error that is
// context.Cause(ctx) and ctx.Err() to errors.Is. Nothing is written to p after that: the kernel
// cannot cancel a read, so the library reads into memory of its own, in pieces of 1 MiB.
//
// With a ctx that has ended already nothing is read. One that cannot end, such as
// context.Background, makes this ReadAt, without the copy.
//
// Abandoned calls keep their memory, and Close leaves the descriptors to them, until the disk
// answers. Calls with a context, abandoned or not, have at most 64 MiB on one device, and 128 MiB
// on all devices. Further ones wait.
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
	read := func() (int, error) { return f.ReadAt(buf.Bytes, off) }
	op, err := f.attend(ctx, "read", len(p), nil, read, buf.Free)
	if err != nil {
		return 0, err
	}
	defer buf.Free()
	return copy(p, buf.Bytes[:op.n]), op.err
}

// WriteAtContext is [File.WriteAt] for as long as ctx lasts. When that ends first, the call returns
// at once, with n = 0 and an error that is context.Cause(ctx) and ctx.Err() to errors.Is. Then it
// is unknown whether the bytes are written or will be. p is the caller's again, because the library
// writes a copy of it. Later writes to the same bytes, and Truncate, come after this write.
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
	write := func() (int, error) { return f.file.WriteAt(buf.Bytes, off) }
	var w *fd.Pending
	if f.fd != nil && !f.appends && off >= 0 && len(p) > 0 {
		w = f.fd.PendingWrite(off, len(p))
		write = func() (int, error) {
			n, err := f.fd.WritePending(w, fd.One(buf.Bytes), off)
			return n, f.wrapErr("write", err)
		}
	}
	op, err := f.attend(ctx, "write", len(p), w, write, buf.Free)
	if err != nil {
		return 0, err
	}
	buf.Free()
	return op.n, op.err
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
	sync, keep := f.file.Sync, func() {}
	var w *fd.Pending
	if f.fd != nil {
		var err error
		w = f.fd.PendingSync()
		sync = func() error {
			err = f.fd.SyncPending(w)
			return f.wrapErr("sync", err)
		}
		keep = func() { f.fd.KeepSyncErr(err) }
	}
	call := func() (int, error) { return 0, sync() }
	op, err := f.attend(ctx, "sync", 0, w, call, keep)
	if err != nil {
		return err
	}
	return op.err
}
