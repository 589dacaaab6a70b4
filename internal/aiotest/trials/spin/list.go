package main

// A configuration is what the model has and does, by its macros.
type configuration struct {
	name   string
	macros string
	finds  string // a part of what is violated, or ok
	cycles bool   // look for infinite fair runs, instead of for runs that end too early
}

// right are configurations of the protocol as it is. TIMER=0 is there to show that no request rests
// on the relief timer unless the kernel refuses requests, or keeps a submitter.
var right = []configuration{
	{"two Do, one P", "", "ok", false},
	{"two Do, two Ps", "-DPROCS=2", "ok", false},
	{"two Do gather, no timer", "-DGATHER=1 -DTIMER=0", "ok", false},
	{"two Do gather, two Ps", "-DPROCS=2 -DGATHER=1", "ok", false},
	{"three Do, no timer", "-DDOS=3 -DTIMER=0", "ok", false},
	{"two Do, the reaper collects", "-DCROWD=1 -DTIMER=0", "ok", false},
	{"two Do, the reaper collects, all fair runs end", "-DCROWD=1 -DTIMER=0", "ok", true},
	{"two Do, the reaper collects, two Ps", "-DPROCS=2 -DCROWD=1 -DTIMER=0", "ok", false},
	{"two Do, the reaper collects, the timer fires once", "-DCROWD=1 -DTIMER=1", "ok", false},
	{"group alone", "-DDOS=0 -DGROUPS=1 -DGROUPFIRST=1", "ok", false},
	{"group alone, all fair runs end", "-DDOS=0 -DGROUPS=1", "ok", true},
	{"group and Do", "-DDOS=1 -DGROUPS=1 -DTIMER=0 -DWORKERS=1", "ok", false},
	{"group of one and Do, the reaper collects", "-DDOS=1 -DGROUPS=1 -DSIZE=1 -DCROWD=1 -DTIMER=0 -DWORKERS=1", "ok", false},
	{"two groups of one", "-DDOS=0 -DGROUPS=2 -DSIZE=1 -DTIMER=0 -DWORKERS=1", "ok", false},
	{"two groups of one, two Ps", "-DPROCS=2 -DDOS=0 -DGROUPS=2 -DSIZE=1 -DTIMER=0 -DWORKERS=1", "ok", false},
	{"two Do, EAGAIN", "-DAGAIN=1 -DWORKERS=1", "ok", false},
	{"group, EAGAIN", "-DPROCS=2 -DDOS=0 -DGROUPS=1 -DGROUPFIRST=1 -DAGAIN=1 -DWORKERS=1", "ok", false},
	{"group, EAGAIN, one P", "-DDOS=0 -DGROUPS=1 -DGROUPFIRST=1 -DAGAIN=1 -DWORKERS=1", "ok", false},
	{"two Do, EINVAL", "-DINVALID=1 -DCROWD=1 -DTIMER=0", "ok", false},
	{"two Do, one is stuck", "-DSTUCK=1", "ok", false},
	{"two Do, one is stuck, the reaper collects", "-DSTUCK=1 -DCROWD=1", "ok", false},
	{"group, one is stuck", "-DDOS=0 -DGROUPS=1 -DSTUCK=1 -DGROUPFIRST=1", "ok", false},
	{"group of one and Do, one is stuck", "-DPROCS=2 -DDOS=1 -DGROUPS=1 -DSIZE=1 -DSTUCK=1 -DTIMER=0 -DWORKERS=1", "ok", false},
	{"two Do, io_getevents is refused", "-DPROCS=2 -DCROWD=1 -DREFUSED=1 -DTIMER=0", "ok", false},
	{"group, io_getevents is refused", "-DDOS=0 -DGROUPS=1 -DREFUSED=1", "ok", false},
	{"group of one and Do, io_getevents is refused, one P", "-DDOS=1 -DGROUPS=1 -DSIZE=1 -DREFUSED=1 -DTIMER=0 -DWORKERS=1", "ok", false},
	{"group of one and Do, io_getevents is refused", "-DPROCS=2 -DDOS=1 -DGROUPS=1 -DSIZE=1 -DREFUSED=1 -DTIMER=0 -DWORKERS=1", "ok", false},
}

const (
	collectorOK = "(word>>1)=="
	hasToken    = "(holders==1)"
	groupOK     = "(left[group]<=1)"
	laneOK      = "(watched&&"
	holdsNone   = "(lost||"
)

// planted are configurations with a bug.
var planted = []configuration{
	{"the token is given up although a request relies on it", "-DCROWD=1 -DBUG_RELEASE", collectorOK, false},
	{"arm looks at the token, and then counts", "-DCROWD=1 -DBUG_ARM", hasToken, false},
	{"the ring is not looked at after the token was given up", "-DDOS=1 -DGROUPS=1 -DTIMER=0 -DWORKERS=1 -DBUG_LOOK", holdsNone, false},
	{"the poller forgets an edge that comes while the reaper runs", "-DBUG_EDGE", holdsNone, false},
	{"a caller leaves its request to others and does not set the timer", "-DBUG_ENTER", laneOK, false},
	{"a submitter leaves requests pending and does not set the timer", "-DGATHER=1 -DBUG_UNLOCK", laneOK, false},
	{"a submitter gives its place up after it has unlocked", "-DTIMER=0 -DBUG_PLACE", holdsNone, false},
	{"stall does not set the timer", "-DAGAIN=1 -DBUG_STALL", laneOK, false},
	{"the owner of a group does not rely on the collector", "-DDOS=0 -DGROUPS=2 -DBUG_RELY", groupOK, false},
	{"the owner of a group hands the token over and does not rely", "-DDOS=0 -DGROUPS=1 -DBUG_HANDOVER", groupOK, false},
	{"the owner of a group takes the token before it submits", "-DDOS=1 -DGROUPS=1 -DSTUCK=1 -DBUG_FIRST", "invalid end state", false},
	{"sweep ends although a request relies on it", "-DCROWD=1 -DREFUSED=1 -DBUG_SWEEP", holdsNone, false},
	{"the collector polls for ever", "-DPROCS=2 -DSTUCK=1 -DCROWD=1 -DTIMER=0 -DBUG_IDLE", "non-progress cycle", true},
	{"the collector waits for the next event for ever", "-DDOS=0 -DGROUPS=1 -DBUG_FOREVER", "(word==0)", false},
}
