//go:build !linux

package queue

// A Queue has no kernel AIO to use.
type Queue struct{}

// New returns a queue that refuses everything.
func New(int) *Queue { return &Queue{} }

// SetDepth does nothing.
func (q *Queue) SetDepth(int) {}

// Lane returns a Lane that refuses everything.
func (q *Queue) Lane() *Lane { return &Lane{} }

// Stats returns why there is nothing to count.
func (q *Queue) Stats() Stats { return Stats{Unavailable: "this system has none"} }

// RecordLatency does nothing.
func (q *Queue) RecordLatency(bool) {}

// A Lane takes no requests.
type Lane struct{}

// Do refuses.
func (l *Lane) Do(Request) (int, error) { return 0, ErrUnavailable }

// TrySync reports that nothing is in flight.
func (l *Lane) TrySync(int) bool { return true }

// Leave ends what TrySync began.
func (l *Lane) Leave() {}

// TryBusy reports that nothing is known to be late.
func (l *Lane) TryBusy() bool { return false }

// LeaveBusy is not called.
func (l *Lane) LeaveBusy() {}

// Run refuses.
func (l *Lane) Run(g *Group) {
	for i := range g.n {
		if g.Done != nil {
			g.Done(i)
		}
	}
}

// A Group is requests that the kernel cannot take.
type Group struct {
	Done func(i int)
	n    int
}

// Add counts a request.
func (g *Group) Add(Request) { g.n++ }

// Result reports that the kernel cannot take the request.
func (g *Group) Result(int) (int, error) { return 0, ErrUnavailable }

// Free forgets the requests.
func (g *Group) Free() { g.n = 0 }
