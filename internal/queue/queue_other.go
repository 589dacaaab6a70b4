//go:build !linux

package queue

// A Queue has no kernel AIO to use.
type Queue struct{}

// New returns a queue that refuses everything.
func New(int) *Queue { return &Queue{} }

// Do refuses.
func (q *Queue) Do(Op, int, []byte, int64) (int, error) { return 0, ErrUnavailable }

// DoVec refuses.
func (q *Queue) DoVec(Op, int, []byte, [][]byte, int64) (int, error) { return 0, ErrUnavailable }

// TryPlain reports that nothing is in flight.
func (q *Queue) TryPlain(int) bool { return true }

// Leave ends what TryPlain began.
func (q *Queue) Leave() {}

// Stats returns why there is nothing to count.
func (q *Queue) Stats() Stats { return Stats{Unavailable: "this system has none"} }

// RecordLatency does nothing.
func (q *Queue) RecordLatency(bool) {}
