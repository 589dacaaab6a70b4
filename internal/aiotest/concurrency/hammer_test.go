package concurrency

import (
	"testing"

	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/internal/aiotest/aiofile"
)

// TestConcurrent runs all operations at once.
func TestConcurrent(t *testing.T) {
	conditions(t, func(t *testing.T) {
		aiotest.Hammer(t, aiotest.Dir(t), aiofile.Package(t, 0), 24, 192<<10, aiotest.Scaled(200))
	})
}

// TestOneFolio makes direct and buffered writes in one large folio of the page cache. The kernel
// alone loses bytes there and fails the next Sync with EIO.
func TestOneFolio(t *testing.T) {
	aiotest.Guard(t)
	aiotest.Hammer(t, aiotest.Dir(t), aiofile.Package(t, 0), 15, 128<<10, aiotest.Scaled(500))
}
