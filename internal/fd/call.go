package fd

import (
	"io/fs"
	"sync"

	"github.com/go-aio/aio/internal/dio"
	"github.com/go-aio/aio/internal/sched"
)

// A call is a request or system call on the buffered descriptor, made inside of RawConn.Control, so
// that os does not close that meanwhile. Calls are pooled, because a closure for each would be an
// allocation.
type call struct {
	run  func(n uintptr) // c.do
	kind callKind
	fd   *FD
	req  sched.Request
	size int64 // of a callAllocate or callPunchHole

	n   int
	err error
}

type callKind uint8

const (
	callQueue         callKind = iota // a Sync or Datasync by the kernel's queue
	callTransfer                      // preadv(2), pwritev(2)
	callReadCached                    // dio.PreadCached
	callWriteUncached                 // dio.PwriteUncached
	callDatasync                      // fdatasync(2)
	callAllocate                      // dio.Allocate
	callPunchHole                     // dio.PunchHole
)

var calls = sync.Pool{New: func() any {
	c := new(call)
	c.run = c.do
	return c
}}

// call makes a call on the buffered descriptor. The error is fs.ErrClosed if the os.File is closed.
func (fd *FD) call(kind callKind, req sched.Request, size int64) (int, error) {
	c := calls.Get().(*call)
	c.kind, c.fd, c.req, c.size = kind, fd, req, size
	c.n, c.err = 0, fs.ErrClosed
	fd.conn.Control(c.run)
	n, err := c.n, c.err
	c.fd, c.req = nil, sched.Request{}
	calls.Put(c)
	return n, err
}

func (c *call) do(n uintptr) {
	c.req.Fd = int(n)
	switch c.kind {
	case callQueue:
		c.err = c.fd.device.DoSync(c.req)
	case callTransfer:
		c.n, c.err = sched.Transfer(c.req)
	case callReadCached:
		list := c.req.Bufs.List()
		c.n, c.err = dio.PreadCached(c.req.Fd, c.fd.dev, list.Bufs, c.req.Off), nil
		list.Free()
	case callWriteUncached:
		list := c.req.Bufs.List()
		c.n, c.err = dio.PwriteUncached(c.req.Fd, c.fd.dev, list.Bufs, c.req.Off)
		list.Free()
	case callDatasync:
		c.err = dio.Fdatasync(c.req.Fd)
	case callAllocate:
		c.err = dio.Allocate(c.req.Fd, c.req.Off, c.size)
	case callPunchHole:
		c.err = dio.PunchHole(c.req.Fd, c.req.Off, c.size)
	}
}
