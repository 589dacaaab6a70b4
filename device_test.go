package aio_test

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/internal/aiotest/aiofile"
)

// TestDeviceOfFiles checks that Files of one device share a sched.Device, which takes no more than
// three quarters of its tags, or 256 requests if it tells none.
func TestDeviceOfFiles(t *testing.T) {
	dir := aiotest.Dir(t)
	if !aiotest.Direct {
		aiotest.NeedsDirect(t)
	}
	var files []*aio.File
	for _, name := range []string{"a", "b"} {
		files = append(files, aiofile.Open(t, filepath.Join(dir, name), os.O_RDWR|os.O_CREATE|aio.O_DIRECT))
	}
	if !aio.SameDevice(files[0], files[1]) {
		t.Error("two Files of one directory are on two devices")
	}
	want := aiotest.Tags(t, dir) * 3 / 4
	if want == 0 {
		want = 256
	}
	if got, _ := aio.DevicePlaces(files[0]); got != want {
		t.Errorf("%d requests at a time, want %d", got, want)
	}
}

// TestDeviceBoundsRequests has a device that takes four requests at a time. There are never more in
// the kernel, from any callers.
func TestDeviceBoundsRequests(t *testing.T) {
	aiotest.NeedsTime(t)
	aiotest.Guard(t)
	if !aiotest.InChild() {
		aiotest.RunChild(t, "^TestDeviceBoundsRequests$", "configure", "256", "8") // all go by kernel AIO
		return
	}
	if !aiotest.Direct {
		aiotest.NeedsDirect(t)
	}
	const limit, blocks = 4, 256
	f := aiofile.Open(t, aiofile.Put(t, aiotest.Dir(t), "file", aiotest.Pattern(blocks*4096, 1)), os.O_RDONLY|aio.O_DIRECT)
	aio.LimitDevice(f, limit)
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() {
			p := aio.AlignedBuffer(4096)
			for j := range 50 {
				if _, err := f.ReadAt(p, int64((i+j)%blocks)*4096); err != nil {
					t.Error(err)
				}
				if n := aio.ReadStats().InFlight; n > limit {
					t.Errorf("%d requests in the kernel", n)
				}
			}
		})
	}
	var b aio.Batch
	for i := range blocks {
		b.ReadAt(f, aio.AlignedBuffer(4096), int64(i)*4096)
	}
	for range 5 {
		if err := b.Do(t.Context()); err != nil {
			t.Error(err)
		}
	}
	all.Wait()
	if s := aio.ReadStats(); s.Mechanism.LargestBatch > limit || s.Submitted == 0 {
		t.Errorf("%d requests in one io_submit(2), of %d", s.Mechanism.LargestBatch, s.Submitted)
	}
}

// TestPromptDeviceIsSync runs a crowd on a device that was prompt. No request is async, and the
// device's score follows the time of the calls.
func TestPromptDeviceIsSync(t *testing.T) {
	aiotest.Guard(t)
	if !aiotest.Direct {
		aiotest.NeedsDirect(t)
	}
	f := aiofile.Open(t, aiofile.Put(t, aiotest.Dir(t), "file", aiotest.Pattern(1<<20, 1)), os.O_RDONLY|aio.O_DIRECT)
	aio.LimitDevice(f, 1000)
	const prompt = 1 << 20 // stays until a call is timed that was prompt
	before := aio.ReadStats()
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			p := aio.AlignedBuffer(4096)
			for j := range 50 {
				aio.SetScore(f, prompt)
				if _, err := f.ReadAt(p, int64(16*j+i)%256*4096); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	s := aio.ReadStats()
	if n := s.Submitted - before.Submitted; n > 0 || s.Synchronous-before.Synchronous < 800 {
		t.Errorf("%d of 800 reads went by kernel AIO", n)
	}
	aio.SetScore(f, prompt)
	p := aio.AlignedBuffer(4096)
	for n := 0; aio.Score(f) == prompt; n++ { // one in eight is timed
		if _, err := f.ReadAt(p, 0); err != nil || n > 1000 {
			t.Fatal("no call was timed", err)
		}
	}
}
