//go:build linux

package main

import (
	"math"
	"testing"
)

func TestParseTrace(t *testing.T) {
	const trace = `# tracer: nop
#
#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION
           <...>-7       [000] .....   100.000001: sys_io_submit(ctx_id: 7f12, nr: 1, iocbpp: c000)
   a - b [c]-8           [001] .....   100.000002: sys_io_submit(ctx_id: 7f12, nr: 3, iocbpp: c000)
           bench-9       [001] .....   100.000003: sys_io_submit(ctx_id: 7f12, nr: 3, iocbpp: c000)
           bench-7       [000] .....   100.000011: sys_io_submit -> 0x1
           bench-8       [000] .....   100.000012: sys_io_submit -> 0x3
           bench-7       [000] .....   100.000020: sys_io_submit(ctx_id: 7f12, nr: 3, iocbpp: c000)
           bench-9       [000] .....   100.000021: sys_io_submit -> 0x3
           bench-7       [000] .....   100.000050: sys_io_submit -> 0x2
           bench-7       [000] .....   100.000060: sys_io_submit(ctx_id: 7f12, nr: 3, iocbpp: c000)
           bench-7       [000] .....   100.000061: sys_io_submit -> 0xfffffffffffffff5
`
	s := newSubmits()
	if err := s.parse(trace, map[int]bool{7: true}); err != nil {
		t.Fatal(err)
	}
	s.finish()
	if s.Calls != 2 || s.Requests != 3 || math.Abs(s.Took.P50-10) > 0.5 || math.Abs(s.Took.Max-30) > 0.5 {
		t.Errorf("got %+v, %+v", s, s.Took)
	}
	s.Took = &percentiles{P50: 10, P99: 30, P999: 31, Max: 32}
	if got, want := s.String(), "2 calls of 1.5 requests; p50 10.0 µs, p99 30.0 µs, p99.9 31.0 µs, longest 32.0 µs"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
