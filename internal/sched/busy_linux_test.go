package sched

import (
	"os"
	"path/filepath"
	"reflect"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/internal/queue"
)

// makeBusy makes processors busy, and no few requests of d in flight, until over.
func makeBusy(d *Device) (over func()) {
	busy := reflect.ValueOf(use().queue).Elem().FieldByName("busy").FieldByName("on")
	on := (*atomic.Bool)(unsafe.Pointer(busy.UnsafeAddr()))
	on.Store(true)
	fewer := makeCrowd(d)
	return func() {
		on.Store(false)
		fewer()
	}
}

// makeCrowd makes no few requests of d in flight, until over.
func makeCrowd(d *Device) (over func()) {
	e := use()
	const all = 1 << 30
	n := max(e.syncReads, e.syncWrites)
	for range n {
		d.lane.TrySync(all)
	}
	return func() {
		for range n {
			d.lane.Leave()
		}
	}
}

// A device that has all of its threads in the kernel leaves those of another alone.
func TestThreadsOfADevice(t *testing.T) {
	hung, good := NewDevice(64), NewDevice(64)
	hung.threads.Acquire(hung.threads.Limit())
	defer hung.threads.Release(hung.threads.Limit())
	if !good.threads.TryAcquire(1) {
		t.Fatal("no thread is free beside a device that hangs")
	}
	good.threads.Release(1)
}

// A write that extends its file waits for a thread of the bound.
func TestThreadsAreBounded(t *testing.T) {
	aiotest.Guard(t)
	d := NewDevice(64)
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	defer makeCrowd(d)()
	d.threads.Acquire(d.threads.Limit())
	r := Request{Op: Write, Fd: int(file.Fd()), Bufs: One(make([]byte, 4096))}
	written := make(chan error, 1)
	go func() {
		_, err := d.Do(r, true)
		written <- err
	}()
	aiotest.Until(t, "the write waits, or is done", func() bool {
		_, waiting := d.threads.Load()
		return waiting == 1 || len(written) > 0
	})
	if len(written) > 0 {
		t.Error("the write has not waited for a thread")
	}
	d.threads.Release(d.threads.Limit())
	if err := <-written; err != nil {
		t.Error(err)
	}
	check(t, d.threads, 0, 0)
}

// While processors are busy a request is a system call only if a thread is free. The threads may be
// all in the page cache, on a disk that hangs; kernel AIO needs none.
func TestBusyWithoutAThread(t *testing.T) {
	aiotest.Guard(t)
	d := NewDevice(64)
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, aiotest.Pattern(4096, 1), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	r := Request{Op: Read, Fd: int(file.Fd()), Bufs: One(make([]byte, 4096))}
	if _, err := d.lane.Do(r); err == queue.ErrUnavailable {
		aiotest.Needs(t, "kernel AIO", "go test ./internal/sched where io_setup(2) is allowed")
	}
	defer makeBusy(d)()
	d.threads.Acquire(d.threads.Limit())
	if c := d.EnterSync(Sync); c == BusyCall {
		t.Error("a Sync waits for a thread")
		d.LeaveSync(c)
	}
	read := make(chan error, 1)
	go func() {
		_, err := d.Do(r, false)
		read <- err
	}()
	select {
	case err := <-read:
		if err != nil {
			t.Error(err)
		}
		read <- nil
	case <-time.After(2 * time.Second):
		t.Error("a read waits for a thread")
	}
	d.threads.Release(d.threads.Limit())
	<-read
}
