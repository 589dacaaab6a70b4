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
)

var programs = []program{
	{name: "two Do, one P", all: true, callers: []caller{do, do}},
	{name: "two Do, two Ps", all: true, callers: []caller{do, do}, procs: 2},
	{name: "two Do open the kernel", callers: []caller{do, do}, procs: 2, cold: true},
	{name: "two Do gather", all: true, callers: []caller{do, do}, procs: 2, gathers: true},
	{name: "two Do, the reaper collects", all: true, callers: []caller{do, do}, procs: 2, collects: true},
	{name: "group alone", all: true, callers: []caller{group}},
	{name: "group of one and Do, one P", callers: []caller{small, do}},
	{name: "group of one and Do", callers: []caller{small, do}, procs: 2},
	{name: "group of one and Do, the reaper collects", callers: []caller{small, do}, procs: 2, collects: true},
	{name: "two groups of one", callers: []caller{small, small}, procs: 2},
	{name: "group of one and Do, EAGAIN", callers: []caller{small, do}, procs: 2, faults: faults{again: 1}},
	{name: "group of one and Do, one is stuck", callers: []caller{small, do}, faults: faults{stuck: 1}},
	{name: "group of one and Do, io_getevents is refused", callers: []caller{small, do}, procs: 2, faults: faults{refuse: true}},
	{name: "group and Do", callers: []caller{group, do}, procs: 2},
	{name: "group and Do, a timeout passes early", callers: []caller{group, do}, procs: 2, early: 1},
	{name: "group of one and Do, a timeout passes early", callers: []caller{small, do}, procs: 2, early: 1},
	{name: "group of one and Do, two timeouts pass early", callers: []caller{small, do}, procs: 2, early: 2},
	{name: "group and Do, the reaper collects", callers: []caller{group, do}, procs: 2, collects: true},
	{name: "two groups", callers: []caller{group, group}, procs: 2},
	{name: "three Do, the reaper collects", callers: []caller{do, do, do}, procs: 2, collects: true},
	{name: "two Do and a group of one, one P", callers: []caller{do, do, small}},
	{name: "two Do and a group of one", callers: []caller{do, do, small}, procs: 2},
	{name: "Do twice and Do, slots are used again", callers: []caller{{times: 2}, do}, procs: 2, reuse: true, collects: true},
	{name: "two Do twice, slots are used again", callers: []caller{{times: 2}, {times: 2}}, procs: 2, reuse: true},
	{name: "two lanes, one is stuck", callers: []caller{do, other}, procs: 2, faults: faults{stuck: 1}},
	{name: "three Do, one is stuck", callers: []caller{do, do, do}, faults: faults{stuck: 1}},
	{name: "group and Do, one is stuck", callers: []caller{group, do}, faults: faults{stuck: 1}},
	{name: "two Do, EAGAIN", callers: []caller{do, do}, procs: 2, faults: faults{again: 1}},
	{name: "two Do, the reaper collects, EAGAIN", callers: []caller{do, do}, procs: 2, collects: true, faults: faults{again: 1}},
	{name: "group and Do, EAGAIN", callers: []caller{group, do}, procs: 2, faults: faults{again: 1}},
	{name: "group and Do, EINVAL and a short submit", callers: []caller{group, do}, procs: 2, faults: faults{invalid: 1, short: 1}},
	{name: "two Do, io_getevents is refused", callers: []caller{do, do}, procs: 2, collects: true, faults: faults{refuse: true}},
	{name: "group and Do, io_getevents is refused", callers: []caller{group, do}, procs: 2, faults: faults{refuse: true}},
}

// lanes returns the number of lanes of p.
func (p *program) lanes() (n int) {
	for _, c := range p.callers {
		n = max(n, c.lane+1)
	}
	return n
}
