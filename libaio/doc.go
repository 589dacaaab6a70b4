// Package libaio is the C library libaio in pure Go: the system calls of Linux
// kernel AIO, the preparation of their control blocks, and the mapped completion
// ring, without cgo.
//
// It keeps the C library's names and meanings, and gives what the kernel gives:
// errors are bare [syscall.Errno] values, and no argument is refused that the
// kernel would take. What it adds is the memory safety that Go needs. A submitted
// [IOCB], its buffer, its iovec array and the buffers that this names stay
// reachable from the [Context] until the event has been taken, even if the caller
// drops every reference to them, and the kernel never holds the address of
// something on a goroutine's stack. A Context that is not destroyed is never
// collected.
//
//	io_setup, io_queue_init        Setup
//	io_destroy, io_queue_release   Context.Destroy
//	io_submit                      Context.Submit
//	io_cancel                      Context.Cancel
//	io_getevents                   Context.GetEvents
//	io_pgetevents                  Context.PGetEvents
//	io_queue_run                   Context.Run
//	io_queue_wait                  Context.QueueWait
//	io_prep_pread, io_prep_pwrite  IOCB.PrepPread, IOCB.PrepPwrite
//	io_prep_preadv, _pwritev       IOCB.PrepPreadv, IOCB.PrepPwritev
//	io_prep_poll                   IOCB.PrepPoll
//	io_prep_fsync, io_prep_fdsync  IOCB.PrepFsync, IOCB.PrepFdsync
//	io_set_eventfd                 IOCB.SetEventfd
//	io_set_callback                IOCB.SetCallback
//	aio_rw_flags, aio_reqprio      IOCB.SetFlags, IOCB.SetPriority
//	io_poll, io_fsync, io_fdsync   Context.Poll, Context.Fsync, Context.Fdsync
//
// Kernel AIO is asynchronous for direct I/O (O_DIRECT) on files and block devices,
// for fsync and for poll; anything else blocks in io_submit(2). The package exists
// on Linux only; elsewhere it is empty.
//
// # Concurrency
//
// All methods of a Context may be called concurrently. An IOCB belongs to one
// goroutine until it is submitted; it may be prepared and submitted again, even
// while an earlier submission of it is still in flight, and each submission keeps
// its own memory alive. The bytes of a buffer in flight belong to the kernel: they
// must not be read, for a read request, nor changed, for a write, before the event
// is there.
package libaio
