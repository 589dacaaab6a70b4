//go:build linux

package libaio

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-aio/aio/internal/aiotest"
)

// submitSoon submits cb as soon as the context has a free slot for it.
func submitSoon(c *Context, cb *IOCB) error {
	for {
		switch n, err := c.Submit(cb); {
		case n == 1:
			return nil
		case err != syscall.EAGAIN:
			return err
		}
		runtime.Gosched()
	}
}

// All submitters and reapers run at once. The reapers take events in every way there is. The
// process gets the signals that a Go program gets, and more of them.
func TestManySubmittersManyReapers(t *testing.T) {
	aiotest.NeedsTime(t)
	for _, procs := range []int{1, 8} {
		t.Run(fmt.Sprintf("GOMAXPROCS=%d", procs), func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
			bothWays(t, func(t *testing.T, setup func(int) *Context) {
				testMany(t, setup(32))
			})
		})
	}
}

func testMany(t *testing.T, c *Context) {
	const submitters, rounds = 24, 60
	fd := openShared(t)
	storm(t)

	var results [submitters]chan int64
	for i := range results {
		results[i] = make(chan int64, 1)
	}
	deliver := func(events []Event) {
		for _, e := range events {
			results[e.Data] <- e.Res
		}
	}
	var reapers sync.WaitGroup
	for name, reap := range map[string]func(events []Event) (int, error){
		"waits": func(events []Event) (int, error) { return c.GetEvents(1, events, -1) },
		"waits for one": func(events []Event) (int, error) {
			return c.GetEvents(1, events[:1], time.Hour)
		},
		"times out": func(events []Event) (int, error) {
			return c.GetEvents(2, events, time.Millisecond)
		},
		"polls": func(events []Event) (int, error) {
			runtime.Gosched()
			return c.GetEvents(0, events, 0)
		},
		"pgetevents": func(events []Event) (int, error) {
			n, err := c.PGetEvents(1, events, -1, nil)
			if err == syscall.EINTR {
				err = nil
			}
			return n, err
		},
		"runs": func([]Event) (int, error) {
			if _, err := c.QueueWait(-1); err != nil {
				return 0, err
			}
			_, err := c.Run()
			return 0, err
		},
	} {
		reapers.Go(func() {
			events := make([]Event, 5)
			for {
				n, err := reap(events)
				deliver(events[:n])
				if err == syscall.EINVAL {
					return // destroyed
				}
				if err != nil {
					t.Errorf("the reaper that %s: %v", name, err)
				}
			}
		})
	}

	var wg sync.WaitGroup
	for i := range submitters {
		wg.Go(func() {
			cb, p := new(IOCB), aligned(block)
			for range rounds {
				off := rand.Int64N(sharedSize/block) * block
				cb.PrepPread(fd, p, off)
				cb.Data = uint64(i)
				cb.SetCallback(func(_ *Context, cb *IOCB, res, _ int64) { results[cb.Data] <- res })
				if err := submitSoon(c, cb); err != nil {
					t.Errorf("Submit: %v", err)
					return
				}
				if res := <-results[i]; res != block {
					t.Errorf("Res = %d", res)
				}
				if at := differs(p, off); at >= 0 {
					t.Errorf("byte %d of the block at %d is not the file's", at, off)
				}
			}
		})
	}
	wg.Wait()
	checkIdle(t, c)
	if err := c.Destroy(); err != nil {
		t.Error(err)
	}
	reapers.Wait()
}

// Destroy may come at any time.
func TestDestroyUnderLoad(t *testing.T) {
	aiotest.NeedsTime(t)
	bothWays(t, func(t *testing.T, setup func(int) *Context) {
		fd := openShared(t)
		for range 5 {
			c := setup(16)
			var wg sync.WaitGroup
			var submitted atomic.Int64
			for range 4 {
				wg.Go(func() {
					p := aligned(block)
					for {
						cb := new(IOCB)
						cb.PrepPread(fd, p, 0)
						if err := submitSoon(c, cb); err != nil {
							if err != syscall.EINVAL {
								t.Errorf("Submit: %v", err)
							}
							return
						}
						submitted.Add(1)
					}
				})
				wg.Go(func() {
					events := make([]Event, 4)
					for {
						if _, err := c.GetEvents(1, events, -1); err != nil {
							if err != syscall.EINVAL {
								t.Errorf("GetEvents: %v", err)
							}
							return
						}
					}
				})
			}
			for submitted.Load() < 100 {
				runtime.Gosched()
			}
			if err := c.Destroy(); err != nil {
				t.Error(err)
			}
			wg.Wait()
		}
	})
}

// A reaper that has taken the event of an IOCB may prepare it again, even before the Submit
// that named it has returned.
func TestReaperReusesTheIOCB(t *testing.T) {
	const depth, total = 16, 3000
	c := newContext(t, depth)
	fd := openShared(t)
	free := make(chan *IOCB, depth)
	prepare := func(cb *IOCB, p []byte) *IOCB {
		cb.PrepPread(fd, p, rand.Int64N(sharedSize/block)*block)
		cb.Data = uint64(cb.raw.offset)
		return cb
	}
	for range depth {
		free <- prepare(new(IOCB), aligned(block))
	}
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			var events [3]Event
			for {
				n, err := c.GetEvents(1, events[:], -1)
				if err != nil {
					return
				}
				for _, e := range events[:n] {
					cb, p := e.Obj, e.Obj.mem.buf
					if e.Res != block || differs(p, int64(e.Data)) >= 0 {
						t.Errorf("the read at %d: Res = %d", e.Data, e.Res)
					}
					free <- prepare(cb, p)
				}
			}
		})
	}
	for submitted := 0; submitted < total; {
		list := []*IOCB{<-free}
		for len(list) < 4 && len(free) > 0 { // no other goroutine takes from free
			list = append(list, <-free)
		}
		submitted += len(list)
		for len(list) > 0 {
			n, err := c.Submit(list...)
			if err != nil {
				t.Fatal(err)
			}
			list = list[n:]
		}
	}
	for len(free) < depth {
		runtime.Gosched()
	}
	if err := c.Destroy(); err != nil {
		t.Error(err)
	}
	wg.Wait()
}
