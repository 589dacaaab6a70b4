//go:build linux

package queue

import (
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/go-aio/aio/internal/aiotest"
)

// blockedFake returns a fake with one submitter. The submitter is blocked with a request at
// offset 9. Requests that start before the call of release go to the kernel together.
func blockedFake(t testing.TB, depth int) (k *fakeKernel, q *testQueue, release func()) {
	procs(t, 1)
	k, q = newFake(t, depth)
	block := make(chan struct{})
	k.at(submitting, 1, fault{block: block})
	first := startAll(t, k, q, 9)
	return k, q, func() {
		close(block)
		wantDone(t, []int64{9}, first)
	}
}

// io_submit(2) returns an errno only for the first request.
func TestRefusedRequestAlone(t *testing.T) {
	for _, c := range []struct {
		refusal, want error
	}{
		{syscall.EINVAL, syscall.EINVAL},
		{syscall.EOPNOTSUPP, syscall.EOPNOTSUPP},
		{syscall.EBADF, syscall.EBADF},
		{syscall.EFAULT, syscall.EFAULT},
		{syscall.EIO, syscall.EIO}, // not documented for io_submit, nor are the following ones
		{syscall.EKEYREJECTED, syscall.EKEYREJECTED},
		{syscall.Errno(4000), syscall.Errno(4000)},
		{errors.New("no errno at all"), ErrUnavailable},
	} {
		for bad := range int64(3) {
			t.Run(fmt.Sprintf("%v/at=%d", c.refusal, bad), func(t *testing.T) {
				k, q, release := blockedFake(t, 8)
				k.refuse(bad+1, c.refusal)
				done := startAll(t, k, q, 1, 2, 3)
				release()
				for i, d := range done {
					if off := int64(i + 1); off == bad+1 {
						want(t, off, d, 0, c.want)
					} else {
						want(t, off, d, int(off), nil)
					}
				}
				if k.largestBatch < 3 {
					t.Error("the three were not submitted together")
				}
				if len(k.order()) != 3 { // with the one at 9
					t.Errorf("the kernel took %d", k.order())
				}
				checkIdle(t, q)
			})
		}
	}
}

func TestManyRefused(t *testing.T) {
	k, q, release := blockedFake(t, 64)
	offsets := upTo(40)
	for _, off := range offsets {
		if off%3 != 0 {
			k.refuse(off, syscall.EINVAL)
		}
	}
	done := startAll(t, k, q, offsets...)
	release()
	for i, off := range offsets {
		if off%3 != 0 {
			want(t, off, done[i], 0, syscall.EINVAL)
		} else {
			want(t, off, done[i], int(off), nil)
		}
	}
	checkIdle(t, q)
}

func TestInterruptedSubmitIsRepeated(t *testing.T) {
	k, q, release := blockedFake(t, 8)
	for turn := 2; turn < 8; turn++ {
		k.at(submitting, turn, fault{err: syscall.EINTR})
	}
	k.at(submitting, 8, fault{take: 1})
	k.at(submitting, 9, fault{err: syscall.EINTR})
	done := startAll(t, k, q, 1, 2, 3)
	release()
	wantDone(t, []int64{1, 2, 3}, done)
	if n := k.calls(submitting); n < 10 {
		t.Errorf("%d calls of submit, want 10", n)
	}
	checkIdle(t, q)
}

func TestShortSubmitIsContinued(t *testing.T) {
	k, q, release := blockedFake(t, 32)
	k.at(submitting, 2, fault{take: 1})
	k.at(submitting, 3, fault{take: 3})
	k.at(submitting, 4, fault{take: 1})
	offsets := upTo(8)
	done := startAll(t, k, q, offsets...)
	release()
	wantDone(t, offsets, done)
	checkIdle(t, q)
}

// A seccomp filter may come at any time. The requests in the kernel still complete.
func TestForbiddenSubmitIsForGood(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.ENOSYS, syscall.EPERM, syscall.EACCES} {
		t.Run(errno.Error(), func(t *testing.T) {
			shortRetry(t)
			procs(t, 1)
			k, q := newFake(t, 32)
			k.hold()
			before := startAll(t, k, q, 1)
			aiotest.Until(t, "the first is in the kernel", func() bool { return k.insideNow() == 1 })

			block := make(chan struct{})
			k.at(submitting, 2, fault{block: block})
			for turn := 3; turn < 100; turn++ {
				k.at(submitting, turn, fault{err: errno})
			}
			offsets := []int64{2, 3, 4, 5}
			done := startAll(t, k, q, offsets...)
			close(block)
			want(t, 3, done[1], 0, ErrUnavailable)
			want(t, 4, done[2], 0, ErrUnavailable)
			want(t, 5, done[3], 0, ErrUnavailable)

			calls := k.calls(submitting)
			for range 10 {
				want(t, 6, start(q, 6), 0, ErrUnavailable)
			}
			if n := k.calls(submitting); n != calls {
				t.Errorf("the kernel was asked %d times after it had refused for good", n-calls)
			}
			k.complete(2, 1)
			want(t, 2, done[0], 2, nil)
			want(t, 1, before[0], 1, nil)
			checkIdle(t, q)
		})
	}
}

// io_submit(2) may return 0 without an error only for no requests. If it takes none of
// several, the queue must not loop.
func TestSubmitTakesNone(t *testing.T) {
	k, q := newFake(t, 4)
	k.at(submitting, 1, fault{none: true})
	want(t, 1, start(q, 1), 0, ErrUnavailable)
	want(t, 2, start(q, 2), 2, nil)
	checkIdle(t, q)
}
