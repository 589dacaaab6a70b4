// Package libaio is the C library libaio in pure Go: the system calls of Linux kernel AIO, the
// preparation of their control blocks, and the mapped completion ring, without cgo.
//
// It keeps the C library's names and meanings, and passes the kernel's answers on. Errors are bare
// [syscall.Errno] values, and no argument is refused that the kernel would take.
//
// The package adds the memory safety that Go needs. The [Context] keeps a submitted [IOCB] and all
// of its memory reachable until the event is taken, whatever references the caller drops. The
// kernel never holds an address on a goroutine's stack.
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
// Kernel AIO is asynchronous for direct I/O (O_DIRECT) on files and block devices, for fsync and
// for poll. Anything else blocks in io_submit(2). On systems other than Linux the package is empty.
//
// # Concurrency
//
// All methods of a Context may be called concurrently. An IOCB belongs to one goroutine until it is
// submitted. It may be prepared and submitted again, even while an earlier submission of it is in
// flight. The bytes of a buffer in flight belong to the kernel until the event arrives: until then
// they must not be read if the request is a read, nor changed if it is a write.
package libaio
