// Package queue submits requests to kernel AIO. All requests of the process go through it.
//
// A request owns a slot: its control block, its result, its wakeup channel and, by that
// control block, its buffer. It takes this way:
//
//	Do -> pending -> io_submit(2), called by a submitter
//	      -> the mapped ring -> that submitter's look, or the reaper -> the slot's channel
//
// The reaper sleeps in the runtime's poller on an eventfd, so no thread is parked in the
// kernel. Neither goroutine nor context exists before the first request.
package queue

import "errors"

// ErrUnavailable reports that the kernel cannot take the request. Nothing has been
// transferred, and a synchronous system call may succeed.
var ErrUnavailable = errors.New("kernel AIO is not available")

// DefaultDepth is the usual maximum of requests in the kernel.
const DefaultDepth = 1024
