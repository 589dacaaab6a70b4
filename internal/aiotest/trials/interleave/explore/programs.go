//go:build interleave

package main

// A program is a small number of callers, and what the kernel may do to them.
type program struct {
	name     string
	callers  []caller
	procs    int  // GOMAXPROCS; 0: 1
	collects bool // the reaper collects from 1 request on
	gathers  bool // a submitter gathers from 1 request on
	cold     bool // the first request opens the kernel
	all      bool // all orders are few enough
	long     bool // they take minutes, or hours
	large    bool // only random orders are tried
	reuse    bool // slots are used again
	early    int  // timeouts that may pass early
	faults   faults
}

// A caller makes a call, once or several times.
type caller struct {
	lane  int
	group int // requests of a group; 0: a Do
	times int // 0: 1
}

var (
	do    = caller{}
	other = caller{lane: 1} // a Do on another lane
	group = caller{group: 2}
	small = caller{group: 1}
	crowd = []caller{{times: 2}, {times: 2}, do, do, {lane: 1, times: 2}, group, {group: 3}, {lane: 1, group: 5}}
)

// How many orders a program has depends on the number of goroutines that go on at the same time,
// most of all. A group of one makes the same steps as one of two, but for those between its
// completions.
var programs = []program{
	{name: "two Do, one P", all: true, callers: []caller{do, do}},
	{name: "two Do", all: true, callers: []caller{do, do}, procs: 2},
	{name: "two Do open the kernel", all: true, callers: []caller{do, do}, procs: 2, cold: true},
	{name: "two Do gather", all: true, callers: []caller{do, do}, procs: 2, gathers: true},
	{name: "two Do, the reaper collects", all: true, callers: []caller{do, do}, procs: 2, collects: true},
	{name: "two Do, EAGAIN", all: true, callers: []caller{do, do}, procs: 2, faults: faults{again: 1}},
	{name: "two Do, the reaper collects, EAGAIN", all: true, callers: []caller{do, do}, procs: 2, collects: true, faults: faults{again: 1}},
	{name: "two Do, io_getevents is refused", all: true, callers: []caller{do, do}, procs: 2, collects: true, faults: faults{refuse: true}},
	{name: "two lanes, one is stuck", all: true, callers: []caller{do, other}, procs: 2, faults: faults{stuck: 1}},
	{name: "two lanes, EAGAIN", all: true, callers: []caller{do, other}, procs: 2, faults: faults{again: 1}},
	{name: "two lanes, a small group and Do, one is stuck", all: true, callers: []caller{small, other}, procs: 2, faults: faults{stuck: 1}},
	{name: "three Do, one is stuck", all: true, callers: []caller{do, do, do}, faults: faults{stuck: 1}},
	{name: "three Do", all: true, callers: []caller{do, do, do}, procs: 2},
	{name: "three Do, the reaper collects", all: true, callers: []caller{do, do, do}, procs: 2, collects: true},
	{name: "Do twice and Do, slots are used again", all: true, callers: []caller{{times: 2}, do}, procs: 2, collects: true, reuse: true},
	{name: "two Do twice, slots are used again", all: true, callers: []caller{{times: 2}, {times: 2}}, procs: 2, reuse: true},

	{name: "group alone", all: true, callers: []caller{group}},
	{name: "small group and Do, one P", all: true, callers: []caller{small, do}},
	{name: "small group and Do", all: true, callers: []caller{small, do}, procs: 2},
	{name: "small group and Do, the reaper collects", all: true, callers: []caller{small, do}, procs: 2, collects: true},
	{name: "small group and Do, EAGAIN", all: true, callers: []caller{small, do}, procs: 2, faults: faults{again: 1}},
	{name: "small group and Do, one is stuck", all: true, callers: []caller{small, do}, faults: faults{stuck: 1}},
	{name: "small group and Do, io_getevents is refused", all: true, callers: []caller{small, do}, procs: 2, faults: faults{refuse: true}},
	{name: "small group and Do, a timeout passes early", all: true, callers: []caller{small, do}, procs: 2, early: 1},
	{name: "small group and Do, two timeouts pass early", all: true, callers: []caller{small, do}, procs: 2, early: 2},
	{name: "two small groups", all: true, callers: []caller{small, small}, procs: 2},

	{name: "group and Do", all: true, callers: []caller{group, do}, procs: 2},
	{name: "group and Do, the reaper collects", all: true, callers: []caller{group, do}, procs: 2, collects: true},
	{name: "group and Do, one is stuck", all: true, callers: []caller{group, do}, faults: faults{stuck: 1}},
	{name: "group and Do, EAGAIN", all: true, callers: []caller{group, do}, procs: 2, faults: faults{again: 1}},
	{name: "group and Do, EINVAL and a short submit", all: true, callers: []caller{group, do}, procs: 2, faults: faults{invalid: 1, short: 1}},
	{name: "group and Do, io_getevents is refused", all: true, callers: []caller{group, do}, procs: 2, faults: faults{refuse: true}},
	{name: "group and Do, a timeout passes early", all: true, callers: []caller{group, do}, procs: 2, early: 1},
	{name: "two groups", all: true, callers: []caller{group, group}, procs: 2},

	{name: "two Do and a small group, one P", all: true, callers: []caller{do, do, small}},
	{name: "two Do and a small group", all: true, callers: []caller{do, do, small}, procs: 2},
	{name: "two Do and a small group, one is stuck", all: true, callers: []caller{do, do, small}, faults: faults{stuck: 1}},
	{name: "two Do and a small group, one P, EINVAL", all: true, callers: []caller{do, do, small}, faults: faults{invalid: 1}},
	{name: "three Do, EAGAIN", all: true, callers: []caller{do, do, do}, procs: 2, faults: faults{again: 1}},

	{name: "two Do and a small group, EINVAL", long: true, callers: []caller{do, do, small}, procs: 2, faults: faults{invalid: 1}},
	{name: "two Do and a small group, one P, EAGAIN", long: true, callers: []caller{do, do, small}, faults: faults{again: 1}},
	{name: "two Do and a small group, EAGAIN", long: true, callers: []caller{do, do, small}, procs: 2, faults: faults{again: 1}},

	{name: "a crowd", large: true, callers: crowd, procs: 2, collects: true, gathers: true},
	{name: "a crowd, faults", large: true, callers: crowd, procs: 2, reuse: true, faults: faults{again: 3, invalid: 2, short: 2}},
	{name: "a crowd, one is stuck", large: true, callers: crowd, procs: 2, faults: faults{again: 1, stuck: 1}},
	{name: "a crowd, io_getevents is refused", large: true, callers: crowd, procs: 2, collects: true, early: 3, faults: faults{refuse: true}},
}

// lanes returns the number of lanes of p.
func (p *program) lanes() (n int) {
	for _, c := range p.callers {
		n = max(n, c.lane+1)
	}
	return n
}
