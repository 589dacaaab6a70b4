package concurrency

import (
	"testing"

	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/internal/aiotest/aiofile"
)

// TestConcurrent has everything happen at once.
func TestConcurrent(t *testing.T) {
	conditions(t, func(t *testing.T) {
		aiotest.Hammer(t, aiotest.Dir(t), aiofile.Package(t, 0), 24, 192<<10, aiotest.Scaled(200))
	})
}

// TestOneFolio has direct and buffered writes meet in one large folio of the page cache,
// where the kernel, left alone, loses bytes and fails the next Sync with EIO.
func TestOneFolio(t *testing.T) {
	aiotest.Guard(t)
	aiotest.Hammer(t, aiotest.Dir(t), aiofile.Package(t, 0), 15, 128<<10, aiotest.Scaled(500))
}
