package sched

import (
	"testing"
	"time"
)

// A device is prompt after a call that was, and no more after a few that were not; one slow call
// in a hundred does not matter.
func TestPromptDevice(t *testing.T) {
	const fast, slow = time.Microsecond, 100 * time.Microsecond
	const disk, memory = 2, 32
	var d Device
	want := func(when string, limit int) {
		t.Helper()
		if got := d.syncLimit(disk); got != limit {
			t.Errorf("%s: the limit is %d, not %d", when, got, limit)
		}
		if got := d.syncLimit(0); got != 0 {
			t.Errorf("%s: the limit is %d where there is none", when, got)
		}
	}
	want("at first", disk)
	d.sample(slow)
	d.sample(fast)
	want("after a slow call and a fast one", disk)
	for i := range 1000 {
		if d.sample(fast); i%100 == 99 {
			d.sample(slow)
		}
	}
	want("after hundreds of fast calls and some slow ones", memory)
	for range 2 {
		d.sample(slow)
	}
	want("after two slow calls", disk)
	for i := range 1000 { // a third of what is read is in the disk's cache
		if d.sample(slow); i%3 == 0 {
			d.sample(fast)
		}
		want("on a disk with a cache", disk)
	}
}
