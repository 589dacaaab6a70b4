//go:build !linux

package queue

// A Queue has no kernel AIO to use.
type Queue struct{}

// New returns a queue that refuses everything.
func New(int) *Queue { return &Queue{} }

// Do refuses.
func (q *Queue) Do(Request) (int, error) { return 0, ErrUnavailable }

// TrySync reports that nothing is in flight.
func (q *Queue) TrySync(int) bool { return true }

// A Group has no room for any request.
type Group struct{}

// Reserve takes no place.
func (q *Queue) Reserve(*Group, int) int { return 0 }

// Add is not called: there is no place.
func (g *Group) Add(Request) {}

// Run runs nothing.
func (q *Queue) Run(*Group) {}

// Result is that of no request.
func (g *Group) Result(int) (int, error) { return 0, ErrUnavailable }

// Free gives back nothing.
func (q *Queue) Free(*Group) {}

// TryBusy reports that nothing is known to be late.
func (q *Queue) TryBusy() bool { return false }

// LeaveBusy is not called.
func (q *Queue) LeaveBusy() {}

// Leave ends what TrySync began.
func (q *Queue) Leave() {}

// Stats returns why there is nothing to count.
func (q *Queue) Stats() Stats { return Stats{Unavailable: "this system has none"} }

// RecordLatency does nothing.
func (q *Queue) RecordLatency(bool) {}
