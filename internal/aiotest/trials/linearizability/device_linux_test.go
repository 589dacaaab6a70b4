package linearizability

import (
	"fmt"
	"testing"

	"github.com/go-aio/aio/internal/aiotest"
)

// TestLinearizableDevice checks a small block device, which has no Truncate.
func TestLinearizableDevice(t *testing.T) {
	for _, sector := range []int{512, 4096} {
		device, done := aiotest.NewLoopDevice(t, 64<<10, sector)
		defer done()
		for _, o := range openers {
			t.Run(fmt.Sprintf("sectors of %d bytes/%s", sector, o.name), func(t *testing.T) {
				aiotest.Guard(t)
				run(t, trials[0], o, device, func(f aiotest.File) {
					if _, err := f.WriteAt(aiotest.Buffer(smallSize, 0), 0); err != nil {
						t.Fatal(err)
					}
				})
			})
		}
	}
}
