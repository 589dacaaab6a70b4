// Package queue is the one way of the process into kernel AIO.
//
// A request owns a slot: its control block, its result, its wake-up channel and, by
// that control block, its buffer. It travels so:
//
//	Do -> pending -> io_submit(2), by whoever has a submitter's place
//	      -> the mapped ring -> a submitter's look, or the reaper -> the slot's channel
//
// The reaper sleeps in the runtime's poller on an eventfd, so no thread is parked in the
// kernel. Neither goroutine nor context exists before the first request.
package queue

import "errors"

// ErrUnavailable says that the kernel cannot take the request; nothing has been
// transferred, and a plain system call may do it.
var ErrUnavailable = errors.New("kernel AIO is not available")

// DefaultDepth is the usual number of requests in the kernel.
const DefaultDepth = 1024
