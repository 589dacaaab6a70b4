//go:build linux

package queue

import (
	"testing"

	"github.com/go-aio/aio/libaio"
)

// OnSubmit has fn called before each io_submit(2) of the queue that is made next, in the place of
// libaio's Submit. The context is closed when the test ends.
func OnSubmit(t *testing.T, fn func()) {
	openContext = func(depth int) (kernel, error) {
		k, err := newContext(depth)
		if err == nil {
			t.Cleanup(k.close)
		}
		return observed{k, fn}, err
	}
}

// A observed kernel calls fn.
type observed struct {
	kernel
	fn func()
}

func (k observed) Submit(iocbs ...*libaio.IOCB) (int, error) {
	k.fn()
	return k.kernel.Submit(iocbs...)
}
