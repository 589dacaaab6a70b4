package fd

import (
	"testing"

	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/internal/sched"
)

// Bounce buffers that are not in use take nothing of what their device has. All of these together
// take more than that, and so do the ends of them that are not used.
func TestBounceGivesBack(t *testing.T) {
	aiotest.Guard(t)
	d := sched.NewDevice(1)
	for range 200 {
		unbounce(d, bounce(d, maxBounce/2+1))
	}
}
